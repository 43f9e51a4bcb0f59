"""Sigmas as people and other tools write them, and Turbo's own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from krea_studio.recipe.request import parse_request
from krea_studio.recipe.sigmas import read_sigmas, sigmas_text, turbo_sigmas
from tests.strategies import sigmas


def test_turbos_are_those_that_its_loras_were_distilled_at() -> None:
    assert turbo_sigmas(1) == (1.0,)
    # as the 4-step LoRA's users write them
    assert turbo_sigmas(4) == pytest.approx((1.0, 0.905, 0.760, 0.513), abs=5e-4)


@given(st.integers(1, 100))
def test_turbos_are_sigmas_for_any_number_of_steps(steps: int) -> None:
    assert parse_request({"prompt": "a fox", "steps": steps, "sigmas": turbo_sigmas(steps)}).sigmas


@given(sigmas)
def test_a_text_of_sigmas_reads_back(own: list[float]) -> None:
    assert read_sigmas(sigmas_text(tuple(own))) == own
    assert read_sigmas(f"[{'  '.join(map(str, own))}; 0.0]") == own


def test_what_is_no_number_stays_for_the_request_to_refuse() -> None:
    assert read_sigmas(" ") is None and sigmas_text(None) == ""
    assert read_sigmas("1, half") == [1.0, "half"] and read_sigmas(",") == [","] and read_sigmas("0") == [0.0]
