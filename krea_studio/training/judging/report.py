"""Measures the checkpoints on prompts that no training saw, and writes `assets/checkpoints/README.md`.

Prompts go through the stock pipeline, loaded from the shipped folders as anyone would. Every picture is compared with
the renderer's of the same scene (`fidelity`), and the judge reads both: an attribute counts as followed when it reads
what the prompt named. A tenth of all triples of subject, palette and style was never learned together; prompts of those
are measured apart.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from diffusers import Krea2Pipeline, Krea2Transformer2DModel
from PIL import Image
from torch import distributed

from krea_studio.recipe.aspect_ratios import ASPECT_RATIOS
from krea_studio.recipe.variants import VARIANTS
from krea_studio.training import loop
from krea_studio.training.judging import fidelity
from krea_studio.training.judging import judge as judges
from krea_studio.training.judging.fidelity import Fidelity, Pair
from krea_studio.training.world.captions import (
    PALETTE_WORDS,
    STYLE_WORDS,
    SUBJECT_WORDS,
    Caption,
    caption,
    vocabulary,
)
from krea_studio.training.world.scenes import STYLES, SUBJECTS, Scene, is_held_out, random_scene

PROMPT_SEED = 9_000_000
ALWAYS_NAMED = ("subject", "palette", "style")
SHARE_OF_PROMPTS = {"turbo": 1, "medium": 4, "large": 6}  # one in so many: 28 steps take longer
LAYOUT_SCALE_PX = 32


@dataclass(frozen=True)
class Result:
    """One picture's measures: its aspect ratio, style and kind of triple, what the judge found of what was named."""

    ratio: str
    style: str
    new_triple: bool
    fidelity: Fidelity
    followed: dict[str, bool]  # attribute → whether the judge reads what was named in the picture
    readable: dict[str, bool]  # the same in the renderer's drawing
    layouts: tuple[float, float] | None  # how far two seeds' pictures lie apart, and their drawings


def held_out(count: int, new_triples: bool = False) -> list[tuple[Caption, Scene]]:
    """Prompts of unseen scenes that name subject, palette, style and more; of triples that were learned, or never."""
    found, seed = [], PROMPT_SEED
    while len(found) < count:
        scene = random_scene(seed)
        if is_held_out(scene) == new_triples:
            found.append((caption(scene, random.Random(f"held-out-{seed}"), ALWAYS_NAMED), scene))
        seed += 1
    return found


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


def measure(
    pipeline: Krea2Pipeline, judge: judges.Judge, steps: int, guidance_scale: float, count: int, resolution: str = "1K"
) -> list[Result]:
    """Measure `count` prompts of triples that were learned and a quarter as many of others, aspect ratios in turn.

    Of every fourth prompt a second seed is drawn, to see how far two lie apart. Processes that work together share the
    prompts, and all get the result.
    """
    rank, processes = loop.place()
    prompts = [*held_out(count), *held_out(count // 4, new_triples=True)]
    mine = list(enumerate(prompts))[rank::processes]
    results = []
    for number, (words, scene) in mine:
        draw = fidelity.drawer(pipeline, steps, guidance_scale, resolution)
        pair = draw(words, scene, number, PROMPT_SEED + number)
        again = draw(words, scene, number, PROMPT_SEED + 500_000 + number) if number % 4 == 0 else None
        results.append(_result(pair, again, judge))
        if len(results) % 10 == 0:
            print(f"  {len(results)}/{len(mine)}: " + _summary(results), flush=True)
    parts = [results] * processes
    if processes > 1:
        distributed.all_gather_object(parts, results)
    return [result for part in parts for result in part]


def _result(pair: Pair, again: Pair | None, judge: judges.Judge) -> Result:
    seen, drawn = judges.verdicts(judge, torch.stack([judges.view(p) for p in (pair.picture, pair.drawing)]))
    right = [
        {name: judges.ATTRIBUTES[name][read[name]] == value for name, value in pair.prompt.named.items()}
        for read in (seen, drawn)
    ]
    apart = (_apart(pair.picture, again.picture), _apart(pair.drawing, again.drawing)) if again else None
    return Result(
        pair.ratio, pair.truth.style, is_held_out(pair.truth), fidelity.measure(pair), right[0], right[1], apart
    )


def _apart(first: Image.Image, second: Image.Image) -> float:
    """Mean difference of lightness in squares of 32 pixels, in levels: how far two layouts lie apart."""
    small = (first.width // LAYOUT_SCALE_PX, first.height // LAYOUT_SCALE_PX)
    a, b = (np.asarray(p.convert("L").resize(small, Image.Resampling.BOX), float) for p in (first, second))
    return float(np.abs(a - b).mean())


def _summary(results: Sequence[Result]) -> str:
    shares = ", ".join(f"{n} {mean(r.followed[n] for r in results):.0%}" for n in ALWAYS_NAMED)
    return f"sharpness {mean(r.fidelity.sharpness for r in results):.2f}, {shares}"


def prompts_of_sheet() -> list[str]:
    """A prompt for each subject, with the styles and palettes in turn."""
    styles, palettes = ([words[0] for words in each.values()] for each in (STYLE_WORDS, PALETTE_WORDS))
    return [
        f"{styles[k % len(styles)]} of a {SUBJECT_WORDS[subject][0]}, {palettes[k % len(palettes)]}"
        for k, subject in enumerate(SUBJECTS)
    ]


def sheet(pipeline: Krea2Pipeline, steps: int, guidance_scale: float, path: Path) -> None:
    """Every subject at 1024 × 1024, reduced, seven in a row; the prompts' numbers are the seeds."""
    prompts, side, across = prompts_of_sheet(), 320, 7
    found = Image.new("RGB", (across * side, -(-len(prompts) // across) * side))
    for k, prompt in enumerate(prompts):
        picture = pipeline(
            prompt, height=1024, width=1024, num_inference_steps=steps, guidance_scale=guidance_scale,
            max_sequence_length=64, generator=torch.Generator().manual_seed(k),
        ).images[0]  # fmt: skip
        found.paste(picture.resize((side, side), Image.Resampling.LANCZOS), (k % across * side, k // across * side))
    path.parent.mkdir(parents=True, exist_ok=True)
    found.save(path, quality=88)


def report(out: Path, work: Path, judge: judges.Judge, count: int, device: str) -> None:
    """Measure every shipped checkpoint, then write the tables, the training times and the known words.

    Of processes that work together the first writes.
    """
    first, measured = loop.place()[0] == 0, {}
    for name, share in SHARE_OF_PROMPTS.items():
        folder, variant = out / f"mini-{name}", VARIANTS[name]
        print(f"{folder.name}: {count // share} held-out prompts", flush=True)
        pipeline = pipeline_of(folder).to(device)
        measured[folder.name] = measure(pipeline, judge, variant.steps, variant.guidance_scale, count // share)
        if first:
            sheet(pipeline, variant.steps, variant.guidance_scale, out / "examples" / f"{folder.name}.jpg")
    times = {}
    for state in sorted(work.rglob("state.pt")):
        saved = torch.load(state, weights_only=True, map_location="cpu")
        times[str(state.parent.relative_to(work))] = (saved["step"], saved["seconds"])
    if first:
        (out / "README.md").write_text(_page(out, measured, times), encoding="utf-8")


FIGURES: dict[str, Callable[[Sequence[Result]], str]] = {
    "pictures": lambda rows: str(len(rows)),
    "error": lambda rows: f"{mean(r.fidelity.error for r in rows):.2f}",
    "sharpness": lambda rows: f"{mean(r.fidelity.sharpness for r in rows):.3f}",
    "of the round trip": lambda rows: f"{mean(r.fidelity.kept for r in rows):.3f}",
    "blockiness": lambda rows: f"{mean(r.fidelity.blockiness for r in rows):.3f}",
    "nearest subject": lambda rows: f"{mean(r.fidelity.subject for r in rows):.1%}",
}


INTRODUCTION = """\
# The embedded checkpoints

Real Krea 2 checkpoints of a small world: stock classes, stock files, trained from scratch by this project on pictures
that it draws itself. Nothing of Krea's weights is in them. This page is written by
`python -m krea_studio.training.mini report`.

## Likeness to the renderer

The noise of a run says which picture of the renderer it should end in, so every picture of a held-out prompt at 1K, in
all eight aspect ratios, has a true one beside it. *Error*: mean absolute difference in levels of 255, averaged over
three scales. *Sharpness*: steepness at the renderer's edges, picture / renderer, and as a share of what the
autoencoder's round trip keeps. *Blockiness*: steps across the borders of tokens over those inside, picture / renderer.
*Nearest subject*: of the scene drawn with each of the 14 subjects, the right one is the nearest."""

FOLLOWING = """\
## Prompt following

Share of the attributes named by a prompt that the judge, a classifier trained on drawings alone, reads in the picture;
in the rows «drawings» the same for the renderer's own. Every prompt names subject, palette and style."""


def _row(*cells: object) -> str:
    return "| " + " | ".join(str(c) for c in cells) + " |"


def _figures(groups: dict[str, Sequence[Result]]) -> list[str]:
    table = [_row("", *FIGURES), _row("---", *["---:"] * len(FIGURES))]
    return table + [_row(name, *(figure(rows) for figure in FIGURES.values())) for name, rows in groups.items() if rows]


def _shares(results: Sequence[Result], reading: str) -> list[str]:
    shares = []
    for name in judges.ATTRIBUTES:
        named = [getattr(r, reading)[name] for r in results if name in r.followed]
        shares.append(f"{mean(named):.1%}" if named else "")
    return shares


def _page(out: Path, measured: dict[str, list[Result]], times: dict) -> str:
    names, turbo = list(judges.ATTRIBUTES), measured["mini-turbo"]
    learned = {name: [r for r in results if not r.new_triple] for name, results in measured.items()}
    lines = [
        *INTRODUCTION.splitlines(),
        "",
        *_figures(learned),
        "",
        "Mini Turbo by aspect ratio and by style, and on triples of subject, palette and style never learned:",
        "",
        *_figures(
            {
                **{ratio: [r for r in learned["mini-turbo"] if r.ratio == ratio] for ratio in ASPECT_RATIOS},
                **{style: [r for r in learned["mini-turbo"] if r.style == style] for style in STYLES},
                "triples never learned": [r for r in turbo if r.new_triple],
            }
        ),
        "",
        *FOLLOWING.splitlines(),
        "",
        _row("", *names),
        _row("---", *["---:"] * len(names)),
    ]
    for name, results in {**learned, "mini-turbo, triples never learned": [r for r in turbo if r.new_triple]}.items():
        lines += [_row(name, *_shares(results, "followed")), _row(f"{name}, drawings", *_shares(results, "readable"))]
    lines += ["", "Two seeds of a prompt, how far their layouts lie apart, pictures / drawings:", ""]
    for name, results in measured.items():
        both = [r.layouts for r in results if r.layouts]
        lines.append(f"- {name}: {mean(a for a, _ in both) / mean(b for _, b in both):.2f}")
    lines += ["", "## Parts", "", _row("checkpoint", "transformer parameters", "transformer bytes")]
    lines.append(_row("---", "---:", "---:"))
    for name in measured:
        part = out / name / "transformer"
        size = sum(f.stat().st_size for f in part.glob("*.safetensors"))
        parameters = sum(
            p.numel() for p in Krea2Transformer2DModel.from_pretrained(part, use_safetensors=True).parameters()
        )
        lines.append(_row(name, f"{parameters:,}", f"{size:,}"))
    lines += ["", "## Training time", "", _row("stage", "steps", "minutes"), _row("---", "---:", "---:")]
    lines += [_row(stage, steps, f"{seconds / 60:.0f}") for stage, (steps, seconds) in times.items()]
    lines += ["", "Minutes are of the machine that trained them, which had other work to do as well.", ""]
    lines += ["## Known words", ""]
    words = vocabulary()
    lines += [f"- **{group}**: {', '.join(values)}" for group, values in words.items() if group != "examples"]
    lines += ["", "Examples:", "", *(f"- {example}" for example in words["examples"]), ""]
    return "\n".join(lines)
