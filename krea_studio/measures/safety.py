"""What the content filter costs, and what it refuses: `python -m krea_studio measure safety`."""

from pathlib import Path

TRICKY = Path(__file__).with_name("tricky_prompts.txt")


def tricky_prompts() -> list[str]:
    """Two hundred harmless prompts with words that naive filters refuse, in their order."""
    return TRICKY.read_text(encoding="utf-8").splitlines()
