"""A run as it is, and how the engine stands, as an update of the page. Knows parts by name, and no engine's insides.

An update is a dict from the name of a part of a tab to its new value.
"""

import hashlib
from typing import Any

import gradio as gr

from krea_studio.engine.base import Engine
from krea_studio.library.records import Record
from krea_studio.people import Person
from krea_studio.runs.run import Kind, Run, State
from krea_studio.runs.runs import Runs
from krea_studio.ui import fragments

Update = dict[str, Any]


def stage_of(run: Run, news: str) -> Update:
    """What stands in the place of the pictures: how far the run is, or how it ended; nothing when all are there.

    `news` is that of `news_of`, by which the browser finds out that there is more.
    """
    if run.state is State.DONE and not run.failure:
        return {"stage": gr.update(value="", visible=False)}
    if run.state.ended:
        return {"stage": shown(fragments.notice(run.failure, "quiet" if run.state is State.STOPPED else "problem"))}
    return {"stage": shown(fragments.stage(run, news))}


def news_of(run: Run, runs: Runs) -> str:
    """Some digits that change when more of a run is to be drawn than its stage: pictures, the queue, its end."""
    told = f"{len(run.finished)} {run.state.ended} {fragments.queue(waiting_beside(run, runs))}"
    return hashlib.blake2b(told.encode(), digest_size=8).hexdigest()


def waiting_beside(run: Run, runs: Runs) -> list[Run]:
    """The unfinished runs of a run's owner beside it."""
    return [each for each in unfinished_of(run.owner, runs) if each.id != run.id]


def unfinished_of(owner: str, runs: Runs) -> list[Run]:
    """The runs that draw for an owner and have not ended, in the order in which they were made."""
    return [run for run in runs.of(Person(owner), Kind.GENERATE) if not run.state.ended]


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


def status_of(engine: Engine, variant: str) -> Update:
    """The status line: what is loaded, where, how large."""
    return {"status": fragments.status_text(engine.status(), engine.checkpoint_of(variant))}
