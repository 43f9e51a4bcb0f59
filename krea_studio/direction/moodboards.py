"""Moodboards: what a saved collection of pictures is, and what an analysis finds in it.

A moodboard names its pictures by content; the library keeps them. An analysis says in words and swatches what the
pictures have in common, and groups them into clusters, each with one of its pictures as its representative. People
know a cluster as a look. A picture is steered by the representatives and the words, never by an average.
"""

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import Field, ValidationError

from krea_studio.errors import InvalidRequest
from krea_studio.recipe.request import (
    Frozen,
    MoodboardContent,
    Name,
    Phrase,
    ReferenceId,
    Representative,
    Text,
)
from krea_studio.validation import refusal, shown

MEASURED = "measured"
MAX_IMAGES = 200
MAX_CLUSTERS = 8
MAX_REPRESENTATIVES = 8
WORDS = ("taste_profile", "keywords", "avoids")  # the fields of an analysis that a person may write

_SEPARATORS = re.compile(r"[,\n]")


class Swatch(Frozen):
    """One colour of a palette as `#rrggbb`, and its share of the pictures' area."""

    colour: Annotated[str, Field(strict=True, pattern=r"^#[0-9a-f]{6}$", description="give #rrggbb")]
    share: float = Field(ge=0, le=1)


class Cluster(Frozen):
    """Pictures that look alike, the one that stands for all of them first; one that is off does not steer.

    Its first few pictures together stand for it better than the first alone.
    """

    images: tuple[ReferenceId, ...] = Field(min_length=1, max_length=MAX_IMAGES)
    on: bool = True

    @property
    def representative(self) -> str:
        """The picture that stands for all of them."""
        return self.images[0]


class Analysis(Frozen):
    """What was found in a moodboard; a person may edit its words. `written_by` is MEASURED or a model's name."""

    taste_profile: Text = Field(default="", max_length=2000)
    keywords: tuple[Phrase, ...] = Field(default=(), max_length=12)
    avoids: tuple[Phrase, ...] = Field(default=(), max_length=12)
    palette: tuple[Swatch, ...] = Field(default=(), max_length=12)
    clusters: tuple[Cluster, ...] = Field(min_length=1, max_length=MAX_CLUSTERS)
    written_by: Annotated[str, Field(min_length=1, max_length=200)]

    @property
    def images(self) -> frozenset[str]:
        """The pictures that were analyzed."""
        return frozenset(image for cluster in self.clusters for image in cluster.images)


class Moodboard(Frozen):
    """A saved collection of pictures with one creative direction, in the order in which they were added.

    It is its `owner`'s alone unless that shares it with the `team`; without an owner it is everybody's.
    """

    name: Name
    images: tuple[ReferenceId, ...] = Field(default=(), max_length=MAX_IMAGES)
    analysis: Analysis | None = None
    owner: str = Field(default="", max_length=200, strict=True)
    team: bool = Field(default=False, strict=True)

    @property
    def changed(self) -> bool:
        """Whether pictures came or went since the analysis."""
        return self.analysis is not None and self.analysis.images != frozenset(self.images)

    def present(self, cluster: Cluster) -> tuple[str, ...]:
        """The pictures of a cluster that are still on the board, in the cluster's order."""
        on_board = frozenset(self.images)
        return tuple(image for image in cluster.images if image in on_board)

    def shares(self) -> tuple[float, ...]:
        """The share of each cluster, on or off, in the clusters' pictures that are still on the board, 0 … 1."""
        clusters = self.analysis.clusters if self.analysis else ()
        counts = [len(self.present(cluster)) for cluster in clusters]
        return tuple(count / max(sum(counts), 1) for count in counts)

    def content(self) -> MoodboardContent:
        """What it steers by now. Raises InvalidRequest for one that was not analyzed or has nothing switched on.

        A cluster's share is that of the pictures in clusters that are on; pictures that have left no longer count. As
        many of its pictures stand for it as its share of MAX_REPRESENTATIVES says, at least one.
        """
        if self.analysis is None:
            raise InvalidRequest(f"Moodboard {shown(self.name)} was not analyzed — analyze it first")
        groups = [group for cluster in self.analysis.clusters if cluster.on and (group := self.present(cluster))]
        if not groups:
            raise InvalidRequest(
                f"Moodboard {shown(self.name)} has nothing to steer by: all its looks are off or empty — "
                "switch one on or add pictures and analyze it again"
            )
        whole = sum(map(len, groups))
        counts = _shared_out(MAX_REPRESENTATIVES, [len(group) for group in groups])
        return MoodboardContent(
            representatives=tuple(
                Representative(image=image, share=len(group) / whole / count)
                for group, count in zip(groups, counts, strict=True)
                for image in group[:count]
            ),
            keywords=self.analysis.keywords,
            avoids=self.analysis.avoids,
        )


def phrases(text: str) -> tuple[str, ...]:
    """The phrases in a text, which are separated by commas or lines; each counts once."""
    return tuple(dict.fromkeys(filter(None, (phrase.strip() for phrase in _SEPARATORS.split(text)))))


def edited(analysis: Analysis, changes: Mapping[str, Any], name: Callable[[str], str]) -> Analysis:
    """The analysis with other values in some of its fields; `name` turns a field into the words people know it by.

    Raises InvalidRequest, one line, for a value that a field does not take.
    """
    try:
        return Analysis.model_validate({**dict(analysis), **changes})
    except ValidationError as error:
        raise refusal(error, Analysis, name, "an analysis") from None


def renewed(found: Analysis, begun: Analysis | None, now: Analysis | None) -> Analysis:
    """What was found, in the place of what is there `now`.

    Words that somebody changed since the analysis was `begun` stay, and a look that was switched off stays off where
    the same picture stands for it.
    """
    if now is None:
        return found
    off = {cluster.representative for cluster in now.clusters if not cluster.on}
    clusters = (cluster.model_copy(update={"on": cluster.representative not in off}) for cluster in found.clusters)
    typed = {field: getattr(now, field) for field in WORDS if begun and getattr(now, field) != getattr(begun, field)}
    return found.model_copy(update={"clusters": tuple(clusters), **typed})


def _shared_out(most: int, sizes: list[int]) -> list[int]:
    """How many of each group are taken: at least one, at most all, `most` together, in proportion to the sizes."""
    counts = [1] * len(sizes)
    while sum(counts) < min(most, sum(sizes)):
        open_ones = [k for k, size in enumerate(sizes) if counts[k] < size]
        counts[max(open_ones, key=lambda k: (sizes[k] / counts[k], -k))] += 1
    return counts
