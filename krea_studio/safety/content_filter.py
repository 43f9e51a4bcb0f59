"""The content filter: whether a prompt may be drawn, and whether a picture may be kept.

It is on for every checkpoint. Switched off, it leaves out the embedded checkpoints alone, which know a small world of
posters.
"""

from collections.abc import Callable, Iterable
from math import isnan

from PIL import Image

from krea_studio.errors import Refused
from krea_studio.recipe.recipe import Shot
from krea_studio.safety.classifiers import Classifier, classifier_of
from krea_studio.safety.rules import OWN_RULES, Rules, texts_of
from krea_studio.settings import Settings

LIMIT = 0.5
"""The score from which on a picture is refused."""

REFUSED = (
    "The content filter did not pass the picture of seed {seed}, so it is not kept — describe it otherwise, or try "
    "another seed"
)
NOT_ADMITTED = "The content filter did not pass a picture that was given, so it is not kept — give another one"


class ContentFilter:
    """Judges what a studio is asked for, by rules, and what it makes, by one classifier of pictures."""

    def __init__(self, classifier: Classifier, rules: Rules | None = None, on: bool = True) -> None:
        """Without `rules` the studio's own count. Where it is not `on`, nothing is judged for embedded checkpoints."""
        self.classifier = classifier
        self.rules = rules or Rules(OWN_RULES)
        self.on = on

    @classmethod
    def of(cls, settings: Settings) -> "ContentFilter":
        """The filter that the settings ask for; nothing is read yet."""
        further = [settings.filter_rules] if settings.filter_rules else []
        return cls(classifier_of(settings.filter_model), Rules(OWN_RULES, *further), settings.filter == "on")

    def applies(self, embedded: bool) -> bool:
        """Whether it judges for a checkpoint, which may be an embedded one."""
        return self.on or not embedded

    def admit(self, image: Image.Image) -> None:
        """Raise Refused for a picture that may not come in, whoever will draw with it; Unavailable."""
        if not self.classifier.score(image) < LIMIT:
            raise Refused(NOT_ADMITTED)

    def require(self, shots: Iterable[Shot], embedded: bool) -> None:
        """Raise Refused where a checkpoint may not draw what one of the shots says.

        Raises Unavailable where no rules can be read.
        """
        self.require_texts((text for shot in shots for text in texts_of(shot).items()), embedded)

    def require_texts(self, texts: Iterable[tuple[str, str]], embedded: bool) -> None:
        """`require` for texts, each with what it is called."""
        if self.applies(embedded):
            self.rules.require(dict.fromkeys(texts))

    def prepare(self, shots: Iterable[Shot], embedded: bool) -> None:
        """`require`, and read what will judge the shots' pictures: none is drawn without. Raises Unavailable."""
        self.require(shots, embedded)
        self.load(embedded)

    def load(self, embedded: bool) -> None:
        """Read what judges a checkpoint's pictures, where it is judged. Raises Unavailable."""
        if self.applies(embedded):
            self.classifier.load()

    def passed(self, image: Image.Image, embedded: bool, told: Callable[[str], None]) -> Image.Image:
        """A picture of a checkpoint for a sheet, blank where it must not be kept; `told` hears that.

        Raises Unavailable.
        """
        if self.refused(image, embedded) is None:
            return image
        told("The content filter did not pass a picture, which is left blank")
        return Image.new("RGB", image.size, "white")

    def refused(self, image: Image.Image, embedded: bool) -> float | None:
        """The score by which a picture of a checkpoint must not be kept; None where it may be. Raises Unavailable."""
        if not self.applies(embedded):
            return None
        score = self.classifier.score(image)
        return None if score < LIMIT else 1.0 if isnan(score) else score
