"""What a GPU makes of the published model, on random weights: `python -m krea_studio measure gpu`.

Nothing is downloaded: a transformer and a VAE of the published shapes are filled on the device. What they compute means
nothing; how long it takes is the same. Turbo's eight steps at 1024 × 1024 are drawn by the stock pipeline, with the
savings, with compiled steps and from packed float8, each timed with the device waited for and with the most memory that
was taken, beside the time that the products alone need at the rate that this device does them. It is made for a loan of
minutes: at full size on an 80 GB card it is to be through in eight.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from math import prod
from statistics import median
from typing import Any

import torch
from diffusers import AutoencoderKLQwenImage, FlowMatchEulerDiscreteScheduler, Krea2Pipeline, Krea2Transformer2DModel
from torch import nn

from krea_studio.engine.checkpoints.formats.configs import PUBLISHED, published_config
from krea_studio.engine.checkpoints.formats.layers import FLOAT8, SCALED
from krea_studio.engine.checkpoints.formats.packed import PackedLinear
from krea_studio.engine.checkpoints.memory import GIGABYTE
from krea_studio.engine.checkpoints.placing import Guest
from krea_studio.engine.pipeline.compilation import Compilation
from krea_studio.engine.pipeline.savings import Savings, applied
from krea_studio.engine.pipeline.single_frame import SingleFrameDecoder
from krea_studio.errors import Unavailable
from krea_studio.measures.options import parsed
from krea_studio.measures.random_weights import DEVIATION, is_big
from krea_studio.measures.timing import Row, Told, write_report
from krea_studio.recipe.variants import VARIANTS

COMMAND = "python -m krea_studio measure gpu"
STEPS = VARIANTS["turbo"].steps
PADDED_TOKENS, PROMPT_TOKENS = 512, 40  # of text: as the stock pipeline pads it, and of a prompt of usual length
FLOAT8_LARGEST = 448.0


class Card:
    """A device, the published model with random weights on it, and the time and memory that a picture takes."""

    def __init__(self, device: str, transformer: dict[str, Any], vae: dict[str, Any], side: int, pairs: int) -> None:
        """Models of these configs; `side` is that of pictures in pixels, `pairs` how often each is drawn."""
        self.device, self.side, self.pairs = torch.device(device), side, pairs
        self.precision = torch.bfloat16
        self.pipeline = Krea2Pipeline(
            FlowMatchEulerDiscreteScheduler.from_pretrained(PUBLISHED / "scheduler", local_files_only=True),
            self._filled(AutoencoderKLQwenImage, vae),
            None,
            None,
            self._filled(Krea2Transformer2DModel, transformer),
            is_distilled=True,
        )
        self.pipeline.set_progress_bar_config(disable=True)
        self.decoder = SingleFrameDecoder(self.pipeline.vae)

    def measure(self, told: Told) -> None:
        """Tell every row."""
        transformer = self.pipeline.transformer
        told(Row("Weights of the transformer", f"{_bytes_of(transformer) / GIGABYTE:.1f} GB"))
        rate = self._rate()
        floor = STEPS * self._products() / rate
        told(Row("Products in bfloat16 on this device", f"{rate / 1e12:.1f} TFLOP/s"))
        told(Row(f"{STEPS} steps, their products alone at that rate", f"{floor:.3g} s"))
        stock = self._told(told, "Stock pipeline, steps", self._stock_steps, floor)
        self._told(told, "Stock pipeline, decoding", lambda: self._decode(stock=True))
        self._told(told, "Savings, steps", self._steps, floor)
        self._told(told, "Savings, decoding", self._decode)
        compilation = Compilation("on", str(self.device), self.precision)
        started = time.perf_counter()
        compilation.steps(transformer)
        told(Row("Steps are compiled in", f"{time.perf_counter() - started:.1f} s"))
        compiled = self._told(
            told, "Savings and compiled steps, steps", lambda: self._steps(compilation), floor, "≤ 1.35 s on an H200"
        )
        told(Row("Stock / savings and compiled steps", f"{stock / compiled:.2f} ×"))
        self._told_switch(told)
        _pack(transformer, self.precision)
        told(Row("Weights of the transformer, blocks in float8", f"{_bytes_of(transformer) / GIGABYTE:.1f} GB"))
        packed = self._told(told, "Packed float8 and compiled steps, steps", lambda: self._steps(compilation), floor)
        told(Row("Packed float8 / bfloat16", f"{packed / compiled:.2f} ×", "≤ 1.25 ×"))

    def _told(
        self, told: Told, what: str, work: Callable[[], object], floor: float | None = None, target: str = ""
    ) -> float:
        """Measure and tell; returns the median of seconds."""
        work()
        taken = []
        with self._memory() as most:
            for _ in range(self.pairs):
                taken.append(self._seconds(work))
        found = median(taken)
        times = f"{found:.3g} s ({min(taken):.3g} – {max(taken):.3g})"
        share = f", {floor / found:.0%} of what the products allow" if floor else ""
        memory = f", {most[0] / GIGABYTE:.1f} GB at most" if most else ""
        told(Row(what, times + share + memory, target))
        return found

    def _told_switch(self, told: Told) -> None:
        """How long a transformer that waits in main memory takes to come, where it was before."""
        block = self.pipeline.transformer.transformer_blocks[0]
        size = _bytes_of(block)
        home = block.to("cpu")
        guest = Guest(home, str(self.device))
        taken = self._seconds(guest.come)
        whole = _bytes_of(self.pipeline.transformer)
        told(
            Row(
                "A transformer comes from main memory, by one block",
                f"{taken * whole / size:.1f} s at {size / taken / GIGABYTE:.1f} GB/s; one that stays takes none",
            )
        )
        block.to(self.device)

    def _stock_steps(self) -> torch.Tensor:
        mask = torch.zeros(1, PADDED_TOKENS, dtype=torch.bool, device=self.device)
        mask[:, :PROMPT_TOKENS] = True
        return self._drawn(PADDED_TOKENS, mask)

    def _steps(self, compilation: Compilation | None = None) -> torch.Tensor:
        transformer = self.pipeline.transformer
        steps = compilation.steps(transformer) if compilation else None
        with applied(transformer, Savings(), steps):
            return self._drawn(PROMPT_TOKENS, torch.ones(1, PROMPT_TOKENS, dtype=torch.bool, device=self.device))

    def _drawn(self, tokens: int, mask: torch.Tensor) -> torch.Tensor:
        """Latents of a picture, with random text."""
        config = self.pipeline.transformer.config
        shape = 1, tokens, config.num_text_layers, config.text_hidden_dim
        text = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(self.device, self.precision)
        (made,) = self.pipeline(
            prompt_embeds=text,
            prompt_embeds_mask=mask,
            width=self.side,
            height=self.side,
            num_inference_steps=STEPS,
            guidance_scale=0.0,
            generator=torch.Generator().manual_seed(0),
            output_type="latent",
            return_dict=False,
        )
        if not made.isfinite().all():
            raise Unavailable("the steps compute values that are no numbers — report this with the device's name")
        return made

    def _decode(self, stock: bool = False) -> object:
        vae = self.pipeline.vae
        cells = self.side // self.pipeline.vae_scale_factor
        latents = torch.randn(1, vae.config.z_dim, cells, cells, generator=torch.Generator().manual_seed(0))
        latents = latents.to(self.device, self.precision)
        with torch.no_grad():
            return vae.decode(latents[:, :, None]).sample.cpu() if stock else self.decoder.picture(latents)

    def _filled(self, kind: Any, config: dict[str, Any]) -> Any:
        """A model of random weights on the device, norms as the class keeps them."""
        with torch.device("meta"):
            model = kind.from_config(config)
        whole = getattr(model, "_keep_in_fp32_modules", None) or []
        draw = torch.Generator(self.device).manual_seed(0)
        for name, parameter in model.named_parameters():
            place, _, leaf = name.rpartition(".")
            precision = torch.float32 if set(whole) & set(name.split(".")) else self.precision
            numbers = torch.empty(parameter.shape, dtype=precision, device=self.device)
            numbers.normal_(0, DEVIATION if parameter.ndim > 1 else 0.0, generator=draw)
            if leaf == "gamma":
                numbers.fill_(1.0)
            setattr(model.get_submodule(place), leaf, nn.Parameter(numbers, requires_grad=False))
        for name, buffer in model.named_buffers():
            if buffer.is_meta:
                raise Unavailable(f"{kind.__name__} has a buffer without numbers, {name} — report this")
        return model.eval()

    def _rate(self) -> float:
        """Operations a second in a product of the blocks' size."""
        config = self.pipeline.transformer.config
        wide = config.attention_head_dim * config.num_attention_heads
        tokens = self._tokens() + PROMPT_TOKENS
        x, weight = (torch.randn(count, wide, device=self.device, dtype=self.precision) for count in (tokens, 2 * wide))
        product = partial(nn.functional.linear, x, weight)
        product()
        return 2 * tokens * wide * 2 * wide / min(self._seconds(product) for _ in range(20))

    def _tokens(self) -> int:
        return (self.side // self.pipeline.vae_scale_factor // self.pipeline.patch_size) ** 2

    def _products(self) -> float:
        """Operations of one step in its layers and its attention, with text of usual length."""
        config = self.pipeline.transformer.config
        tokens = self._tokens() + PROMPT_TOKENS
        layers = sum(
            prod(parameter.shape)
            for name, parameter in self.pipeline.transformer.named_parameters()
            if is_big(name, tuple(parameter.shape)) and name.startswith("transformer_blocks")
        )
        attention = 2 * tokens * config.attention_head_dim * config.num_attention_heads * config.num_layers
        return 2 * tokens * (layers + attention)

    def _seconds(self, work: Callable[[], object]) -> float:
        self._wait()
        started = time.perf_counter()
        work()
        self._wait()
        return time.perf_counter() - started

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    @contextmanager
    def _memory(self) -> Iterator[list[int]]:
        """The most memory of the device meanwhile, in bytes; nothing where that is not counted."""
        most: list[int] = []
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        yield most
        if self.device.type == "cuda":
            most.append(torch.cuda.max_memory_allocated(self.device))


def _pack(transformer: Krea2Transformer2DModel, precision: torch.dtype) -> None:
    """Keep the blocks' layers in float8 with a scale a layer, as published files have them."""
    form = FLOAT8["F8_E4M3"] + SCALED
    for name, layer in list(transformer.named_modules()):
        if isinstance(layer, nn.Linear) and is_big(f"{name}.weight", tuple(layer.weight.shape)):
            scale = layer.weight.abs().amax().float().clamp_min(1e-12) / FLOAT8_LARGEST
            values = (layer.weight / scale).to(torch.float8_e4m3fn).view(torch.uint8)
            parts = {"values": values, "scale": scale.view(1, 1)}
            transformer.set_submodule(name, PackedLinear(layer, form, 0, parts, precision).to(values.device))


def _bytes_of(model: nn.Module) -> int:
    return sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))


def main(argv: Sequence[str]) -> int:
    """`[--device NAME] [--pairs N] [--blocks N] [--report FILE]`: measure, print, and write the report."""
    arguments = parsed("gpu", argv)
    if arguments.device.startswith("cuda") and not torch.cuda.is_available():
        raise Unavailable("This machine has no GPU of CUDA — give --device cpu, with few --blocks, to rehearse")
    config = published_config() | {"num_layers": arguments.blocks}
    vae = AutoencoderKLQwenImage.load_config(PUBLISHED / "vae", local_files_only=True)
    name = torch.cuda.get_device_name() if arguments.device.startswith("cuda") else "the CPU"
    about = (
        f"Device: {name}. Weights are random, in the published model's shapes, {arguments.blocks} blocks. Times are "
        f"medians of {arguments.pairs} pictures, with the least and the greatest in brackets."
    )

    def measure(told: Told) -> None:
        with torch.no_grad():
            Card(arguments.device, config, vae, arguments.side, arguments.pairs).measure(told)

    write_report(arguments.report, "What a GPU makes of the published model", COMMAND, about, measure)
    return 0
