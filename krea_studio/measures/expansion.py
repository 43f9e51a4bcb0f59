"""What a chat server's expansions are worth: `python -m krea_studio measure expansion`.

Two hundred harmless prompts of many kinds are sent, one after the other and at the levels low, medium and high in turn,
to the server of the settings (KREA_STUDIO_EXPANDER_URL and the like), as the studio does. Counted is what is drawn in
the end: the expansion, whole or with something left out, or the prompt as it is written, and why. What a small model
says is often wrong; the studio promises that none of that is drawn.
"""

import csv
import platform
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from krea_studio.errors import InvalidRequest
from krea_studio.expansion.chat_server import Endpoint
from krea_studio.expansion.creativity import LEVELS, RAW, Expander, expand
from krea_studio.expansion.faithfulness import lost
from krea_studio.expansion.words import word_count
from krea_studio.measures.options import parsed
from krea_studio.measures.pictures import line
from krea_studio.settings import Settings, environment_variable, load_settings

COMMAND = "python -m krea_studio measure expansion"
PROMPTS = Path(__file__).with_name("harmless_prompts.txt")
ASKED = tuple(level for level in LEVELS if level != RAW)
MOST_TOKENS = 512  # as the published checkpoints take; a server's tokens are not known here, so words count for them
EXPANDED, PARTLY = "expanded", "expanded, something left out"
# How a notice goes on, and what that is in the table.
REASONS = {
    "refused": "the model refused",
    "was empty": "nothing was left of the answer",
    "was cut off": "cut off before a sentence ended",
    "talks": "the model talked",
    "brought in": "names or texts were brought in",
    "was too long": "too long",
    "lost": "something of the prompt was lost",
    "It names nothing": "not asked: nothing that could be expanded",
    "has not answered": "the server was too slow",
}
OTHER = "the server failed"
COLUMNS = ("prompt", "level", "outcome", "words", "seconds", "drawn", "notice")


@dataclass(frozen=True)
class Answer:
    """What became of one prompt: the outcome in the table's words, the text that is drawn, how long that took."""

    prompt: str
    level: str
    outcome: str
    drawn: str
    notice: str
    seconds: float


def prompts() -> list[str]:
    """The harmless prompts, in their order."""
    return PROMPTS.read_text(encoding="utf-8").splitlines()


def ask(writer: Expander, prompt: str, level: str, seed: int) -> Answer:
    """Have one prompt expanded as a run does."""
    started = time.perf_counter()
    found = expand(prompt, level, seed, writer, word_count, MOST_TOKENS, lambda: None)
    return Answer(
        prompt, level, outcome_of(found.writer, found.notice), found.text, found.notice, time.perf_counter() - started
    )


def outcome_of(writer: str | None, notice: str) -> str:
    """Which line of the table an expansion belongs to, by who wrote it and the notice that came with it."""
    if writer is not None:
        return PARTLY if notice else EXPANDED
    return next((told for said, told in REASONS.items() if said in notice), OTHER)


def report(answers: Sequence[Answer], model: str) -> str:
    """The page: a table of outcomes by level, and the first expansions of each level to read."""
    by_level = {level: [each for each in answers if each.level == level] for level in ASKED}
    counts = {level: Counter(each.outcome for each in found) for level, found in by_level.items()}
    kinds = [kind for kind in (EXPANDED, PARTLY, *REASONS.values(), OTHER) if any(c[kind] for c in counts.values())]
    drawn = [each for each in answers if each.outcome in (EXPANDED, PARTLY)]
    wrong = [each for each in drawn if lost(each.prompt, each.drawn, LEVELS[each.level].free)]
    lines = [
        "# What a real language model's expansions are worth",
        "",
        f"Written by `{COMMAND}` with {model}: {len(answers)} harmless prompts, a third at each level. A prompt whose "
        "expansion is not accepted is drawn as it is written, with a notice that says why.",
        "",
        line("", *ASKED, "all"),
        "|---|" + "---:|" * (len(ASKED) + 1),
        *(
            line(kind, *(str(counts[level][kind]) for level in ASKED), str(sum(c[kind] for c in counts.values())))
            for kind in kinds
        ),
        line("**prompts**", *(str(len(found)) for found in by_level.values()), str(len(answers))),
        "",
        f"Of the {len(drawn)} expansions that are drawn, {len(wrong)} lack something that the prompt names. Words in the "
        "mean: "
        + ", ".join(f"{level} {_mean_words(by_level[level])}" for level in ASKED)
        + ". Seconds for a prompt in "
        f"the mean: {sum(each.seconds for each in answers) / max(len(answers), 1):.1f}.",
        "",
        "## To read",
        "",
    ]
    for level in ASKED:
        for each in [each for each in drawn if each.level == level][:4]:
            lines += [f"- {level}, «{each.prompt}»: {each.drawn}"]
    lines += [
        "",
        f"Machine: {platform.machine()}, Linux {platform.release().partition('-')[0]}, Python {platform.python_version()}.",
    ]
    return "\n".join(lines) + "\n"


def _mean_words(answers: Sequence[Answer]) -> str:
    drawn = [word_count(each.drawn) for each in answers if each.outcome in (EXPANDED, PARTLY)]
    return f"{sum(drawn) / len(drawn):.0f}" if drawn else "–"


def measure(settings: Settings, count: int, path: Path, told: Callable[[str], None]) -> list[Answer]:
    """Ask for the first `count` prompts what `path`, a CSV file of answers, does not have yet, and append it there."""
    writer = Endpoint(
        settings.expander_url or "",
        settings.expander_model,
        settings.expander_key,
        settings.expander_timeout_seconds,
        settings.expander_thinking_tokens,
    )
    known = read(path)
    with path.open("a", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        if not known:
            table.writerow(COLUMNS)
        for number, prompt in enumerate(prompts()[:count]):
            level = ASKED[number % len(ASKED)]
            if (prompt, level) in known:
                continue
            answer = ask(writer, prompt, level, number)
            known[prompt, level] = answer
            words = word_count(answer.drawn)
            table.writerow((prompt, level, answer.outcome, words, f"{answer.seconds:.2f}", answer.drawn, answer.notice))
            file.flush()
            told(f"{number + 1} {level} «{prompt}»: {answer.outcome}")
    return list(known.values())


def read(path: Path) -> dict[tuple[str, str], Answer]:
    """The answers that are written down in a CSV file, by prompt and level; none where there is no file."""
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {
            (row["prompt"], row["level"]): Answer(
                row["prompt"], row["level"], row["outcome"], row["drawn"], row["notice"], float(row["seconds"])
            )
            for row in csv.DictReader(file)
        }


def main(argv: Sequence[str]) -> int:
    """Measure, then write the report. Raises StudioError when it cannot."""
    chosen = parsed("expansion", argv)
    settings = load_settings()
    if not settings.expander_url:
        raise InvalidRequest(
            f"No chat server is set up — set {environment_variable('expander_url')} and "
            f"{environment_variable('expander_model')} to one that is to be measured"
        )
    answers = measure(settings, chosen.prompts, chosen.answers, lambda text: print(text, flush=True))
    chosen.report.write_text(report(answers, settings.expander_model), encoding="utf-8")
    print(f"Written to {chosen.report}")
    return 0
