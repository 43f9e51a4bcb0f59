"""The look: colours, typefaces and radii as a Gradio theme, and the stylesheet that goes with it.

One accent (viridian) on warm neutrals, so that the pictures are the most colourful thing on the page. The two
typefaces are files that ship inside Gradio; nothing is fetched from a font service. Rules that depend on a table
of the project (the glyph of each aspect ratio) are generated here, everything else is in `assets/css/studio.css`.
"""

from pathlib import Path

import gradio as gr

from krea_studio.recipe.aspect_ratios import ASPECT_RATIOS

ASSETS = Path(__file__).resolve().parents[2] / "assets"
STYLESHEET = ASSETS / "css" / "studio.css"
SCRIPTS = tuple(ASSETS / "ui" / f"{name}.js" for name in ("studio", "history", "compare"))
FAVICON = ASSETS / "ui" / "favicon.png"
GLYPH_SIDE_PX = 18
WEIGHTS = (400, 700)  # the semi-bold files that Gradio ships lack most letters

VIRIDIAN = gr.themes.Color(
    name="viridian",
    c50="#edf7f4", c100="#d3ece5", c200="#a9dacc", c300="#77c3af", c400="#46ab92", c500="#218b73",
    c600="#126b58", c700="#0f5748", c800="#0d463b", c900="#0b3a31", c950="#05211c",
)  # fmt: skip
PAPER = gr.themes.Color(
    name="paper",
    c50="#faf9f7", c100="#f3f1ed", c200="#e6e3dd", c300="#d3cfc7", c400="#a39e95", c500="#76716a",
    c600="#5b5751", c700="#3d3a36", c800="#2a2826", c900="#1c1b1a", c950="#121211",
)  # fmt: skip


def studio_theme() -> gr.themes.Base:
    """The Gradio theme of the page, in both its light and its dark colours."""
    return gr.themes.Base(
        primary_hue=VIRIDIAN,
        secondary_hue=VIRIDIAN,
        neutral_hue=PAPER,
        radius_size=gr.themes.sizes.radius_lg,
        font=[gr.themes.LocalFont("IBM Plex Sans", weights=WEIGHTS), "system-ui", "sans-serif"],
        font_mono=[gr.themes.LocalFont("IBM Plex Mono", weights=WEIGHTS), "ui-monospace", "monospace"],
    ).set(
        body_background_fill="*neutral_100",
        body_background_fill_dark="*neutral_950",
        body_text_color="*neutral_900",
        body_text_color_dark="*neutral_100",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        background_fill_primary="#ffffff",
        background_fill_primary_dark="*neutral_900",
        background_fill_secondary="*neutral_50",
        background_fill_secondary_dark="*neutral_900",
        border_color_primary="*neutral_200",
        border_color_primary_dark="*neutral_800",
        block_background_fill="transparent",
        block_background_fill_dark="transparent",
        block_border_width="0px",
        block_border_width_dark="0px",
        block_shadow="none",
        block_padding="0px",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        block_title_text_weight="600",
        block_title_text_size="*text_sm",
        block_title_text_color="*neutral_800",
        block_title_text_color_dark="*neutral_200",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_400",
        block_info_text_size="*text_sm",
        form_gap_width="0px",
        layout_gap="20px",
        input_background_fill="#ffffff",
        input_background_fill_dark="*neutral_900",
        input_border_width="1px",
        input_border_color="*neutral_200",
        input_border_color_dark="*neutral_800",
        input_border_color_focus="*primary_500",
        input_border_color_focus_dark="*primary_400",
        input_shadow="none",
        input_shadow_focus="none",
        input_shadow_focus_dark="none",
        input_radius="10px",
        slider_color="*primary_600",
        slider_color_dark="*primary_400",
        checkbox_label_background_fill="transparent",
        checkbox_label_background_fill_dark="transparent",
        checkbox_label_background_fill_hover="*neutral_50",
        checkbox_label_background_fill_hover_dark="*neutral_800",
        checkbox_label_background_fill_selected="#ffffff",
        checkbox_label_background_fill_selected_dark="*neutral_700",
        checkbox_label_text_color_selected="*neutral_900",
        checkbox_label_text_color_selected_dark="#ffffff",
        checkbox_label_border_width="0px",
        checkbox_label_shadow="none",
        checkbox_background_color_selected="*primary_600",
        checkbox_background_color_selected_dark="*primary_500",
        checkbox_border_color_selected="*primary_600",
        checkbox_border_color_selected_dark="*primary_500",
        button_large_radius="10px",
        button_medium_radius="10px",
        button_small_radius="8px",
        button_border_width="1px",
        button_transition="background-color 120ms ease, border-color 120ms ease",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_400",
        button_primary_background_fill_hover_dark="*primary_300",
        button_primary_border_color="transparent",
        button_primary_border_color_dark="transparent",
        button_primary_text_color="#ffffff",
        button_primary_text_color_dark="*primary_950",
        button_secondary_background_fill="#ffffff",
        button_secondary_background_fill_hover="*neutral_50",
        button_secondary_background_fill_dark="*neutral_800",
        button_secondary_background_fill_hover_dark="*neutral_700",
        button_secondary_border_color="*neutral_200",
        button_secondary_border_color_dark="*neutral_700",
        link_text_color="*primary_600",
        link_text_color_dark="*primary_300",
    )


def stylesheet() -> str:
    """The page's CSS: the file, and one rule per aspect ratio that draws its outline in true proportion."""
    return STYLESHEET.read_text(encoding="utf-8") + "\n" + aspect_ratio_glyphs()


def aspect_ratio_glyphs() -> str:
    """CSS that puts a small outline with the proportions of each aspect ratio before its name."""
    rules = []
    for position, ratio in enumerate(ASPECT_RATIOS.values(), start=1):
        longest = max(ratio.width, ratio.height)
        width = GLYPH_SIDE_PX * ratio.width / longest
        height = GLYPH_SIDE_PX * ratio.height / longest
        margin = (GLYPH_SIDE_PX - height) / 2
        rules.append(
            f"#aspect-ratio .wrap > label:nth-of-type({position})::before "
            f"{{ width: {width:.1f}px; height: {height:.1f}px; margin-block: {margin:.1f}px; }}"
        )
    return "\n".join(rules)


def head() -> str:
    """What goes into the page's <head>: its small scripts."""
    return "".join(f"<script>{script.read_text(encoding='utf-8')}</script>" for script in SCRIPTS)
