"""A small picture of what a run is heading for, after every step.

Shown is the predicted clean picture, not the noisy latents: Euler steps of flow matching go from x at noise level s to
x' at s' along v = (x' − x) / (s' − s), and the clean picture lies at x' − s'·v. A linear map, fitted by least squares
to the checkpoint's own VAE, turns each token of it into a block of pixels. The map comes from a small file beside the
VAE where there is one, as with the embedded checkpoints, or is fitted when the VAE is loaded. That takes a second or
two and, for the embedded one, more memory than drawing does.
"""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import Krea2Pipeline
from PIL import Image

from krea_studio.engine.checkpoints.table import PREVIEW_FILE
from krea_studio.engine.pipeline.single_frame import SingleFrameDecoder

JPEG_QUALITY = 80
SHRINK = 4  # a preview has a quarter of the picture's width and height

_FIT_PICTURES = 8
_FIT_SIDE_PX = 160
_NEIGHBOURHOOD = 0.3  # standard deviations of the latents
_RIDGE = 1e-2


@dataclass(frozen=True)
class PreviewMap:
    """`weight` of shape (token channels + 1, block · block · 3): from one token, and a 1, to its pixels in 0..1."""

    weight: torch.Tensor

    @property
    def block_px(self) -> int:
        """Side of the square of preview pixels that one token becomes."""
        return round((self.weight.shape[1] / 3) ** 0.5)

    @property
    def nbytes(self) -> int:
        return self.weight.nbytes

    @torch.no_grad()
    def picture(self, clean: torch.Tensor, rows: int, columns: int) -> Image.Image:
        """(1, rows · columns, token channels) clean latents → an RGB picture of rows · block × columns · block."""
        block = self.block_px
        pixels = torch.addmm(self.weight[-1], clean[0].float(), self.weight[:-1])
        pixels = pixels.view(rows, columns, block, block, 3).permute(0, 2, 1, 3, 4)
        pixels = pixels.reshape(rows * block, columns * block, 3).mul(255).round_().clamp_(0, 255)
        return Image.fromarray(pixels.to(torch.uint8).cpu().numpy())

    def jpeg(self, clean: torch.Tensor, rows: int, columns: int) -> bytes:
        """As `picture`, as the bytes of a JPEG file."""
        file = BytesIO()
        self.picture(clean, rows, columns).save(file, "JPEG", quality=JPEG_QUALITY)
        return file.getvalue()


def predicted_clean(before: torch.Tensor, after: torch.Tensor, sigma: float, next_sigma: float) -> torch.Tensor:
    """Where the Euler step from `before` (at noise level `sigma`) to `after` (at `next_sigma`) is heading: x at 0."""
    return after - (after - before) * (next_sigma / (next_sigma - sigma))


def load_or_fit(pipeline: Krea2Pipeline, decoder: SingleFrameDecoder, vae_folder: Path) -> PreviewMap:
    """The map beside the VAE when it was made for this patch size, otherwise a fitted one; on the decoder's device."""
    try:
        weight = np.load(vae_folder / PREVIEW_FILE, allow_pickle=False)
    except (OSError, ValueError, EOFError):  # none, or something else of that name
        return fit(pipeline, decoder)
    if weight.dtype != np.float32 or weight.shape != _weight_shape(pipeline):
        return fit(pipeline, decoder)
    return PreviewMap(torch.from_numpy(weight).to(decoder.mean.device))


def save(preview: PreviewMap, vae_folder: Path) -> None:
    """Write the map beside the VAE that it was fitted to, for whoever may read that."""
    np.save(vae_folder / PREVIEW_FILE, preview.weight.cpu().numpy(), allow_pickle=False)


@torch.no_grad()
def fit(pipeline: Krea2Pipeline, decoder: SingleFrameDecoder, pictures: torch.Tensor | None = None) -> PreviewMap:
    """Least squares over tokens: latents of pictures → what the decoder makes of them, shrunk.

    `pictures` of shape (n, 3, side, side) in 0..1, side a multiple of a token's; synthetic ones when not given. The
    target is the decoded picture, not the original, so that the preview shows what this VAE will show.
    """
    vae, patch = pipeline.vae, pipeline.patch_size
    token_px = pipeline.vae_scale_factor * patch
    block = token_px // SHRINK
    if pictures is None:
        pictures = _synthetic_pictures(_FIT_PICTURES, _FIT_SIDE_PX // token_px * token_px)
    pictures = pictures.to(decoder.mean.device, vae.dtype)
    latents = vae.encode(pictures[:, :, None] * 2 - 1).latent_dist.mode()[:, :, 0]
    latents = (latents - decoder.mean) / decoder.std
    # What a run predicts is not quite what an encoder makes: let the map know the neighbourhood too.
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0)).to(latents)
    latents = torch.cat([latents, latents + _NEIGHBOURHOOD * noise])
    target = F.avg_pool2d(decoder(latents).float(), SHRINK)

    tokens = pipeline._pack_latents(latents, *latents.shape).flatten(0, 1).double()
    tokens = torch.cat([tokens, tokens.new_ones(len(tokens), 1)], dim=1)
    grid = target.shape[-1] // block
    blocks = target.view(-1, 3, grid, block, grid, block).permute(0, 2, 4, 3, 5, 1)
    blocks = blocks.reshape(len(tokens), block * block * 3).double()

    square = tokens.T @ tokens
    square += _RIDGE * square.diagonal().mean() * torch.eye(len(square), dtype=square.dtype, device=square.device)
    return PreviewMap(torch.linalg.solve(square, tokens.T @ blocks).float())


def _weight_shape(pipeline: Krea2Pipeline) -> tuple[int, int]:
    block = pipeline.vae_scale_factor * pipeline.patch_size // SHRINK
    return pipeline.vae.config.z_dim * pipeline.patch_size**2 + 1, block * block * 3


def _synthetic_pictures(count: int, side_px: int) -> torch.Tensor:
    """(count, 3, side, side) in 0..1: soft fields of colour with hard-edged flat patches on them, always the same."""
    generator = torch.Generator().manual_seed(0)

    def field(channels: int, cells: int) -> torch.Tensor:
        noise = torch.rand(count, channels, cells, cells, generator=generator)
        return F.interpolate(noise, size=(side_px, side_px), mode="bicubic", align_corners=False)

    pictures = field(3, 3)
    for cells in (4, 8, 16):
        patch = (field(1, cells) > 0.62).float()
        colour = torch.rand(count, 3, 1, 1, generator=generator)
        pictures = pictures * (1 - patch) + colour * patch
    return pictures.clamp(0, 1)
