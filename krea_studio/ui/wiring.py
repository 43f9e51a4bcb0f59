"""Events of a tab, connected by name: which parts a handler reads, and which of them it can change.

Handlers know no components. They get the values of parts as keyword arguments under the parts' names, and return, or
yield, updates by the same names.
"""

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import gradio as gr
from gradio.blocks import Block

Parts = dict[str, Block]
Reads = Iterable[str] | Mapping[str, str]


class Wiring:
    """Connects the events of one tab to its handlers."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    def on(self, event: Any, handler: Callable[..., Any], reads: Reads, writes: Iterable[str], **options: Any) -> Any:
        """At `event` call `handler` with the parts that it reads; `options` go to Gradio.

        A mapping as `reads` gives a parameter the part of another name.
        """
        named = reads if isinstance(reads, Mapping) else {name: name for name in reads}
        return event(
            _addressed(self.parts, handler),
            inputs_kwargs={parameter: self.parts[part] for parameter, part in named.items()},
            outputs=[self.parts[name] for name in writes],
            show_progress="hidden",
            api_visibility="private",
            **options,
        )

    def at_once(
        self, event: Any, handler: Callable[..., Any], reads: Reads, writes: Iterable[str], **options: Any
    ) -> Any:
        """`on` without waiting in the queue, for what takes no time."""
        return self.on(event, handler, reads, writes, queue=False, **options)


def any_of(*events: Any) -> Callable[..., Any]:
    """What stands for an event where several have the same effect."""
    return functools.partial(gr.on, events)


def _addressed(parts: Parts, handler: Callable[..., Any]) -> Callable[..., Any]:
    """`handler` with its updates addressed to components instead of names."""

    def addressed(update: dict[str, Any]) -> Any:
        # Gradio takes an empty mapping for a value.
        return {parts[name]: value for name, value in update.items()} or gr.skip()

    if inspect.isgeneratorfunction(handler):

        @functools.wraps(handler)
        def stream(*args: Any, **kwargs: Any) -> Any:
            updates = handler(*args, **kwargs)
            try:
                for update in updates:
                    yield addressed(update)
            finally:
                updates.close()

        return stream

    @functools.wraps(handler)
    def answer(*args: Any, **kwargs: Any) -> Any:
        return addressed(handler(*args, **kwargs))

    return answer
