"""The VAE for a still picture: two-dimensional, without a cache; decoding goes straight to 8-bit pixels.

`AutoencoderKLQwenImage` is a video model. For a first frame everything before it is zero padding, so of each causal
3-D convolution only the last temporal tap meets data, temporal resampling is not applied, and the cache of earlier
frames is never read: `SingleFrameDecoder` and `SingleFrameEncoder` are the same functions, exact to rounding, with 2-D
convolutions. They copy the weights that they need (a third) and leave the VAE itself alone. Any configuration of the
class works.

A picture that is too large to be decoded whole is decoded in tiles. What looks at all positions comes before the first
enlargement and is done whole; behind it a pixel sees no farther than its convolutions reach, so a tile with such a
margin has the pixels of the whole, and there is no seam to be blended.
"""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import pairwise
from math import ceil

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLQwenImage
from PIL import Image
from torch import nn

# Channels are the innermost axis: the channel norm then reads memory in order, which is five times as fast on a CPU.
LAYOUT = torch.channels_last
TILE_CELLS = 64  # a side of a tile in cells of the latents, at most, without its margin


class SingleFrameDecoder(nn.Module):
    """Decodes normalized latents of one picture; built from a loaded VAE, on its device and in its precision."""

    def __init__(self, vae: AutoencoderKLQwenImage) -> None:
        super().__init__()
        stock = vae.decoder
        layers: list[nn.Module] = [_folded(vae.post_quant_conv), _folded(stock.conv_in)]
        layers.append(_Residual(stock.mid_block.resnets[0]))
        for attention, residual in zip(stock.mid_block.attentions, stock.mid_block.resnets[1:], strict=True):
            layers += [_Attention(attention), _Residual(residual)]
        for block in stock.up_blocks:
            layers += [_Residual(residual) for residual in block.resnets]
            for upsampler in block.upsamplers or ():
                layers.append(_Upsampling(upsampler))
        layers += [_Norm(stock.norm_out), nn.SiLU(), _folded(stock.conv_out)]
        self.layers = nn.Sequential(*layers)
        self.whole_layers = len(vae.decoder.mid_block.attentions) + len(vae.decoder.mid_block.resnets) + 2
        shape = (1, vae.config.z_dim, 1, 1)
        self.register_buffer("mean", torch.tensor(vae.config.latents_mean).view(shape))
        self.register_buffer("std", torch.tensor(vae.config.latents_std).view(shape))
        self.to(device=vae.device, dtype=vae.dtype).requires_grad_(False).eval()

    def forward(self, latents: torch.Tensor, tiled: bool = False) -> torch.Tensor:
        """(n, z, h, w) normalized latents → (n, 3, H, W), 0..1 in the VAE's precision; `tiled` to rounding."""
        latents = latents.to(self.mean.dtype) * self.std + self.mean
        seen = self.layers[: self.whole_layers](latents.contiguous(memory_format=LAYOUT))
        local = self.layers[self.whole_layers :]
        picture = _in_tiles(local, seen) if tiled else local(seen)
        return (picture / 2 + 0.5).clamp_(0, 1)

    @torch.no_grad()
    def picture(self, latents: torch.Tensor, tiled: bool = False) -> Image.Image:
        """(1, z, h, w) normalized latents → the RGB picture, rounded as the stock image processor does."""
        pixels = self(latents, tiled)[0].permute(1, 2, 0).float().mul_(255).round_().to(torch.uint8)
        return Image.fromarray(pixels.cpu().numpy())


def _in_tiles(layers: nn.Sequential, seen: torch.Tensor) -> torch.Tensor:
    """(n, c, h, w) → (n, 3, H, W): what `layers` of convolutions make of it, tile by tile."""
    reach, scale = reach_and_scale(layers)
    height, width = seen.shape[-2:]
    picture = seen.new_empty(len(seen), 3, height * scale, width * scale)
    for top, bottom in _spans(height):
        for left, right in _spans(width):
            above, before = max(0, top - reach), max(0, left - reach)
            tile = layers(seen[:, :, above : bottom + reach, before : right + reach])
            rows = slice((top - above) * scale, (bottom - above) * scale)
            columns = slice((left - before) * scale, (right - before) * scale)
            picture[:, :, top * scale : bottom * scale, left * scale : right * scale] = tile[:, :, rows, columns]
    return picture


def reach_and_scale(layers: Iterable[nn.Module]) -> tuple[int, int]:
    """How many cells of what comes in a pixel that comes out sees to each side, and how many pixels a cell becomes."""
    reach, scale = Fraction(0), 1
    for layer in layers:
        if isinstance(layer, _Upsampling):
            scale *= 2
        for convolution in layer.modules():
            if isinstance(convolution, nn.Conv2d):
                reach += Fraction(max(convolution.kernel_size) // 2, scale)
    return ceil(reach), scale


def _spans(cells: int) -> Iterator[tuple[int, int]]:
    """A side cut into tiles of about one size."""
    tiles = ceil(cells / TILE_CELLS)
    edges = [cells * tile // tiles for tile in range(tiles + 1)]
    yield from pairwise(edges)


class SingleFrameEncoder(nn.Module):
    """Encodes one picture to normalized latents, the mode of the VAE's distribution; built as the decoder is."""

    def __init__(self, vae: AutoencoderKLQwenImage) -> None:
        super().__init__()
        stock = vae.encoder
        layers: list[nn.Module] = [_folded(stock.conv_in)]
        layers += [_LAYERS[type(layer).__name__](layer) for layer in stock.down_blocks]
        layers.append(_Residual(stock.mid_block.resnets[0]))
        for attention, residual in zip(stock.mid_block.attentions, stock.mid_block.resnets[1:], strict=True):
            layers += [_Attention(attention), _Residual(residual)]
        layers += [_Norm(stock.norm_out), nn.SiLU(), _folded(stock.conv_out), _folded(vae.quant_conv)]
        self.layers = nn.Sequential(*layers)
        self.channels = vae.config.z_dim
        shape = (1, vae.config.z_dim, 1, 1)
        self.register_buffer("mean", torch.tensor(vae.config.latents_mean).view(shape))
        self.register_buffer("std", torch.tensor(vae.config.latents_std).view(shape))
        self.to(device=vae.device, dtype=vae.dtype).requires_grad_(False).eval()

    @torch.no_grad()
    def forward(self, picture: Image.Image) -> torch.Tensor:
        """An RGB picture → (1, z, h, w) normalized latents."""
        pixels = torch.from_numpy(np.asarray(picture.convert("RGB")).copy()).permute(2, 0, 1)[None]
        pixels = pixels.to(self.mean.device, self.mean.dtype) / 127.5 - 1
        moments = self.layers(pixels.contiguous(memory_format=LAYOUT))
        return (moments[:, : self.channels] - self.mean) / self.std


def _folded(stock: nn.Conv3d | nn.Conv2d) -> nn.Conv2d:
    """A causal 3-D convolution as it acts on a first frame; a 2-D one is copied."""
    weight = stock.weight
    if weight.ndim == 5:
        weight = weight[:, :, -1]
        left, _, top, *_ = stock._padding
        padding = (top, left)
    else:
        padding = stock.padding
    stride = stock.stride[-2:]
    folded = nn.Conv2d(stock.in_channels, stock.out_channels, weight.shape[2:], stride, padding, device="meta")
    folded.weight = nn.Parameter(weight.detach().clone(memory_format=LAYOUT))
    folded.bias = nn.Parameter(stock.bias.detach().clone())
    return folded


class _Norm(nn.Module):
    """RMS norm over channels, in float32 as the stock one."""

    def __init__(self, stock: nn.Module) -> None:
        super().__init__()
        self.gain = nn.Parameter((stock.gamma.detach() * stock.scale).reshape(1, -1, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.normalize(x.float(), dim=1).to(x.dtype).mul_(self.gain)


class _Residual(nn.Module):
    def __init__(self, stock: nn.Module) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            _Norm(stock.norm1), nn.SiLU(inplace=True), _folded(stock.conv1),
            _Norm(stock.norm2), nn.SiLU(inplace=True), _folded(stock.conv2),
        )  # fmt: skip
        shortcut = stock.conv_shortcut
        self.shortcut = shortcut if isinstance(shortcut, nn.Identity) else _folded(shortcut)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.branch(x).add_(self.shortcut(x))


class _Attention(nn.Module):
    """Single-head self-attention over all positions; none where its projection is zero, so that it adds nothing."""

    def __init__(self, stock: nn.Module) -> None:
        super().__init__()
        self.norm, self.to_qkv, self.proj = _Norm(stock.norm), _folded(stock.to_qkv), _folded(stock.proj)
        # Of every position with every other, which takes a third of a large picture's time.
        self.adds = bool(stock.proj.weight.any() or stock.proj.bias.any())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.adds:
            return x
        height, width = x.shape[-2:]
        # (n, h, w, 3c) → three of (n, 1, h·w, c): with this layout nothing is moved.
        query, key, value = self.to_qkv(self.norm(x)).permute(0, 2, 3, 1).flatten(1, 2)[:, None].chunk(3, dim=-1)
        mixed = F.scaled_dot_product_attention(query, key, value)[:, 0]
        return self.proj(mixed.unflatten(1, (height, width)).permute(0, 3, 1, 2)).add_(x)


class _Upsampling(nn.Module):
    """Twice the size, then a convolution; the temporal half of a 3-D upsampler does nothing to a first frame."""

    def __init__(self, stock: nn.Module) -> None:
        super().__init__()
        if stock.mode not in ("upsample2d", "upsample3d"):
            raise ValueError(f"the decoder has a resampler of mode {stock.mode!r}, which is not an upsampler")
        self.convolution = _folded(stock.resample[1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.convolution(F.interpolate(x, scale_factor=2.0, mode="nearest-exact"))


class _Downsampling(nn.Module):
    """Half the size by a convolution; the temporal half of a 3-D downsampler does nothing to a first frame."""

    def __init__(self, stock: nn.Module) -> None:
        super().__init__()
        if stock.mode not in ("downsample2d", "downsample3d"):
            raise ValueError(f"the encoder has a resampler of mode {stock.mode!r}, which is not a downsampler")
        self.pad, self.convolution = stock.resample[0], _folded(stock.resample[1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.convolution(self.pad(x))


# Class names of the stock encoder's layers, which lie in one flat list.
_LAYERS = {
    "QwenImageResidualBlock": _Residual,
    "QwenImageAttentionBlock": _Attention,
    "QwenImageResample": _Downsampling,
}
