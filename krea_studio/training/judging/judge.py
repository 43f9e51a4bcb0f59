"""Small classifiers that say what a picture shows; trained only on the project's own drawings.

The first is the measure of prompt following: it reads all attributes of the small world. The second is the measure of
style LoRAs: it reads subject and style, and also knows the styles that the small world has no words for. They never
see a picture of a checkpoint while they learn, and the checkpoints never see them. Scenes for training, for their own
test and for the prompts come from ranges of seeds that nothing else uses.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

from krea_studio.training import loop
from krea_studio.training.world.captions import ATTRIBUTES, grade
from krea_studio.training.world.foreign_styles import FOREIGN_STYLES, render
from krea_studio.training.world.scenes import STYLES, SUBJECTS, Scene, random_scene

PIXELS = 96
TRAIN_PICTURES = 12_000
BATCH = 64
STEPS = 1500
ALL_STYLES = (*STYLES, *FOREIGN_STYLES)
JUDGES = Path(__file__).resolve().parents[3] / "assets" / "judges"


def scene_in_any_style(seed: int) -> Scene:
    """The scene of a seed in one of all nine styles, drawn evenly."""
    return replace(random_scene(seed), style=random.Random(f"any-style-{seed}").choice(ALL_STYLES))


@dataclass(frozen=True)
class Reading:
    """What a judge reads, from scenes of which seeds it learns that, and by which it is tested."""

    name: str  # also of its file
    attributes: dict[str, tuple[str, ...]]
    scene: Callable[[int], Scene]
    first_seed: int
    test_seed: int


PROMPTS = Reading("judge", ATTRIBUTES, random_scene, 1_000_000, 2_000_000)
STYLED = Reading(
    "style-judge", {"subject": SUBJECTS, "style": ALL_STYLES}, scene_in_any_style, 3_000_000, 4_000_000
)  # fmt: skip


class Judge(nn.Module):
    """Convolutions to one classifier an attribute. Input (batch, 3, 96, 96) in −1…1; output logits by attribute."""

    def __init__(self, reading: Reading = PROMPTS):
        super().__init__()
        self.reading = reading
        # 96 → 32 → 16 → 8 → 4 pixels a side.
        layers = [nn.Conv2d(3, 24, 5, stride=3, padding=1), nn.GroupNorm(8, 24), nn.SiLU()]
        for previous, width in ((24, 48), (48, 72), (72, 96)):
            layers += [nn.Conv2d(previous, width, 3, stride=2, padding=1), nn.GroupNorm(8, width), nn.SiLU()]
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.GroupNorm(8, width), nn.SiLU()]
        self.features = nn.Sequential(*layers)
        self.hidden = nn.Sequential(nn.Flatten(), nn.Dropout(0.3), nn.Linear(96 * 16, 192), nn.SiLU())
        self.heads = nn.ModuleDict({name: nn.Linear(192, len(values)) for name, values in reading.attributes.items()})

    def forward(self, pictures: torch.Tensor) -> dict[str, torch.Tensor]:
        features = self.hidden(self.features(pictures))
        return {name: head(features) for name, head in self.heads.items()}


def view(picture: Image.Image) -> torch.Tensor:
    """A picture as the judge sees it: squeezed to 96 × 96, uint8 (3, 96, 96)."""
    small = picture.convert("RGB").resize((PIXELS, PIXELS), Image.Resampling.BOX)
    return torch.frombuffer(bytearray(small.tobytes()), dtype=torch.uint8).view(PIXELS, PIXELS, 3).permute(2, 0, 1)


def labels(scene: Scene, reading: Reading = PROMPTS) -> dict[str, int]:
    values = {name: getattr(scene, name) for name in reading.attributes}
    return {n: grade(v) if isinstance(v, float) else reading.attributes[n].index(v) for n, v in values.items()}


def _picture(seed: int, reading: Reading) -> torch.Tensor:
    draw = random.Random(f"judge-{seed}")
    width, height = draw.choice(((192, 192), (192, 192), (224, 160), (160, 224), (256, 128), (128, 256), (256, 256)))
    return view(render(reading.scene(seed), width, height, rich=draw.random() < 0.25))


def train(folder: Path, steps: int = STEPS, seed: int = 0, reading: Reading = PROMPTS) -> Judge:
    """Train from scratch (or go on) on drawings, and return the judge."""
    torch.manual_seed(seed)
    judge = Judge(reading)
    cache = folder / "pictures.pt"
    if not cache.exists():
        folder.mkdir(parents=True, exist_ok=True)
        pictures = torch.stack([_picture(reading.first_seed + k, reading) for k in range(TRAIN_PICTURES)])
        torch.save(pictures, cache)
    pictures = torch.load(cache, weights_only=True)
    truth = [labels(reading.scene(reading.first_seed + k), reading) for k in range(len(pictures))]
    targets = {name: torch.tensor([t[name] for t in truth]) for name in reading.attributes}

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
        return sum(F.cross_entropy(logits[n], targets[n][picked]) for n in reading.attributes)

    loop.run(reading.name, judge, loss_of, loop.Schedule(steps, 2e-3), folder, seed, decay=0.995)
    return judge.eval()


@torch.no_grad()
def accuracy(judge: Judge, count: int = 1000) -> dict[str, float]:
    """Share of held-out drawings that the judge reads right, by attribute."""
    names, right = judge.reading.attributes, held_out(judge, count)
    return {name: sum(each[name] for _, each in right) / len(right) for name in names}


@torch.no_grad()
def held_out(judge: Judge, count: int) -> list[tuple[Scene, dict[str, bool]]]:
    """For `count` held-out drawings the scene, and for each attribute whether the judge reads it right."""
    reading, found = judge.reading, []
    seeds = range(reading.test_seed, reading.test_seed + count)
    for some in (seeds[start : start + 100] for start in range(0, count, 100)):
        for seed, read in zip(some, verdicts(judge, torch.stack([_picture(s, reading) for s in some])), strict=True):
            scene = reading.scene(seed)
            found.append((scene, {name: read[name] == truth for name, truth in labels(scene, reading).items()}))
    return found


@torch.no_grad()
def verdicts(judge: Judge, views: torch.Tensor) -> list[dict[str, int]]:
    """What the judge sees in each of the uint8 views (batch, 3, 96, 96): the index of each attribute's value."""
    logits = judge(views.float().div(127.5).sub(1))
    best = {name: values.argmax(1).tolist() for name, values in logits.items()}
    return [{name: best[name][k] for name in best} for k in range(len(views))]


@torch.no_grad()
def probabilities(judge: Judge, views: torch.Tensor) -> list[dict[str, dict[str, float]]]:
    """For each of the uint8 views (batch, 3, 96, 96) the probability of each value of each attribute, 0 … 1."""
    logits = judge(views.float().div(127.5).sub(1))
    shares = {name: values.softmax(1).tolist() for name, values in logits.items()}
    return [
        {name: dict(zip(values, shares[name][k], strict=True)) for name, values in judge.reading.attributes.items()}
        for k in range(len(views))
    ]


def save(judge: Judge, folder: Path = JUDGES) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.half().contiguous() for k, v in judge.state_dict().items()}, _file(folder, judge.reading))


def load(reading: Reading = PROMPTS, folder: Path = JUDGES) -> Judge:
    judge = Judge(reading)
    judge.load_state_dict({k: v.float() for k, v in load_file(_file(folder, reading)).items()})
    return judge.eval()


def _file(folder: Path, reading: Reading) -> Path:
    return folder / f"{reading.name}.safetensors"
