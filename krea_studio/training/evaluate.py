"""Measures how well the checkpoints follow prompts, and writes `assets/checkpoints/README.md`.

Held-out prompts (scenes from seeds that no training used) go through the stock pipeline, loaded from the shipped
folders as anyone would; the judge reads the pictures, and an attribute counts as followed when it reads what the
prompt named.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import torch
from diffusers import Krea2Pipeline, Krea2Transformer2DModel
from PIL import Image
from torch import distributed

from krea_studio.recipe.aspect_ratios import ASPECT_RATIOS, size_of
from krea_studio.recipe.variants import VARIANTS
from krea_studio.training import judge as judges
from krea_studio.training import loop
from krea_studio.training.captions import Caption, caption, vocabulary
from krea_studio.training.world import random_scene

PROMPT_SEED = 9_000_000
ALWAYS_NAMED = ("subject", "palette", "style")
SHARE_OF_PROMPTS = {"medium": 1, "turbo": 1, "large": 3}  # one in so many: Large takes longest and only adds texture
BATCH = 8


def held_out(count: int) -> list[Caption]:
    """Prompts of unseen scenes that name at least subject, palette and rendering style."""
    seeds = range(PROMPT_SEED, PROMPT_SEED + count)
    return [caption(random_scene(s), random.Random(f"held-out-{s}"), ALWAYS_NAMED) for s in seeds]


def pipeline_of(folder: Path) -> Krea2Pipeline:
    """The stock pipeline of a shipped checkpoint; what the folder lacks comes from mini-medium beside it."""
    if (folder / "vae").exists():
        pipeline = Krea2Pipeline.from_pretrained(folder, use_safetensors=True)
    else:
        transformer = Krea2Transformer2DModel.from_pretrained(folder / "transformer", use_safetensors=True)
        index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
        pipeline = Krea2Pipeline.from_pretrained(
            folder.parent / "mini-medium",
            transformer=transformer,
            is_distilled=index["is_distilled"],
            use_safetensors=True,
        )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def follow(
    pipeline: Krea2Pipeline, judge: judges.Judge, steps: int, guidance_scale: float, count: int, resolution: str = "512"
) -> dict[str, float]:
    """Share of prompts whose picture shows what they name, by attribute (0 … 1). Aspect ratios take turns.

    Processes that work together share the aspect ratios, and all get the result.
    """
    right, named = Counter(), Counter()
    prompts, ratios, done = held_out(count), list(ASPECT_RATIOS), 0
    rank, processes = loop.place()
    for turn in range(rank, len(ratios), processes):
        width, height = size_of(ratios[turn], resolution)
        numbers = range(turn, count, len(ratios))
        for batch in (numbers[k : k + BATCH] for k in range(0, len(numbers), BATCH)):
            pictures = pipeline(
                [prompts[k].text for k in batch], height=height, width=width, num_inference_steps=steps,
                guidance_scale=guidance_scale, max_sequence_length=64,
                generator=[torch.Generator().manual_seed(PROMPT_SEED + k) for k in batch],
            ).images  # fmt: skip
            read = judges.verdicts(judge, torch.stack([judges.view(picture) for picture in pictures]))
            for k, verdict in zip(batch, read, strict=True):
                for name, value in prompts[k].named.items():
                    named[name] += 1
                    right[name] += judges.ATTRIBUTES[name][verdict[name]] == value
            done += len(batch)
        print(f"  {done}/{count}: " + ", ".join(f"{n} {right[n] / named[n]:.0%}" for n in ALWAYS_NAMED), flush=True)
    counts = [(right, named)] * processes
    if processes > 1:
        distributed.all_gather_object(counts, (right, named))
    right, named = (sum(parts, Counter()) for parts in zip(*counts, strict=True))
    return {name: right[name] / named[name] for name in judges.ATTRIBUTES}


def contact_sheet(pipeline: Krea2Pipeline, steps: int, guidance_scale: float, path: Path) -> None:
    """The vocabulary's example prompts at 512 × 512, reduced, four in a row."""
    examples, side = vocabulary()["examples"], 320
    sheet = Image.new("RGB", (4 * side, (len(examples) + 3) // 4 * side))
    for k, prompt in enumerate(examples):
        picture = pipeline(
            prompt, height=512, width=512, num_inference_steps=steps, guidance_scale=guidance_scale,
            max_sequence_length=64, generator=torch.Generator().manual_seed(k),
        ).images[0]  # fmt: skip
        sheet.paste(picture.resize((side, side), Image.Resampling.LANCZOS), (k % 4 * side, k // 4 * side))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, quality=88)


def report(out: Path, work: Path, judge: judges.Judge, count: int, device: str) -> None:
    """Measure every shipped checkpoint, then write the table, the training times and the known words.

    Of processes that work together the first writes.
    """
    first = loop.place()[0] == 0
    reading, followed = judges.accuracy(judge), {}
    for variant in VARIANTS.values():
        folder = out / f"mini-{variant.name}"
        asked = count // SHARE_OF_PROMPTS[variant.name]
        print(f"{folder.name}: {asked} held-out prompts", flush=True)
        pipeline = pipeline_of(folder).to(device)
        followed[folder.name] = asked, follow(pipeline, judge, variant.steps, variant.guidance_scale, asked)
        if first:
            contact_sheet(pipeline, variant.steps, variant.guidance_scale, out / "examples" / f"{folder.name}.jpg")
    times = {}
    for state in sorted(work.rglob("state.pt")):
        saved = torch.load(state, weights_only=True, map_location="cpu")
        times[str(state.parent.relative_to(work))] = (saved["step"], saved["seconds"])
    if first:
        (out / "README.md").write_text(_page(out, reading, followed, times), encoding="utf-8")


def _page(out: Path, reading: dict, followed: dict, times: dict) -> str:
    def row(*cells: object) -> str:
        return "| " + " | ".join(str(c) for c in cells) + " |"

    names = list(judges.ATTRIBUTES)
    lines = [
        "# The embedded checkpoints",
        "",
        "Real Krea 2 checkpoints of a small world: stock classes, stock files, trained from scratch by this project on",
        "pictures that it draws itself. Nothing of Krea's weights is in them. This page is written by",
        "`python -m krea_studio.training.mini report`.",
        "",
        "## Prompt following",
        "",
        "Share of held-out prompts whose picture shows what the prompt names, read by the judge, a classifier that was",
        "trained only on the renderer's pictures. Every prompt names subject, palette and rendering style; the other",
        "attributes count where they are named. The first row is the judge's own accuracy on pictures of the renderer that",
        "it never saw. Pictures are of the 512 class, all eight aspect ratios, with each variant's own steps and guidance.",
        "",
        row("", "prompts", *names),
        row("---", *["---:"] * (len(names) + 1)),
        row("judge on the renderer", "", *(f"{reading[n]:.1%}" for n in names)),
        *(row(folder, asked, *(f"{result[n]:.1%}" for n in names)) for folder, (asked, result) in followed.items()),
        "",
        "Density, vividness and motion are read in five grades; neighbouring grades are easily confused, for the judge too.",
        "",
        "## Parts",
        "",
        row("checkpoint", "transformer parameters", "transformer bytes"),
        row("---", "---:", "---:"),
    ]
    for folder in followed:
        part = out / folder / "transformer"
        size = sum(f.stat().st_size for f in part.glob("*.safetensors"))
        parameters = sum(
            p.numel() for p in Krea2Transformer2DModel.from_pretrained(part, use_safetensors=True).parameters()
        )
        lines.append(row(folder, f"{parameters:,}", f"{size:,}"))
    lines += ["", "## Training time", "", row("stage", "steps", "minutes"), row("---", "---:", "---:")]
    lines += [row(stage, steps, f"{seconds / 60:.0f}") for stage, (steps, seconds) in times.items()]
    lines += ["", "Minutes are of the machine that trained them, which had other work to do as well.", ""]
    lines += ["## Known words", ""]
    words = vocabulary()
    lines += [f"- **{group}**: {', '.join(values)}" for group, values in words.items() if group != "examples"]
    lines += ["", "Examples:", "", *(f"- {example}" for example in words["examples"]), ""]
    return "\n".join(lines)
