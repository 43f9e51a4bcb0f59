"""Which pictures of a board look alike: k-medoids with as many clusters as the pictures clearly ask for.

Distances are counted in what pictures of one look usually differ by, so that a cluster is a look and not the better
half of a board that has only one. Every medoid is one of the pictures. Ties go to the first.
"""

from collections.abc import Sequence

import numpy as np

from krea_studio.direction.traits import LOOK, Traits

USUAL = 1.4  # distance of two pictures of one look
CLEAR = 0.3  # silhouette from which clusters are believed
CLOSE = 0.05  # silhouettes that near to the best are as good


def distances(board: Sequence[Traits]) -> np.ndarray:
    """How far the looks of the pictures lie apart, (n, n): about `USUAL` for two pictures of one look.

    The root mean square of the differences in each group of `LOOK`, groups weighted equally.
    """
    squares = []
    for group, unit in LOOK:
        values = np.array([group(traits) for traits in board]) / unit
        squares.append([((values - one) ** 2).mean(1) for one in values])
    return np.sqrt(np.mean(squares, axis=0))


def grouped(apart: np.ndarray, most: int) -> list[list[int]]:
    """The clusters of pictures at distances `apart` (n, n): at most `most`, largest first, each with its medoid first.

    The first few of a cluster stand for all of it: each next one is the one that brings the others nearest to those
    before it.

    Tries numbers up to √n + 1, and keeps to one where no silhouette is clear. Among those as good as the best it takes
    the greatest: since accidents within a look do not count, what a further cluster parts is another look.
    """
    tried = [(0.0, _medoids(apart, 1))]
    for k in range(2, min(round(len(apart) ** 0.5) + 1, len(apart), most) + 1):
        medoids = _medoids(apart, k)
        nearest = apart[:, medoids].argmin(1)
        if len(np.unique(nearest)) < k:  # copies of a picture: there are no further looks
            break
        tried.append((_silhouette(apart, nearest), medoids))
    best = max(score for score, _ in tried)
    medoids = next(m for score, m in reversed(tried) if score >= max(CLEAR, best - CLOSE) or len(m) == 1)
    nearest = apart[:, medoids].argmin(1)
    found = [_by_coverage(apart, m, np.flatnonzero(nearest == c)) for c, m in enumerate(medoids)]
    return sorted(found, key=lambda members: (-len(members), members[0]))


def _by_coverage(apart: np.ndarray, first: int, members: np.ndarray) -> list[int]:
    ordered, left = [first], [int(i) for i in members if i != first]
    covered = apart[members, first]
    while left:
        following = min(left, key=lambda i: (float(np.minimum(covered, apart[members, i]).sum()), i))
        covered = np.minimum(covered, apart[members, following])
        left.remove(following)
        ordered.append(following)
    return ordered


def _medoids(apart: np.ndarray, k: int) -> list[int]:
    """The k pictures to which all are nearest in sum, by greedy start and best swaps (Kaufman and Rousseeuw 1990)."""
    medoids: list[int] = []
    rest = np.full(len(apart), np.inf)
    for _ in range(k):
        medoids.append(int(np.minimum(apart, rest[:, None]).sum(0).argmin()))
        rest = apart[:, medoids].min(1)
    cost = rest.sum()
    while True:
        swaps = []
        for place in range(k):
            others = medoids[:place] + medoids[place + 1 :]
            rest = apart[:, others].min(1, initial=np.inf)
            costs = np.minimum(apart, rest[:, None]).sum(0)
            swaps.append((costs.min(), place, int(costs.argmin())))
        lowest, place, picture = min(swaps)
        if lowest >= cost - 1e-9:
            return medoids
        cost, medoids[place] = lowest, picture


def _silhouette(apart: np.ndarray, nearest: np.ndarray) -> float:
    """Mean silhouette (Rousseeuw 1987), −1 … 1, where no picture is nearer to its own than usual for one look.

    With that, clusters that hardly differ do not pass for clear ones, and a picture that is alone counts as well.
    """
    names = np.unique(nearest)
    sums = np.stack([apart[:, nearest == name].sum(1) for name in names], 1)
    sizes = np.array([(nearest == name).sum() for name in names])
    own = nearest[:, None] == names
    inside = np.maximum((sums * own).sum(1) / np.maximum((sizes * own).sum(1) - 1, 1), USUAL)
    outside = np.where(own, np.inf, sums / sizes).min(1)
    return float(((outside - inside) / np.maximum(outside, inside)).mean())
