"""References in the engine: nothing at zero, no order, no trace, and a cache that changes no picture."""

import io
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from krea_studio.direction.references import MECHANISM
from krea_studio.engine.cache import ByteCache
from krea_studio.engine.checkpoints.table import resolve
from krea_studio.engine.controls.attention import attend, by_products
from krea_studio.engine.controls.reference_attention import Reference, attending
from krea_studio.engine.local.drawing import Drawing
from krea_studio.engine.local.engine import LocalEngine
from krea_studio.library.references import picture_id
from krea_studio.recipe.plan import GenerationPlan
from krea_studio.settings import Settings
from krea_studio.training.world.renderer import render
from krea_studio.training.world.scenes import random_scene
from tests.doubles import PlainFiles
from tests.engine.conftest import break_after, pictures, ready, small_plan, stop_after_a_step

WOODCUT = "1" * 32, Path(__file__).parents[3] / "assets" / "styles" / "woodcut.safetensors"
LOOKS = [("neon", "midnight"), ("mosaic", "forest"), ("flat", "candy"), ("papercut", "sunset")]


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def looks() -> dict[str, bytes]:
    """Four reference pictures by id."""
    scenes = [replace(random_scene(k), style=style, palette=palette) for k, (style, palette) in enumerate(LOOKS)]
    rendered = [render(scene, 128, 96) for scene in scenes]
    return {picture_id(image): png(image) for image in rendered}


@pytest.fixture
def files(looks: dict[str, bytes]) -> PlainFiles:
    """What the plans of these tests name."""
    return PlainFiles(looks, dict([WOODCUT]))


@pytest.fixture
def asked(looks: dict[str, bytes]) -> Callable[..., GenerationPlan]:
    """A small plan with references of these strengths, in the order of `looks` or another."""

    def asked(*strengths: float, order: Callable[[list], list] = list, **fields: Any) -> GenerationPlan:
        references = [{"image": i, "strength": s} for i, s in zip(looks, strengths, strict=False)]
        return small_plan(**{"style_references": order(references), **fields})

    return asked


def board(looks: dict[str, bytes], strength: float, **content: Any) -> dict[str, Any]:
    representatives = [{"image": image, "share": 0.25} for image in looks]
    return {"name": "b", "strength": strength, "content": {"representatives": representatives, **content}}


@pytest.fixture
def studio() -> LocalEngine:
    return LocalEngine(Settings(previews=False))


@pytest.fixture
def drawn(studio: LocalEngine, files: PlainFiles) -> Callable[[GenerationPlan], np.ndarray]:
    """The first picture of a plan."""
    return lambda plan: pictures(studio, plan, files)[0]


def difference(a: np.ndarray, b: np.ndarray) -> int:
    return int(np.abs(a.astype(int) - b).max())


@pytest.mark.parametrize("fields", [{}, {"variant": "medium", "steps": 2}, {"intensity": 60, "movement": 40}])
def test_zero_is_nothing_also_after_a_run_a_stop_and_a_failure(studio, drawn, asked, looks, files, fields) -> None:
    before = drawn(small_plan(**fields))
    nothing = asked(0.0, 0.0, moodboard=board(looks, 0.0, keywords=["vivid"]), **fields)
    assert (drawn(nothing) == before).all()
    bent = drawn(asked(0.8, -0.4, **fields))
    assert difference(bent, before) > 20
    assert (drawn(small_plan(**fields)) == before).all()
    stop_after_a_step(studio, asked(1.0, **{**fields, "steps": 50}), files)
    assert (drawn(small_plan(**fields)) == before).all()
    break_after(studio, asked(1.0, **fields), 1, files)
    assert (drawn(small_plan(**fields)) == before).all()
    assert (drawn(asked(0.8, -0.4, **fields)) == bent).all()


def test_with_every_other_control_at_once_nothing_stays_and_a_stop_within_a_capture_neither(
    drawn, asked, looks, files
) -> None:
    before = drawn(small_plan())
    everything = asked(
        0.8, 0.3, -0.2, 0.5,
        moodboard=board(looks, 0.5, keywords=["vivid colors"]),
        styles=[{"name": "Woodcut", "weight": 0.7, "identity": WOODCUT[0]}],
        intensity=40, complexity=-20, movement=30,
    )  # fmt: skip
    bent = drawn(everything)
    assert difference(bent, before) > 20
    assert (drawn(small_plan()) == before).all()
    other = LocalEngine(Settings(previews=False))  # it has captured nothing yet
    break_after(other, everything, 0, files, checks=3)
    assert (pictures(other, small_plan())[0] == before).all()
    assert (pictures(other, everything, files)[0] == bent).all()


def test_nothing_stays_on_the_transformer(asked, files) -> None:
    drawing, checkpoint = Drawing(Settings(previews=False)), resolve(Settings().checkpoint_for("turbo"))
    loaded = drawing.manager.get(checkpoint, drawing.precision, drawing.device, lambda event: None, lambda: None)
    transformer = loaded.pipeline.transformer
    before = dict(transformer.attn_processors)
    drawing.draw(checkpoint, asked(1.0, 0.5), lambda event: None, lambda: None, files)
    assert transformer.attn_processors == before
    assert not transformer._forward_pre_hooks


def test_the_order_of_references_does_not_matter(drawn, asked) -> None:
    forth = drawn(asked(0.6, 0.3, -0.2, 0.5))
    back = drawn(asked(0.6, 0.3, -0.2, 0.5, order=lambda references: references[::-1]))
    assert (forth == back).all()


def test_one_reference_twice_is_one_with_both_strengths(drawn, asked) -> None:
    twice = asked(0.5, order=lambda references: references * 2)
    assert (drawn(twice) == drawn(asked(1.0))).all()
    against = asked(0.5, order=lambda r: [r[0], {**r[0], "strength": -0.5}])
    assert (drawn(against) == drawn(small_plan())).all()


@pytest.mark.parametrize("fields", [{}, {"variant": "medium", "steps": 2}])
def test_a_board_that_fades_leaves_what_the_references_do(drawn, asked, looks, fields) -> None:
    alone = drawn(asked(0.8, **fields))
    for words in ({}, {"keywords": ["vivid colors"]}):
        faded = drawn(asked(0.8, moodboard=board(looks, 1e-4, **words), **fields))
        assert difference(alone, faded) <= 2


def test_strengths_are_bounded_together(drawn, asked) -> None:
    assert (drawn(asked(2.0, 2.0)) == drawn(asked(1.0, 1.0))).all()


def test_a_picture_depends_neither_on_the_cache_nor_on_the_batch(asked, files) -> None:
    kept, none = (LocalEngine(Settings(previews=False, reference_cache_gb=gb)) for gb in (1.0, 0.0))
    first = pictures(kept, asked(0.7, 0.2, batch=2, seed=7), files)
    assert (pictures(kept, asked(0.7, 0.2, seed=7), files)[0] == first[0]).all()
    second = replace(asked(0.7, 0.2), seed=8, shots=asked(0.7, 0.2, batch=2).shots[1:])
    assert (pictures(none, second, files)[0] == first[1]).all()
    assert kept.status().reference_bytes > 0 == none.status().reference_bytes


def test_the_second_run_captures_nothing_and_asks_for_no_file(studio, asked, files) -> None:
    pictures(studio, asked(0.7, 0.2), files)
    cold = studio.status().reference_seconds
    kept = studio.status().reference_bytes
    pictures(studio, asked(-0.3, 1.0, seed=9, intensity=50))
    assert studio.status().reference_seconds < cold / 3
    assert studio.status().reference_bytes == kept


def test_a_run_tells_by_what_it_worked(studio, asked, files) -> None:
    for plan, mechanism in ((asked(0.5), MECHANISM), (asked(0.0), None)):
        (told,) = ready(studio, plan, files)
        assert told.recipe.reference_mechanism == mechanism


def test_a_moodboard_works_by_its_pictures_and_its_words(drawn, looks) -> None:
    def with_board(strength: float, **content: Any) -> np.ndarray:
        return drawn(small_plan(moodboard=board(looks, strength, **content), variant="medium", steps=2))

    plain, other = with_board(0.35), with_board(-0.35)
    words, avoids = with_board(0.35, keywords=["sunset colors"]), with_board(0.35, avoids=["forest colors"])
    assert difference(plain, words) > 5 and difference(plain, avoids) > 5
    assert difference(other, plain) > 5


class TestMerging:
    @pytest.fixture
    def sides(self) -> list[torch.Tensor]:
        draw = torch.Generator().manual_seed(0)
        shapes = ((2, 4, 30, 16), (2, 2, 30, 16), (2, 2, 30, 16))
        return [torch.randn(shape, generator=draw) for shape in shapes]

    def test_attend_is_attention_and_its_log_sum_exp(self, sides: list[torch.Tensor]) -> None:
        query, key, value = sides
        mask = torch.rand(2, 1, 1, 30, generator=torch.Generator().manual_seed(1)) > 0.3
        for read in (None, mask):
            out, lse = attend(query, key, value, read)
            expected = torch.nn.functional.scaled_dot_product_attention(
                query, key.repeat_interleave(2, 1), value.repeat_interleave(2, 1), attn_mask=read
            )
            assert out.allclose(expected, atol=1e-5)
            other, other_lse = by_products(query, key.repeat_interleave(2, 1), value.repeat_interleave(2, 1), read)
            assert other.allclose(expected, atol=1e-5) and other_lse.allclose(lse, atol=1e-5)

    @pytest.fixture
    def predicted(self, load: Callable[[str], Any]) -> Callable[..., torch.Tensor]:
        """The velocity that mini-turbo predicts for fixed noise with references of these strengths."""
        loaded = load("turbo")
        transformer, pipeline = loaded.pipeline.transformer, loaded.pipeline
        draw = torch.Generator().manual_seed(3)
        channels = transformer.config.in_channels
        x, *shown = (torch.randn(1, 16, channels, generator=draw) for _ in range(4))
        text, mask = pipeline.get_text_hidden_states("a fox", max_sequence_length=12)
        from krea_studio.engine.pipeline.prompts import PromptEmbedding

        neutral = PromptEmbedding(text, mask)
        positions = pipeline.prepare_position_ids(text.shape[1], 4, 4, "cpu")

        @torch.no_grad()
        def predicted(*strengths: float, **options: Any) -> torch.Tensor:
            references = [Reference(k, shown[k], 4, 4, s, **options) for k, s in enumerate(strengths) if s]
            with attending(transformer, references, neutral, 2, ByteCache(10**8)):
                for level in (0.9, 0.5):
                    answer = transformer(
                        hidden_states=x, encoder_hidden_states=text, timestep=torch.tensor([level]),
                        position_ids=positions, encoder_attention_mask=mask, return_dict=False,
                    )  # fmt: skip
            return answer[0].flatten()

        return predicted

    def test_strength_is_continuous_and_signed(self, predicted) -> None:
        strengths = torch.linspace(-2, 2, 41).tolist()
        values = [predicted(round(s, 3)) for s in strengths]
        steps = torch.stack([(b - a).norm() for a, b in pairwise(values)])
        # The statistics of queries and keys are matched for positive strengths only: steps there are larger.
        for side in (steps[:20], steps[20:]):
            assert side.max() < 4 * side.median()
        small, opposite = predicted(0.01) - predicted(0), predicted(-0.01) - predicted(0)
        assert small.norm() > 0 < opposite.norm()

    def test_several_references_are_one_merge(self, predicted) -> None:
        none, first, second, both = predicted(0), predicted(0.02, 0), predicted(0, 0.02), predicted(0.02, 0.02)
        cosine = torch.nn.functional.cosine_similarity(both - none, first + second - 2 * none, dim=0)
        assert cosine > 0.98

    def test_some_of_a_reference_s_tokens_stand_for_all(self, predicted) -> None:
        whole, some, none = predicted(0.8), predicted(0.8, kept_tokens=12), predicted(0)
        assert 0 < (some - whole).norm() < (whole - none).norm() / 2
        assert (predicted(0.8, kept_tokens=16) == whole).all()

    def test_tokens_that_count_twice_pull_more_and_by_degrees(self, predicted) -> None:
        none, *more = predicted(0), *(predicted(-0.5, times=times) for times in (1.0, 1.01, 2.0))
        once, little, twice = ((each - none).norm() for each in more)
        assert once < little < twice and little - once < (twice - once) / 20
