"""What a moodboard steers by: pictures in proportion to their clusters, those switched on and still there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from krea_studio.direction.moodboards import MAX_REPRESENTATIVES, Analysis, Cluster, Moodboard
from krea_studio.errors import InvalidRequest

IDS = [f"{number:032x}" for number in range(60)]


def board(sizes: list[int], off: tuple[int, ...] = (), gone: int = 0) -> Moodboard:
    clusters, start = [], 0
    for number, size in enumerate(sizes):
        clusters.append(Cluster(images=tuple(IDS[start : start + size]), on=number not in off))
        start += size
    analysis = Analysis(clusters=tuple(clusters), keywords=("muted",), avoids=("vivid",), written_by="measured")
    return Moodboard(name="b", images=tuple(IDS[gone:start]), analysis=analysis)


@given(st.lists(st.integers(1, 12), min_size=1, max_size=5))
def test_pictures_stand_for_clusters_in_proportion(sizes: list[int]) -> None:
    content = board(sizes).content()
    assert len(content.representatives) == min(MAX_REPRESENTATIVES, sum(sizes))
    assert sum(each.share for each in content.representatives) == pytest.approx(1)
    start = 0
    for size in sizes:
        own = [each for each in content.representatives if each.image in IDS[start : start + size]]
        assert [each.image for each in own] == IDS[start : start + len(own)]  # the first ones stand best for it
        assert sum(each.share for each in own) == pytest.approx(size / sum(sizes))
        start += size


def test_clusters_that_are_off_and_pictures_that_left_do_not_steer() -> None:
    assert {each.image for each in board([2, 3], off=(1,)).content().representatives} == set(IDS[:2])
    assert {each.image for each in board([2, 3], gone=1).content().representatives} == set(IDS[1:5])
    assert board([2, 3], gone=1).changed and not board([2, 3]).changed


def test_shares_are_of_what_is_still_there() -> None:
    left = board([3, 1, 1], off=(1,), gone=1)
    assert left.shares() == (0.5, 0.25, 0.25)
    assert [left.present(cluster) for cluster in left.analysis.clusters] == [(*IDS[1:3],), (IDS[3],), (IDS[4],)]
    assert board([1, 1], gone=2).shares() == (0, 0)
    assert Moodboard(name="b").shares() == ()


def test_words_are_the_analysis_s() -> None:
    content = board([3]).content()
    assert (content.keywords, content.avoids) == (("muted",), ("vivid",))


@pytest.mark.parametrize(
    ("empty", "words"),
    [
        (Moodboard(name="b", images=tuple(IDS[:2])), "was not analyzed — analyze it first"),
        (board([2], off=(0,)), "all its looks are off or empty"),
        (board([2], gone=2), "all its looks are off or empty"),
    ],
)
def test_a_board_that_cannot_steer_says_why(empty: Moodboard, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        empty.content()
