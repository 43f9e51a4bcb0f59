"""The list of checkpoints under Advanced: what it offers, who may choose, and what is told of a choice."""

from types import SimpleNamespace

import pytest

from krea_studio.engine.base import CheckpointInfo, MemoryPlan
from krea_studio.errors import Unavailable
from krea_studio.ui.create.panels.models import ModelsPanel, choices_of
from krea_studio.ui.fragments import model_text
from krea_studio.ui.visitors import Visitors
from tests.doubles import ScriptedEngine
from tests.ui.conftest import signed_in


def info(source: str, label: str, note: str = "") -> CheckpointInfo:
    return CheckpointInfo(source, label, source, note, embedded=False)


class Choosing(ScriptedEngine):
    """An engine with two checkpoints, of which the chosen one comes first."""

    def __init__(self) -> None:
        super().__init__()
        self.chosen = ["mini", "/models/a.safetensors"]

    def offers(self, variant: str) -> list[CheckpointInfo]:
        return [info(source, source.rpartition("/")[2], f"A note on {source}.") for source in self.chosen]

    def choose(self, variant: str, source: str) -> None:
        if source == "gone":
            raise Unavailable("gone is not there — give another")
        self.chosen = [source, *(each for each in self.chosen if each != source)]


def panel(shared: bool = False) -> ModelsPanel:
    return ModelsPanel(Choosing(), Visitors(shared))


def test_a_choice_is_told_at_once(visitor: SimpleNamespace) -> None:
    models = panel()
    update = models.describe(visitor, "turbo")
    assert update["model"]["value"] == "mini" and len(update["model"]["choices"]) == 2
    assert update["model"]["interactive"]
    update = models.choose(visitor, "turbo", "/models/a.safetensors")
    assert update["model"]["value"] == "/models/a.safetensors"
    assert "A note on /models/a.safetensors" in update["model_text"]


def test_what_is_not_there_is_said_and_the_list_shows_what_runs(visitor: SimpleNamespace) -> None:
    update = panel().choose(visitor, "turbo", "gone")
    assert update["model"]["value"] == "mini"
    assert "gone is not there" in update["model_text"]["value"]


STRANGER, MEMBER, ADMIN = SimpleNamespace(username=None), signed_in("ben"), signed_in("ada", admin=True)


@pytest.mark.parametrize(
    ("visitor", "model", "told"),
    [
        (STRANGER, "/models/a.safetensors", "by whoever runs it"),
        (MEMBER, "/models/a.safetensors", "by whoever runs it"),
        (ADMIN, "/etc/b.safetensors", "only models of the list"),
    ],
)
def test_who_does_not_run_it_chooses_nothing_and_nobody_a_path(visitor: SimpleNamespace, model: str, told: str) -> None:
    models = panel(shared=True)
    update = models.choose(visitor, "turbo", model)
    assert told in update["model_text"]["value"] and update["model"]["value"] == "mini"
    assert update["model"]["interactive"] == (visitor is ADMIN)


def test_an_admin_chooses_of_the_list() -> None:
    update = panel(shared=True).choose(ADMIN, "turbo", "/models/a.safetensors")
    assert update["model"]["value"] == "/models/a.safetensors"


def test_files_of_one_name_are_told_apart() -> None:
    offers = [info("/a/m.gguf", "m.gguf"), info("/b/m.gguf", "m.gguf"), info("mini", "Mini")]
    assert choices_of(offers) == [("/a/m.gguf", "/a/m.gguf"), ("/b/m.gguf", "/b/m.gguf"), ("Mini", "mini")]


def test_the_line_says_where_the_weights_go() -> None:
    told = model_text(info("a", "A", "A <file>."), MemoryPlan(13_100_000_000, 10_000_000_000, "offload"))
    assert "A &lt;file&gt;." in told and "13.1 GB" in told and "10.0 GB" in told and "take turns" in told
    assert "do not fit" in model_text(info("a", "A"), MemoryPlan(2, 1, "refuse"))
    reason = "a is not there — give another"
    assert model_text(info("a", "A", reason), MemoryPlan(reason=reason)).count("is not there") == 1
