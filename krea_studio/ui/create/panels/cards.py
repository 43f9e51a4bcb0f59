"""A card of the Create tab for one of several that a person chose: its picture, how strong it is, and Remove.

Cards are told apart by kind and place. A card's parts are called `reference_0_picture`, `reference_0_remove` and so on.
"""

from typing import Any

import gradio as gr

from krea_studio.ui.wiring import Parts


def names(kind: str, part: str, places: int) -> tuple[str, ...]:
    """What a part is called on each of the cards of a kind, by place."""
    return tuple(f"{kind}_{place}_{part}" for place in range(places))


def build_card(
    parts: Parts, kind: str, place: int, measure: str, limits: tuple[int, ...], usual: float, **picture: Any
) -> None:
    """Lay out what all cards have, inside a row; `measure` names the slider, in %, and `picture` goes to Gradio."""
    title, element = f"{kind.capitalize()} {place + 1}", f"{kind}-{place + 1}"
    parts[f"{kind}_{place}_picture"] = gr.Image(
        label=title, show_label=False, interactive=False, buttons=[], min_width=0, scale=0, **picture
    )
    parts[f"{kind}_{place}_{measure}"] = gr.Slider(
        *limits,
        value=usual,
        step=1,
        label=f"{title}, {measure} in %",
        buttons=[],
        elem_id=f"{element}-{measure}",
        min_width=0,
    )
    parts[f"{kind}_{place}_remove"] = gr.Button("Remove", size="sm", min_width=0, scale=0, elem_id=f"{element}-remove")
