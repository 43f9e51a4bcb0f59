"""The denoiser's training set: pictures of the renderer as latents, computed once and kept on disk in chunks.

A chunk holds pictures of one size, with the seeds of their scenes; captions are made anew whenever a picture is drawn
from it. Chunks are independent files, so an interrupted run goes on with the first that is missing, and several
processes share the work.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from krea_studio.recipe.aspect_ratios import ASPECT_RATIOS, size_of
from krea_studio.training import loop
from krea_studio.training.autoencoder import Basis
from krea_studio.training.renderer import render
from krea_studio.training.world import is_held_out, random_scene


@dataclass(frozen=True)
class Class:
    """A class of sizes: of which resolution, how many chunks of how many pictures, the seed of its first scene."""

    name: str
    resolution: str
    chunks: int
    pictures: int
    first_seed: int
    rich: bool = False


CLASSES = {
    "1K": Class("1K", "1K", 96, 64, 10_000_000),
    "512": Class("512", "512", 64, 96, 20_000_000),
    "1K rich": Class("1K rich", "1K", 24, 48, 40_000_000, rich=True),
    "512 rich": Class("512 rich", "512", 24, 48, 50_000_000, rich=True),
}


def size_of_chunk(kind: Class, number: int) -> tuple[int, int]:
    """Width and height of a chunk: square for every fourth, the other aspect ratios in turn."""
    names = list(ASPECT_RATIOS)
    name = names[0] if number % 4 == 0 else names[1 + (number - number // 4 - 1) % (len(names) - 1)]
    return size_of(name, kind.resolution)


def seeds_of_chunk(kind: Class, number: int) -> list[int]:
    """The seeds of a chunk's scenes, without those whose subject, palette and style are never learned together."""
    first = kind.first_seed + number * 2 * kind.pictures
    seeds = [s for s in range(first, first + 2 * kind.pictures) if not is_held_out(random_scene(s))]
    return seeds[: kind.pictures]


def build(basis: Basis, kind: Class, folder: Path) -> None:
    """Write the chunks of a class that are not there yet: latents as the denoiser sees them, and the scenes' seeds."""
    folder.mkdir(parents=True, exist_ok=True)
    rank, processes = loop.place()
    for number in range(rank, kind.chunks, processes):
        path = folder / f"{kind.name.replace(' ', '-')}-{number:04d}.pt"
        if path.exists():
            continue
        width, height = size_of_chunk(kind, number)
        seeds, parts = seeds_of_chunk(kind, number), []
        for seed in seeds:
            picture = render(random_scene(seed), width, height, kind.rich)
            pixels = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8).view(1, height, width, 3)
            parts.append(basis.project(pixels).half())
        torch.save({"latents": torch.cat(parts), "seeds": torch.tensor(seeds)}, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)
        print(f"latents {kind.name}: chunk {number + 1}/{kind.chunks} ({width}x{height})", flush=True)


class Chunks:
    """The chunks of some classes, mapped into memory; `draw` picks a class, one of its chunks, and pictures from it."""

    def __init__(self, folder: Path, kinds: dict[str, float]):
        """`kinds` gives each class's share of the batches."""
        self.groups = []
        for name, share in kinds.items():
            files = sorted(folder.glob(f"{name.replace(' ', '-')}-[0-9]*.pt"))
            if not files:
                raise FileNotFoundError(f"no latents of class {name} in {folder} — run the stage «latents» first")
            self.groups.append((share, [torch.load(f, weights_only=True, mmap=True) for f in files]))

    def draw(self, batch_of: dict[str, int], generator: torch.Generator) -> tuple[torch.Tensor, list[int]]:
        """Latents (batch, 6, h, w) in float32 and the scenes' seeds; `batch_of` gives each class's batch."""
        shares = torch.tensor([share for share, _ in self.groups])
        group = int(torch.multinomial(shares, 1, generator=generator))
        chunks = self.groups[group][1]
        chunk = chunks[int(torch.randint(len(chunks), (), generator=generator))]
        batch = list(batch_of.values())[group]
        picked = torch.randint(len(chunk["seeds"]), (batch,), generator=generator)
        return chunk["latents"][picked].float(), chunk["seeds"][picked].tolist()
