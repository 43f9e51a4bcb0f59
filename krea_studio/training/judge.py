"""A small classifier that says what a picture shows; trained only on the renderer's own pictures.

It is the measure of prompt following: it never sees a picture of a checkpoint while it learns, and the checkpoints
never see it. Scenes for training, for its own test and for the prompts come from ranges of seeds that nothing else uses.
"""

from __future__ import annotations

import random
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

from krea_studio.training import loop
from krea_studio.training.captions import ATTRIBUTES, grade
from krea_studio.training.renderer import render
from krea_studio.training.world import Scene, random_scene

PIXELS = 96
TRAIN_PICTURES = 12_000
BATCH = 64
STEPS = 1500
FIRST_SEED = 1_000_000
TEST_SEED = 2_000_000


class Judge(nn.Module):
    """Convolutions to one classifier an attribute. Input (batch, 3, 96, 96) in −1…1; output logits by attribute."""

    def __init__(self):
        super().__init__()
        # 96 → 32 → 16 → 8 → 4 pixels a side.
        layers = [nn.Conv2d(3, 24, 5, stride=3, padding=1), nn.GroupNorm(8, 24), nn.SiLU()]
        for previous, width in ((24, 48), (48, 72), (72, 96)):
            layers += [nn.Conv2d(previous, width, 3, stride=2, padding=1), nn.GroupNorm(8, width), nn.SiLU()]
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.GroupNorm(8, width), nn.SiLU()]
        self.features = nn.Sequential(*layers)
        self.hidden = nn.Sequential(nn.Flatten(), nn.Dropout(0.3), nn.Linear(96 * 16, 192), nn.SiLU())
        self.heads = nn.ModuleDict({name: nn.Linear(192, len(values)) for name, values in ATTRIBUTES.items()})

    def forward(self, pictures: torch.Tensor) -> dict[str, torch.Tensor]:
        features = self.hidden(self.features(pictures))
        return {name: head(features) for name, head in self.heads.items()}


def view(picture: Image.Image) -> torch.Tensor:
    """A picture as the judge sees it: squeezed to 96 × 96, uint8 (3, 96, 96)."""
    small = picture.convert("RGB").resize((PIXELS, PIXELS), Image.Resampling.BOX)
    return torch.frombuffer(bytearray(small.tobytes()), dtype=torch.uint8).view(PIXELS, PIXELS, 3).permute(2, 0, 1)


def labels(scene: Scene) -> dict[str, int]:
    values = {name: getattr(scene, name) for name in ATTRIBUTES}
    return {n: grade(v) if isinstance(v, float) else ATTRIBUTES[n].index(v) for n, v in values.items()}


def _picture(seed: int) -> torch.Tensor:
    draw = random.Random(f"judge-{seed}")
    width, height = draw.choice(((192, 192), (192, 192), (224, 160), (160, 224), (256, 128), (128, 256), (256, 256)))
    return view(render(random_scene(seed), width, height, textured=draw.random() < 0.25))


def train(folder: Path, steps: int = STEPS, seed: int = 0) -> Judge:
    """Train from scratch (or go on) on pictures of the renderer, and return the judge."""
    torch.manual_seed(seed)
    judge = Judge()
    cache = folder / "pictures.pt"
    if not cache.exists():
        folder.mkdir(parents=True, exist_ok=True)
        pictures = torch.stack([_picture(FIRST_SEED + k) for k in range(TRAIN_PICTURES)])
        torch.save(pictures, cache)
    pictures = torch.load(cache, weights_only=True)
    truth = [labels(random_scene(FIRST_SEED + k)) for k in range(len(pictures))]
    targets = {name: torch.tensor([t[name] for t in truth]) for name in ATTRIBUTES}

    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        picked = torch.randint(len(pictures), (BATCH,), generator=generator)
        x = pictures[picked].float().div(127.5).sub(1)
        # What a small checkpoint may get slightly wrong must not decide: shift, blur, grain.
        dx, dy = torch.randint(-5, 6, (2,), generator=generator).tolist()
        x = F.pad(x, (5, 5, 5, 5), mode="replicate")[:, :, 5 + dy : 5 + dy + PIXELS, 5 + dx : 5 + dx + PIXELS]
        if torch.rand((), generator=generator) < 0.4:
            x = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
        x = x + 0.06 * torch.rand((), generator=generator) * torch.randn(x.shape, generator=generator)
        logits = judge(x)
        return sum(F.cross_entropy(logits[n], targets[n][picked]) for n in ATTRIBUTES)

    loop.run("judge", judge, loss_of, loop.Schedule(steps, 2e-3), folder, seed, decay=0.995, muon=False)
    return judge.eval()


@torch.no_grad()
def accuracy(judge: Judge, count: int = 1000) -> dict[str, float]:
    """Share of the renderer's held-out pictures that the judge reads right, by attribute."""
    right = dict.fromkeys(ATTRIBUTES, 0)
    for start in range(0, count, 100):
        seeds = range(TEST_SEED + start, TEST_SEED + start + 100)
        read = verdicts(judge, torch.stack([_picture(s) for s in seeds]))
        for name in ATTRIBUTES:
            right[name] += sum(v[name] == labels(random_scene(s))[name] for v, s in zip(read, seeds, strict=True))
    return {name: n / count for name, n in right.items()}


@torch.no_grad()
def verdicts(judge: Judge, views: torch.Tensor) -> list[dict[str, int]]:
    """What the judge sees in each of the uint8 views (batch, 3, 96, 96): the index of each attribute's value."""
    logits = judge(views.float().div(127.5).sub(1))
    best = {name: values.argmax(1).tolist() for name, values in logits.items()}
    return [{name: best[name][k] for name in best} for k in range(len(views))]


def save(judge: Judge, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.half().contiguous() for k, v in judge.state_dict().items()}, path)


def load(path: Path) -> Judge:
    judge = Judge()
    judge.load_state_dict({k: v.float() for k, v in load_file(path).items()})
    return judge.eval()
