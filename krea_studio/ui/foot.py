"""The foot of the page: what this project is, and the licence of the published weights, which its operator accepts."""

import gradio as gr

from krea_studio.errors import InvalidRequest
from krea_studio.licence import Licence
from krea_studio.services import Services
from krea_studio.ui import fragments
from krea_studio.ui.notices import guarded, note, problem, visible
from krea_studio.ui.presenter import Update
from krea_studio.ui.visitors import Visitors
from krea_studio.ui.wiring import Parts, Wiring

ACCEPTED = "The licence is accepted for this studio — reload the page to see what it can draw now."


class Foot:
    """The last lines of the page, over one library's acceptance of the licence."""

    def __init__(self, services: Services, visitors: Visitors) -> None:
        self._licence, self._visitors = Licence(services.settings.library), visitors

    def build(self, parts: Parts) -> None:
        """Lay it out; whether the button is there is decided where the page is opened."""
        gr.HTML(fragments.FOOTER, elem_id="notice")
        with gr.Accordion("Licence of Krea 2's published weights", open=False, elem_id="licence"):
            gr.HTML(fragments.LICENCE_TERMS)
            parts["accept_licence"] = gr.Button(
                "Accept the licence for this studio", size="sm", visible=False, elem_id="accept-licence"
            )
            parts["licence_notice"] = gr.HTML(visible=False, elem_id="licence-notice")

    def wire(self, wiring: Wiring) -> None:
        """Show the button where it is to be, and let it accept."""
        wiring.at_once(gr.context.Context.root_block.load, self.open, reads=(), writes=("accept_licence",))
        wiring.at_once(
            wiring.parts["accept_licence"].click, self.accept, reads=(), writes=("accept_licence", "licence_notice")
        )

    def open(self) -> Update:
        """The page was opened: the button is there where the licence was not accepted yet, here or elsewhere."""
        return {"accept_licence": visible(not self._licence.accepted)}

    def accept(self, visitor: gr.Request) -> Update:
        """The licence is accepted by whoever runs the studio, which a stranger on a shared page does not."""

        def accept() -> Update:
            if not self._visitors.person(visitor).runs_studio:
                raise InvalidRequest("The licence is accepted by whoever runs this studio — ask them, or an admin")
            self._licence.accept()
            return {"accept_licence": visible(False), **note(ACCEPTED, "licence_notice")}

        return guarded(accept, lambda message: problem(message, "licence_notice"))


def build_foot(services: Services, visitors: Visitors) -> None:
    """Lay out and wire the foot inside the current Blocks context."""
    parts: Parts = {}
    foot = Foot(services, visitors)
    foot.build(parts)
    foot.wire(Wiring(parts))
