"""What a page remembers comes with its requests, and what comes from a page is looked at before it is believed."""

import inspect
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from PIL import Image

from krea_studio.direction.styles import StyleFacts
from krea_studio.errors import InvalidRequest
from krea_studio.people import Person
from krea_studio.recipe.request import Expansion
from krea_studio.services import Services
from krea_studio.ui.create.runs import Watched
from krea_studio.ui.page import build_page
from krea_studio.ui.remembered import checked, is_remembered, remembered, sent, session_of
from krea_studio.ui.wiring import ADDED, KNOWN, Wiring
from tests.doubles import write_style
from tests.ui.create.driving import look_of, values
from tests.ui.test_page import save

BROWSER = "0123456789abcdef" * 2
FORGED: tuple[Any, ...] = (None, 5, 0.5, "x", [], [5], ["x"], {}, {"x": 1}, True, "x" * 40, -1, "\ud800", float("nan"))


@pytest.fixture
def page(services: Services) -> gr.Blocks:
    return build_page(services, shared=False)


@pytest.fixture
def begin(page: gr.Blocks) -> Any:
    """What Gradio calls when Generate is pressed."""
    return next(
        each.fn for each in page.fns.values() if "Begin a run of what the controls say" in (each.fn.__doc__ or "")
    )


def pressed(**changed: Any) -> dict[str, Any]:
    """What Generate is called with by a page whose session was forgotten."""
    remembering = ("references", "expansion", "moodboard_content", "chosen_styles", "greyed")
    controls = {**values(), **changed, "watched": Watched()}
    return controls | {name: sent(controls[name]) for name in remembering}


def drawn(services: Services) -> Any:
    (entry,) = services.runs.of()
    return entry.shots[0]


def test_references_are_in_a_run_of_a_page_that_the_server_forgot(
    services: Services, begin: Any, visitor: SimpleNamespace
) -> None:
    look = look_of(services.library, "teal")
    begin(visitor, **pressed(references=[look]))
    assert [each.image for each in drawn(services).style_references] == [look]


def test_an_expansion_is_in_a_run_of_a_page_that_the_server_forgot(
    services: Services, begin: Any, visitor: SimpleNamespace
) -> None:
    written = Expansion(text="a fox at dusk", writer="phrasebook", seed=3).model_dump(mode="json")
    box = {"written": written, "prompt": "a fox", "creativity": "high"}
    begin(visitor, **pressed(creativity="high", expanded_prompt="a fox at dusk", expansion=box))
    assert drawn(services).expansion.model_dump(mode="json") == written


def test_a_recorded_moodboard_steers_a_run_of_a_page_that_the_server_forgot(
    services: Services, begin: Any, visitor: SimpleNamespace
) -> None:
    content = {"representatives": [{"image": look_of(services.library, "teal"), "share": 1.0}], "keywords": ["misty"]}
    recalled = {"name": "Dusk", "content": content}
    begin(visitor, **pressed(moodboard="Dusk", moodboard_content=recalled))
    assert drawn(services).moodboard.content.keywords == ("misty",)


def test_a_style_that_is_gone_is_told_on_a_page_that_the_server_forgot(
    services: Services, begin: Any, visitor: SimpleNamespace, page: gr.Blocks
) -> None:
    chosen = {"identity": "0" * 32, "name": "Etching", "words": "", "own": True}
    update = begin(visitor, **pressed(chosen_styles=[chosen]))
    assert services.runs.of() == []
    assert any("Etching" in str(value) and "not in the library any more" in str(value) for value in update.values())


def test_a_page_that_the_server_forgot_goes_on_with_its_looked_at_picture(
    services: Services, page: gr.Blocks, visitor: SimpleNamespace
) -> None:
    record = save(services.library)
    reuse = next(
        each.fn for each in page.fns.values() if "settings of the looked-at picture into" in (each.fn.__doc__ or "")
    )
    update = reuse(visitor, browser="", shown_ids=sent([record.id]), selected=sent(0))
    assert any("Settings of seed 7" in str(value) for value in update.values())


def test_all_that_only_the_server_knows_of_a_page_can_be_found_again(page: gr.Blocks) -> None:
    states = {block._id for block in page.blocks.values() if isinstance(block, gr.State)}
    twins = {session._id for block in page.blocks.values() if (session := session_of(block))}
    (watched,) = [page.blocks[each] for each in states - twins]
    assert isinstance(watched.value, Watched)  # which is found again by the run that the page shows
    remembering = [block for block in page.blocks.values() if session_of(block)]
    for event in page.fns.values():
        written = {part._id for part in event.outputs}
        read = {part._id for part in event.inputs}
        for part in remembering:
            for names in (written, read):
                assert (part._id in names) == (session_of(part)._id in names)


def test_what_the_session_knows_counts_more_than_what_a_page_has_not_seen_yet() -> None:
    seen: list[Any] = []

    def handler(ids: list[str]) -> dict[str, Any]:
        seen.append(ids)
        return {"ids": [*ids, "new"]}

    with gr.Blocks() as page:
        parts = {"ids": remembered([], list[str])}
        Wiring(parts).at_once(gr.Button().click, handler, reads=("ids",), writes=("ids",))
    (event,) = page.fns.values()
    session = session_of(parts["ids"])
    update = event.fn(ids=[["old"]], ids_known=None)
    assert update[parts["ids"]] == update[session] == [["old", "new"]]
    event.fn(ids=[["old"]], ids_known=update[session])
    event.fn(ids=[["old"]], ids_known=[[]])
    assert seen == [["old"], ["old", "new"], []]


@pytest.mark.parametrize("value", FORGED, ids=repr)
def test_values_of_another_kind_are_refused_in_one_line(value: Any) -> None:
    with gr.Blocks():
        parts = [gr.Textbox(), gr.Checkbox(), gr.Slider(), remembered([], list[str]), remembered(0, int)]
    takes = (str, bool, (int, float), list, int)
    for part, kind in zip(parts, takes, strict=True):
        came = sent(value) if is_remembered(part) else value
        try:
            taken = checked(part, came, "this")
        except InvalidRequest as error:
            assert f"The page sent {value!r} as this — reload it" in error.message
        else:
            assert isinstance(taken, kind)


def test_no_forged_call_of_the_page_fails_in_the_studio(
    page: gr.Blocks, visitor: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    visitor.session_hash = "one"
    chosen = [{"index": index, "value": value} for index in (0, -1, 9, "x", [0, 1]) for value in FORGED]
    choices = [gr.SelectData(None, each) for each in chosen]
    caplog.set_level(logging.ERROR)
    called = 0
    for event in (each for each in page.fns.values() if hasattr(each.fn, "__wrapped__")):
        named = zip(event.input_keyword_names, event.inputs, strict=True)
        parts = {name: part for name, part in named if not name.endswith(KNOWN)}
        wanted = [each.annotation for each in inspect.signature(event.fn).parameters.values()]
        for number, value in enumerate(FORGED):
            added = [each for each in wanted if each in ADDED]
            asked = [visitor if each is gr.Request else choices[number * 5 % len(choices)] for each in added]
            values = {name: forged(part, value, number % 2 == 0) for name, part in parts.items()}
            called += 1
            try:
                found = event.fn(*asked, **values)
                if inspect.isgenerator(found):
                    list(found)
            except gr.Error as error:
                assert "reload" in error.message, (event.fn, error.message)
    assert called > 300
    assert [record.getMessage() for record in caplog.records] == []


def test_no_call_of_a_stranger_changes_what_all_share(
    services: Services, visitor: SimpleNamespace, tmp_path: Path
) -> None:
    boards, styles = services.library.moodboards, services.library.styles
    own = services.library.get(save(services.library).id)
    assert own
    record = services.library.save(own.recipe, Image.open(own.path), 1.0, Person(f"browser-{BROWSER}"))
    boards.create("Dusk")
    boards.add("Dusk", [record.path])
    with styles.incoming() as incoming:
        write_style(incoming)
        identity = styles.keep(incoming, "Etching", StyleFacts(source="file")).identity
    archive = tmp_path / "dusk.zip"
    boards.export("Dusk", archive)
    (image,) = boards.get("Dusk").images

    def shared() -> dict[Path, bytes]:
        kept = (path for folder in (boards.folder, styles.folder) for path in folder.iterdir())
        return {path: path.read_bytes() for path in kept if path.suffix != ".sqlite3"}

    wished: dict[str, Any] = {
        "browser": BROWSER,
        "open_board": "Dusk", "boards": "Dusk", "board_name": "Mine", "selected_image": sent(image), "chosen": "Dusk",
        "moodboard": "Dusk", "open_style": identity, "new_name": "Mine", "trigger": "mine", "suggested_prompt": "mine",
        "archive": str(archive), "cover_file": str(record.path), "repository": "a/b", "looks": [], "look_ids": sent([]),
        "files": str(record.path), "shown_ids": sent([record.id]), "selected": sent(0), "kept_words": sent(None),
    }  # fmt: skip
    before, visitor.session_hash = shared(), "one"
    for event in (each for each in build_page(services, shared=True).fns.values() if hasattr(each.fn, "__wrapped__")):
        if event.fn.__name__ in ("choose_picture", "show_picture", "picture_chosen", "chosen", "cancel"):
            continue
        named = zip(event.input_keyword_names, event.inputs, strict=True)
        parts = {name: part for name, part in named if not name.endswith(KNOWN)}
        usual = {name: Watched() if isinstance(part, gr.State) else part.value for name, part in parts.items()}
        added = [visitor] * (len(inspect.signature(event.fn).parameters) - 1)
        found = event.fn(*added, **{name: wished.get(name, usual[name]) for name in parts})
        if inspect.isgenerator(found):
            list(found)
    services.runs.close()
    assert shared() == before


def forged(part: Any, value: Any, plain: bool) -> Any:
    """A value for a part that is not its own, except where Gradio itself looks at it."""
    if isinstance(part, gr.State):
        return Watched()
    if isinstance(part, (gr.Radio, gr.Dropdown, gr.CheckboxGroup)):
        return part.value
    if isinstance(part, (gr.File, gr.Dataset)):
        return None
    return value if plain or not is_remembered(part) else sent(value)
