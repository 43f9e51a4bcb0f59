"""The command `space`: writes the folder that is pushed to a Space or built into a container."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from krea_studio.cli.parts import remark, tell
from krea_studio.space import TARGETS


def add_space_command(commands: Any) -> None:
    """Add `space` to the subparsers of the command line."""
    parser = commands.add_parser(
        "space",
        help="write what is pushed to a Hugging Face Space, or built into a container",
        description="Write the folder that is pushed to a Hugging Face Space or built into a container: what serves "
        "and draws, with the target's own front matter, requirements and settings. Nothing is uploaded. Targets: "
        + "; ".join(f"{name}, {target.what}" for name, target in TARGETS.items())
        + ".",
        allow_abbrev=False,
    )
    parser.add_argument("target", choices=TARGETS, metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="where it goes; empty, or not there yet"
    )
    parser.set_defaults(run=_write, parser=parser)


def _write(options: argparse.Namespace) -> int:
    from krea_studio.space import write_space

    files = write_space(options.target, options.out)
    size = sum((options.out / path).stat().st_size for path in files)
    tell(str(options.out))
    next_step = TARGETS[options.target].next_step.format(folder=shlex.quote(str(options.out)))
    remark(f"{len(files)} files, {size / 1e6:.0f} MB; {next_step}")
    return 0
