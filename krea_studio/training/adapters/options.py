"""The options of the trainings that the command line offers: free of torch, so that help and mistakes come at once.

`parsed` is asked twice, by the command line before it imports a training, and by the training.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from krea_studio.recipe.request import SLIDERS

CALIBRATION_WEIGHTS = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)
TARGETS = (
    "attn.to_q", "attn.to_k", "attn.to_v", "attn.to_gate", "attn.to_out.0", "ff.gate", "ff.up", "ff.down",
)  # fmt: skip
SMALL_WORLD_RATE, RATE = 2e-3, 2e-4


def parsed(name: str, argv: Sequence[str]) -> argparse.Namespace:
    """The options of a training."""
    about, add_options = {
        "slider": ("Trains a slider LoRA on any checkpoint.", _add_slider),
        "style": ("Trains a style LoRA on a folder of captioned pictures.", _add_style),
    }[name]
    parser = argparse.ArgumentParser(prog=f"python -m krea_studio train-{name}", description=about)
    add_options(parser)
    return parser.parse_args(argv)


def _add_slider(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("slider", choices=SLIDERS)
    parser.add_argument(
        "--checkpoint", default="mini-medium", help="row of the table, folder or repository (%(default)s)"
    )
    parser.add_argument("--out", type=Path, help="file to write (default: where the studio finds it)")
    parser.add_argument("--work", type=Path, default=Path("slider-work"), help="folder for states (%(default)s)")
    parser.add_argument("--steps", type=int, default=300, help="training steps (%(default)s)")
    parser.add_argument("--rank", type=int, default=8, help="rank of the adapter (%(default)s)")
    parser.add_argument(
        "--strength", type=float, default=1.0, help="distance to learn, 1 is pole to pole (%(default)s)"
    )
    parser.add_argument("--side", type=int, default=512, help="side of the pictures in pixels (%(default)s)")
    parser.add_argument("--trajectories", type=int, default=48, help="scenes to learn on (%(default)s)")
    parser.add_argument(
        "--against", action="append", default=[], metavar="SLIDER=SHARE",
        help="share of another slider's contrast to take out, where its look comes along; once for each slider",
    )  # fmt: skip
    parser.add_argument(
        "--keep-layout", type=float, default=0.5, metavar="CORRELATION",
        help="what the pictures at the ends keep of the layout, 0 to 1 (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--most-weight", type=float, default=CALIBRATION_WEIGHTS[-1], metavar="WEIGHT",
        help=f"largest adapter weight for value 100, {CALIBRATION_WEIGHTS[0]} or more (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0)


def _add_style(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", type=Path, help="pictures (PNG, JPEG, WebP), each with its caption in a .txt beside it"
    )
    parser.add_argument("--name", required=True, help="what the style is called")
    parser.add_argument("--trigger", required=True, metavar="WORDS", help="words that call the style in a prompt")
    parser.add_argument(
        "--checkpoint", default="mini-medium", help="row of the table, folder or repository (%(default)s)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="file to write (default: NAME.safetensors in the settings' folder of styles)",
    )
    parser.add_argument("--work", type=Path, default=Path("style-work"), help="folder for states (%(default)s)")
    parser.add_argument("--steps", type=int, default=1000, help="training steps (%(default)s)")
    parser.add_argument(
        "--strength", type=float, default=1.0,
        help="how much of what was learned weight 1 of the file is; less where a style drowns the subject (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--prompt", metavar="TEXT", help="prompt to suggest (default: one of the captions)")
    parser.add_argument("--rank", type=int, default=16, help="rank of the adapter (%(default)s)")
    parser.add_argument("--alpha", type=float, help="scale of the adapter, times its rank (default: the rank)")
    parser.add_argument(
        "--learning-rate", type=float, metavar="RATE",
        help=f"peak (default: {SMALL_WORLD_RATE:g} on an embedded checkpoint, {RATE:g} on others)",
    )  # fmt: skip
    parser.add_argument(
        "--targets", nargs="+", default=list(TARGETS), metavar="LAYER",
        help=f"ends of the names of layers in the blocks, or whole names (default: {' '.join(TARGETS)})",
    )  # fmt: skip
    parser.add_argument("--size", type=int, default=512, help="root of the pictures' area in pixels (%(default)s)")
    parser.add_argument("--batch", type=int, default=4, help="pictures a step (%(default)s)")
    parser.add_argument(
        "--sample-every", type=int, default=250, metavar="STEPS", help="draw samples, 0 for never (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--even-distilled", action="store_true", help="train even on a distilled checkpoint")
