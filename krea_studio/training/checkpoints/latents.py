"""The denoiser's training set: pictures of the renderer as latents, computed once and kept on disk in chunks.

A chunk holds pictures of one size, with what lies where in them and the seeds of their scenes; captions are made anew whenever a picture is drawn
from it. Chunks are independent files, so an interrupted run goes on with the first that is missing, and several
processes share the work.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from krea_studio.recipe.aspect_ratios import ASPECT_RATIOS, size_of
from krea_studio.training import loop
from krea_studio.training.checkpoints.autoencoder import Basis
from krea_studio.training.world import regions
from krea_studio.training.world.renderer import render
from krea_studio.training.world.scenes import Scene, is_held_out, random_scene


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
        seeds = seeds_of_chunk(kind, number)
        scenes = [random_scene(seed) for seed in seeds]
        chunk = {
            "latents": torch.cat([_latents_of(basis, scene, width, height, kind.rich) for scene in scenes]),
            "plans": plans_of(scenes, width, height),
            "seeds": torch.tensor(seeds),
        }
        torch.save(chunk, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)
        print(f"latents {kind.name}: {path.name} of {kind.chunks} ({width}x{height})", flush=True)


def plans_of(scenes: Sequence[Scene], width: int, height: int) -> torch.Tensor:
    """What lies where in each, (scenes, tokens, 71) in half precision: `world.regions`."""
    return torch.stack([torch.from_numpy(regions.of_scene(scene, width, height)) for scene in scenes]).half()


def _latents_of(basis: Basis, scene: Scene, width: int, height: int, rich: bool) -> torch.Tensor:
    picture = render(scene, width, height, rich)
    pixels = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8).view(1, height, width, 3)
    return basis.project(pixels).half()


class Chunks:
    """The chunks of some classes, mapped into memory; `draw` picks one of a class's chunks, and pictures from it."""

    def __init__(self, folder: Path, kinds: Collection[str]):
        self.chunks = {}
        for name in kinds:
            files = sorted(folder.glob(f"{name.replace(' ', '-')}-[0-9]*.pt"))
            if not files:
                raise FileNotFoundError(f"no latents of class {name} in {folder} — run the stage «latents» first")
            self.chunks[name] = [torch.load(f, weights_only=True, mmap=True) for f in files]

    def draw(self, kind: str, pictures: int, generator: torch.Generator) -> tuple[torch.Tensor, list[int]]:
        """Latents (pictures, 6, h, w) in float32, and the scenes' seeds."""
        chunks = self.chunks[kind]
        chunk = chunks[int(torch.randint(len(chunks), (), generator=generator))]
        picked = torch.randint(len(chunk["seeds"]), (pictures,), generator=generator)
        return chunk["latents"][picked].float(), chunk["seeds"][picked].tolist()
