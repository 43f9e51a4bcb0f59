import pytest

from krea_studio.engine.checkpoints.table import CHECKPOINTS, PARTS, Checkpoint, missing, resolve, supplier
from krea_studio.errors import Unavailable


def test_a_name_a_folder_and_a_repository_are_told_apart(tmp_path):
    assert resolve("mini-turbo") is CHECKPOINTS["mini-turbo"]
    assert resolve("krea-2-turbo").source == "krea/Krea-2-Turbo"
    assert resolve("someone/Some-Model.v2").folder is None
    (tmp_path / "own" / "model").mkdir(parents=True)
    for text in (str(tmp_path / "own"), "own/model", "./own"):  # tests run in tmp_path
        assert resolve(text).folder.is_absolute()
        assert resolve(text).folder.is_dir()


@pytest.mark.parametrize("text", ["nonsense", "/no/such/folder", "a/b/c", "owner/"])
def test_what_is_none_of_them_is_told_with_the_choices(text):
    with pytest.raises(Unavailable, match="mini-turbo"):
        resolve(text)


def test_published_turbo_takes_from_raw_what_both_have():
    turbo = CHECKPOINTS["krea-2-turbo"]
    suppliers = {part: supplier(turbo, part).name for part in PARTS}
    assert suppliers == {
        "scheduler": "krea-2-turbo",
        "transformer": "krea-2-turbo",
        "tokenizer": "krea-2-raw",
        "vae": "krea-2-raw",
        "text_encoder": "krea-2-raw",
    }


def test_a_local_folder_takes_from_its_base_only_what_it_lacks(tmp_path):
    (tmp_path / "vae").mkdir()
    own = Checkpoint("own", "Own", str(tmp_path), base="mini-medium")
    assert supplier(own, "vae") is own
    assert supplier(own, "tokenizer").name == "mini-medium"


def test_what_is_missing_is_named(tmp_path, own_folder):
    def reason(folder):
        return missing(Checkpoint("own", "Own", str(folder)))

    assert reason(own_folder) is None
    assert str(tmp_path / "none") in reason(tmp_path / "none")
    (own_folder / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    assert "vae/diffusion_pytorch_model.safetensors" in reason(own_folder)
    (own_folder / "model_index.json").unlink()
    assert "model_index.json" in reason(own_folder)


def test_offline_a_repository_that_is_not_here_is_missing():
    assert "HF_HUB_OFFLINE" in missing(CHECKPOINTS["krea-2-turbo"])


@pytest.mark.parametrize("name", ["mini-medium", "mini-large", "mini-turbo"])
def test_embedded_checkpoints_are_complete_and_list_their_words(name):
    checkpoint = CHECKPOINTS[name]
    assert missing(checkpoint) is None
    assert checkpoint.info.embedded
    assert {"subject", "palette", "examples"} <= set(checkpoint.info.vocabulary)
