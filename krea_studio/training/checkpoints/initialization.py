"""What a transformer begins its training with, set in closed form, so that it need not spend thousands of steps on it.

`settle` makes it carry a token's noise through untouched, in numbers of the state that no block writes to, leaves room
for what the first blocks will read, gives it moderate modulations, and silences what does not know yet what to say: the
later blocks. `install_reader` makes one head of the first block read the coupled noise: it attends to all tokens nearly
alike, its values are what a token's noise says, and their mean goes to every token, into the numbers beside those that
will be read. `install_look` makes one of the first later block carry what was read of the look from token to token.
`expanded` makes mini-large of mini-medium.
Training may change all of it. Left to itself, it finds such a reading after thousands of steps, and only of some variables.
"""

from __future__ import annotations

import math
from functools import partial

import torch
from diffusers import Krea2Transformer2DModel
from torch import nn
from torch.nn import functional as F

from krea_studio.training.checkpoints import architecture, coupling, readings

TYPICAL_TOKENS = 512  # between drafts and full size: a mean that says something shrinks with the root of the tokens
LOUDNESS = 1.0  # deviation of what is read
HEARD = readings.FIRST + readings.COUNT  # where in a state it comes
TEXT_DIRECTIONS = 64  # in which texts differ most, and which the reader does not see
TYPICAL_READ = (
    readings.PLACE_NUMBERS / 2 + readings.SIZE_NUMBERS / 2 + 12
)  # square of what is read of a token and a scene
LOOK_KEPT = 0.1  # share of what a token tells of the look that it has of its own; the rest is the mean of all tokens
STEADY_DIM = 14  # of a head: of those that do not turn with a token's place
STEADY_DIMS = 16  # so many, before those that turn
LAST_DIM, ENDS_DIM, NOT_LAST_DIM = 12, 10, 13  # of these: of a prompt's last token, of all that end it, of all others
ENDS = 5  # tokens that end every prompt
KEY = 10.0  # size of their keys
SPREAD = 0.25  # how much of their keys is each angle by which they are told apart
ATTENTION = 18.0  # logit of such a token, if its key were nothing else
# Waves by which a head tells a row or column: which of the angles by which attention turns, from the slowest, and which
# of `readings.FREQUENCIES` is nearest. Two slow ones would leave the fast ones to learning, which does not find them.
WAVES = (0, 2), (6, 5)
WAVE_GAIN = 2.0
PREFERENCE = 4.0  # logit of a picture's tokens, beside which texts hardly count


CARRIED = 0.5  # factor of the noise in the state
STEADY = 4.0  # size of the last numbers of a state, by which it is nearly as long whatever it holds
MODERATE = 0.3  # factor of what else tells the time
NOTHING = 255  # a place of a state that stays 0
LEAST_TIME = 0.02  # down to which the clock is right


@torch.no_grad()
def settle(model: Krea2Transformer2DModel, seed: int = 0) -> None:
    """Set a fresh transformer's way in and out and its modulations; its blocks lose the rows that write to the noise."""
    draw = torch.Generator().manual_seed(seed)
    numbers, width = model.config.in_channels, model.img_in.out_features
    model.img_in.weight.zero_()
    model.img_in.weight[:numbers] = CARRIED * torch.eye(numbers)
    steady = slice(readings.FIRST + readings.COUNT, NOTHING)
    model.img_in.bias.zero_()
    model.img_in.bias[steady] = STEADY * torch.randn(steady.stop - steady.start, generator=draw).sign()
    typical = numbers * CARRIED**2 + TYPICAL_READ + (steady.stop - steady.start) * STEADY**2
    out = model.final_layer.linear
    factor = (typical / width) ** 0.5 / CARRIED  # the last norm divides by the state's size
    out.weight.zero_()
    out.bias.zero_()
    out.weight[:, :numbers] = factor * torch.eye(numbers)
    # What tells the time is added to every number as well: it comes in once more by one that is nothing, to be taken off.
    out.weight[:, NOTHING] = -factor
    model.img_in.bias[NOTHING] = 0
    _set_clock(model.time_embed, [*range(numbers), NOTHING])
    model.time_mod_proj.weight.zero_()
    gates = model.time_mod_proj.bias.view(6, -1).zero_()
    gates[[2, 5]] = 1
    for number, block in enumerate(model.transformer_blocks):
        silent = slice(0, numbers if number < readings.BLOCKS else width)
        block.attn.to_out[0].weight[silent] = 0
        block.ff.down.weight[silent] = 0


def _set_clock(embed: nn.Module, places: list[int]) -> None:
    """Let a time's embedding be 1/t − 1 in some places: a velocity is the way that is left, over the time left for it.

    Everything else may then be the same at all times.
    """
    embed.linear_2.weight.mul_(MODERATE)
    embed.linear_2.bias.zero_()
    # Every second unit sets in at a time of its own, by a wave so slow that it rises with the time.
    own = torch.arange(0, len(embed.linear_1.bias), 2)
    sets_in = torch.logspace(math.log10(LEAST_TIME), 0, len(own))
    slow = embed.embed_dim // 2 + int(0.825 * embed.embed_dim / 2)
    turn = 1000 * math.exp(-math.log(1e4) * (slow - embed.embed_dim // 2) / (embed.embed_dim // 2))
    steep = 4 / (turn * sets_in)
    embed.linear_1.weight[own] = 0
    embed.linear_1.weight[own, slow] = steep
    embed.linear_1.bias[own] = -steep * (turn * sets_in).sin()
    times = torch.logspace(math.log10(LEAST_TIME), 0, 4000)
    hidden: list[torch.Tensor] = []
    hook = embed.linear_2.register_forward_pre_hook(lambda module, inputs: hidden.append(inputs[0]))
    embed(times, dtype=torch.float32)
    hook.remove()
    known = torch.cat([hidden[0][:, 0, own], torch.ones(len(times), 1)], 1).double() * times[:, None]
    normal = known.T @ known + 1e-7 * len(times) * torch.eye(known.shape[1])
    found = torch.linalg.solve(normal, known.T @ (1 - times).double()).float()
    embed.linear_2.weight[:, own] = 0
    for place in places:
        embed.linear_2.weight[place] = 0
        embed.linear_2.weight[place, own] = found[:-1]
        embed.linear_2.bias[place] = found[-1]


@torch.no_grad()
def install_reader(
    model: Krea2Transformer2DModel, conditioning: tuple[torch.Tensor, torch.Tensor], seed: int = 0
) -> None:
    """Replace the first block's last head by the reader; the head that shares its keys and values loses some of these.

    `conditioning` of some captions, (batch, length, taps, width) and which of it is valid, shows what texts look like.
    """
    block, count = model.transformer_blocks[0], coupling.NUMBERS
    attn, width, device = block.attn, block.attn.head_dim, model.img_in.weight.device
    draw = torch.Generator().manual_seed(seed)
    own = (attn.num_heads - 1) * width
    at_noise = torch.ones(1, device=device)
    modulation = model.time_mod_proj(F.gelu(model.time_embed(at_noise, torch.float32), approximate="tanh"))
    scale, shift, gate, *_ = (modulation.unflatten(-1, (6, -1)) + block.scale_shift_table)[0, 0].unbind(0)

    def seen(states: torch.Tensor) -> torch.Tensor:
        return (1 + scale) * block.norm1(states) + shift

    # The value of an image token is what its noise says; that of what is alike in all, and of texts, is nothing.
    noise = torch.randn(4096, model.config.in_channels, generator=draw).to(device)
    noise = torch.cat([noise, -noise])  # so that nothing is heard where it says nothing
    image = seen(model.img_in(noise))
    middle = image.mean(0)
    slopes = torch.linalg.lstsq(noise, image - middle).solution.T  # (width of a state, 96)
    embeds, valid = conditioning
    texts = seen(model.txt_in(model.text_fusion(embeds, valid[:, None, None, :])))[valid]
    directions = torch.linalg.svd(texts - texts.mean(0), full_matrices=False).Vh[:TEXT_DIRECTIONS]
    unseen = F.normalize(torch.stack([middle, texts.mean(0), *directions]), dim=1)
    known = torch.cat([slopes.T, 3 * unseen])
    wanted = torch.cat([coupling.PATTERNS.to(device).T, torch.zeros(len(unseen), count, device=device)])
    values = slice((attn.num_kv_heads - 1) * width, (attn.num_kv_heads - 1) * width + count)
    found = torch.linalg.lstsq(known, wanted, rcond=1e-3, driver="gelsd").solution.T
    alike = F.normalize(middle, dim=0)  # so large that what is left of it would drown all else
    attn.to_v.weight[values] = found - (found @ alike)[:, None] * alike

    out = attn.to_out[0].weight
    for head in range(attn.num_heads - attn.num_heads // attn.num_kv_heads, attn.num_heads):
        out[:, head * width : head * width + count] = 0
    places = slice(HEARD, HEARD + count)
    block.scale_shift_table[2, places] += 1 - gate[places]
    out[places] = 0
    # Twice, for a gate that is half open.
    out[places, own : own + count] = 2 * LOUDNESS * TYPICAL_TOKENS**0.5 * torch.eye(count, device=device)
    attn.to_gate.weight[own : own + count] = 0
    _attend_to_pictures(attn, middle, draw)


@torch.no_grad()
def install_listener(
    model: Krea2Transformer2DModel, conditioning: tuple[torch.Tensor, torch.Tensor], named: torch.Tensor, seed: int = 0
) -> None:
    """Make the first block's first three heads tell every image token what its caption names, and where it is.

    One attends to a prompt's last token, where the text encoder has gathered what is named: as far as a linear map
    knows it, that is right at once. `conditioning` is of captions that name these values, (batch, 54): 1 for each
    value, all else 0; a few for each number of a state. The others attend to the tokens that end every prompt, which
    are told apart by angles: with an angle by which a token's row or column turns its attention, their mean is a wave
    over the rows or columns, a slow one and a fast one. Comes after `install_reader`, and is for learning to go on from.
    """
    block = model.transformer_blocks[0]
    attn, width, device = block.attn, block.attn.head_dim, model.img_in.weight.device
    draw = torch.Generator().manual_seed(seed)
    at_noise = torch.ones(1, device=device)
    modulation = model.time_mod_proj(F.gelu(model.time_embed(at_noise, torch.float32), approximate="tanh"))
    scale, shift, gate, *_ = (modulation.unflatten(-1, (6, -1)) + block.scale_shift_table)[0, 0].unbind(0)

    def seen(states: torch.Tensor) -> torch.Tensor:
        return (1 + scale) * block.norm1(states) + shift

    embeds, valid = conditioning
    texts = seen(model.txt_in(model.text_fusion(embeds, valid[:, None, None, :])))
    ends = texts[:, -ENDS:].transpose(0, 1)
    others = texts[:, :-ENDS][valid[:, :-ENDS]]
    count = ends.shape[1]
    others = others[torch.randperm(len(others), generator=draw)[: 4 * count].to(device)]
    images = seen(model.img_in(torch.randn(count, model.config.in_channels, generator=draw).to(device)))
    alike = F.normalize(images.mean(0), dim=0)

    def linear(known: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        normal = known.T @ known + 1e-3 * len(known) * torch.eye(known.shape[1], device=device)
        return torch.linalg.solve(normal, known.T @ wanted).T

    known = torch.cat([*ends, others, images])

    def of_ends(wanted: torch.Tensor, else_: float = 0.0) -> torch.Tensor:
        """The map that gives these numbers (ends, k) of the tokens that end a prompt, and this one of all others."""
        numbers = torch.full((len(known), wanted.shape[1]), else_, device=device)
        numbers[: ENDS * count] = wanted.to(device).repeat_interleave(count, 0)
        return linear(known, numbers)

    out, key, value = attn.to_out[0].weight, attn.to_k.weight, attn.to_v.weight
    attn.to_q.weight[: 3 * width] = 0
    attn.to_gate.weight[: 3 * width] = 0
    out[:, : 3 * width] = 0
    half_open = 2 / gate

    last = torch.zeros(ENDS, 1)
    last[-1] = KEY
    key[LAST_DIM] = of_ends(last)[0]
    attn.to_q.weight[LAST_DIM] = alike
    attn.norm_q.weight[LAST_DIM] = ATTENTION / width**0.5 - 1
    numbers = named.shape[1]
    # What is no end is nothing, and its key is long in a number that no query asks for.
    key[NOT_LAST_DIM] = of_ends(torch.zeros(ENDS, 1), KEY)[0]
    value[:numbers] = linear(
        torch.cat([ends[-1], others, images]),
        F.pad(named.to(device), (0, 0, 0, len(others) + len(images))),
    )
    places = readings.FIRST + readings.COUNT - numbers + torch.arange(numbers)
    out[places, torch.arange(numbers)] = half_open[places]

    # By the first wave they lie around a circle in their order, by the second in steps of two, so that neither hears the
    # other.
    angles = 2 * math.pi * torch.arange(ENDS) / ENDS
    circles = [torch.stack([(turns * angles).cos(), (turns * angles).sin()], 1) for turns in (1, 2)]
    attn.norm_q.weight[ENDS_DIM] = ATTENTION / width**0.5 - 1
    for axis, head in enumerate((1, 2)):
        slowest = STEADY_DIMS + (axis + 1) * (width - STEADY_DIMS) // 2 - 2  # of those that turn by row or by column
        first = head // 2 * width  # of the head's keys and values
        key[first + ENDS_DIM] = of_ends(torch.full((ENDS, 1), KEY))[0]
        attn.to_q.weight[head * width + ENDS_DIM] = alike
        for which, ((faster, number), around) in enumerate(zip(WAVES, circles, strict=True)):
            turning = slowest - 2 * faster
            key[first + turning : first + turning + 2] = of_ends(KEY * SPREAD * around)
            attn.to_q.weight[head * width + turning] = SPREAD * alike
            attn.norm_q.weight[turning : turning + 2] = 1
            told = width - 2 * (which + 1)
            value[first + told : first + told + 2] = of_ends(around)
            wave = readings.FIRST + readings.PLACE_NUMBERS // 2 * axis + number
            for place, at in ((wave + len(readings.FREQUENCIES), told), (wave, told + 1)):
                out[place, head * width + at] = half_open[place] * WAVE_GAIN


def keep_reader(model: Krea2Transformer2DModel) -> None:
    """Let no training change the reader or how it sees tokens: it would find other uses of that head, and forget what
    the noise says. How tokens and times come in (`img_in`, `time_embed`, `time_mod_proj`) has to stay as it is too.
    """
    block, count = model.transformer_blocks[0], coupling.NUMBERS
    attn, width = block.attn, block.attn.head_dim
    own, values = (attn.num_heads - 1) * width, (attn.num_kv_heads - 1) * width
    places = slice(HEARD, HEARD + count)
    kept: list[tuple[nn.Parameter, tuple[slice | int, ...]]] = [
        (attn.to_q.weight, (slice(own, None),)),
        (attn.norm_q.weight, (slice(STEADY_DIM, STEADY_DIM + 1),)),
        (attn.to_k.weight, (slice(values, None),)),
        (attn.norm_k.weight, (slice(None),)),
        (attn.to_v.weight, (slice(values, values + count),)),
        (attn.to_gate.weight, (slice(own, own + count),)),
        (attn.to_out[0].weight, (slice(None), slice(own, own + count))),
        (attn.to_out[0].weight, (places,)),
        (block.scale_shift_table, (2, places)),
        (block.scale_shift_table, (slice(2),)),
        (block.norm1.weight, (slice(None),)),
    ]
    for parameter, part in kept:
        parameter.register_hook(partial(_without, part=part))


def _without(gradient: torch.Tensor, part: tuple[slice | int, ...]) -> torch.Tensor:
    gradient = gradient.clone()
    gradient[part] = 0
    return gradient


def _attend_to_pictures(attn: nn.Module, middle: torch.Tensor, draw: torch.Generator) -> None:
    """Let an attention's last head attend to all tokens of pictures alike, and hardly to texts.

    Its queries, and the keys of what is like `middle` (width of a state), lie along one direction.
    """
    heads, width = attn.num_heads, attn.head_dim
    head, pair = slice((heads - 1) * width, heads * width), slice((attn.num_kv_heads - 1) * width, None)
    alike = F.normalize(middle, dim=0)
    attn.to_q.weight[head] = 0
    attn.to_q.weight[head.start + STEADY_DIM] = alike
    attn.norm_q.weight[STEADY_DIM] = PREFERENCE / width**0.5 - 1  # a gain is kept as its distance from 1
    attn.norm_k.weight[STEADY_DIM] = 0
    others = F.normalize(torch.randn(width, len(alike), generator=draw).to(alike.device), dim=1)
    others -= (others @ alike)[:, None] * alike
    attn.to_k.weight[pair] = others
    attn.to_k.weight[pair][STEADY_DIM] = alike


def heard(states: torch.Tensor, means: torch.Tensor) -> torch.Tensor:
    """States (…, width) with what the reader brings to them, where the noise's means are these (…, 20)."""
    loud = LOUDNESS * TYPICAL_TOKENS**0.5
    before, own, after = states.tensor_split([HEARD, HEARD + coupling.NUMBERS], -1)
    return torch.cat([before, own + loud * means, after], -1)


@torch.no_grad()
def install_look(model: Krea2Transformer2DModel, states: torch.Tensor, seed: int = 0) -> None:
    """Let the first later block tell every token the look that the picture's tokens tell, which is what it was before.

    References work there: where tokens of another picture are attended to as well, its look comes in. `states` (n,
    width) are what the first blocks leave of some tokens. The block's attention has to be silent still.
    """
    look, first = readings.places_of_look(), readings.BLOCKS
    count = len(look)
    writers = [model.img_in, model.txt_in.linear_2]
    for block in model.transformer_blocks[:first]:
        writers += [block.attn.to_out[0], block.ff.down]
        for norm in (block.norm1, block.norm2):  # a gain is kept as its distance from 1
            norm.weight[look] = (1 + norm.weight[look]) / LOOK_KEPT - 1
    for parameter in (each for writer in writers for each in writer.parameters()):
        parameter[look] *= LOOK_KEPT

    block, attn = model.transformer_blocks[first], model.transformer_blocks[first].attn
    heads, width, device = attn.num_heads, attn.head_dim, states.device
    head, pair = slice((heads - 1) * width, heads * width), slice((attn.num_kv_heads - 1) * width, None)
    draw = torch.Generator().manual_seed(seed)
    alike = F.normalize(states.mean(0), dim=0)
    _attend_to_pictures(attn, alike, draw)
    attn.to_gate.weight[head] = 0

    at_noise = torch.ones(1, device=device)
    modulation = model.time_mod_proj(F.gelu(model.time_embed(at_noise, torch.float32), approximate="tanh"))
    scale, shift, gate, *_ = (modulation.unflatten(-1, (6, -1)) + block.scale_shift_table)[0, 0].unbind(0)
    size, numbers = states.square().mean().sqrt(), torch.arange(count, device=device)
    steady = ((1 + scale) * states.mean(0) / size + shift) @ alike
    attn.to_v.weight[pair] = 0
    attn.to_v.weight[pair.start + numbers] = -(shift[look] / steady)[:, None] * alike
    attn.to_v.weight[pair.start + numbers, look] += 1
    # Of the share that is kept, through a gate that is half open.
    back = 2 * size / (1 + scale[look]) / gate[look] * (1 - LOOK_KEPT) / LOOK_KEPT
    attn.to_out[0].weight[:, head] = 0
    attn.to_out[0].weight[look, head.start + numbers] = back


@torch.no_grad()
def expanded(medium: Krea2Transformer2DModel) -> Krea2Transformer2DModel:
    """mini-large before its own training: mini-medium's blocks, with new ones after those that paint, which change
    nothing yet.

    A new block copies the one before it with its two output projections at zero (block expansion, Wu et al. 2024,
    LLaMA Pro, arXiv 2401.02415).
    """
    large = architecture.transformer("mini-large")
    state = {k: v for k, v in medium.state_dict().items() if not k.startswith("transformer_blocks.")}
    old, new = len(medium.transformer_blocks), len(large.transformer_blocks)
    sources = sorted([*range(old), *range(old - (new - old), old)])
    for k, source in enumerate(sources):
        repeated = k > 0 and sources[k - 1] == source
        for name, value in medium.transformer_blocks[source].state_dict().items():
            silent = repeated and name in ("attn.to_out.0.weight", "ff.down.weight")
            state[f"transformer_blocks.{k}.{name}"] = torch.zeros_like(value) if silent else value.clone()
    large.load_state_dict(state)
    return large
