"""When a run's turn comes, and when it will have ended: from the turns to come, and how long pictures took."""

from collections.abc import Callable, Mapping, Sequence

from krea_studio.runs.entry import Entry
from krea_studio.runs.pace import Pace


def forecast(
    entry: Entry, turn_of: Sequence[str], entries: Mapping[str, Entry], known_pace: Callable[[], Pace]
) -> tuple[int, float | None]:
    """How many runs come before a run's next turn, and the seconds until it has ended; None where nothing like it was
    drawn yet. `turn_of` has the run of every turn to come, that of the present one first."""
    if entry.generation is None or entry.state.ended or entry.unwritten:
        return 0, None
    first = turn_of.index(entry.id) if entry.id in turn_of else 0
    ahead = len(set(turn_of[:first]) - {entry.id})
    last = len(turn_of) - turn_of[::-1].index(entry.id) if entry.id in turn_of else 0
    places, seconds = {run: iter(entries[run].open_places()) for run in set(turn_of)}, 0.0
    pace = known_pace()
    for run in turn_of[:last]:
        each = entries[run]
        assert each.generation
        place = next(places[run], 0)
        expected = pace.seconds(each.generation.plan.shots[place])
        if expected is None:
            return ahead, None
        at = each.progress
        begun = at.step / at.steps if at and at.steps and at.shot == place and each.busy else 0.0
        seconds += expected * (1 - begun)
    return ahead, seconds
