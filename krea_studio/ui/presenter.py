"""A run as it is, as an update of the page. Knows parts by name, and no engine's insides.

An update is a dict from the name of a part of a tab to its new value.
"""

from typing import Any

import gradio as gr

from krea_studio.library.records import Record
from krea_studio.runs.run import Run, State
from krea_studio.ui import fragments

Update = dict[str, Any]


def stage_of(run: Run) -> Update:
    """What stands in the place of the pictures: how far the run is, or how it ended; nothing when all are there."""
    at, shots = run.progress, run.shots
    if run.state is State.DONE:
        return {"stage": gr.update(value="", visible=False)}
    if run.state.ended:
        kind = "quiet" if run.state is State.STOPPED else "problem"
        return {"stage": shown(fragments.notice(run.failure, kind))}
    if run.state is State.WAITING:
        return {"stage": shown(fragments.queued(shots[0], run.ahead, run.seconds_left))}
    if at is None:
        return {"stage": shown(fragments.starting(shots[0]))}
    shot = shots[at.shot]
    if at.doing == "expanding":
        return {"stage": shown(fragments.expanding(shot, at.shot, len(shots)))}
    if at.doing == "loading":
        return {"stage": shown(fragments.loading(shot, at.what, at.share))}
    if at.step < at.steps:
        return {"stage": shown(fragments.step(shot, at.shot, len(shots), at.step, at.steps, at.preview))}
    return {"stage": shown(fragments.decoding(shot, at.shot, len(shots), at.preview))}


def shown(markup: str) -> Any:
    """An HTML part with this content, made visible."""
    return gr.update(value=markup, visible=True)


def pictures_of(records: list[Record]) -> Update:
    """The results gallery with these pictures (by path, never decoded), the first one described below it."""
    items = [(str(record.path), fragments.caption(record)) for record in records]
    single = len(records) == 1
    return {
        "gallery": gr.update(value=items, visible=bool(items), columns=1 if single else 2, selected_index=None),
        "shown_ids": [record.id for record in records],
        "selected": 0,
        "details": gr.update(value=fragments.details(records[0] if records else None), visible=bool(records)),
        "picture_actions": gr.update(visible=bool(records)),
    }
