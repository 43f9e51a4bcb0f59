"""Sweeps: every combination once, each a request of its own, those that load least after one another."""

import itertools
from typing import Any

import pytest

from krea_studio.errors import InvalidRequest
from krea_studio.recipe.axes import parse_axis
from krea_studio.recipe.plan import plan, plan_sweep
from krea_studio.recipe.request import GenerationRequest, MoodboardContent, StyleChoice
from krea_studio.recipe.sweep import MOST_CELLS, Sweep, parse_sweep, sweep_from_json

LOOK = {"style_references": [{"image": "0" * 32}, {"image": "1" * 32, "strength": 0.2}]}
BOARD = {"representatives": [{"image": "2" * 32, "share": 1.0}]}


def sweep(*axes: str, most: int = MOST_CELLS, **fields: Any) -> Sweep:
    request = GenerationRequest(**{"prompt": "a fox in a foxglove field, fox red", "seed": 5, **fields})
    return parse_sweep(request, [parse_axis(axis) for axis in axes], most)


def test_every_combination_is_drawn_once() -> None:
    made = sweep("intensity=-100:100:50", "seed=1,2,3", "steps=4,8")
    plan_ = plan_sweep(made, 5)
    assert made.size == len(plan_.shots) == 30
    assert sorted(plan_.cells) == list(itertools.product(range(5), range(3), range(2)))
    for (x, y, z), shot in zip(plan_.cells, plan_.shots, strict=True):
        assert (shot.intensity, shot.seed, shot.steps) == ((-100, -50, 0, 50, 100)[x], y + 1, (4, 8)[z])


def test_a_cell_is_the_picture_of_its_settings_alone() -> None:
    """So it can be drawn, found and loaded back like any other."""
    for cell, shot in zip(
        sweep("movement=-50,50", "aspect-ratio=1:1,16:9").cells(),
        plan_sweep(sweep("movement=-50,50", "aspect-ratio=1:1,16:9"), 5).shots,
        strict=True,
    ):
        assert plan(cell.request, 5).shots == (shot,)


def test_all_have_one_seed_unless_it_varies() -> None:
    made = sweep("intensity=1:9", seed=None)
    assert {shot.seed for shot in plan_sweep(made, 77).shots} == {77}


@pytest.mark.parametrize(
    "axes", list(itertools.permutations(["variant=turbo,medium", "intensity=0,50", "aspect-ratio=1:1,3:2"]))
)
def test_what_is_dear_changes_least_often(axes: tuple[str, ...]) -> None:
    shots = plan_sweep(sweep(*axes), 5).shots
    changes = {
        field: sum(getattr(a, field) != getattr(b, field) for a, b in itertools.pairwise(shots))
        for field in ("variant", "aspect_ratio", "intensity")
    }
    assert changes == {"variant": 1, "aspect_ratio": 3, "intensity": 7}


def test_a_variant_has_its_own_steps_and_guidance_unless_these_vary() -> None:
    shots = plan_sweep(sweep("variant=turbo,medium", steps=4), 5).shots
    assert [(shot.variant, shot.steps) for shot in shots] == [("turbo", 4), ("medium", 28)]
    shots = plan_sweep(sweep("guidance=0,3", "variant=turbo,medium"), 5).shots
    assert sorted({(shot.variant, shot.guidance_scale) for shot in shots}) == [
        ("medium", 0), ("medium", 3), ("turbo", 0), ("turbo", 3),
    ]  # fmt: skip


def test_words_take_the_place_of_words() -> None:
    prompts = [cell.request.prompt for cell in sweep("words=fox → owl, red panda").cells()]
    assert prompts[0] == "a fox in a foxglove field, fox red"
    assert prompts[1:] == ["a owl in a foxglove field, owl red", "a red panda in a foxglove field, red panda red"]
    cells = sweep("words=狐,猫", prompt="雪の中の狐がいる").cells()
    assert [cell.request.prompt for cell in cells] == ["雪の中の狐がいる", "雪の中の猫がいる"]
    both = sweep("words=fox,owl", "words=field,sea").cells()
    assert "a owl in a foxglove sea, owl red" in [cell.request.prompt for cell in both]


def test_a_text_that_was_written_out_for_other_words_is_not_drawn() -> None:
    written = {"creativity": "high", "expansion": {"text": "a fox, at dawn"}}
    first, second = sweep("words=fox,owl", **written).cells()
    assert first.request.expansion and second.request.expansion is None


def test_strengths_and_weights_of_one_or_of_all() -> None:
    def strengths(axis: str) -> list[list[float]]:
        return [[each.strength for each in cell.request.style_references] for cell in sweep(axis, **LOOK).cells()]

    assert strengths("reference=0,1") == [[0, 0], [1, 1]]
    assert strengths("reference.2=0,1") == [[0.5, 0], [0.5, 1]]
    styles = {"styles": [{"name": "Neon"}, {"name": "Ink", "weight": 0.5}]}
    cells = sweep("style-weight.ink=0,1", **styles).cells()
    assert [[style.weight for style in cell.request.styles] for cell in cells] == [[1, 0], [1, 1]]


def test_a_style_comes_beside_the_styles_of_the_request() -> None:
    cells = sweep("style=none,Neon:0.5", styles=[{"name": "Ink"}]).cells()
    assert [[style.name for style in cell.request.styles] for cell in cells] == [["Ink"], ["Ink", "Neon"]]


@pytest.mark.parametrize(
    ("axes", "fields", "told"),
    [
        (["seed=1,2", "steps=4,8", "seed=3,4"], {}, "Seed is on two axes — let each vary something else"),
        (["words=fox,owl", "words=fox,cat"], {}, "Words: fox is on two axes"),
        (["seed=1,2,1"], {}, "Seed has 1 twice — give each value once"),
        (["seed=1:11", "intensity=1:10"], {}, "11 × 10 = 110 pictures, of at most 100 — take fewer values, or allow"),
        (["seed=1:1000", "intensity=-49:50", "steps=1:10"], {}, "= 1,000,000 pictures, of at most 10,000 — take fewer"),
        (["seed=1,2"], {"batch": 4}, "The batch is 4, and a sweep draws one picture of each combination"),
        (["seed=1,2"], {"random_mode": True}, "Random mode is on, and a sweep varies what its axes say"),
        (["intensity=0,300"], {}, "Intensity 300: Intensity is 300 — give a whole number from -100 to 100"),
        (["reference=0,1"], {}, "The request has no style reference — add one"),
        (["reference.3=0,1"], LOOK, "There is no style reference '3' — give a number from 1 to 2"),
        (["moodboard=0,1"], {}, "The request has no moodboard — choose one"),
        (["style-weight=0,1"], {}, "The request has no style — choose one"),
        (["style-weight=0,1"], {"styles": [{"name": "A"}, {"name": "B"}]}, "say whose weight varies: style-weight.A="),
        (["words=dragon,owl"], {}, "The prompt does not say 'dragon' — begin with words that it says"),
        (["seed=1,2", "steps=1,2", "guidance=0,1", "intensity=0,1"], {}, "The sweep has 4 axes — give one to 3"),
        ([], {}, "The sweep has no axes — give one to 3"),
    ],
)
def test_what_cannot_be_drawn_is_refused(axes: list[str], fields: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        sweep(*axes, most=MOST_CELLS if "1:1000" not in axes[0:1] and len(axes) < 3 else 10**7, **fields)
    assert told in refused.value.message and "\n" not in refused.value.message


def test_more_than_usual_where_somebody_means_it() -> None:
    assert sweep("seed=1:11", "intensity=1:10", most=200).size == 110


def test_what_it_names_is_looked_up_also_where_the_request_has_it_at_zero() -> None:
    asked: list[GenerationRequest] = []

    def look_up(request: GenerationRequest) -> GenerationRequest:
        asked.append(request)
        board = request.moodboard
        if board and board.strength:
            board = board.model_copy(update={"content": MoodboardContent(**BOARD)})
        styles = [
            style.model_copy(update={"identity": style.name[0].lower().encode().hex() * 16}) if style.weight else style
            for style in request.styles
        ]
        return GenerationRequest.model_validate(
            request.model_dump()
            | {"moodboard": board and board.model_dump(), "styles": [s.model_dump() for s in styles]}
        )

    made = sweep(
        "moodboard=0,0.5", "style-weight=0,1", "style=none,Ink",
        moodboard={"name": "Sea", "strength": 0.0}, styles=[{"name": "Neon", "weight": 0.0}],
    )  # fmt: skip
    known = made.known(look_up)
    assert len(plan_sweep(known, 5).shots) == 8
    assert (known.request.moodboard.strength, known.request.styles[0].weight) == (0, 0)
    assert [value.identity for value in known.axes[2].values if isinstance(value, StyleChoice)] == ["69" * 16]
    with pytest.raises(InvalidRequest, match="no content|no weights"):
        plan_sweep(made, 5)


def test_it_comes_back_from_json() -> None:
    made = sweep("intensity=-100,100", "style=none,Neon:0.5", "words=fox,owl", **LOOK)
    assert sweep_from_json(made.model_dump(mode="json")) == made
    with pytest.raises(InvalidRequest, match="^Axes has 4 entries — give a list of at most 3$"):
        sweep_from_json(made.model_dump(mode="json") | {"axes": [made.axes[0].model_dump()] * 4})
    with pytest.raises(InvalidRequest):
        sweep_from_json(["no", "sweep"])
