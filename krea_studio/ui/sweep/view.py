"""A sweep's run as an update of the tab: its table, and which buttons there are."""

import gradio as gr

from krea_studio.errors import InvalidRequest
from krea_studio.library.store import Library
from krea_studio.recipe.sweep import Sweep
from krea_studio.runs.rows import picture_id
from krea_studio.runs.run import Run
from krea_studio.runs.runs import Runs
from krea_studio.ui.notices import visible
from krea_studio.ui.presenter import Update, news_of, shown
from krea_studio.ui.sweep import fragments
from krea_studio.ui.sweep.fragments import Cells
from krea_studio.validation import shown as quoted

VIEW = ("sweep_run", "sweep_stage", "sweep_begin", "sweep_stop", "sweep_go_on", "sweep_sheet")


def cells_of(run: Run, library: Library) -> Cells:
    """A sweep's pictures as they are on disk now. Raises InvalidRequest for a run of another kind."""
    if not isinstance(run.asked, Sweep):
        raise InvalidRequest(f"The run {quoted(run.id)} is no sweep — start one here")
    pictures = [record if record and record.path.is_file() else None for record in run.records]
    deleted = frozenset(
        place
        for place, record in enumerate(pictures)
        if run.state.ended
        and record is None
        and library.is_deleted(before.id if (before := run.records[place]) else picture_id(run.id, place))
    )
    return Cells(run, run.asked, pictures, deleted)


def view_of(run: Run, runs: Runs, opened: str = "") -> Update:
    """All of a sweep: its table with the picture `opened` marked, and what can be done. Raises as `cells_of` does."""
    cells = cells_of(run, runs.studio.library)
    return {
        "sweep_run": run.id,
        "sweep_stage": shown(fragments.stage(cells, news_of(run, runs), opened)),
        "sweep_begin": gr.update(interactive=run.state.ended),
        "sweep_stop": visible(not run.state.ended),
        "sweep_go_on": visible(run.state.ended and cells.lacking > 0),
        "sweep_sheet": visible(any(cells.pictures)),
    }
