"""Pictures of the library are shown where they lie.

Gradio copies every file that it shows into its temporary folder, where a second library would grow, and a run would
fail when that is full. What a component is to show is given out by its own path instead (`protection.ShownFiles`).
"""

from collections.abc import Callable
from typing import Any

import gradio as gr
from gradio.blocks import Block
from gradio.events import EventData
from gradio.processing_utils import client_utils

from krea_studio.ui.server.values import look_at_events


def show_in_place(page: gr.Blocks, shows: Callable[[str], bool]) -> None:
    """Let the parts of a page copy no file of which `shows` says that it is given out where it lies."""
    for block in page.blocks.values():
        _copy_less(block, shows)

    def look(_: Any, event: EventData) -> None:
        # Who chooses a picture tells of its file too, and Gradio refuses files that are not in its own folder.
        event._data = client_utils.traverse(
            event._data, lambda file: None if shows(file["path"]) else file, client_utils.is_file_obj
        )

    look_at_events(page, look)


def _copy_less(block: Block, shows: Callable[[str], bool]) -> None:
    copied = block.async_move_resource_to_block_cache

    async def moved(path: str | None) -> str | None:
        return path if path is not None and shows(path) else await copied(path)

    block.async_move_resource_to_block_cache = moved
