"""The licence of the published weights: accepted once, and before they are loaded."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from krea_studio import licence as module
from krea_studio.cli import main as cli
from krea_studio.engine.base import Chat
from krea_studio.engine.checkpoints.formats.configs import PUBLISHED
from krea_studio.engine.checkpoints.table import CHECKPOINTS, is_licensed, resolve
from krea_studio.engine.local.drawing import Drawing
from krea_studio.engine.local.engine import LocalEngine
from krea_studio.errors import StorageError, Unavailable
from krea_studio.licence import Licence
from krea_studio.measures.pictures import Painter
from krea_studio.recipe.plan import plan
from krea_studio.services import build_services
from krea_studio.settings import Settings
from krea_studio.training.adapter import load
from tests.doubles import PlainFiles
from tests.runs.conftest import request_of

ACCEPTED = Licence.accepted


@pytest.fixture(autouse=True)
def not_accepted(isolated: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here it is asked for as it is outside of tests."""
    monkeypatch.setattr(Licence, "accepted", ACCEPTED)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(library=tmp_path / "library", checkpoint_turbo="krea-2-turbo")


def test_an_acceptance_is_kept_for_a_library_and_for_its_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Licence(tmp_path / "library")
    assert not first.accepted
    first.accept()
    assert first.accepted and Licence(tmp_path / "library").accepted and not Licence(tmp_path).accepted
    (tmp_path / "other.txt").write_text("another text")
    monkeypatch.setattr(module, "TEXT", tmp_path / "other.txt")
    assert not first.accepted


def test_a_setting_accepts_it_where_nobody_can_be_asked(settings: Settings) -> None:
    build_services(settings).library.close()
    assert not Licence(settings.library).accepted
    build_services(settings.model_copy(update={"accept_licence": True})).library.close()
    kept = (settings.library / module.FILE).read_bytes()
    assert Licence(settings.library).accepted
    build_services(settings.model_copy(update={"accept_licence": True})).library.close()
    assert (settings.library / module.FILE).read_bytes() == kept, "when it was accepted is not told anew"


@pytest.mark.parametrize("kept", ["", "[]", "{}", '{"sha256": 1}', "no json", "[" * 100_000, "\xff"])
def test_what_is_no_acceptance_is_none(tmp_path: Path, kept: str) -> None:
    (tmp_path / module.FILE).write_text(kept)
    assert not Licence(tmp_path).accepted


def test_one_that_cannot_be_kept_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        Licence(tmp_path / "file").accept()


def test_the_text_ships_with_what_it_asks_for() -> None:
    text = module.TEXT.read_text("utf-8")
    assert text.startswith("Krea 2 Community License Agreement") and "4.2 Content Filtering Requirement" in text
    notice = (module.TEXT.parents[2] / "NOTICE").read_text("utf-8")
    assert "Krea 2 is licensed under the Krea 2 Community License Agreement." in notice


def test_published_weights_are_under_it_and_the_embedded_ones_are_not(tmp_path: Path) -> None:
    assert {name for name, row in CHECKPOINTS.items() if is_licensed(row)} == {"krea-2-raw", "krea-2-turbo"}
    assert is_licensed(resolve("somebody/a-finetune"))
    for name, config in (("small", CHECKPOINTS["mini-medium"].source), ("published", str(PUBLISHED))):
        folder = tmp_path / name
        (folder / "transformer").mkdir(parents=True)
        (folder / "transformer/config.json").write_bytes(Path(config, "transformer/config.json").read_bytes())
        assert is_licensed(resolve(str(folder))) == (name == "published")


def test_until_it_is_accepted_they_are_not_loaded_and_it_is_said(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("krea_studio.engine.local.engine.missing", lambda checkpoint: None)
    monkeypatch.setattr(
        "krea_studio.engine.checkpoints.manager.locate", lambda *asked: pytest.fail("it was looked for")
    )
    engine = LocalEngine(settings)
    told = "Krea 2 Turbo is under Krea 2's licence, which has not been accepted here"
    assert told in engine.abilities("turbo").unavailable and engine.abilities("medium").unavailable == ""
    with pytest.raises(Unavailable, match=told):
        engine.run(plan(request_of(), 7), lambda event: None, lambda: None, PlainFiles())
    for loading in (
        lambda: engine.write("turbo", Chat("write"), lambda: None),
        lambda: load(CHECKPOINTS["krea-2-turbo"], settings),
        lambda: Painter(Drawing(settings), "turbo", settings.checkpoint_turbo),
    ):
        with pytest.raises(Unavailable, match=told):
            loading()
    Licence(settings.library).accept()
    assert engine.abilities("turbo").unavailable == ""


class TestTheCommand:
    def test_it_shows_the_terms_and_accepts_once(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        assert cli.main(["accept-licence", "--yes"]) == 0
        told = capsys.readouterr().out
        assert all(term in told for term in (*module.SUMMARY, str(module.TEXT), module.USE_POLICY))
        assert told.endswith("Accepted. Published weights may be loaded now.\n") and Licence(Path("outputs")).accepted
        assert cli.main(["accept-licence"]) == 0
        assert capsys.readouterr().out.endswith("It was accepted here before.\n")

    @pytest.mark.parametrize(("answer", "code"), [("yes", 0), (" YES ", 0), ("no", 2), ("", 2)])
    def test_who_sits_there_is_asked(self, monkeypatch: pytest.MonkeyPatch, answer: str, code: int) -> None:
        monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
        monkeypatch.setattr("builtins.input", lambda question: answer)
        assert cli.main(["accept-licence"]) == code
        assert Licence(Path("outputs")).accepted == (code == 0)

    def test_who_ends_the_question_has_not_accepted(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def closed(question: str) -> str:
            raise EOFError

        monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
        monkeypatch.setattr("builtins.input", closed)
        assert cli.main(["accept-licence"]) == 2
        assert "was not accepted" in capsys.readouterr().err and not Licence(Path("outputs")).accepted

    def test_nobody_is_not_asked(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: False))
        assert cli.main(["accept-licence"]) == 2
        assert "add --yes to accept" in capsys.readouterr().err and not Licence(Path("outputs")).accepted

    def test_the_whole_text_is_printed(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["accept-licence", "--text"]) == 0
        assert capsys.readouterr().out == module.TEXT.read_text("utf-8") + "\n"
        assert not Licence(Path("outputs")).accepted
