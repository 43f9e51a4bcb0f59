"""The tab Team, where people sign in: who makes how much, whose runs are on, and which accounts there are.

It is shown to admins alone; behaviour is in `handlers`.
"""

import gradio as gr

from krea_studio.accounts.accounts import Accounts
from krea_studio.services import Services
from krea_studio.ui.team.handlers import NOTICE, SHOWN, TeamHandlers
from krea_studio.ui.visitors import Visitors
from krea_studio.ui.wiring import Parts, Wiring, any_of


def build_team_tab(services: Services, visitors: Visitors) -> None:
    """Lay out and wire the tab inside the page's tabs; `visitors` are the page's."""
    parts: Parts = {}
    with gr.Tab("Team", id="team", visible=False) as parts["team_tab"], gr.Column(elem_id="team", min_width=0):
        parts[NOTICE] = gr.HTML(visible=False, elem_id="team-notice")
        parts["team_usage"] = gr.HTML(elem_id="team-usage")
        with gr.Row():
            parts["team_runs"] = gr.Dropdown(label="A run that waits or goes on", choices=[], elem_id="team-runs")
            parts["team_stop"] = gr.Button("Stop it", size="sm", elem_id="team-stop")
        with gr.Row():
            parts["team_accounts"] = gr.Dropdown(label="An account", choices=[], elem_id="team-accounts")
            parts["team_with_pictures"] = gr.Checkbox(label="With its pictures, for good", elem_id="team-with-pictures")
            parts["team_remove"] = gr.Button("Remove it", size="sm", elem_id="team-remove")
        parts["team_look"] = gr.Button("Look again", size="sm", elem_id="team-look")
    wiring, handlers = Wiring(parts), TeamHandlers(services, Accounts(services.settings.library), visitors)
    told = (*SHOWN, NOTICE)
    wiring.at_once(gr.context.Context.root_block.load, handlers.open, reads=(), writes=("team_tab",))
    wiring.at_once(any_of(parts["team_tab"].select, parts["team_look"].click), handlers.look, reads=(), writes=told)
    wiring.at_once(parts["team_stop"].click, handlers.stop, reads={"run": "team_runs"}, writes=told)
    wiring.on(
        parts["team_remove"].click,
        handlers.remove,
        reads={"account": "team_accounts", "with_pictures": "team_with_pictures"},
        writes=(*told, "team_with_pictures"),
    )
