"""The autoencoder: an encoder in closed form, a decoder trained on what that encoder lets through.

It takes 8 × 8 pixels to six numbers. For pictures as flat as the small world's the best linear code of that size, the
first principal components of a block (colour and slope), keeps 94 % of the variance. So the stock encoder's
convolutions are set to compute just that, and all training goes into the decoder, which learns to draw sharp edges; in
the end it learns on what the transformer makes. On single pictures the causal 3-D convolutions only ever use their last
temporal tap and are run as 2-D ones here: the same function and gradients at a third of the cost.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKLQwenImage
from diffusers.models.autoencoders.autoencoder_kl_qwenimage import QwenImageCausalConv3d, QwenImageRMS_norm
from torch.nn import functional as F

from krea_studio.training import loop
from krea_studio.training.checkpoints import architecture
from krea_studio.training.checkpoints.architecture import LATENT_CHANNELS, PIXELS_PER_CELL
from krea_studio.training.world.renderer import render
from krea_studio.training.world.scenes import random_scene

BASIS_PICTURES = 240
BASIS_BLOCKS_PER_PICTURE = 600
CROP_PIXELS = 96
CROPS_PER_PICTURE = 16
BANK_PICTURES = 160
BATCH = 8
STEPS = 3000
POLISH_STEPS = 2000
FORGIVEN_NOISE = 0.08
FIRST_SEED = 5_000_000  # away from the seeds of the denoiser and of the judge
PICTURE_SIZES = (1024, 512, 1024, 320, 1024, 512)
# Deviation of a component as the denoiser sees it: the fourth root of its share of the variance, so that coarse
# components settle early in sampling and fine ones late, times a factor that brings their mean near one.
LATENT_SCALE = 1.8
DECODER_CARRIER = 50.0
CARRIER = 1000.0  # a constant channel so large that the encoder's last normalisation divides by it alone


@dataclass(frozen=True)
class Basis:
    """Principal components of 8 × 8 blocks: `mean` (192,), `components` (192, 6), `deviations` (6,).

    The components lie in the span of the leading 32 components of their four 4 × 4 quarters, `quarters` (48, 32),
    because the encoder's middle layer is 32 wide. Pixels of a block are ordered (row, column, colour).
    """

    mean: torch.Tensor
    components: torch.Tensor
    deviations: torch.Tensor
    quarters: torch.Tensor

    def project(self, pictures: torch.Tensor) -> torch.Tensor:
        """Latents of uint8 pictures (batch, height, width, 3), scaled as the denoiser sees them."""
        blocks = _blocks(pictures, PIXELS_PER_CELL)
        return ((blocks - self.mean) @ self.components / self.scale).movedim(-1, 1)

    @property
    def scale(self) -> torch.Tensor:
        """Latent units per normalised unit, (6,)."""
        share = self.deviations / self.deviations[0]
        return self.deviations / (LATENT_SCALE * share.sqrt())


def _blocks(pictures: torch.Tensor, side: int) -> torch.Tensor:
    """uint8 (batch, height, width, 3) → float −1…1 (batch, rows, columns, side · side · 3)."""
    b, h, w, _ = pictures.shape
    x = pictures.float().div(127.5).sub(1).view(b, h // side, side, w // side, side, 3)
    return x.transpose(2, 3).reshape(b, h // side, w // side, side * side * 3)


def pixels_of(number: int) -> torch.Tensor:
    """The autoencoder's picture of a number as uint8 (height, width, 3), in one of several sizes."""
    size = PICTURE_SIZES[number % len(PICTURE_SIZES)]
    picture = render(random_scene(FIRST_SEED + number), size, size, rich=size >= 512 and number % 3 == 0)
    return torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8).view(size, size, 3)


def _leading(samples: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Deviations and components (features, count) with the most variance; the sign is fixed by the largest entry."""
    variances, vectors = torch.linalg.eigh(samples.T @ samples / len(samples))
    vectors = vectors.flip(1)[:, :count]
    signs = vectors.gather(0, vectors.abs().argmax(0, keepdim=True)).sign()
    return variances.flip(0)[:count].clamp(min=0).sqrt(), vectors * signs


def fit_basis(seed: int = 0) -> Basis:
    """Principal components of the renderer's blocks."""
    draw = torch.Generator().manual_seed(seed)
    picked = []
    for number in range(BASIS_PICTURES):
        blocks = _blocks(pixels_of(number)[None], PIXELS_PER_CELL).flatten(0, 2)
        picked.append(blocks[torch.randint(len(blocks), (BASIS_BLOCKS_PER_PICTURE,), generator=draw)])
    blocks = torch.cat(picked).double()
    mean = blocks.mean(0)
    quarters = _quarters(blocks - mean)
    _, leading = _leading(quarters.flatten(0, 1), 32)
    kept = _unquartered(quarters @ leading @ leading.T)
    deviations, components = _leading(kept, LATENT_CHANNELS)
    return Basis(mean.float(), components.float(), deviations.float(), leading.float())


def _quarters(blocks: torch.Tensor) -> torch.Tensor:
    """(n, 192) → (n, 4, 48): the four 4 × 4 quarters of a block, by row then column."""
    x = blocks.view(-1, 2, 4, 2, 4, 3).transpose(2, 3)
    return x.reshape(len(blocks), 4, 48)


def _unquartered(quarters: torch.Tensor) -> torch.Tensor:
    x = quarters.view(-1, 2, 2, 4, 4, 3).transpose(2, 3)
    return x.reshape(len(quarters), 192)


@torch.no_grad()
def set_encoder(vae: AutoencoderKLQwenImage, basis: Basis) -> None:
    """Set the stock encoder to the projection on the basis: its latent mean is `basis.project`, unscaled.

    Residual branches are silent; each downsampling convolution gathers 2 × 2 neighbours, the second and third project.
    The head's SiLU is undone by carrying every component with both signs, since silu(x) − silu(−x) = x.
    """
    encoder, count = vae.encoder, LATENT_CHANNELS
    for parameter in [*encoder.parameters(), *vae.quant_conv.parameters()]:
        parameter.zero_()
    first, second, third = (encoder.down_blocks[k].resample[1] for k in (1, 3, 5))
    widen_once, widen_twice = encoder.down_blocks[2].conv_shortcut, encoder.down_blocks[4].conv_shortcut
    for colour in range(3):
        encoder.conv_in.weight[colour, colour, -1, 1, 1] = 1
        for row in range(2):
            for column in range(2):
                first.weight[(row * 2 + column) * 3 + colour, colour, row, column] = 1
    for channel in range(12):
        widen_once.weight[channel, channel, -1] = 1
    for channel in range(32):
        widen_twice.weight[channel, channel, -1] = 1
    # Channels after `first` are (row, column, colour) of 2 × 2 pixels; quarters are (row, column, colour) of 4 × 4.
    quarter = basis.quarters.view(2, 2, 2, 2, 3, 32)  # (row of pair, row, column of pair, column, colour, out)
    second.weight[:, :12, :2, :2] = quarter.permute(5, 1, 3, 4, 0, 2).reshape(32, 12, 2, 2)
    whole = torch.einsum("oqp,pk->okq", _quarters(basis.components.T), basis.quarters)
    taps = whole.view(count, 32, 2, 2)
    offset = basis.mean @ basis.components
    for sign, start in ((1, 0), (-1, count)):
        third.weight[start : start + count, :32, :2, :2] = sign * taps
        third.bias[start : start + count] = -sign * offset
    third.bias[2 * count] = CARRIER
    encoder.norm_out.gamma[: 2 * count] = CARRIER / encoder.norm_out.scale
    for channel in range(count):
        encoder.conv_out.weight[channel, channel, -1, 1, 1] = 1
        encoder.conv_out.weight[channel, count + channel, -1, 1, 1] = -1
        encoder.conv_out.bias[count + channel] = -12.0  # logarithm of the variance: the code is as good as certain
    for channel in range(2 * count):
        vae.quant_conv.weight[channel, channel] = 1
    vae.register_to_config(latents_mean=[0.0] * count, latents_std=basis.scale.tolist())


@torch.no_grad()
def set_decoder_start(vae: AutoencoderKLQwenImage, basis: Basis) -> None:
    """Let the decoder start as smooth interpolation of every block's mean colour, so that it only learns the rest.

    Channels 0…2 carry the colour through to the end, 3…5 its negative (again silu(x) − silu(−x) = x), 6 the carrier
    that makes normalisations near-constant. Residual branches start silent and do not see the carrier.
    """
    decoder = vae.decoder
    passing = 2 * 3 + 1
    colours = basis.components.view(64, 3, LATENT_CHANNELS).mean(0)
    smooth = torch.tensor([1.0, 2.0, 1.0]) / 4

    for parameter in vae.post_quant_conv.parameters():
        parameter.zero_()
    for channel in range(LATENT_CHANNELS):
        vae.post_quant_conv.weight[channel, channel] = 1
    decoder.conv_in.weight[:passing] = 0
    for sign, start in ((1, 0), (-1, 3)):
        decoder.conv_in.weight[start : start + 3, :, -1, 1, 1] = sign * colours
        decoder.conv_in.bias[start : start + 3] = sign * basis.mean.view(64, 3).mean(0)
    decoder.conv_in.bias[6] = DECODER_CARRIER
    shortcuts = [
        m.conv_shortcut for m in decoder.modules() if isinstance(getattr(m, "conv_shortcut", None), torch.nn.Conv3d)
    ]
    upsamplers = [block.upsamplers[0].resample[1] for block in decoder.up_blocks if block.upsamplers]
    for convolution in [*shortcuts, *upsamplers]:
        weight = convolution.weight[:, :, -1] if convolution.weight.ndim == 5 else convolution.weight
        weight[:passing] = 0
        weight[:, passing - 1] = 0
        convolution.bias[:passing] = 0
        for channel in range(passing):
            if weight.shape[-1] == 1:
                weight[channel, channel] = 1
            else:
                weight[channel, channel] = smooth[:, None] * smooth
    for module in decoder.modules():
        if isinstance(module, QwenImageRMS_norm):
            module.gamma.fill_(DECODER_CARRIER / module.scale)
            if module is not decoder.norm_out:
                module.gamma[passing - 1] = 0
        elif type(module).__name__ == "QwenImageResidualBlock":
            module.conv2.weight.zero_()
            module.conv2.bias.zero_()
    decoder.mid_block.attentions[0].proj.weight.zero_()
    decoder.mid_block.attentions[0].proj.bias.zero_()
    decoder.conv_out.weight[:, passing:] *= 0.1
    decoder.conv_out.weight[:, :passing] = 0
    decoder.conv_out.bias.zero_()
    for colour in range(3):
        decoder.conv_out.weight[colour, colour, -1, 1, 1] = 1
        decoder.conv_out.weight[colour, 3 + colour, -1, 1, 1] = -1


def _conv2d(self: QwenImageCausalConv3d, x: torch.Tensor, cache_x=None) -> torch.Tensor:
    return F.conv2d(x.squeeze(2), self.weight[:, :, -1], self.bias, self.stride[1:], self._padding[0]).unsqueeze(2)


def _rms_norm(self: QwenImageRMS_norm, x: torch.Tensor) -> torch.Tensor:
    return x * x.pow(2).mean(1, keepdim=True).add(1e-12).rsqrt() * self.gamma


def _single_frame(decoder: torch.nn.Module) -> torch.nn.Module:
    """Run a decoder's convolutions on one frame, trainable; other temporal taps become zero."""
    for module in decoder.modules():
        if isinstance(module, QwenImageCausalConv3d):
            # The default start divides by the fan-in of all taps; only one of them is used.
            module.weight.data *= module.kernel_size[0] ** 0.5
            module.weight.data[:, :, :-1] = 0
            module.forward = types.MethodType(_conv2d, module)
        elif isinstance(module, QwenImageRMS_norm):
            module.forward = types.MethodType(_rms_norm, module)
    return decoder


class _Crops:
    """A changing bank of crops: each step one new picture's crops replace the oldest."""

    def __init__(self):
        count = BANK_PICTURES * CROPS_PER_PICTURE
        self.bank = torch.empty(count, CROP_PIXELS, CROP_PIXELS, 3, dtype=torch.uint8)
        self.next = 0

    def advance(self, upto: int) -> None:
        """Hold the crops of the `BANK_PICTURES` pictures that end with number `upto`."""
        self.next = max(self.next, upto - BANK_PICTURES + 1)
        while self.next <= upto:
            slot = self.next % BANK_PICTURES * CROPS_PER_PICTURE
            self.bank[slot : slot + CROPS_PER_PICTURE] = self._crops(self.next)
            self.next += 1

    @staticmethod
    def _crops(number: int) -> torch.Tensor:
        pixels = pixels_of(number)
        draw = torch.Generator().manual_seed(number)
        steps = (len(pixels) - CROP_PIXELS) // PIXELS_PER_CELL + 1
        corners = torch.randint(steps, (CROPS_PER_PICTURE, 2), generator=draw) * PIXELS_PER_CELL
        return torch.stack([pixels[y : y + CROP_PIXELS, x : x + CROP_PIXELS] for y, x in corners.tolist()])


def difference(y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """How far a picture (batch, 3, h, w) is from the true one: its colours, and its steps from pixel to pixel.

    The steps weigh most: where an edge is uncertain by a pixel, colours alone would settle on a soft one.
    """
    across, down = (torch.diff(y - x, dim=d).abs().mean() for d in (2, 3))
    return 0.5 * (y - x).abs().mean() + (y - x).pow(2).mean() + across + down


def train(folder: Path, device: str, steps: int = STEPS, seed: int = 0) -> AutoencoderKLQwenImage:
    """Fit the encoder, train the decoder from scratch (or go on), and return the stock autoencoder."""
    basis = basis_of(folder, seed)
    torch.manual_seed(seed)
    vae = architecture.autoencoder()
    set_encoder(vae, basis)
    decoder = torch.nn.Sequential(vae.post_quant_conv, vae.decoder)
    _single_frame(decoder).to(device)
    set_decoder_start(vae, basis)
    crops = _Crops()

    def batch(step: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        crops.advance(step // 3 + BANK_PICTURES)
        picked = crops.bank[torch.randint(len(crops.bank), (BATCH,), generator=generator)]
        return forgiving(basis.project(picked), generator), picked

    _learn("decoder", vae, decoder, batch, loop.Schedule(steps, 3e-3), folder, seed)
    return _stock(vae)


def polish(
    vae: AutoencoderKLQwenImage, own: Path, folder: Path, device: str, steps: int = POLISH_STEPS, seed: int = 0
) -> AutoencoderKLQwenImage:
    """Train the decoder on (or go on) with latents that a checkpoint made, towards the renderer's pictures of them.

    `own` holds files with "latents" (6, h, w) as the denoiser sees them and the "picture", uint8 (height, width, 3),
    that they should be. Every second crop is of the picture's true latents, so that round trips stay as good.
    """
    decoder = torch.nn.Sequential(vae.post_quant_conv, vae.decoder)
    encoder = _encoder_of(vae)
    _single_frame(decoder).to(device)
    files = [torch.load(path, weights_only=True, mmap=True) for path in sorted(own.glob("*.pt"))]
    cells = CROP_PIXELS // PIXELS_PER_CELL

    def batch(step: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        latents, pictures = [], []
        for k in range(BATCH):
            file = files[int(torch.randint(len(files), (), generator=generator))]
            _, h, w = file["latents"].shape
            y, x = (int(torch.randint(side - cells + 1, (), generator=generator)) for side in (h, w))
            top, left = y * PIXELS_PER_CELL, x * PIXELS_PER_CELL
            picture = file["picture"][top : top + CROP_PIXELS, left : left + CROP_PIXELS]
            made = file["latents"][:, y : y + cells, x : x + cells].float()
            latents.append(forgiving(encoder(picture[None]), generator)[0] if k % 2 else made)
            pictures.append(picture)
        return torch.stack(latents), torch.stack(pictures)

    schedule = loop.Schedule(steps, 1e-3, warmup=50)
    _learn("polish", vae, decoder, batch, schedule, folder, seed)
    return _stock(vae)


def forgiving(latents: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Latents (batch, 6, h, w) with a little noise: what a small denoiser gets slightly wrong must be forgiven."""
    amount = torch.rand((len(latents), 1, 1, 1), generator=generator) * FORGIVEN_NOISE
    return latents + torch.randn(latents.shape, generator=generator) * amount


def _learn(name: str, vae, decoder: torch.nn.Module, batch: Callable, schedule: loop.Schedule, folder: Path, seed: int):
    """Train a single-frame decoder; `batch(step, generator)` gives latents as the denoiser sees them, and pictures.

    Attention in its middle stays silent: in a large picture it would take a third of the time, and what lies far away
    the transformer has seen.
    """
    vae.decoder.mid_block.attentions.requires_grad_(False)
    scale = torch.tensor(vae.config.latents_std).view(1, -1, 1, 1)
    decode = torch.compile(decoder, dynamic=False)

    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        latents, pictures = batch(step, generator)
        device = next(decoder.parameters()).device
        y = decode((latents * scale).unsqueeze(2).to(device)).squeeze(2)
        return difference(y, pictures.permute(0, 3, 1, 2).float().div(127.5).sub(1).to(device))

    loop.run(name, decoder, loss_of, schedule, folder, seed, decay=0.995)


def _encoder_of(vae: AutoencoderKLQwenImage) -> Callable[[torch.Tensor], torch.Tensor]:
    """uint8 pictures (batch, height, width, 3) → latents as the denoiser sees them, by the stock encoder."""
    mean = torch.tensor(vae.config.latents_mean).view(1, -1, 1, 1)
    scale = torch.tensor(vae.config.latents_std).view(1, -1, 1, 1)

    @torch.no_grad()
    def encode(pictures: torch.Tensor) -> torch.Tensor:
        x = pictures.permute(0, 3, 1, 2).float().div(127.5).sub(1).unsqueeze(2)
        return (vae.encode(x).latent_dist.mode()[:, :, 0] - mean) / scale

    return encode


def _stock(vae: AutoencoderKLQwenImage) -> AutoencoderKLQwenImage:
    """The same weights in a fresh module, whose convolutions are the stock ones again."""
    stock = architecture.autoencoder()
    stock.load_state_dict(vae.state_dict())
    stock.register_to_config(latents_mean=vae.config.latents_mean, latents_std=vae.config.latents_std)
    return stock


def basis_of(folder: Path, seed: int = 0) -> Basis:
    """The basis in `folder`, fitted first when it is not there."""
    path = folder / "basis.pt"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(vars(fit_basis(seed)), path)
    return Basis(**torch.load(path, weights_only=True))
