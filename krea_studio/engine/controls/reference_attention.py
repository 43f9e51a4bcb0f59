"""Reference attention: a picture takes over the look of others, without training and on the stock transformer.

In every step each reference, noised to the step's level, goes through the transformer by itself, and its keys and
values are kept (capture). The picture's own pass then attends to them beside its own tokens (injection). What tells a
reference key's *place*, the rotary pairs of short wavelength, is turned down as the steps go on, so that colours and
textures are taken over and the layout is not. References are merged by their log-sum-exp, which gives each its own
strength of either sign and makes their order meaningless.

After Untwisting RoPE (arXiv 2602.05013) in a two-pass form; matching statistics after StyleAligned (arXiv 2312.02133);
the bound on negative strengths after NAG (arXiv 2505.21179). With no reference nothing here is installed.
"""

import math
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from diffusers import Krea2Transformer2DModel
from diffusers.models.embeddings import apply_rotary_emb

from krea_studio.engine.cache import ByteCache
from krea_studio.engine.controls.adapters import switched_off
from krea_studio.engine.controls.attention import attend
from krea_studio.engine.pipeline.prompts import FULLY_READ, PromptEmbedding

NOISE_SEED = 42


@dataclass(frozen=True)
class Preset:
    """How references are attended to. Pairs are gains of reference keys at the first and at the last step.

    Gains go from the shortest wavelength to the longest as `share ** bend`. `matching` and `value_matching` say how far
    the mean and deviation of the picture's queries and keys, and of its values, move to the references' at strength 1.
    """

    full: float = 0.65  # what a strength of 1 counts; at 1 a reference would count like the picture's own tokens
    guided: float = 0.8  # the share of it where guidance is on: with its many steps, layouts are copied sooner
    first_block: float = 0.25  # share of the blocks, from the first on, that lay out the picture and are left alone
    key_gain: float = 1.06
    short_waves: tuple[float, float] = (0.5, 0.0)
    long_waves: tuple[float, float] = (1.0, 1.1)
    bend: float = 2.5
    matching: float = 0.85
    value_matching: float = 0.6
    bound: float = 2.5  # on the output's size against the own one, where a strength is negative

    def under(self, guidance_scale: float) -> "Preset":
        """The preset for a run with this guidance, 0 for none."""
        return replace(self, full=self.full * self.guided) if guidance_scale else self


@dataclass(frozen=True)
class Reference:
    """One picture to attend to: clean packed latents (1, rows · columns, channels), and its strength of either sign.

    `identity` names the latents. `kept_tokens` says how many of its tokens stand for all of them, None for all; `times`
    is how often all of them count.
    """

    identity: Hashable
    latents: torch.Tensor
    rows: int
    columns: int
    strength: float
    kept_tokens: int | None = None
    times: float = 1.0


@dataclass(frozen=True)
class BlockCapture:
    """What one block saw of a reference: keys (after rotary embedding) and values, (1, heads, tokens, width), and mean
    and deviation over tokens, (1, heads, 1, width) each, of its queries, keys and values."""

    keys: torch.Tensor
    values: torch.Tensor
    statistics: tuple[tuple[torch.Tensor, torch.Tensor], ...]

    def of(self, tokens: torch.Tensor) -> "BlockCapture":
        """With these of its tokens only."""
        return replace(self, keys=self.keys[:, :, tokens], values=self.values[:, :, tokens])

    def to(self, device: torch.device | str) -> "BlockCapture":
        """On another device; itself where it is there already."""
        statistics = tuple((mean.to(device), deviation.to(device)) for mean, deviation in self.statistics)
        return BlockCapture(self.keys.to(device), self.values.to(device), statistics)


@dataclass(frozen=True)
class Capture:
    """What one reference shows at one noise level, block by block."""

    blocks: tuple[BlockCapture, ...]

    @property
    def bytes(self) -> int:
        tensors = (t for block in self.blocks for t in (block.keys, block.values, *sum(block.statistics, ())))
        return sum(tensor.nbytes for tensor in tensors)

    def to(self, device: torch.device | str) -> "Capture":
        """On another device."""
        return Capture(tuple(block.to(device) for block in self.blocks))


@contextmanager
def attending(
    transformer: Krea2Transformer2DModel,
    references: Sequence[Reference],
    neutral: PromptEmbedding,
    steps: int,
    captures: ByteCache[Capture],
    check: Callable[[], None] = lambda: None,
    preset: Preset = Preset(),
    spent: Callable[[float], None] = lambda seconds: None,
) -> Iterator[None]:
    """The transformer attends to `references` while the context lasts, in one picture of `steps` steps.

    References are captured with the `neutral` prompt and all adapters off, so that a capture depends on nothing but the
    reference, the weights and the noise level; `captures` keeps them in main memory. `check` is called before each
    capture and may raise; `spent` is told the seconds of each. Whatever ends the context, the transformer is as it was.
    For one thread at a time.
    """
    if not references:
        yield
        return
    attention = _ReferenceAttention(transformer, references, neutral, steps, captures, check, preset, spent)
    blocks = transformer.transformer_blocks[round(preset.first_block * len(transformer.transformer_blocks)) :]
    stock = [block.attn.processor for block in blocks]
    hook = transformer.register_forward_pre_hook(attention.before_forward, with_kwargs=True)
    try:
        for place, block in enumerate(blocks):
            block.attn.set_processor(_Processor(attention, place))
        yield
    finally:
        hook.remove()
        for block, processor in zip(blocks, stock, strict=True):
            block.attn.set_processor(processor)


class _ReferenceAttention:
    """The state that the processors of one transformer share during one picture."""

    def __init__(
        self,
        transformer: Krea2Transformer2DModel,
        references: Sequence[Reference],
        neutral: PromptEmbedding,
        steps: int,
        captures: ByteCache[Capture],
        check: Callable[[], None],
        preset: Preset,
        spent: Callable[[float], None],
    ) -> None:
        self.references, self.preset = references, preset
        self.text_tokens = 0
        self.seen: tuple[Capture, ...] = ()  # one a reference, at the present noise level
        self.recorded: list[BlockCapture] | None = None  # not None while a reference is captured
        self._transformer, self._neutral, self._steps = transformer, neutral, steps
        self._captures, self._check, self._spent = captures, check, spent
        self._levels: list[float] = []
        self._positions = [_positions(each, neutral) for each in references]
        self._noise = [_noise_like(each.latents) for each in references]

        strengths = [each.strength * preset.full for each in references]
        total = sum(map(abs, strengths))
        # Below a sum of 1 the own attention is blended with what attends to everything; above it, the logits of the
        # references rise instead. Both meet at 1, where references count like the picture's own tokens.
        blend = min(1.0, total)
        self.blends = [math.copysign(blend, strength) for strength in strengths]
        self.log_weights = [
            math.log(abs(strength) / total * max(1.0, total) * each.times * each.latents.shape[1] / _tokens(each))
            for each, strength in zip(references, strengths, strict=True)
        ]
        self.size = min(total, 1.5)
        self.positives = [max(strength, 0.0) for strength in strengths]
        self.positive = sum(self.positives)
        self.pushes = any(strength < 0 for strength in strengths)

    @property
    def progress(self) -> float:
        """0 in the first step, 1 in the last."""
        return (len(self._levels) - 1) / max(1, self._steps - 1)

    def before_forward(self, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """The transformer's pre-hook: capture the references when a new noise level begins."""
        self.text_tokens = kwargs["encoder_hidden_states"].shape[1]
        level = float(kwargs["timestep"][0])
        if not self._levels or level != self._levels[-1]:
            self._levels.append(level)
            device = kwargs["hidden_states"].device
            timestep = kwargs["timestep"][:1]
            self.seen = ()  # those of the level before leave first
            self.seen = tuple(
                self._captures.get((each.identity, each.kept_tokens, level), partial(self._capture, k, timestep)).to(
                    device
                )
                for k, each in enumerate(self.references)
            )
        return args, kwargs

    def _capture(self, number: int, timestep: torch.Tensor) -> Capture:
        self._check()
        started = time.perf_counter()
        reference, picture_text = self.references[number], self.text_tokens
        self.recorded, self.text_tokens = [], self._neutral.values.shape[1]
        mask = None if self._neutral.mask.all() else self._neutral.mask
        try:
            with switched_off(self._transformer):
                # Not a call of the module, which would come back to the hook.
                self._transformer.forward(
                    hidden_states=torch.lerp(reference.latents, self._noise[number], timestep[0]),
                    encoder_hidden_states=self._neutral.values,
                    timestep=timestep,
                    position_ids=self._positions[number],
                    encoder_attention_mask=mask,
                    return_dict=False,
                )
            blocks = self.recorded
        finally:
            self.recorded, self.text_tokens = None, picture_text
        tokens = reference.latents.shape[1]
        if _tokens(reference) < tokens:
            order = torch.randperm(tokens, generator=torch.Generator().manual_seed(NOISE_SEED))
            kept = order[: _tokens(reference)].sort().values.to(reference.latents.device)
            blocks = [block.of(kept) for block in blocks]
        # Main memory: the device has better uses for it, and one step's captures are quickly brought back.
        capture = Capture(tuple(blocks)).to("cpu")
        self._spent(time.perf_counter() - started)
        return capture

    def key_gains(self, width: int, like: torch.Tensor) -> torch.Tensor:
        """The gain of each channel of a reference key in the present step, (head width,)."""
        time_width, *place_widths = self._transformer.config.axes_dims_rope
        long = _between(self.preset.long_waves[0], 1 + (self.preset.long_waves[1] - 1) * self.size, self.progress)
        short = _between(*self.preset.short_waves, self.progress)
        parts = [torch.full((time_width,), long)]
        for axis in place_widths:
            wavelength = torch.linspace(0, 1, axis // 2) ** self.preset.bend
            parts.append((short + (long - short) * wavelength).repeat_interleave(2))
        gains = torch.cat(parts).to(like) * self.preset.key_gain
        assert gains.shape == (width,)
        return gains

    def targets(self, place: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Mean and deviation of queries, keys and values that block `place` is to match: of all tokens of the positive
        references together, each with its share."""
        shares = [strength / self.positive for strength in self.positives]
        found = [capture.blocks[place].statistics for capture in self.seen]
        return [_pooled(shares, [each[kind] for each in found]) for kind in range(3)]


class _Processor:
    """Stock Krea 2 attention that also attends to references, or records what it sees of one."""

    def __init__(self, attention: _ReferenceAttention, place: int) -> None:
        self._attention, self._place = attention, place

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        image_rotary_emb: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> torch.Tensor:
        query = attn.to_q(hidden_states).unflatten(-1, (attn.num_heads, attn.head_dim))
        key = attn.to_k(hidden_states).unflatten(-1, (attn.num_kv_heads, attn.head_dim))
        value = attn.to_v(hidden_states).unflatten(-1, (attn.num_kv_heads, attn.head_dim)).transpose(1, 2)
        query = apply_rotary_emb(attn.norm_q(query), image_rotary_emb, sequence_dim=1).transpose(1, 2)
        key = apply_rotary_emb(attn.norm_k(key), image_rotary_emb, sequence_dim=1).transpose(1, 2)
        recorded, image = self._attention.recorded, slice(self._attention.text_tokens, None)
        if recorded is not None:
            statistics = tuple(_statistics(each[:, :, image]) for each in (query, key, value))
            recorded.append(BlockCapture(key[:, :, image], value[:, :, image], statistics))
            out, _ = attend(query, key, value, attention_mask)
        else:
            query, key, value = self._matched(query, key, value, image)
            out = self._merged(query, key, value, attention_mask)
        out = out.transpose(1, 2).flatten(2, 3) * torch.sigmoid(attn.to_gate(hidden_states))
        return attn.to_out[0](out)

    def _matched(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, image: slice
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The picture's own tokens with their statistics moved to those of the positive references."""
        attention = self._attention
        if not attention.positive:
            return query, key, value
        preset, strength = attention.preset, min(attention.positive, 1.25)
        amounts = (preset.matching, preset.matching, preset.value_matching)
        moved = []
        for each, amount, target in zip((query, key, value), amounts, attention.targets(self._place), strict=True):
            each = each.clone()
            each[:, :, image] = _moved(each[:, :, image], target, min(amount * strength, 1.0))
            moved.append(each)
        return tuple(moved)

    def _merged(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """Attention to the picture's own tokens and to the references, merged by log-sum-exp."""
        attention = self._attention
        own, own_lse = attend(query, key, value, mask)
        if mask is not None and mask.dtype != torch.bool:
            own_lse = own_lse - FULLY_READ  # on all own logits, so that only the references would lose by it
        gains = attention.key_gains(key.shape[-1], key)
        outs, lses = [], [own_lse]
        for capture, log_weight in zip(attention.seen, attention.log_weights, strict=True):
            block = capture.blocks[self._place]
            batch = (len(query), -1, -1, -1)
            out, lse = attend(query, (block.keys * gains).expand(batch), block.values.expand(batch))
            outs.append(out)
            lses.append(lse + log_weight)
        whole = torch.stack(lses).logsumexp(0)
        merged = own
        for out, lse, blend in zip(outs, lses[1:], attention.blends, strict=True):
            merged = merged + (blend * (lse - whole).exp()[..., None]).to(own.dtype) * (out - own)
        if attention.pushes:
            ratio = merged.abs().sum(-1, keepdim=True) / own.abs().sum(-1, keepdim=True).clamp_min(1e-6)
            merged = merged * (attention.preset.bound / ratio.clamp_min(1e-6)).clamp_max(1)
        return merged


def _tokens(reference: Reference) -> int:
    """How many of a reference's tokens are attended to."""
    return min(reference.kept_tokens or math.inf, reference.latents.shape[1])


def _positions(reference: Reference, neutral: PromptEmbedding) -> torch.Tensor:
    """(text + image tokens, 3): text at the origin, the reference's tokens on their own grid, as in the pipeline."""
    image = torch.zeros(reference.rows, reference.columns, 3)
    image[..., 1] = torch.arange(reference.rows)[:, None]
    image[..., 2] = torch.arange(reference.columns)
    positions = torch.cat([torch.zeros(neutral.values.shape[1], 3), image.flatten(0, 1)])
    return positions.to(reference.latents.device)


def _noise_like(latents: torch.Tensor) -> torch.Tensor:
    return torch.randn(latents.shape, generator=torch.Generator().manual_seed(NOISE_SEED)).to(latents)


def _between(first: float, last: float, progress: float) -> float:
    return first + (last - first) * progress


def _statistics(tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and deviation over tokens, (batch, heads, 1, width) each."""
    return tokens.mean(2, keepdim=True), tokens.std(2, keepdim=True)


def _pooled(
    shares: Sequence[float], found: Sequence[tuple[torch.Tensor, torch.Tensor]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and deviation of a mixture, of those of its parts."""
    mean = sum(share * each for share, (each, _) in zip(shares, found, strict=True))
    square = sum(
        share * (deviation**2 + (each - mean) ** 2) for share, (each, deviation) in zip(shares, found, strict=True)
    )
    return mean, square.sqrt()


def _moved(tokens: torch.Tensor, target: tuple[torch.Tensor, torch.Tensor], amount: float) -> torch.Tensor:
    mean, deviation = _statistics(tokens)
    return torch.lerp(tokens, (tokens - mean) / deviation.clamp_min(1e-6) * target[1] + target[0], amount)
