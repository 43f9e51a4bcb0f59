"""What is no value of a part of the page is refused in one line.

Every function of the page can be called by its number with anything. Gradio takes what is no value for a fault of the
program, and writes a traceback of it.
"""

import logging
from collections.abc import Callable
from typing import Any

import gradio as gr
from gradio.events import EventData
from gradio.processing_utils import check_all_files_in_cache
from gradio.utils import get_type_hints

logger = logging.getLogger(__name__)


def refuse_other_values(page: gr.Blocks) -> None:
    """Let the functions of a page refuse what is no value of their parts, what is no event, and what they do not do."""
    taken = page.preprocess_data

    async def preprocess_data(function: Any, values: Any, *others: Any, **named: Any) -> Any:
        if not function.fn:
            raise gr.Error("This is done in the browser, and there is nothing to call.", print_exception=False)
        try:
            return await taken(function, values, *others, **named)
        except gr.Error as error:  # a file that was not uploaded
            error.print_exception = False
            raise
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise _refusal(function, error) from None

    def look(function: Any, event: EventData) -> None:
        for kind in get_type_hints(function.fn).values():
            if isinstance(kind, type) and issubclass(kind, EventData):
                try:
                    check_all_files_in_cache(event._data)
                    kind(event.target, event._data)
                except (LookupError, TypeError, gr.Error) as error:
                    raise _refusal(function, error) from None

    page.preprocess_data = preprocess_data
    look_at_events(page, look)


def look_at_events(page: gr.Blocks, look: Callable[[Any, EventData], None]) -> None:
    """Have `look` see, and change or refuse, each event before the page's function that it is for is called.

    What looks later sees it first.
    """
    called = page.call_function

    async def call_function(
        function: Any,
        values: list[Any],
        iterator: Any = None,
        requests: Any = None,
        event_id: str | None = None,
        event: EventData | None = None,
        *others: Any,
    ) -> Any:
        if event is not None:
            look(function, event)
        return await called(function, values, iterator, requests, event_id, event, *others)

    page.call_function = call_function


def _refusal(function: Any, error: Exception) -> gr.Error:
    logger.info("A call of %s was refused: %r", function.name, error)
    return gr.Error(
        "These are no values of this function — load the page anew, or call an endpoint of its API.",
        print_exception=False,
    )
