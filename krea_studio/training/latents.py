"""The denoiser's training set: pictures of the renderer as latents, computed once and kept on disk in chunks.

A chunk holds pictures of one size, with the seeds of their scenes; captions are made anew whenever a picture is drawn
from it. Chunks are independent files, so an interrupted run goes on with the first that is missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from krea_studio.recipe.aspect_ratios import ASPECT_RATIOS, size_of
from krea_studio.training import architecture
from krea_studio.training.autoencoder import Basis
from krea_studio.training.renderer import render
from krea_studio.training.world import random_scene


@dataclass(frozen=True)
class Class:
    """A class of sizes: how many chunks of how many pictures, the seed of its first scene, and its strides.

    A token of a small class stands for a square of `stride` × `stride` tokens of a class that many times its size, and
    gets the position of that square's middle. So the places of things are learned on few tokens.
    """

    name: str
    chunks: int
    pictures: int
    first_seed: int
    strides: tuple[int, ...] = (1,)
    textured: bool = False


CLASSES = {
    "256": Class("256", 88, 128, 10_000_000, strides=(2, 4)),
    "512": Class("512", 32, 96, 20_000_000, strides=(1, 2)),
    "1K": Class("1K", 12, 40, 30_000_000),
    "1K textured": Class("1K textured", 12, 20, 40_000_000, textured=True),
    "512 textured": Class("512 textured", 12, 40, 50_000_000, textured=True),
}


def size_of_chunk(kind: Class, number: int) -> tuple[int, int]:
    """Width and height of a chunk: square for every third, the other aspect ratios in turn."""
    names = list(ASPECT_RATIOS)
    name = names[0] if number % 3 == 0 else names[1 + (number - number // 3 - 1) % (len(names) - 1)]
    if kind.name.startswith("1K"):
        return size_of(name, "1K")
    width, height = size_of(name, "512")
    return (width, height) if kind.name.startswith("512") else (round(width / 64) * 32, round(height / 64) * 32)


def build(basis: Basis, kind: Class, folder: Path) -> None:
    """Write the chunks of a class that are not there yet: latents as the denoiser sees them, and the scenes' seeds."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(kind.chunks):
        path = folder / f"{kind.name.replace(' ', '-')}-{number:04d}.pt"
        if path.exists():
            continue
        width, height = size_of_chunk(kind, number)
        seeds = [kind.first_seed + number * kind.pictures + k for k in range(kind.pictures)]
        parts = []
        for seed in seeds:
            picture = render(random_scene(seed), width, height, kind.textured)
            pixels = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8).view(1, height, width, 3)
            parts.append(basis.project(pixels).half())
        torch.save({"latents": torch.cat(parts), "seeds": torch.tensor(seeds)}, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)
        print(f"latents {kind.name}: chunk {number + 1}/{kind.chunks} ({width}x{height})", flush=True)


class Chunks:
    """The chunks of some classes in memory; `draw` picks a class, one of its strides and chunks, and pictures from it."""

    def __init__(self, folder: Path, kinds: dict[str, float]):
        """`kinds` gives each class's share of the batches."""
        self.groups = []
        for name, share in kinds.items():
            files = sorted(folder.glob(f"{name.replace(' ', '-')}-[0-9]*.pt"))
            if not files:
                raise FileNotFoundError(f"no latents of class {name} in {folder} — run the stage «latents» first")
            chunks = [torch.load(f, weights_only=True) for f in files]
            self.groups.append((share, CLASSES[name].strides, chunks))

    def draw(self, batch_of: dict[int, int], generator: torch.Generator) -> tuple[torch.Tensor, list[int], int]:
        """Latents (batch, 6, h, w) in float32, the scenes' seeds and the stride.

        `batch_of` maps tokens (upper bound) to batch size.
        """
        shares = torch.tensor([share for share, _, _ in self.groups])
        _, strides, chunks = self.groups[int(torch.multinomial(shares, 1, generator=generator))]
        chunk = chunks[int(torch.randint(len(chunks), (), generator=generator))]
        stride = strides[int(torch.randint(len(strides), (), generator=generator))]
        tokens = chunk["latents"].shape[-1] * chunk["latents"].shape[-2] // architecture.PATCH_SIZE**2
        batch = next(size for bound, size in sorted(batch_of.items()) if tokens <= bound)
        picked = torch.randint(len(chunk["seeds"]), (batch,), generator=generator)
        return chunk["latents"][picked].float(), chunk["seeds"][picked].tolist(), stride
