"""The command `inspect-style`: what a LoRA file is, which checkpoints it is made for, and whether the studio takes it.

Exit code 0 where the doctor accepts the file, 1 where it refuses it; the report with the reasons is on standard output
either way, as lines or as JSON. Changes nothing and needs no downloaded weights.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from krea_studio.engine.checkpoints.choices import Choices
from krea_studio.settings import load_settings

REFUSED = 1


def add_inspect_style_command(commands: Any) -> None:
    """Add `inspect-style` to the subparsers of the command line."""
    parser = commands.add_parser(
        "inspect-style",
        help="say what a LoRA file is and whether it works here",
        description="Say what a LoRA file is, which checkpoints it is made for, and what is wrong with it. Exit code 1 "
        "means that the file is refused.",
        allow_abbrev=False,
    )
    parser.add_argument("file", type=Path, metavar="FILE.safetensors", help="a LoRA, in any trainer's format")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_inspect_style, parser=parser)


def _inspect_style(options: argparse.Namespace) -> int:
    from krea_studio.engine.lora.doctor import diagnose
    from krea_studio.engine.lora.layers import architectures

    settings = load_settings()
    found = diagnose(options.file, architectures(Choices(settings, settings.library).known))
    if options.json:
        plain = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
        print(json.dumps(found.as_dict(), ensure_ascii=plain, indent=2))
    else:
        print("\n".join(found.lines()))
    return 0 if found.accepted else REFUSED
