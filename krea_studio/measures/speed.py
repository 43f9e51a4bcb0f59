"""What the engine's savings are worth, measured on this machine: `python -m krea_studio measure speed`.

Times on a shared machine wander by a factor, so what is compared runs in one process in interleaved pairs (A B, B A,
…) and the result is the median of the pairs' ratios; pairs of equals show how far to trust it. Every timed call has a
prompt of its own, so that every one encodes it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from itertools import count
from statistics import median
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from PIL import Image

from krea_studio.direction.sliders import SLIDER_LORA, TEXT_DIRECTION
from krea_studio.engine.checkpoints.manager import LoadedPipeline
from krea_studio.engine.checkpoints.table import resolve
from krea_studio.engine.local.drawing import Drawing
from krea_studio.engine.pipeline.savings import Savings
from krea_studio.measures.options import parsed
from krea_studio.measures.timing import Row, Told, ratios, seconds, spread, write_report
from krea_studio.recipe.plan import plan
from krea_studio.recipe.recipe import Shot
from krea_studio.recipe.request import SLIDERS, GenerationRequest, parse_request
from krea_studio.settings import load_settings

COMMAND = "python -m krea_studio measure speed"
WARM_RUNS = 5
SLIDER_PAIRS = 20
# Enough to weigh a step against the decoder as a real run does, without taking half an hour.
GUIDED_STEPS = 8

_numbers = count(1)


class Bench:
    """Draws one variant's shots with chosen savings, or with the bare stock pipeline, on the same loaded weights."""

    def __init__(
        self, drawing: Drawing, variant: str, checkpoint: str, resolution: str, steps: int | None = None
    ) -> None:
        self.drawing = drawing
        self._request = GenerationRequest(prompt="a", variant=variant, resolution=resolution, steps=steps)
        self._loaded: LoadedPipeline = drawing.manager.get(
            resolve(checkpoint), drawing.precision, drawing.device, lambda event: None, lambda: None
        )

    @property
    def encoder(self) -> torch.nn.Module:
        return self._loaded.pipeline.text_encoder

    def shot(self, number: int | None = None, **fields: Any) -> Shot:
        """Shot `number` (its seed and its prompt), or else one that was never asked for before."""
        number = next(_numbers) if number is None else number
        request = self._request.model_dump() | {"prompt": f"a red fox in the snow, picture {number:06d}", **fields}
        return plan(parse_request(request), seed=number).shots[0]

    def studio(
        self,
        number: int | None = None,
        savings: Savings | None = None,
        previews: bool = False,
        sliders: Mapping[str, int] = MappingProxyType({}),
        pictures: Mapping[str, bytes] = MappingProxyType({}),
        **fields: Any,
    ) -> Image.Image:
        """The picture as the engine draws it; `fields` are further ones of the request, `pictures` what they name."""
        self.drawing.savings, self.drawing.previews = savings or Savings(), previews
        self.drawing.sliders.prepare(self._loaded, tuple(sliders), lambda event: None, lambda: None)
        shot = self.shot(number, **sliders, **fields)
        return self.drawing.picture(self._loaded, shot, pictures.__getitem__)

    def stock(self, number: int | None = None) -> Image.Image:
        """The picture as a bare call of the stock pipeline draws it."""
        shot = self.shot(number)
        return self._loaded.pipeline(
            prompt=shot.conditioning_prompt,
            width=shot.width,
            height=shot.height,
            num_inference_steps=shot.steps,
            guidance_scale=shot.guidance_scale,
            generator=torch.Generator("cpu").manual_seed(shot.seed),
        ).images[0]

    def difference(self, number: int) -> int:
        """Greatest difference of a value, in 1/255, between the two."""
        studio, stock = (np.asarray(image, np.int16) for image in (self.studio(number), self.stock(number)))
        return int(np.abs(studio - stock).max())


def measure_speed(pairs: int, told: Told) -> None:
    """Measure everything with the settings' checkpoints; `told` gets each row as it is known."""
    settings = load_settings()
    drawing = Drawing(settings)
    turbo = Bench(drawing, "turbo", settings.checkpoint_turbo, "512")
    guided = Bench(drawing, "medium", settings.checkpoint_medium, "512", steps=GUIDED_STEPS)
    full = Bench(drawing, "turbo", settings.checkpoint_turbo, "1K")

    told(Row("Equals, Turbo 512 × 512 (how far to trust a ratio)", spread(ratios(turbo.studio, turbo.studio, pairs))))
    bare = spread(ratios(turbo.stock, turbo.studio, pairs))
    told(Row("Bare pipeline / studio, Turbo 512 × 512, 8 steps", bare, "≥ 1.8"))
    told(
        Row(
            f"Bare pipeline / studio, Medium 512 × 512 with guidance, {GUIDED_STEPS} steps",
            spread(ratios(guided.stock, guided.studio, pairs)),
            "≥ 1.8",
        )
    )
    worst = max(bench.difference(number) for bench in (turbo, guided) for number in range(2))
    told(Row("Greatest difference from the bare pipeline, in any value of four pictures", f"{worst}/255", "≤ 1/255"))
    for field in fields(Savings):
        without = replace(Savings(), **{field.name: False})
        slow = ratios(partial(turbo.studio, savings=without), turbo.studio, pairs)
        told(Row(f"Without `{field.name}` alone / all savings, Turbo 512 × 512", spread(slow)))
    compiled = Bench(Drawing(settings.model_copy(update={"compile": "on"})), "turbo", settings.checkpoint_turbo, "1K")
    told(Row("Compiled steps / not, Turbo 1024 × 1024", spread(ratios(compiled.studio, full.studio, pairs))))
    told(
        Row(
            "With previews / without, Turbo 512 × 512",
            spread(ratios(partial(turbo.studio, previews=True), turbo.studio, pairs)),
            "≤ 1.03",
        )
    )
    for mechanism, target in ((SLIDER_LORA, "≤ 1.10"), (TEXT_DIRECTION, "≤ 1.02")):
        bench = Bench(Drawing(settings, mechanism=mechanism), "turbo", settings.checkpoint_turbo, "512")
        bent = partial(bench.studio, sliders=dict.fromkeys(SLIDERS, 50))
        cost = spread(ratios(bent, turbo.studio, SLIDER_PAIRS))
        told(Row(f"All sliders by {mechanism} / none, Turbo 512 × 512, {SLIDER_PAIRS} pairs", cost, target))
    told(Row("Encoder calls for a prompt seen before", str(encoder_calls(turbo)), "0"))
    taken = [seconds(full.studio) for _ in range(WARM_RUNS + 1)][1:]
    told(Row("Turbo 1024 × 1024, 8 steps, warm", f"{median(taken):.2f} s (best {min(taken):.2f} s)", "< 6 s"))


def encoder_calls(bench: Bench) -> int:
    """How often the text encoder is called for a prompt that was drawn before."""
    calls = []
    bench.studio(0)
    hook = bench.encoder.register_forward_pre_hook(lambda *ignored: calls.append(1))
    bench.studio(0)
    hook.remove()
    return len(calls)


def main(argv: Sequence[str]) -> int:
    """`[--pairs N] [--report FILE]`: measure, print, and write the report. Raises StudioError when it cannot."""
    arguments = parsed("speed", argv)
    about = (
        f"Ratios are medians over {arguments.pairs} interleaved pairs in one process, with the least and the greatest in "
        "brackets."
    )
    write_report(
        arguments.report,
        "Speed of the local engine",
        COMMAND,
        about,
        lambda told: measure_speed(arguments.pairs, told),
    )
    return 0
