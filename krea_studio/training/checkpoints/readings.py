"""What every block after the first ones finds in a token's state: where it is, how large the picture, which scene.

These are numbers of fixed places in the state, after the token's noise. The first blocks learn to write them
(`orientation`); what can be painted from them the later blocks learn by themselves (`painting`), token by token.
"""

from __future__ import annotations

import math

import torch
from diffusers import Krea2Transformer2DModel
from torch import nn
from torch.nn import functional as F

from krea_studio.training.checkpoints import architecture
from krea_studio.training.world.captions import ATTRIBUTES, value_of
from krea_studio.training.world.scenes import LAYOUT_NAMES, Scene

# Radians a token: of waves that go into 128 tokens, more than the longest picture has, so many times. None is faster
# than the fastest by which attention turns, one radian, and all are sums of those (`architecture.transformer`).
FREQUENCIES = tuple(math.pi / 64 * k for k in (1, 2, 3, 4, 6, 8, 12, 16, 20, 10, 5, 14))
SIZE_FREQUENCIES = slice(2, 8)
PLACE_NUMBERS, SIZE_NUMBERS = 4 * len(FREQUENCIES), 4 * 6
SCENE_PARTS = (*map(len, ATTRIBUTES.values()), len(LAYOUT_NAMES))  # how many numbers tell an attribute, or the layout
SCENE_NUMBERS = sum(SCENE_PARTS)
COUNT = PLACE_NUMBERS + SIZE_NUMBERS + SCENE_NUMBERS
FIRST = architecture.LATENT_CHANNELS * architecture.PATCH_SIZE**2
BLOCKS = 2  # of the transformer's, that read
LOOK = ("palette", "style", "vividness")  # attributes that a style reference gives to another picture
SCENE_WEIGHT = 4.0  # of a number of the scene, most of which are zero, beside one of the place


def places_of_look() -> list[int]:
    """Which numbers of a state tell a scene's look."""
    at, found = FIRST + PLACE_NUMBERS + SIZE_NUMBERS, []
    for name, values in ATTRIBUTES.items():
        if name in LOOK:
            found += range(at, at + len(values))
        at += len(values)
    return found


def waves(places: torch.Tensor) -> torch.Tensor:
    """Sines and cosines of rows and columns (tokens, 2), (tokens, 48)."""
    turned = places.float()[..., None] * torch.tensor(FREQUENCIES, device=places.device)
    return torch.cat([turned.sin(), turned.cos()], -1).flatten(1)


def of_place(rows: int, columns: int, chosen: torch.Tensor) -> torch.Tensor:
    """What is read of tokens by their numbers (n,) in a grid, (n, 72): the token's place, and the grid's size."""
    places = torch.stack([chosen // columns, chosen % columns], -1)
    turned = waves(torch.tensor([[rows, columns]], device=chosen.device)).view(4, len(FREQUENCIES))
    size = turned[:, SIZE_FREQUENCIES].flatten()
    return torch.cat([waves(places), size.expand(len(chosen), -1)], 1)


def of_scene(scene: Scene) -> torch.Tensor:
    """What is read of a scene, (54,): 1 for the value that each attribute has and 0 for the others; ±1 for its layout."""
    values = [float(value == value_of(scene, name)) for name, each in ATTRIBUTES.items() for value in each]
    return torch.tensor([*values, *(float(scene.layout.way(name)) for name in LAYOUT_NAMES)])


def loss(states: torch.Tensor, place: torch.Tensor, scenes: torch.Tensor) -> torch.Tensor:
    """How far states (pictures, n, width) are from what they should tell: `place` (n, 72), `scenes` (pictures, n, 54).

    What nothing tells of a scene is right at its mean.
    """
    told = states[..., FIRST : FIRST + COUNT]
    found, scene = told.split([PLACE_NUMBERS + SIZE_NUMBERS, SCENE_NUMBERS], -1)
    error = F.mse_loss(found, place.to(found).expand_as(found))
    return error + SCENE_WEIGHT * F.mse_loss(scene, scenes.to(scene).expand_as(scene))


class Learner(nn.Module):
    """A transformer, and what the latest call read: its states as they come to be painted; for training alone."""

    def __init__(self, model: Krea2Transformer2DModel) -> None:
        super().__init__()
        self.model = model
        self._states: torch.Tensor | None = None
        blocks, reading = model.transformer_blocks, BLOCKS
        if reading == len(blocks):
            blocks[-1].register_forward_hook(lambda block, arguments, states: self._keep(states))
        else:  # its attention has its share in the reading of the look
            blocks[reading].norm2.register_forward_pre_hook(lambda norm, arguments: self._keep(*arguments))

    def states(self, count: int) -> torch.Tensor:
        """Those of the last `count` tokens, (batch, count, width)."""
        assert self._states is not None
        return self._states[:, -count:].float()

    def _keep(self, states: torch.Tensor) -> None:
        self._states = states
