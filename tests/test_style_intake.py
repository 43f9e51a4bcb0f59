"""Whatever comes in goes past the doctor; what is refused leaves the library as it was."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from krea_studio.direction.styles import OFFICIAL, not_here
from krea_studio.errors import InvalidRequest, StorageError, Unavailable
from krea_studio.library.styles.folder import StyleFolder
from krea_studio.library.styles.hub import Hub
from krea_studio.library.styles.styles import Styles
from krea_studio.style_intake import StyleIntake
from tests.doubles import PlainDoctor, write_style
from tests.library.styles.test_hub import COMMIT, FakeHub, remote
from tests.library.styles.test_styles import tree

__all__ = ["remote"]

SAID = {"name": "Fox prints", "trigger": "fox print", "trained_on": "mini-medium", "suggested_prompt": "a fox"}


@pytest.fixture
def doctor() -> PlainDoctor:
    return PlainDoctor()


@pytest.fixture
def intake(tmp_path: Path, doctor: PlainDoctor) -> StyleIntake:
    return StyleIntake(Styles(tmp_path / "library"), tmp_path / "styles", doctor)


def test_a_file_becomes_a_style_as_it_says(intake: StyleIntake, tmp_path: Path) -> None:
    card, report = intake.import_file(write_style(tmp_path / "x.safetensors", **SAID))
    assert (card.name, card.trigger, card.suggested_prompt) == ("Fox prints", "fox print", "a fox")
    assert (card.made_for, card.stated_base) == (("Mini Medium", "Mini Turbo"), "mini-medium")
    assert (card.rank, card.format) == ("4 to 8, alpha 4", "LoRA; diffusers names")
    assert (card.source, card.notes) == ("file x.safetensors", ("a note of the doctor",))
    assert report.accepted and intake.styles.cards() == [card]
    assert len(tree(tmp_path / "library")) == 2


def test_a_file_that_says_nothing_has_its_own_name(intake: StyleIntake, tmp_path: Path) -> None:
    card, _ = intake.import_file(write_style(tmp_path / "ink wash.safetensors"))
    assert (card.name, card.trigger) == ("ink wash", "")
    assert intake.import_file(write_style(tmp_path / "ink wash.safetensors", 2), "Other")[0].name == "Other"
    long = write_style(tmp_path / "x.safetensors", 3, name="x" * 300, trigger="y" * 300)
    assert [len(text) for text in (intake.import_file(long)[0].name, intake.styles.get("x" * 200).trigger)] == [200] * 2


def test_what_is_refused_leaves_no_trace(intake: StyleIntake, doctor: PlainDoctor, tmp_path: Path) -> None:
    intake.import_file(write_style(tmp_path / "ink.safetensors"))
    foreign = write_style(tmp_path / "sdxl.safetensors", 2, prefix="lora_unet_")
    cut_off = tmp_path / "cut.safetensors"
    cut_off.write_bytes((tmp_path / "ink.safetensors").read_bytes()[:-4])
    before = tree(tmp_path / "library")
    for use, message in (
        (lambda: intake.import_file(foreign), "'sdxl.safetensors' is refused: it is made for SDXL; its keys match"),
        (lambda: intake.import_file(cut_off), "'cut.safetensors' is refused: it is no safetensors file"),
        (lambda: intake.import_file(tmp_path / "none.safetensors"), "does not exist"),
        (lambda: intake.import_file(write_style(tmp_path / "b.safetensors", 1)), "already, as 'ink' — use that one"),
        (lambda: intake.import_file(write_style(tmp_path / "b.safetensors", 3, name="INK")), "give this one another"),
        (lambda: intake.import_file(write_style(tmp_path / "b.safetensors", 3), "x" * 201), "has 201 characters"),
        (lambda: intake.import_file(write_style(tmp_path / "b.safetensors", 3), ""), "name is empty"),
    ):
        with pytest.raises(InvalidRequest, match=message):
            use()
    assert tree(tmp_path / "library") == before
    assert not intake.inspect(foreign).accepted and intake.inspect(tmp_path / "ink.safetensors").accepted
    seen = len(doctor.looked_at)
    with pytest.raises(InvalidRequest, match="There is a style 'ink' already"):
        intake.import_file(foreign, "Ink")
    assert len(doctor.looked_at) == seen, "a name that is taken is told before the file is looked at"


def test_a_report_can_be_shown_before_its_file_is_taken_in(intake: StyleIntake, tmp_path: Path) -> None:
    report = intake.inspect(write_style(tmp_path / "ink.safetensors"))
    assert intake.styles.cards() == []
    assert intake.take(report).name == "ink"


def test_the_folder_is_taken_in_once(intake: StyleIntake, doctor: PlainDoctor, tmp_path: Path) -> None:
    assert (intake.import_folder().taken, tree(tmp_path)) == ((), {}), "there need be no folder"
    good = write_style(tmp_path / "styles" / "good.safetensors", 1)
    write_style(tmp_path / "styles" / "twin.safetensors", 2, name="GOOD")
    write_style(tmp_path / "styles" / "copy.safetensors", 2)
    bad = write_style(tmp_path / "styles" / "sdxl.safetensors", 3, prefix="lora_unet_")
    (tmp_path / "styles" / "notes.txt").write_text("no style")
    (tmp_path / "styles" / "folder.safetensors").mkdir()
    (tmp_path / "styles" / "._ink.safetensors").write_bytes(b"Mac OS X")
    first = intake.import_folder()
    assert [card.name for card in first.taken] == ["copy", "good"], "the twin has the copy's weights"
    assert first.refused == {bad: "'sdxl.safetensors' is refused: it is made for SDXL; its keys match nothing — "
                                  "use one for Krea 2"}  # fmt: skip
    assert len(doctor.looked_at) == 4

    again = StyleIntake(intake.styles, tmp_path / "styles", doctor).import_folder()
    assert (again.taken, again.refused, len(doctor.looked_at)) == ((), first.refused, 4)

    intake.styles.delete("good")
    assert intake.import_folder().taken == (), "what a person removed does not come back"
    write_style(good, 4)
    os.utime(bad, (1, 1))
    third = intake.import_folder()
    assert [card.name for card in third.taken] == ["good"] and set(third.refused) == {bad}
    assert len(doctor.looked_at) == 6
    bad.unlink()
    assert intake.import_folder().refused == {}


def test_a_name_that_is_taken_gets_a_number_in_the_folder(intake: StyleIntake, tmp_path: Path) -> None:
    write_style(tmp_path / "styles" / "a.safetensors", 1, name="Ink")
    write_style(tmp_path / "styles" / "b.safetensors", 2, name="ink")
    assert [card.name for card in intake.import_folder().taken] == ["Ink", "ink 2"]


def test_a_style_that_is_trained_further_gets_its_new_weights(intake: StyleIntake, tmp_path: Path) -> None:
    path = write_style(tmp_path / "styles" / "ink.safetensors", 1, name="Ink", trigger="ink", suggested_prompt="a fox")
    (old,) = intake.import_folder().taken
    intake.styles.edit("Ink", suggested_prompt="my own prompt")
    intake.styles.set_favourite("Ink")
    Image.new("RGB", (64, 64), "red").save(tmp_path / "red.png")
    intake.styles.set_cover("Ink", tmp_path / "red.png")
    intake.styles.rename("Ink", "Inks")

    write_style(path, 2, name="Ink", trigger="ink wash", suggested_prompt="a whale")
    found = intake.import_folder()
    (card,) = intake.styles.cards()
    assert (found.taken, found.renewed, card.name, card.favourite) == ((), (card,), "Inks", True)
    assert card.identity != old.identity and intake.styles.path(card.identity).is_file()
    assert (card.trigger, card.suggested_prompt) == ("ink wash", "my own prompt"), "what was written here stays"
    assert intake.styles.cover(card).is_file()
    assert not [name for name in tree(tmp_path / "library") if old.identity in name]
    os.utime(path, (1, 1))
    assert intake.import_folder().renewed == () and intake.styles.cards() == [card]
    write_style(path, 3, name="Ink")
    assert [each.name for each in intake.import_folder().renewed] == ["Inks"], "and again"


def test_a_file_that_became_another_style_takes_no_one_s_place(intake: StyleIntake, tmp_path: Path) -> None:
    path = write_style(tmp_path / "styles" / "style.safetensors", 1, name="Ink")
    copy = write_style(tmp_path / "styles" / "twin.safetensors", 1, name="Ink")
    intake.import_folder()
    write_style(path, 2, name="Oil")
    write_style(copy, 3, name="Ink")
    found = intake.import_folder()
    assert ([card.name for card in found.taken], found.renewed) == (["Oil", "Ink 2"], ())


def test_two_at_once_take_a_file_in_once_and_refuse_it_never(
    intake: StyleIntake, doctor: PlainDoctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_style(tmp_path / "styles" / "ink.safetensors")
    other = StyleIntake(intake.styles, tmp_path / "styles", PlainDoctor())
    write = doctor.write

    def late(*given: Any) -> None:
        write(*given)
        monkeypatch.setattr(doctor, "write", write)
        assert other.import_folder().taken

    monkeypatch.setattr(doctor, "write", late)
    found = intake.import_folder()
    assert (found.taken, found.refused, intake.styles.names()) == ((), {}, ["ink"])
    assert StyleFolder(tmp_path / "styles", tmp_path / "library").refusals() == {}
    write_style(path, 2)
    assert [card.name for card in intake.import_folder().renewed] == ["ink"]


def test_one_file_that_nobody_foresaw_keeps_no_other_out(
    intake: StyleIntake, doctor: PlainDoctor, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_style(tmp_path / "styles" / "a.safetensors", 1)
    write_style(tmp_path / "styles" / "b.safetensors", 2)
    doctor.trouble.append(OverflowError("int too large to convert to float"))
    found = intake.import_folder()
    assert [card.name for card in found.taken] == ["b"] and "OverflowError" in caplog.text
    assert found.refused == {path: "the studio itself failed on 'a.safetensors' — see the log, or remove the file"}
    assert [card.name for card in intake.import_folder().taken] == ["a"], "it is looked at again"


def test_what_is_not_the_files_fault_is_tried_again(
    intake: StyleIntake, doctor: PlainDoctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_style(tmp_path / "styles" / "a.safetensors")
    doctor.trouble.append(Unavailable("The weights of Mini Medium are damaged — restore them"))
    assert intake.import_folder().refused == {path: "The weights of Mini Medium are damaged — restore them"}
    doctor.trouble.append(StorageError("The disk is full — free some space"))
    with pytest.raises(StorageError):
        intake.import_folder()
    assert [card.name for card in intake.import_folder().taken] == ["a"]


def test_a_damaged_record_of_the_folder_is_made_anew(intake: StyleIntake, tmp_path: Path) -> None:
    write_style(tmp_path / "styles" / "a.safetensors")
    intake.import_folder()
    for content in ("{", "[]", '{"x": 7}'):
        (tmp_path / "library" / "folder.json").write_text(content)
        again = intake.import_folder()
        assert (again.taken, again.refused, intake.styles.names()) == ((), {}, ["a"])
    assert StyleFolder(tmp_path / "styles", tmp_path / "library").new() == {}


@pytest.fixture
def online(intake: StyleIntake, remote: FakeHub, tmp_path: Path, doctor: PlainDoctor) -> StyleIntake:
    """An intake whose Hub has a style of somebody's, and the first of Krea's own beside a second file."""
    style = write_style(tmp_path / "upload" / "style.safetensors", 1, **SAID).read_bytes()
    remote.repositories["owner/style"] = {COMMIT: {"style.safetensors": style}}
    official = write_style(tmp_path / "upload" / "official.safetensors", 2, name="x", trigger="y").read_bytes()
    files = {"darkbrush.safetensors": official, "other.safetensors": b"other"}
    remote.repositories[OFFICIAL["darkbrush"].repository] = {COMMIT: files}
    shutil.rmtree(tmp_path / "upload")
    return StyleIntake(intake.styles, tmp_path / "styles", doctor, Hub(remote.address))


def test_a_style_comes_from_the_hub(online: StyleIntake, tmp_path: Path) -> None:
    card, _ = online.import_from_hub("owner/style")
    assert (card.name, card.trigger, card.source) == ("Fox prints", "fox print", f"Hub owner/style at {COMMIT}")
    assert len(tree(tmp_path)) == 2, "what was downloaded does not stay beside"


def test_one_of_kreas_own_is_called_as_krea_calls_it(online: StyleIntake) -> None:
    card, _ = online.install("DarkBrush")
    assert (card.name, card.trigger) == ("darkbrush", "monochrome ink wash style")
    assert card.source == f"Hub krea/Krea-2-LoRA-darkbrush at {COMMIT}"
    assert card.notes[0] == "published by Krea under the Krea 2 Community License"
    assert "darkbrush" not in [each.name for each in not_here(online.styles.cards())]
    with pytest.raises(InvalidRequest, match="Krea publishes no style 'plasmoid' — choose one of darkbrush, dotmatrix"):
        online.install("plasmoid")


def test_one_of_kreas_own_is_found_by_its_repository_too(online: StyleIntake) -> None:
    """Also where a name is given, and where there are other files beside the weights."""
    card, _ = online.import_from_hub(OFFICIAL["darkbrush"].repository, "Mine")
    assert (card.name, card.trigger) == ("Mine", "monochrome ink wash style")


def test_what_the_hub_does_not_give_leaves_no_trace(online: StyleIntake, remote: FakeHub, tmp_path: Path) -> None:
    foreign = write_style(tmp_path / "x.safetensors", 3, prefix="lora_unet_").read_bytes()
    (tmp_path / "x.safetensors").unlink()
    remote.repositories["owner/sdxl"] = {COMMIT: {"sdxl.safetensors": foreign}}
    remote.repositories[OFFICIAL["dotmatrix"].repository] = (403, "GatedRepo")
    for use, kind, message in (
        (lambda: online.import_from_hub("owner/sdxl"), InvalidRequest, "'sdxl.safetensors' is refused: it is made for"),
        (lambda: online.import_from_hub("owner/none"), InvalidRequest, "no repository 'owner/none'"),
        (lambda: online.import_from_hub("none"), InvalidRequest, "names no repository"),
        (lambda: online.install("dotmatrix"), Unavailable, "krea/Krea-2-LoRA-dotmatrix is gated"),
    ):
        with pytest.raises(kind, match=message):
            use()
    assert tree(tmp_path) == {}


def test_a_download_for_a_name_that_is_taken_is_not_begun(online: StyleIntake, remote: FakeHub) -> None:
    online.import_from_hub("owner/style")
    asked = len(remote.asked)
    for use in (lambda: online.import_from_hub("owner/style", "FOX PRINTS"), lambda: online.import_from_hub("a/b", "")):
        with pytest.raises(InvalidRequest):
            use()
    assert len(remote.asked) == asked


def test_a_commit_that_is_here_is_not_downloaded_again(online: StyleIntake, remote: FakeHub) -> None:
    online.install("darkbrush")
    remote.asked.clear()
    with pytest.raises(InvalidRequest, match="is in the library already, as 'darkbrush' — use that one"):
        online.install("darkbrush")
    assert not any("resolve" in asked for asked in remote.asked)
