"""What tells from a token's state where the token is, and which scene is wanted: linear readers, for training alone.

A transformer that is asked for these learns them early and, as long as it is asked, keeps them.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

from krea_studio.training import coupling
from krea_studio.training.captions import ATTRIBUTES, value_of
from krea_studio.training.world import LAYOUT_NAMES, Scene

# Radians a token: waves of 128 tokens, more than the longest picture has, to 2.8, each √2 times as short as the one before.
FREQUENCIES = tuple(math.pi / 64 * 2 ** (k / 2) for k in range(12))
SCENE_WEIGHT, SAID_WEIGHT = 0.5, 0.3


class Readers(nn.Module):
    """Readers of states (pictures, tokens, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.place = nn.Linear(width, 4 * len(FREQUENCIES))
        self.attributes = nn.ModuleDict({name: nn.Linear(width, len(values)) for name, values in ATTRIBUTES.items()})
        self.ways = nn.Linear(width, len(LAYOUT_NAMES))
        self.said = nn.Linear(width, len(coupling.VARIABLES))

    def loss(
        self, states: torch.Tensor, places: torch.Tensor, scenes: list[Scene | None], said: torch.Tensor
    ) -> torch.Tensor:
        """How wrong they are about `places` (tokens, 2), rows and columns, the scenes, None where nothing tells of one,
        and the numbers (pictures, 12) that the noise says."""
        place = F.mse_loss(self.place(states), waves(places).to(states).expand(len(states), -1, -1))
        known = [k for k, scene in enumerate(scenes) if scene is not None]
        scene = self.scene_loss(states[known], [scenes[k] for k in known]) if known else states.new_zeros(())
        numbers = F.mse_loss(self.said(states), said.to(states)[:, None].expand(-1, states.shape[1], -1))
        return place + SCENE_WEIGHT * scene + SAID_WEIGHT * numbers

    def scene_loss(self, states: torch.Tensor, scenes: list[Scene]) -> torch.Tensor:
        """How surprised the readers are by the scenes of these states, in nats a thing read."""
        tokens = states.shape[1]
        ways = torch.tensor([[s.layout.way(name) for name in LAYOUT_NAMES] for s in scenes]).to(states)
        told = F.softplus(-self.ways(states) * ways[:, None])
        loss = told.mean((0, 1)).sum()
        for attribute, reader in self.attributes.items():
            values = [ATTRIBUTES[attribute].index(value_of(s, attribute)) for s in scenes]
            wanted = torch.tensor(values, device=states.device)[:, None].expand(-1, tokens)
            loss = loss + F.cross_entropy(reader(states).flatten(0, 1), wanted.flatten())
        return loss / (len(LAYOUT_NAMES) + len(ATTRIBUTES))


def waves(places: torch.Tensor) -> torch.Tensor:
    """Sines and cosines of rows and columns (tokens, 2), (tokens, 48)."""
    turned = places.float()[..., None] * torch.tensor(FREQUENCIES, device=places.device)
    return torch.cat([turned.sin(), turned.cos()], -1).flatten(1)
