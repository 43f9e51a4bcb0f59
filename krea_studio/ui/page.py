"""The frame of the page: title, tabs, footer. Each tab is built by its own module."""

import gradio as gr

from krea_studio.accounts.accounts import HUB
from krea_studio.services import Services
from krea_studio.ui import fragments
from krea_studio.ui.compare.tab import build_compare_tab
from krea_studio.ui.create.tab import build_create_tab
from krea_studio.ui.foot import build_foot
from krea_studio.ui.gradio_api import add_endpoints
from krea_studio.ui.history.tab import build_address, build_history_tab, wire_tabs
from krea_studio.ui.moodboards.tab import build_moodboards_tab
from krea_studio.ui.styles.tab import build_styles_tab
from krea_studio.ui.sweep.tab import build_sweep_tab
from krea_studio.ui.team.tab import build_team_tab
from krea_studio.ui.visitors import Visitors

CACHE_CHECK_SECONDS = 3600
CACHE_LIFETIME_SECONDS = 86_400


def build_page(services: Services, shared: bool) -> gr.Blocks:
    """The whole page over these services; opens without a model, a network or a GPU.

    `shared`: strangers may open it, so that every browser sees only its own pictures.
    """
    visitors = Visitors(shared)
    with gr.Blocks(
        title="Krea Studio",
        analytics_enabled=False,
        fill_width=True,
        # Copies that Gradio makes for the browser; the pictures themselves are in the library.
        delete_cache=(CACHE_CHECK_SECONDS, CACHE_LIFETIME_SECONDS),
    ) as page:
        gr.HTML(fragments.HEADER, elem_id="header")
        if services.settings.sign_in != "none":
            signed_in = gr.HTML(elem_id="signed-in")
            page.load(_signed_in, outputs=signed_in, show_progress="hidden", queue=False, api_visibility="private")
        address = build_address()
        with gr.Tabs(elem_id="tabs") as tabs:
            with gr.Tab("Create", id="create"):
                create = build_create_tab(services, visitors, tabs)
            history = build_history_tab(services, visitors, create, address)
            sweep = build_sweep_tab(services, visitors, create)
            build_compare_tab(services, visitors, create.parts, history, sweep)
            build_moodboards_tab(services, visitors, tabs, create.parts["moodboard"], create.parts["moodboard_content"])
            build_styles_tab(services, visitors, tabs, create.parts)
            if services.settings.sign_in != "none":
                build_team_tab(services, visitors)
        wire_tabs(tabs)
        build_foot(services, visitors)
        add_endpoints(services, visitors)
    return page


def _signed_in(visitor: gr.Request) -> str:
    return fragments.signed_in((visitor.username or "").removeprefix(HUB))
