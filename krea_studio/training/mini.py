"""Trains the embedded checkpoints from nothing: `python -m krea_studio.training.mini [STAGE …]`.

Stages run in their order, each resumable: what a stage has finished in the working folder is not done again, and what
it has begun goes on. Everything is seeded. The stages «plans» and «paints» need nothing of each other and may run at
once, in two processes of their own.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
from diffusers import AutoencoderKLQwenImage, Krea2Transformer2DModel
from torch import distributed, multiprocessing
from transformers import PreTrainedTokenizerFast, Qwen3VLModel

from krea_studio.training import loop
from krea_studio.training.checkpoints import (
    architecture,
    autoencoder,
    export,
    initialization,
    latents,
    orientation,
    own,
    painting,
    text,
)
from krea_studio.training.judging import judge
from krea_studio.training.judging import report as evaluate


@dataclass(frozen=True)
class Workshop:
    """Where a run keeps its work and puts its results, on which device, and from which seed."""

    work: Path
    out: Path
    device: str
    seed: int
    prompts: int

    @property
    def judges(self) -> Path:
        return self.out.parent / judge.JUDGES.name

    def done(self, name: str) -> Path:
        return self.work / "done" / name

    def transformer(self, name: str) -> Krea2Transformer2DModel:
        return Krea2Transformer2DModel.from_pretrained(self.done(name), use_safetensors=True).to(self.device)

    def reader(self) -> tuple[Qwen3VLModel, PreTrainedTokenizerFast]:
        encoder = (
            Qwen3VLModel.from_pretrained(self.done("text_encoder"), use_safetensors=True)
            .to(self.device)
            .eval()
            .requires_grad_(False)
        )
        return encoder, PreTrainedTokenizerFast.from_pretrained(self.done("tokenizer"))


def train_text(shop: Workshop) -> None:
    tokenizer = text.train_tokenizer()
    tokenizer.save_pretrained(shop.done("tokenizer"))
    encoder = text.train_encoder(tokenizer, shop.work / "text", shop.device, seed=shop.seed)
    encoder.save_pretrained(shop.done("text_encoder"))


def train_autoencoder(shop: Workshop) -> None:
    autoencoder.train(shop.work / "decoder", shop.device, seed=shop.seed).save_pretrained(shop.done("vae"))


def build_latents(shop: Workshop) -> None:
    basis = autoencoder.basis_of(shop.work / "decoder", shop.seed)
    for kind in latents.CLASSES.values():
        latents.build(basis, kind, shop.work / "latents")


def _settled(shop: Workshop) -> Krea2Transformer2DModel:
    torch.manual_seed(shop.seed)
    model = architecture.transformer("mini-medium").to(shop.device)
    initialization.settle(model, shop.seed)
    return model


def train_plans(shop: Workshop) -> None:
    painting.plan(_settled(shop), shop.work / "latents", shop.work / "planning", shop.device, shop.seed)


def train_paints(shop: Workshop) -> None:
    painting.paint(_settled(shop), shop.work / "latents", shop.work / "painting", shop.device, shop.seed)


def train_medium(shop: Workshop) -> None:
    encoder, tokenizer = shop.reader()
    model, latents, device, seed = _settled(shop), shop.work / "latents", shop.device, shop.seed
    painting.plan(model, latents, shop.work / "planning", device, seed)
    painting.paint(model, latents, shop.work / "painting", device, seed)
    painting.join(model, latents, shop.work / "joining", device, seed)
    orientation.install(model, encoder, tokenizer, latents, shop.work / "orientation", device, seed)
    if _first():
        model.save_pretrained(shop.done("medium"))


def train_large(shop: Workshop) -> None:
    """mini-medium with more blocks that paint, taught on rich pictures."""
    torch.manual_seed(shop.seed)
    model = initialization.expanded(shop.transformer("medium")).to(shop.device)
    painting.enrich(model, shop.work / "latents", shop.work / "enriching", shop.device, shop.seed)
    if _first():
        model.save_pretrained(shop.done("large"))


def draw_own(shop: Workshop) -> None:
    """What Turbo makes of the renderer's scenes, as latents, beside the pictures that they should be."""
    encoder, tokenizer = shop.reader()
    own.build(shop.transformer("medium"), encoder, tokenizer, shop.work / "own", shop.device)


def polish_decoder(shop: Workshop) -> None:
    vae = AutoencoderKLQwenImage.from_pretrained(shop.done("vae"), use_safetensors=True)
    autoencoder.polish(vae, shop.work / "own", shop.work / "polish", shop.device, seed=shop.seed).save_pretrained(
        shop.done("vae-polished")
    )


def train_judge(shop: Workshop) -> None:
    for reading in (judge.PROMPTS, judge.STYLED):
        judge.save(judge.train(shop.work / reading.name, seed=shop.seed, reading=reading), shop.done("judge"))


def write(shop: Workshop) -> None:
    """Export whatever is trained, as checkpoint folders and the judges' weights."""
    encoder, tokenizer = shop.reader()
    vae = AutoencoderKLQwenImage.from_pretrained(shop.done("vae-polished"), use_safetensors=True)
    medium = shop.out / "mini-medium"
    export.base(medium, shop.transformer("medium").cpu(), vae, encoder.cpu(), tokenizer)
    # Noise and picture are a known pair, so mini-medium runs in eight steps without having been distilled.
    export.derived(shop.out / "mini-turbo", shop.transformer("medium").cpu(), medium, distilled=True)
    export.derived(shop.out / "mini-large", shop.transformer("large").cpu(), medium, distilled=False)
    for reading in (judge.PROMPTS, judge.STYLED):
        judge.save(judge.load(reading, shop.done("judge")), shop.judges)


def report(shop: Workshop) -> None:
    evaluate.report(shop.out, shop.work, judge.load(folder=shop.judges), shop.prompts, shop.device)


STAGES: dict[str, Callable[[Workshop], None]] = {
    "text": train_text,
    "autoencoder": train_autoencoder,
    "latents": build_latents,
    "plans": train_plans,
    "paints": train_paints,
    "medium": train_medium,
    "own": draw_own,
    "polish": polish_decoder,
    "large": train_large,
    "judge": train_judge,
    "export": write,
    "report": report,
}
# Stages that several processes share; the first does the others.
TOGETHER = ("latents", "medium", "own", "large", "report")


def _first() -> bool:
    return loop.place()[0] == 0


def _run(rank: int, shop: Workshop, stages: list[str], processes: int, meeting: str) -> None:
    """What each process does. On a CPU, two of one thread get more done than one of two.

    They form a group for a stage that they share; before the next of those, the others wait for the first.
    """
    threads = torch.get_num_threads()
    for name in stages:
        together = processes > 1 and name in TOGETHER
        if rank > 0 and not together:
            continue
        torch.set_num_threads(max(1, threads // processes) if together else threads)
        if together:
            distributed.init_process_group(
                "gloo",
                init_method=f"file://{meeting}-{name}",
                rank=rank,
                world_size=processes,
                timeout=timedelta(days=2),
            )
        if rank == 0:
            print(f"== {name}", flush=True)
        STAGES[name](shop)
        if together:
            distributed.barrier()
            distributed.destroy_process_group()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m krea_studio.training.mini", description=__doc__)
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=f"of {', '.join(STAGES)}; all of them by default")
    parser.add_argument("--work", type=Path, default=Path("training-work"), help="folder for states and data")
    parser.add_argument("--out", type=Path, default=Path("assets/checkpoints"), help="folder for the checkpoints")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1, help="that work together on a CPU")
    parser.add_argument("--prompts", type=int, default=304, help="held-out prompts of the report")
    chosen = parser.parse_args(arguments)
    unknown = [stage for stage in chosen.stages if stage not in STAGES]
    if unknown:
        parser.error(f"no stage {unknown[0]!r} — choose from {', '.join(STAGES)}")
    shop = Workshop(chosen.work, chosen.out, chosen.device, chosen.seed, chosen.prompts)
    if chosen.processes > 1 and chosen.device != "cpu":
        parser.error(f"--processes {chosen.processes} is for the CPU — leave it out with --device {chosen.device}")
    with tempfile.TemporaryDirectory() as folder:
        work = (shop, chosen.stages or list(STAGES), chosen.processes, f"{folder}/meeting")
        if chosen.processes > 1:
            multiprocessing.spawn(_run, work, chosen.processes)
        else:
            _run(0, *work)
    return 0


if __name__ == "__main__":
    sys.exit(main())
