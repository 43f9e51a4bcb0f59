"""Pictures of the library are shown where they lie.

Gradio copies every file that it shows into its temporary folder, where a second library would grow, and a run would
fail when that is full. What a component is to show is given out by its own path instead (`protection.ShownFiles`).
"""

from collections.abc import Callable

from gradio.blocks import Block


def show_in_place(block: Block, shows: Callable[[str], bool]) -> None:
    """Let a component copy no file of which `shows` says that it is given out where it lies."""
    copied = block.async_move_resource_to_block_cache

    async def moved(path: str | None) -> str | None:
        return path if path is not None and shows(path) else await copied(path)

    block.async_move_resource_to_block_cache = moved
