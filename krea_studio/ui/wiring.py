"""Events of a tab, connected by name: which parts a handler reads, and which of them it can change.

Handlers know no components. They get the values of parts as keyword arguments under the parts' names, and return, or
yield, updates by the same names.
"""

import functools
import html
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import gradio as gr
from gradio.blocks import Block

from krea_studio.errors import InvalidRequest
from krea_studio.ui.remembered import checked, is_remembered, sent, session_of
from krea_studio.validation import shown

Parts = dict[str, Block]
Reads = Iterable[str] | Mapping[str, str]
ADDED = (gr.Request, gr.SelectData, gr.EventData)  # what Gradio gives a handler beside the values of parts
KNOWN = "_known"  # after a parameter: what the session has of it


class Wiring:
    """Connects the events of one tab to its handlers."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    def on(
        self,
        event: Any,
        handler: Callable[..., Any],
        reads: Reads,
        writes: Iterable[str],
        in_browser: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Any:
        """At `event` call `handler` with the parts that it reads; `options` go to Gradio.

        A mapping as `reads` gives a parameter the part of another name. `in_browser` gives parameters the value of
        a script's expression, which the browser knows at that moment, in the place of the part's.
        """
        named = reads if isinstance(reads, Mapping) else {name: name for name in reads}
        inputs = {parameter: self.parts[part] for parameter, part in named.items()}
        outputs = [self.parts[name] for name in writes]
        sessions = {f"{parameter}{KNOWN}": session_of(part) for parameter, part in inputs.items()}
        sent = inputs | {parameter: session for parameter, session in sessions.items() if session}
        if in_browser:
            known = "; ".join(f"values[{list(sent).index(name)}] = {value}" for name, value in in_browser.items())
            options["js"] = f"(...values) => {{ {known}; return values.slice(0, {len(sent)}); }}"
        return event(
            _addressed(self.parts, handler, inputs),
            inputs_kwargs=sent,
            outputs=[*outputs, *(session for part in outputs if (session := session_of(part)))],
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


def _addressed(parts: Parts, handler: Callable[..., Any], inputs: Parts) -> Callable[..., Any]:
    """`handler` with what the page sent looked at, and its updates addressed to components instead of names."""

    def asked(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        known = {name: kwargs.pop(f"{name}{KNOWN}", None) for name in inputs}
        try:
            for choice in args:
                if isinstance(choice, gr.EventData) and not isinstance(choice._data, dict):
                    raise InvalidRequest("The page did not say what was chosen on it — reload it and try again")
                if isinstance(choice, gr.SelectData) and type(choice.index) is not int:
                    raise InvalidRequest(f"The page chose {shown(choice.index)} — reload it and try again")
            return {
                name: known[name][0] if known[name] else checked(inputs[name], value, name)
                for name, value in kwargs.items()
            }
        except InvalidRequest as error:
            raise gr.Error(html.escape(error.message), print_exception=False) from None

    def addressed(update: dict[str, Any]) -> Any:
        values = {parts[name]: value for name, value in update.items()}
        values |= {part: sent(value) for part, value in values.items() if is_remembered(part)}
        values |= {session: value for part, value in values.items() if (session := session_of(part))}
        return values or gr.skip()  # Gradio takes an empty mapping for a value

    # Gradio then gives what it adds itself by position, and all values of parts by name.
    given = [each for each in inspect.signature(handler).parameters.values() if each.annotation in ADDED]
    signature = inspect.Signature([*given, inspect.Parameter("values", inspect.Parameter.VAR_KEYWORD)])
    annotations = {each.name: each.annotation for each in given}  # of which a partial function has none itself

    if inspect.isgeneratorfunction(handler):

        @functools.wraps(handler)
        def stream(*args: Any, **kwargs: Any) -> Any:
            updates = handler(*args, **asked(args, kwargs))
            try:
                for update in updates:
                    yield addressed(update)
            finally:
                updates.close()

        vars(stream)["__signature__"] = signature
        stream.__annotations__ = annotations
        return stream

    @functools.wraps(handler)
    def answer(*args: Any, **kwargs: Any) -> Any:
        return addressed(handler(*args, **asked(args, kwargs)))

    vars(answer)["__signature__"] = signature
    answer.__annotations__ = annotations
    return answer
