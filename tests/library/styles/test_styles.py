"""Styles are kept by their weights' content, one a name, whole or not at all; those that ship stay as they are."""

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from krea_studio.direction.styles import OFFICIAL, SHIPPED, StyleCard, StyleFacts
from krea_studio.errors import InvalidRequest, StorageError
from krea_studio.files import LOCK_FILE
from krea_studio.library import store
from krea_studio.library.store import Library
from krea_studio.library.styles.files import shipped_card, weights_identity
from krea_studio.library.styles.styles import COVER_SIDE_PX, Styles
from tests.doubles import write_style

ROOT = Path(__file__).parents[3]
FACTS = StyleFacts(
    trigger="woodcut print",
    suggested_prompt="woodcut of a fox — Holzschnitt 木版画",
    made_for=("Mini Medium", "Mini Turbo"),
    stated_base="mini-medium",
    rank="4, alpha 4",
    source="file fox.safetensors",
    format="diffusers",
    notes=("a note",),
)
SHIPPED_METADATA = {
    "name": "Woodcut",
    "trigger": "woodcut print",
    "trained_on": "mini-medium",
    "made_for": "Mini Medium, Mini Turbo",
    "rank": "8",
    "alpha": "4",
    "suggested_prompt": "woodcut of a fox",
}


def taken_in(styles: Styles, name: str, number: int = 1, **facts: object) -> StyleCard:
    with styles.incoming() as path:
        return styles.keep(write_style(path, number), name, FACTS.model_copy(update=facts))


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    folder = tmp_path / "assets" / "styles"
    write_style(folder / "woodcut.safetensors", 100, **SHIPPED_METADATA)
    Image.new("RGB", (64, 64), "red").save(folder / "woodcut.png")
    write_style(folder / "blueprint.safetensors", 101, name="Blueprint")
    return folder


@pytest.fixture
def styles(tmp_path: Path, shipped: Path) -> Styles:
    """No styles of one's own yet, and two that ship."""
    return Styles(tmp_path / "library" / "styles", shipped)


@pytest.fixture
def empty(tmp_path: Path) -> Styles:
    return Styles(tmp_path / "library" / "styles")


def tree(folder: Path) -> dict[str, bytes]:
    """Every file under `folder` with its content, but for locks."""
    found = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != LOCK_FILE)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def test_other_weights_take_a_style_s_place_under_its_name(styles: Styles, tmp_path: Path) -> None:
    old, other = taken_in(styles, "Fox"), taken_in(styles, "Owl", 2)
    with styles.incoming() as path:
        card = styles.renew(old.identity, write_style(path, 3), FACTS.model_copy(update={"trigger": "new"}))
    assert (card.name, card.trigger) == ("Fox", "new") and styles.get("Fox") == card
    assert old.identity not in [each.identity for each in styles.cards()]
    before = tree(styles.folder)
    for place, number, words in ((card, 2, "already, as 'Owl'"), (card, 3, "as 'Fox'"), (old, 4, "not in the")):
        with styles.incoming() as path, pytest.raises(InvalidRequest, match=words):
            styles.renew(place.identity, write_style(path, number), FACTS)
    assert tree(styles.folder) == before and styles.get("Owl") == other


def test_a_style_keeps_what_it_was_given(empty: Styles, tmp_path: Path) -> None:
    assert empty.cards() == [] and not empty.folder.exists()
    card = taken_in(empty, " Fox  prints ")
    assert StyleFacts.model_validate({field: getattr(card, field) for field in StyleFacts.model_fields}) == FACTS
    assert (card.name, card.favourite, card.shipped) == ("Fox prints", False, False)
    assert card == empty.get("FOX PRINTS") == empty.by_identity(card.identity)
    assert Styles(empty.folder).cards() == [card]
    assert load_file(empty.path(card.identity))["transformer.x.lora_A.weight"].max() == 1
    assert card.bytes == empty.path(card.identity).stat().st_size
    assert empty.cover(card) is None
    assert len(tree(tmp_path)) == 2, "nothing is left of what came in"


def test_weights_are_named_by_their_tensors_alone(tmp_path: Path) -> None:
    metadata = {f"key_{number}": "x" for number in range(20)}
    names = {weights_identity(write_style(tmp_path / f"{n}.safetensors", 1, **metadata)) for n in range(5)}
    assert names == {weights_identity(write_style(tmp_path / "plain.safetensors", 1))}
    assert weights_identity(write_style(tmp_path / "other.safetensors", 2)) not in names
    tensors = load_file(tmp_path / "plain.safetensors")
    save_file({f"{key}.x": tensor for key, tensor in tensors.items()}, tmp_path / "keys.safetensors")
    save_file({key: tensor.reshape(4, 2) for key, tensor in tensors.items()}, tmp_path / "shape.safetensors")
    assert not {weights_identity(tmp_path / f"{name}.safetensors") for name in ("keys", "shape")} & names


@pytest.mark.parametrize("content", [b"", b"\x80\x02pickle", b"\xff" * 20, b"\x02\0\0\0\0\0\0\0[]", b"\x09" + bytes(7)])
def test_only_safetensors_have_an_identity(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(InvalidRequest, match="'x.safetensors' is no safetensors file"):
        weights_identity(tmp_path / "x.safetensors")


def test_two_styles_of_one_name_are_refused(empty: Styles, tmp_path: Path) -> None:
    taken_in(empty, "Äther", 1)
    taken_in(empty, "Ink", 2)
    before = tree(tmp_path)
    message = "There is a style 'Äther' already — give this one another name, or rename that one first"
    for use in (lambda: taken_in(empty, "A\u0308THER", 3), lambda: empty.rename("ink", "äther")):
        with pytest.raises(InvalidRequest) as caught:
            use()
        assert caught.value.message == message
    assert tree(tmp_path) == before
    with empty.incoming() as path:
        assert empty.keep(write_style(path, 3), "äther", FACTS, numbered=True).name == "äther 2"
    assert empty.rename("äther", "ÄTHER").name == "ÄTHER"
    assert empty.names() == ["Ink", "ÄTHER", "äther 2"]


def test_the_same_weights_again_are_told_by_their_name(styles: Styles, tmp_path: Path) -> None:
    taken_in(styles, "Ink", 1)
    before = tree(tmp_path)
    for name, number, here in (("Other", 1, "Ink"), ("ink", 1, "Ink"), ("Other", 100, "Woodcut")):
        with pytest.raises(InvalidRequest, match=f"in the library already, as '{here}' — use that one"):
            taken_in(styles, name, number)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("name", ["", "  \n", "\x00", "x" * 201, "\ud800", 7, None])
def test_bad_names_are_refused_everywhere(empty: Styles, tmp_path: Path, name: object) -> None:
    taken_in(empty, "Ink")
    before = tree(tmp_path)
    uses: list[Callable[[], object]] = [
        lambda: taken_in(empty, name, 2),
        lambda: empty.get(name),
        lambda: empty.rename("Ink", name),
        lambda: empty.rename(name, "Other"),
        lambda: empty.delete(name),
        lambda: empty.set_favourite(name),
        lambda: empty.edit(name, trigger="x"),
    ]
    for use in uses:
        with pytest.raises(InvalidRequest, match="The style's name"):
            use()
    assert tree(tmp_path) == before


def test_a_name_that_no_style_has_is_told_with_those_near_it(styles: Styles) -> None:
    with pytest.raises(InvalidRequest, match="There is no style 'Wodcut' — choose one of 'Woodcut'"):
        styles.get("Wodcut")
    with pytest.raises(InvalidRequest, match="no style 'Darkbrush' here yet; Krea publishes it — add it first"):
        styles.get("Darkbrush")
    assert "darkbrush" in OFFICIAL
    with pytest.raises(InvalidRequest, match="There is no style 'x' — add it first"):
        Styles(styles.folder).get("x")


def test_what_ships_is_there_from_the_start(styles: Styles, shipped: Path, tmp_path: Path) -> None:
    blueprint, woodcut = styles.cards()
    assert (blueprint.name, blueprint.trigger, blueprint.made_for, blueprint.rank) == ("Blueprint", "", (), "")
    assert (woodcut.name, woodcut.trigger, woodcut.rank) == ("Woodcut", "woodcut print", "8, alpha 4")
    assert (woodcut.made_for, woodcut.stated_base) == (("Mini Medium", "Mini Turbo"), "mini-medium")
    assert (woodcut.source, woodcut.shipped) == (SHIPPED, True)
    assert styles.path(woodcut.identity) == shipped / "woodcut.safetensors"
    assert styles.cover(woodcut) == shipped / "woodcut.png"
    assert styles.cover(blueprint) is None
    assert not styles.folder.exists()


def test_what_ships_can_be_changed_but_not_removed(styles: Styles, shipped: Path) -> None:
    before = tree(shipped)
    with pytest.raises(InvalidRequest, match="'Woodcut' ships with the studio and cannot be removed"):
        styles.delete("woodcut")
    styles.set_favourite("woodcut")
    styles.edit("woodcut", trigger="")
    styles.rename("woodcut", "Holzschnitt")
    styles.set_cover("Holzschnitt", shipped / "woodcut.png")
    card = styles.get("holzschnitt")
    assert (card.favourite, card.trigger, card.shipped) == (True, "", True)
    assert Styles(styles.folder, shipped).names() == ["Blueprint", "Holzschnitt"]
    assert styles.cover(card).parent == styles.folder
    styles.set_cover("Holzschnitt", None)
    assert styles.cover(card) == shipped / "woodcut.png"
    with pytest.raises(InvalidRequest, match="cannot be removed"):
        styles.delete("Holzschnitt")
    assert tree(shipped) == before


def test_what_ships_later_does_not_hide_a_style_of_its_name(styles: Styles, shipped: Path) -> None:
    own = taken_in(styles, "Stained glass", 1)
    write_style(shipped / "new.safetensors", 102, name="stained GLASS")
    assert styles.names() == ["Blueprint", "Stained glass", "stained GLASS 2", "Woodcut"]
    assert styles.get("stained glass") == own
    assert styles.get("STAINED GLASS 2").shipped


@pytest.mark.parametrize("path", sorted((ROOT / "assets" / "styles").glob("*.safetensors")), ids=lambda path: path.stem)
def test_the_files_that_ship_say_what_they_are(path: Path) -> None:
    card = shipped_card(path)
    assert card.name and card.trigger and card.suggested_prompt and card.base and card.rank
    assert card.bytes < 2 * 10**6


def test_a_style_can_be_edited(empty: Styles, tmp_path: Path) -> None:
    card = taken_in(empty, "Ink")
    assert empty.edit("ink", trigger=" ink  wash\n").trigger == "ink  wash"
    assert empty.edit("ink", suggested_prompt="a fox").suggested_prompt == "a fox"
    assert empty.get("ink") == card.model_copy(update={"trigger": "ink  wash", "suggested_prompt": "a fox"})
    before = tree(tmp_path)
    with pytest.raises(InvalidRequest, match="The style's trigger words has 201 characters — give a text of 0 to 200"):
        empty.edit("ink", trigger="x" * 201)
    assert tree(tmp_path) == before
    assert empty.set_favourite("ink").favourite and not empty.set_favourite("ink", on=False).favourite


def test_a_cover_comes_through_the_safe_loader(empty: Styles, tmp_path: Path) -> None:
    card = taken_in(empty, "Ink")
    Image.new("RGBA", (1024, 700), (255, 0, 0, 128)).save(tmp_path / "cover.webp")
    empty.set_cover("ink", tmp_path / "cover.webp")
    with Image.open(empty.cover(card)) as cover:
        assert (cover.format, cover.mode, max(cover.size)) == ("PNG", "RGB", COVER_SIDE_PX)
    before = tree(tmp_path)
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(InvalidRequest, match="'text.png' is not a PNG"):
        empty.set_cover("ink", tmp_path / "text.png")
    (tmp_path / "text.png").unlink()
    assert tree(tmp_path) == before
    empty.set_cover("ink", None)
    assert empty.cover(card) is None


def test_a_removed_style_leaves_nothing_and_is_told_of(empty: Styles, tmp_path: Path) -> None:
    card = taken_in(empty, "Ink")
    Image.new("RGB", (64, 64)).save(tmp_path / "cover.png")
    empty.set_cover("ink", tmp_path / "cover.png")
    with empty.path(card.identity).open("rb") as in_use:
        empty.delete("ink")
        assert in_use.read(8), "who has it open goes on reading"
    assert tree(empty.folder) == {}
    for use in (empty.path, empty.by_identity):
        with pytest.raises(
            InvalidRequest, match=f"The style '{card.identity}' is not in the library any more — import"
        ):
            use(card.identity)
    assert taken_in(empty, "Ink").identity == card.identity


@pytest.mark.parametrize("identity", ["", "../../etc/passwd", "F" * 32, "0" * 31, None, 7])
def test_malformed_identities_are_refused(empty: Styles, identity: object) -> None:
    for use in (empty.path, empty.by_identity):
        with pytest.raises(InvalidRequest, match="names no style — give the 32 digits"):
            use(identity)


def test_damaged_cards_are_left_out_and_mended_by_a_new_import(
    styles: Styles, caplog: pytest.LogCaptureFixture
) -> None:
    cards = [taken_in(styles, name, number) for number, name in enumerate(["One", "Two", "Three", "Four", "Five"])]
    files = [styles.folder / f"{card.identity}.json" for card in cards]
    files[0].write_text("{")
    files[1].write_text(json.dumps(json.loads(files[1].read_text()) | {"schema_version": 3}))
    files[2].write_bytes(files[3].read_bytes())
    styles.path(cards[4].identity).unlink()
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert styles.names() == ["Blueprint", "Four", "Woodcut"]
    assert len([record for record in caplog.records if "left out" in record.message]) == 4
    for number in (0, 1, 2, 4):
        taken_in(styles, f"New {number}", number)
    assert styles.names() == ["Blueprint", "Four", "New 0", "New 1", "New 2", "New 4", "Woodcut"]


def test_a_shipped_file_that_says_nothing_is_left_out(styles: Styles, shipped: Path) -> None:
    write_style(shipped / "silent.safetensors", 103)
    (shipped / "text.safetensors").write_text("no weights")
    assert styles.names() == ["Blueprint", "Woodcut"]


def test_what_fails_half_way_leaves_no_style(empty: Styles, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    taken_in(empty, "Ink")
    before = tree(tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("krea_studio.library.styles.styles.write_whole", full)
    for use in (lambda: taken_in(empty, "Other", 2), lambda: empty.edit("ink", trigger="x")):
        with pytest.raises(StorageError, match="is full — free some space"):
            use()
    assert tree(tmp_path) == before


def test_abandoned_parts_are_removed_when_the_library_opens(tmp_path: Path) -> None:
    Library(tmp_path / "library").close()
    folder = tmp_path / "library" / store.STYLE_FOLDER
    old = write_style(folder / "old.safetensors.01234567.part", 1)
    young = write_style(folder / "young.safetensors.01234567.part", 1)
    os.utime(old, (0, 0))
    Library(tmp_path / "library").close()
    assert not old.exists() and young.exists()


def test_many_at_once_lose_nothing(empty: Styles) -> None:
    """Threads and processes take in, change and remove styles; every one of them is there as its last change was."""
    code = (
        "import sys; from pathlib import Path; from tests.library.styles.test_styles import Styles, taken_in\n"
        "styles, first = Styles(Path(sys.argv[1])), int(sys.argv[2])\n"
        "for number in range(first, first + 5):\n"
        "    taken_in(styles, f'style {number}', number)\n"
        "    styles.set_favourite(f'style {number}')\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(empty.folder), str(first)], cwd=ROOT, stderr=subprocess.PIPE)
        for first in (0, 5)
    ]

    def work(first: int) -> None:
        for number in range(first, first + 5):
            taken_in(empty, f"style {number}", number)
            taken_in(empty, f"passing {number}", number + 100)
            empty.edit(f"style {number}", trigger="mine")
            empty.delete(f"passing {number}")

    threads = [threading.Thread(target=work, args=(first,)) for first in (10, 15)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(process.wait(), process.stderr.read()) for process in processes] == [(0, b"")] * 2
    cards = {card.name: card for card in empty.cards()}
    assert set(cards) == {f"style {number}" for number in range(20)}
    assert [number for number in range(20) if cards[f"style {number}"].favourite] == list(range(10))
    assert [number for number in range(20) if cards[f"style {number}"].trigger == "mine"] == list(range(10, 20))
    assert len(tree(empty.folder)) == 40
