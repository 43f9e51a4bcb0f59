"""Measures whether the checkpoints' pictures look like the renderer's, as a person would see it.

The noise that a run begins with says which picture of the renderer it should end in (`coupling`), so every picture has
a true one beside it: of the same caption, the same layout, and what the caption leaves open. A judge that finds the
right subject in a smear does not see that it is one; these measures do. Everything is drawn by the stock pipeline,
from the shipped folders.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from diffusers import Krea2Pipeline
from PIL import Image

from krea_studio.recipe.aspect_ratios import ASPECT_RATIOS, size_of
from krea_studio.training.checkpoints import architecture, coupling, patches
from krea_studio.training.world.captions import Caption
from krea_studio.training.world.renderer import render
from krea_studio.training.world.scenes import SUBJECTS, Scene

EDGE_LEVELS = 12.0  # steepness, in levels of 255 a pixel, from which on a place of the drawing is an edge
SCALES_PX = (1, 4, 16)


@dataclass(frozen=True)
class Pair:
    """A checkpoint's picture, the renderer's of the same scene, and the latter after the autoencoder's round trip."""

    prompt: Caption
    ratio: str
    truth: Scene
    picture: Image.Image
    drawing: Image.Image
    round_trip: Image.Image


@dataclass(frozen=True)
class Fidelity:
    """What one pair measures.

    `error`: mean absolute difference in levels, mean over three scales; `sharpness`: steepness at the drawing's edges,
    picture / drawing; `kept`: the same, picture / round trip; `blockiness`: steepness across the borders of tokens over
    that inside them, picture / drawing; `subject`: whether the drawing with the right subject is the nearest of all.
    """

    error: float
    sharpness: float
    kept: float
    blockiness: float
    subject: bool


def drawer(
    pipeline: Krea2Pipeline, steps: int, guidance_scale: float, resolution: str
) -> Callable[[Caption, Scene, int, int], Pair]:
    """A function that draws a prompt with its scene; its number gives the aspect ratio, and the seed the noise."""
    ratios = list(ASPECT_RATIOS)

    def draw(prompt: Caption, scene: Scene, number: int, seed: int) -> Pair:
        ratio = ratios[number % len(ratios)]
        width, height = size_of(ratio, resolution)
        picture = pipeline(
            prompt.text, height=height, width=width, num_inference_steps=steps, guidance_scale=guidance_scale,
            max_sequence_length=64, generator=torch.Generator().manual_seed(seed),
        ).images[0]  # fmt: skip
        truth = coupling.scene_of(noise_of(seed, width, height), scene, prompt.named)
        drawing = render(truth, width, height)
        return Pair(prompt, ratio, truth, picture, drawing, through(pipeline.vae, drawing))

    return draw


def noise_of(seed: int, width: int, height: int) -> torch.Tensor:
    """The noise tokens (n, 96) with which the stock pipeline begins a picture of this seed and size."""
    cells = architecture.PIXELS_PER_CELL
    shape = (1, architecture.LATENT_CHANNELS, height // cells, width // cells)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return patches.pack(noise)[0]


@torch.no_grad()
def through(vae: torch.nn.Module, picture: Image.Image) -> Image.Image:
    """A picture encoded and decoded again."""
    x = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None, :, None].float().div(127.5).sub(1)
    y = vae.decode(vae.encode(x).latent_dist.mode()).sample[0, :, 0].clamp(-1, 1)
    return Image.fromarray(y.add(1).mul(127.5).round().byte().permute(1, 2, 0).numpy())


def measure(pair: Pair) -> Fidelity:
    picture, drawing, round_trip = (_levels(p) for p in (pair.picture, pair.drawing, pair.round_trip))
    return Fidelity(
        error=error(picture, drawing),
        sharpness=sharpness(picture, drawing),
        kept=sharpness(picture, drawing) / sharpness(round_trip, drawing),
        blockiness=blockiness(picture) / blockiness(drawing),
        subject=nearest_subject(pair.picture, pair.truth) == pair.truth.subject,
    )


def error(picture: np.ndarray, drawing: np.ndarray) -> float:
    """Mean absolute difference in levels, at full size and averaged over squares of 4 and 16 pixels."""
    return float(np.mean([np.abs(_reduced(picture, s) - _reduced(drawing, s)).mean() for s in SCALES_PX]))


def sharpness(picture: np.ndarray, drawing: np.ndarray) -> float:
    """Steepness of the picture where the drawing has edges, over the drawing's own. 1 where nothing is blurred."""
    own = steepness(drawing)
    edges = own > EDGE_LEVELS
    if not edges.any():
        return 1.0
    return float(steepness(picture)[edges].sum() / own[edges].sum())


def blockiness(picture: np.ndarray) -> float:
    """Mean step between neighbouring pixels across the borders of tokens, over that inside tokens."""
    grey, side = picture.mean(-1), architecture.PIXELS_PER_TOKEN
    across, down = np.abs(np.diff(grey, axis=1)), np.abs(np.diff(grey, axis=0))
    at_column = (np.arange(across.shape[1]) + 1) % side == 0
    at_row = (np.arange(down.shape[0]) + 1) % side == 0
    border = np.concatenate([across[:, at_column].ravel(), down[at_row].ravel()]).mean()
    inside = np.concatenate([across[:, ~at_column].ravel(), down[~at_row].ravel()]).mean()
    return float((border + 0.05) / (inside + 0.05))


def steepness(picture: np.ndarray) -> np.ndarray:
    """Length of the gradient of grey levels by central differences, (height, width); 0 on the border."""
    grey, steep = picture.mean(-1), np.zeros(picture.shape[:2], np.float32)
    across, down = grey[1:-1, 2:] - grey[1:-1, :-2], grey[2:, 1:-1] - grey[:-2, 1:-1]
    steep[1:-1, 1:-1] = np.hypot(across, down) / 2
    return steep


def nearest_subject(picture: Image.Image, truth: Scene) -> str:
    """Of the scene drawn with each subject, the one whose drawing is nearest to the picture by pixels."""
    width, height = (side // 2 for side in picture.size)
    seen = _levels(picture.resize((width, height), Image.Resampling.BOX))

    def distance(subject: str) -> float:
        return float(np.square(seen - _levels(render(replace(truth, subject=subject), width, height))).mean())

    return min(SUBJECTS, key=distance)


def _levels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("RGB"), np.float32)


def _reduced(picture: np.ndarray, side: int) -> np.ndarray:
    h, w, c = picture.shape
    whole = picture[: h // side * side, : w // side * side]
    return whole.reshape(h // side, side, w // side, side, c).mean((1, 3))
