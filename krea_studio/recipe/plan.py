"""From a request or a sweep, and a seed, to exactly what the engine draws: one Shot per image, everything resolved.

Pure: the same request and seed give the same plan, anywhere. Drawing a seed is the studio's part; which checkpoint a
variant means is the engine's.
"""

from dataclasses import dataclass

from krea_studio.errors import InvalidRequest
from krea_studio.recipe.exploration import Exploration
from krea_studio.recipe.recipe import Shot, guidance_of
from krea_studio.recipe.request import RAW, SEED_LIMIT, SLIDERS, GenerationRequest
from krea_studio.recipe.sweep import Sweep
from krea_studio.validation import shown


@dataclass(frozen=True)
class GenerationPlan:
    """What was asked for with everything decided: the seed, and every shot. Names files by their content.

    `seed` is the first shot's, or what a sweep's pictures have unless its seed varies; `cells` are where its shots
    stand on its axes.
    """

    asked: GenerationRequest | Sweep
    seed: int
    shots: tuple[Shot, ...]
    cells: tuple[tuple[int, ...], ...] = ()


def plan(request: GenerationRequest, seed: int, exploration_seed: int | None = None) -> GenerationPlan:
    """Resolve a request; shot k has the seed `(seed + k) mod 2**32`, so it equals that seed alone.

    In random mode the slider values of shot k are the k-th of the sequence that `exploration_seed` gives, unless the
    request names its own. A moodboard must have its content and a style its identity. Raises InvalidRequest where they
    have not, a seed is out of range, random mode has no exploration seed, or parts of the request contradict another.
    """
    require_seed("Seed", seed)
    require_plannable(request)
    if request.exploration_seed is not None:
        exploration_seed = request.exploration_seed
    drawn = require_seed("Exploration seed", exploration_seed) if request.random_mode else 0
    _require_known(request)
    shots = []
    for index in range(request.batch):
        exploration = None
        if request.random_mode:
            exploration = Exploration(
                seed=drawn,
                number=index,
                spread=request.spread,
                locked=request.locked_sliders,
                around={slider: getattr(request, slider) for slider in SLIDERS},
            )
        shots.append(Shot.of(request, (seed + index) % SEED_LIMIT, exploration))
    return GenerationPlan(asked=request, seed=seed, shots=tuple(shots))


def plan_sweep(sweep: Sweep, seed: int) -> GenerationPlan:
    """Resolve a sweep: a shot for each of its cells, in the order in which they are drawn, all of this seed unless it
    varies. Raises as `plan` does."""
    require_seed("Seed", seed)
    shots, cells = [], []
    for cell in sweep.cells():
        require_plannable(cell.request)
        _require_known(cell.request)
        shots.append(Shot.of(cell.request, seed if cell.request.seed is None else cell.request.seed))
        cells.append(cell.at)
    return GenerationPlan(asked=sweep, seed=seed, shots=tuple(shots), cells=tuple(cells))


def _require_known(request: GenerationRequest) -> None:
    """Raise InvalidRequest where a moodboard lacks its content, or a style its identity."""
    moodboard = request.moodboard
    if moodboard is not None and moodboard.strength and moodboard.content is None:
        raise InvalidRequest(f"Moodboard {shown(moodboard.name)} has no content — name one that is in the library")
    for style in request.styles:
        if style.weight and style.identity is None:
            raise InvalidRequest(f"Style {shown(style.name)} has no weights — name one that is in the library")


def require_plannable(request: GenerationRequest) -> None:
    """Raise InvalidRequest for a request that no plan can be made of, whatever the seed."""
    if request.expansion is not None and request.creativity == RAW:
        raise InvalidRequest(
            "The request has an expanded prompt, but raw creativity draws the prompt as it is written — "
            "choose another creativity or leave the expanded prompt out"
        )
    for number, style in enumerate(request.styles):
        before = request.styles[:number]
        if any(
            other.name.casefold() == style.name.casefold() or (other.identity and other.identity == style.identity)
            for other in before
        ):
            raise InvalidRequest(
                f"Style {shown(style.name)} is chosen more than once — choose it once, with one weight"
            )
    if request.negative_prompt and guidance_of(request) == 0:
        raise InvalidRequest(
            "The negative prompt needs a guidance scale above 0 — raise the guidance scale or clear the negative prompt"
        )
    if request.random_mode and set(request.locked_sliders) == set(SLIDERS):
        raise InvalidRequest("Random mode has nothing to vary: all sliders are locked — unlock one of them")


def require_seed(name: str, seed: int | None) -> int:
    """The seed; raises InvalidRequest, naming the field, for what is none."""
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < SEED_LIMIT:
        raise InvalidRequest(f"{name} is {shown(seed)} — give a whole number from 0 to {SEED_LIMIT - 1}")
    return seed
