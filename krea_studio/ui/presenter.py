"""A run's events as updates of the page: one function per kind of event; knows parts by name, and no engine's insides.

An update is a dict from the name of a part of a tab to its new value. The presenter keeps what one run has shown so
far; the handler that drives it owns the events and closes them.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import gradio as gr

from krea_studio.engine.base import Failed, Loading, Queued, Step
from krea_studio.library.records import Record
from krea_studio.recipe.plan import GenerationPlan
from krea_studio.studio import Expanding, Saved, Started
from krea_studio.ui import fragments

Update = dict[str, Any]


class RunPresenter:
    """Turns the events of one run into updates; remembers the plan and the pictures it has shown."""

    def __init__(self) -> None:
        self.plan: GenerationPlan  # from the event Started on, which is the first
        self.records: list[Record] = []
        self.problem: str | None = None

    def updates(self, events: Iterable[Any]) -> Iterator[Update]:
        """Yield one update per event, in order; an event that an engine repeats changes nothing.

        Every event but the last one yields, because Gradio can only end a run between two updates.
        """
        latest = None
        for event in events:
            repeated, latest = event is latest, event
            match event:
                case _ if repeated:
                    yield {"stage": gr.skip()}
                case Started():
                    yield self._started(event)
                case Expanding():
                    yield {
                        "stage": shown(
                            fragments.expanding(self.plan.shots[event.shot], event.shot, len(self.plan.shots))
                        )
                    }
                case Queued():
                    yield {"stage": shown(fragments.queued(self.plan.shots[0], event.position))}
                case Loading():
                    yield {"stage": shown(fragments.loading(self.plan.shots[0], event.what, event.fraction))}
                case Step():
                    yield self._step(event)
                case Saved():
                    yield self._saved(event)
                case Failed():
                    self.problem = event.error.message

    def ending(self) -> Update:
        """The update when no further event comes: the stage gives way to the pictures, or to what went wrong."""
        if self.problem is not None:
            return {"stage": shown(fragments.notice(self.problem))}
        return {"stage": gr.update(value="", visible=False)}

    def _started(self, event: Started) -> Update:
        self.plan = event.plan
        waiting = fragments.starting(event.plan.shots[0])
        return {"stage": shown(waiting), "seed": str(event.plan.seed), **pictures_of([])}

    def _step(self, event: Step) -> Update:
        shot, pictures = self.plan.shots[event.shot], len(self.plan.shots)
        if event.step < event.steps:
            return {"stage": shown(fragments.step(shot, event.shot, pictures, event.step, event.steps, event.preview))}
        return {"stage": shown(fragments.decoding(shot, event.shot, pictures, event.preview))}

    def _saved(self, event: Saved) -> Update:
        self.records.append(event.record)
        last = len(self.records) == len(self.plan.shots)
        # The stage gives way in the same update, so that nothing jumps.
        return {**pictures_of(self.records), **(self.ending() if last else {})}


def shown(markup: str) -> Any:
    """An HTML part with this content, made visible."""
    return gr.update(value=markup, visible=True)


def pictures_of(records: list[Record]) -> Update:
    """The results gallery with these pictures (by path, never decoded), the first one described below it."""
    items = [(str(record.path), fragments.caption(record)) for record in records]
    single = len(records) == 1
    return {
        "gallery": gr.update(value=items, visible=bool(items), columns=1 if single else 2, selected_index=None),
        "shown_ids": [record.id for record in records],
        "selected": 0,
        "details": gr.update(value=fragments.details(records[0] if records else None), visible=bool(records)),
        "picture_actions": gr.update(visible=bool(records)),
    }
