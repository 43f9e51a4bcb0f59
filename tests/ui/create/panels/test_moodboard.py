"""The moodboard of the Create tab: what steers, in words."""

from typing import Any

from krea_studio.services import Services
from krea_studio.ui.create.tab import CreateTab
from tests.ui.create.driving import ME, board, kept, look_of


def test_the_line_under_the_moodboard_tells_what_steers(create: CreateTab, services: Services) -> None:
    library = services.library
    board(services, "Dusk", look_of(library, "red"), look_of(library, "teal"))

    def told(variant: str = "turbo", guidance: str = "", content: Any = None) -> str:
        return create.moodboard.describe(ME, "Dusk", variant, guidance, content)["moodboard_text"]

    assert "was not analyzed" in told()
    services.studio.analyze("Dusk")
    idle = "avoids (without effect: the guidance scale is 0 here)"
    assert "2 of 2 pictures steer" in told() and idle in told() and idle in told("medium", "0")
    assert idle not in told("medium") and idle not in told("turbo", "2")
    nothing = create.moodboard.describe(ME, "", "turbo", "", None)
    assert nothing["moodboard_text"] == "" and not nothing["moodboard_steers"]["visible"]

    content = library.moodboards.get("Dusk").content()
    record = kept(library, moodboard={"name": "Dusk", "content": content.model_dump(mode="json")})
    library.moodboards.delete("Dusk")
    update = create.actions.reuse(ME, "", [record.id], 0)
    assert "As recorded in the picture: 2 pictures steer" in update["moodboard_text"]
    assert told(content=update["moodboard_content"]) == update["moodboard_text"]
    assert "There is no moodboard" in told(content={**update["moodboard_content"], "name": "Dawn"})
    assert create.actions.reuse(ME, "", [kept(library).id], 0)["moodboard_text"] == ""
