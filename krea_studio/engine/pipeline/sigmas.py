"""A picture's own sigmas, as the stock pipeline takes them: it shifts what it is given, so they are shifted back first.

Read in diffusers 0.42.1: `Krea2Pipeline.__call__` hands its `sigmas` to `FlowMatchEulerDiscreteScheduler.set_timesteps`
together with `mu`, 1.15 for a distilled checkpoint and by the picture's size for any other, and the scheduler bends
them by it as it bends its own. With k = exp(mu), t becomes k·t / (1 + (k − 1)·t); the number of steps is that of the
sigmas, and the 0 at the end is the scheduler's.
"""

from collections.abc import Sequence
from math import exp

from diffusers import Krea2Pipeline
from diffusers.pipelines.krea2.pipeline_krea2 import calculate_shift

from krea_studio.errors import InvalidRequest
from krea_studio.recipe.sigmas import TURBO_SHIFT, sigmas_text

_OTHER_SCHEDULES = (
    "shift_terminal",
    "use_karras_sigmas",
    "use_exponential_sigmas",
    "use_beta_sigmas",
    "invert_sigmas",
    "stochastic_sampling",
)


def stock_sigmas(pipeline: Krea2Pipeline, sigmas: Sequence[float], width: int, height: int) -> list[float]:
    """What to give the stock call as `sigmas` for a picture of this size, in pixels, to be drawn at these noise levels.

    Raises InvalidRequest for a scheduler that does more with them than shift them.
    """
    config = pipeline.scheduler.config
    if other := next((name for name in _OTHER_SCHEDULES if config.get(name)), None):
        raise InvalidRequest(
            f"Sigmas is {sigmas_text(tuple(sigmas))}, but the checkpoint's scheduler has {other}, which makes others "
            "of them — leave the sigmas out"
        )
    ratio = config.shift
    if config.use_dynamic_shifting:
        mu = _mu(pipeline, width, height)
        ratio = mu if config.time_shift_type == "linear" else exp(mu)
    return [each / (ratio - (ratio - 1) * each) for each in sigmas]


def _mu(pipeline: Krea2Pipeline, width: int, height: int) -> float:
    """As the stock call computes it."""
    if pipeline.config.is_distilled:
        return TURBO_SHIFT
    token_px = pipeline.vae_scale_factor * pipeline.patch_size
    config = pipeline.scheduler.config
    return calculate_shift(
        (width // token_px) * (height // token_px),
        config.get("base_image_seq_len", 256),
        config.get("max_image_seq_len", 6400),
        config.get("base_shift", 0.5),
        config.get("max_shift", 1.15),
    )
