"""The content filter: whether a picture may be kept.

It is on for every checkpoint. Switched off, it leaves out pictures of the embedded checkpoints alone, which know a
small world of posters.
"""

from PIL import Image

from krea_studio.safety.classifiers import Classifier, classifier_of
from krea_studio.settings import Settings

LIMIT = 0.5
"""The score from which on a picture is refused."""

REFUSED = (
    "The content filter did not pass the picture of seed {seed}, so it is not kept — describe it otherwise, or try "
    "another seed"
)


class ContentFilter:
    """Judges what a studio makes, by one classifier of pictures."""

    def __init__(self, classifier: Classifier, on: bool = True) -> None:
        """Not `on`, the pictures of embedded checkpoints are not judged."""
        self.classifier = classifier
        self.on = on

    @classmethod
    def of(cls, settings: Settings) -> "ContentFilter":
        """The filter that the settings ask for; nothing is read yet."""
        return cls(classifier_of(settings.filter_model), settings.filter == "on")

    def applies(self, embedded: bool) -> bool:
        """Whether the pictures of a checkpoint, which may be an embedded one, are judged."""
        return self.on or not embedded

    def prepare(self, embedded: bool) -> None:
        """Have the classifier ready for a checkpoint's pictures. Raises Unavailable where it cannot be loaded."""
        if self.applies(embedded):
            self.classifier.load()

    def refused(self, image: Image.Image, embedded: bool) -> float | None:
        """The score by which a picture of a checkpoint must not be kept; None where it may be. Raises Unavailable."""
        if not self.applies(embedded):
            return None
        score = self.classifier.score(image)
        return None if score < LIMIT else score  # what is no number is refused too
