"""The command `sweep`: a picture of every combination, a line each, and the sheet of all."""

import argparse
from datetime import datetime
from pathlib import Path

from krea_studio.cli.generate import prepared, print_saved
from krea_studio.cli.parts import as_json, remark, tell
from krea_studio.cli.progress import Progress
from krea_studio.errors import InvalidRequest
from krea_studio.files import write_whole
from krea_studio.library.pictures.sheets import Place, read_sweep, sheet, sheet_bytes
from krea_studio.library.records import Record
from krea_studio.recipe.axes import parse_axis
from krea_studio.recipe.plan import GenerationPlan
from krea_studio.recipe.sweep import Sweep, parse_sweep
from krea_studio.runs.pace import Pace, expected
from krea_studio.studio import Saved, Started, StudioEvent, Withheld
from krea_studio.validation import shown

SHEET_FOLDER = "sheets"


def sweep(options: argparse.Namespace) -> int:
    """Make the pictures of the sweep that the options describe, and its sheet. Raises StudioError when it cannot."""
    before = read_sweep(options.source) if options.source else None
    axes = [parse_axis(text) for text in (options.x, options.y, options.z) if text is not None]
    if before and not axes:
        axes = list(before.axes)
    if options.most < 1:
        raise InvalidRequest(f"--most is {options.most} — give a whole number above 0")
    if options.sheet is not None and options.sheet.suffix.lower() != ".png":
        raise InvalidRequest(f"--sheet is {shown(str(options.sheet))} — name a PNG")
    with prepared(options, before.request if before else None) as (services, request), Progress() as progress:
        asked = parse_sweep(request, axes, options.most)
        plans: list[GenerationPlan] = []
        kept: dict[Place, Record] = {}

        def show(event: StudioEvent) -> None:
            if isinstance(event, Started):
                plans.append(event.plan)
                remark(expected(event.plan.shots, event.here, Pace.of(services.library)))
            if isinstance(event, Saved):
                progress.pause()
                at = plans[0].cells[event.shot]
                values = {axis.name: axis.text(place) for axis, place in zip(asked.axes, at, strict=True)}
                print_saved(event.record, options.json, cell=list(at), values=values)
                kept[at] = event.record
            elif isinstance(event, Withheld):
                progress.pause()
                remark(event.message)
            else:
                progress.show(event)

        records = services.studio.generate(asked, tell=show)
        files = {at: record.path for at, record in kept.items()}
        path = options.sheet or _sheet_path(services.library.folder, records[-1])
        drawn = plans[0].asked
        assert isinstance(drawn, Sweep)
        write_whole(path, sheet_bytes(sheet(drawn, files), drawn))
        tell(as_json({"sheet": str(path)}) if options.json else str(path))
    return 0


def _sheet_path(library: Path, last: Record) -> Path:
    now = datetime.now()
    return library / SHEET_FOLDER / f"{now:%Y-%m-%d}" / f"{now:%H%M%S}-{last.id}.png"
