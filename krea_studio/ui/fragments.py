"""Everything the page draws as HTML or as one line of text: header, stage, notices, captions, the model's words.

Pure functions from data to strings. This is the one place where text that a person or a checkpoint wrote enters
HTML, and every such text goes through `html.escape` here. Previews travel inside the page as data: URLs, so that
a run leaves no half-finished pictures in Gradio's file cache.
"""

import base64
from collections.abc import Iterable
from html import escape

from krea_studio import licence
from krea_studio.accounts.accounts import HUB
from krea_studio.direction.references import references_text
from krea_studio.direction.sliders import values_text
from krea_studio.direction.styles import styles_text
from krea_studio.engine.abilities import Ability
from krea_studio.engine.base import CheckpointInfo, EngineStatus, MemoryPlan, Vocabulary, gigabytes
from krea_studio.errors import DEFECT as DEFECT
from krea_studio.library.records import Record, seconds_text
from krea_studio.recipe.aspect_ratios import ASPECT_RATIOS, size_of
from krea_studio.recipe.recipe import Recipe
from krea_studio.recipe.request import Expansion
from krea_studio.recipe.variants import VARIANTS, Variant
from krea_studio.runs.run import Run, State

UNOFFICIAL = "Unofficial project, not affiliated with Krea."
LICENCE = (
    "Krea 2 is licensed under the Krea 2 Community License Agreement. For more information, visit "
    "https://krea.ai/krea-2-licensing. See NOTICE and LICENSE in the project's folder."
)
PREVIEW = "Preview of the picture in the making"
KEPT = "What is set here is kept, and not used."
SHARE = "Share with the team"
EXAMPLES = "examples"  # the key of a vocabulary that holds prompts instead of words

HEADER = """
<div class="brand"><span class="brand-mark" aria-hidden="true"></span><h1>Krea Studio</h1></div>
<button id="theme-toggle" type="button" aria-label="Switch between light and dark">Light / dark</button>
"""
FOOTER = f"<p>{escape(UNOFFICIAL)} {escape(LICENCE)}</p>"
LICENCE_TERMS = (
    f"<p>{escape(licence.SUMMARY[0])}</p><ul>{''.join(f'<li>{escape(term)}</li>' for term in licence.SUMMARY[1:])}</ul>"
    f"<p>{escape(licence.NAME)}. Its whole text is in the project's folder, assets/safety/{licence.TEXT.name}.</p>"
)
EMPTY_STAGE = """
<div class="stage stage-empty"><p class="stage-title">Your pictures appear here</p>
<p>Describe one, or start from an example, then press Generate.</p></div>
"""


def signed_in(name: str) -> str:
    """Who is signed in, and the way out."""
    shown = escape(name)
    return f'<form method="post" action="logout"><span title="{shown}">{shown}</span><button>Sign out</button></form>'


def team(owner: str, person: str) -> str:
    """What is said of whose a moodboard or style is, beside the box that shares it."""
    if not owner:
        return "Everybody's"
    return SHARE if owner == person else f"Shared by {owner.removeprefix(HUB)}"


def shared(name: str, on: bool) -> str:
    """What has become of a moodboard or style that its owner shared with the team, or no longer."""
    return f"«{name}» is shared with the team." if on else f"«{name}» is not shared with the team any more."


def stage(run: Run, news: str) -> str:
    """The stage of a run that has not ended, at the proportions of its picture; the browser keeps it up to date."""
    share, picture = share_of(run), preview_of(run)
    shot = run.shots[run.progress.shot if run.progress else 0]
    image = f'<img src="{picture}" alt="{PREVIEW}">' if picture else ""
    if share is None:
        filled, now = '<span class="bar-unknown"></span>', ""
    else:
        filled, now = f'<span style="width: {share:.0%}"></span>', f' aria-valuenow="{100 * share:.0f}"'
    return (
        f'<div class="stage stage-running" data-run="{escape(run.id)}" data-version="{run.version}" '
        f'data-news="{escape(news)}">'
        f'<div class="canvas" style="--width: {shot.width}; --height: {shot.height}">{image}</div>'
        f'<div class="running"><p>{escape(label_of(run))}</p>'
        f'<div class="bar" role="progressbar" aria-valuemin="0" aria-valuemax="100"{now}>{filled}</div></div></div>'
    )


def label_of(run: Run) -> str:
    """What a run that has not ended does, in a line."""
    at, pictures = run.progress, len(run.shots)
    if run.stopping:
        return "Stopping…"
    if run.state is State.WAITING and not (at and at.doing == "expanding"):
        place = "you are next" if run.ahead == 0 else f"{run.ahead} more before you"
        return f"Waiting for the engine · {place}{_expected(run.seconds_left)}"
    if at is None:
        return "Starting"
    if at.doing == "loading":
        return f"Loading · {at.what}"
    which = f"Picture {at.shot + 1} of {pictures} · " if pictures > 1 else ""
    if at.doing == "expanding":
        return f"{which}expanding the prompt" if which else "Expanding the prompt"
    if at.step < at.steps:
        return f"{which}step {at.step} of {at.steps}" if which else f"Step {at.step} of {at.steps}"
    return f"{which}finishing" if which else "Finishing the picture"


def share_of(run: Run) -> float | None:
    """The share of a picture's steps, or of what is loaded, that is done, 0…1; None where that cannot be told."""
    at = run.progress
    if at is None or at.doing == "expanding":
        return None
    share = at.step / at.steps if at.steps else at.share
    return None if share is None else min(max(share, 0.0), 1.0)


def preview_of(run: Run) -> str | None:
    """The address of the picture in the making; None where there is nothing to see yet."""
    preview = run.progress.preview if run.progress else None
    return None if preview is None else f"data:image/jpeg;base64,{base64.b64encode(preview).decode('ascii')}"


def queue(runs: Iterable[Run]) -> str:
    """The runs that wait behind the one that is shown, each with a button that cancels it."""
    rows = "".join(
        f'<li><span class="queued-prompt" dir="auto">{escape(run.title)}</span>'
        f'<span class="queued-place">{escape(_standing(run))}</span>'
        f'<button type="button" class="cancel-run" data-run="{escape(run.id)}">Cancel</button></li>'
        for run in runs
    )
    return f'<p class="queue-title">Waiting</p><ul class="queue">{rows}</ul>' if rows else ""


def _standing(run: Run) -> str:
    if run.progress is not None:
        return f"{len(run.finished)} of {len(run.shots)} drawn{_expected(run.seconds_left)}"
    pictures = f"{len(run.shots)} pictures · " if len(run.shots) > 1 else ""
    return f"{pictures}{'next' if run.ahead == 0 else f'after {run.ahead} more'}{_expected(run.seconds_left)}"


def _expected(seconds: float | None) -> str:
    """When a run will have ended, in steps of five seconds: it is a guess, and what changes draws the eye."""
    return "" if seconds is None else f" · done in about {seconds_text(5 * max(1, round(seconds / 5)))}"


def notice(message: str, kind: str = "problem") -> str:
    """One message in the place of the stage: `kind` is "problem" (announced at once) or "quiet"."""
    role = "alert" if kind == "problem" else "status"
    return f'<div class="notice notice-{kind}" role="{role}">{escape(message)}</div>'


def reason(sentences: Iterable[str]) -> str:
    """Why some controls are disabled, as one calm line."""
    return f'<p class="reason">{escape(" ".join(sentences))}</p>'


def hint(sentence: str) -> str:
    """What to know of a control that has no line of its own for it."""
    return f"<p>{escape(sentence)}</p>"


def caption(record: Record) -> str:
    """The text under a picture in a gallery (Gradio escapes it): seed, seconds, and slider values if there are any."""
    return " · ".join([str(record.recipe.seed), seconds_text(record.seconds), *_bent(record.recipe)])


def details(record: Record | None) -> str:
    """One line and the prompt of the picture that is looked at; empty without one."""
    if record is None:
        return ""
    recipe = record.recipe
    facts = [
        f"Seed {recipe.seed}",
        f"{recipe.width} × {recipe.height}",
        _variant_label(recipe.variant),
        short_name(recipe.checkpoint),
        seconds_text(record.seconds),
        *_bent(recipe),
    ]
    line = " · ".join(escape(fact) for fact in facts)
    said = f'<p class="facts">{line}</p><p class="said" dir="auto">{escape(recipe.prompt)}</p>'
    expansion = recipe.expansion
    if expansion is None:
        return said
    drawn = "" if expansion.text == recipe.prompt else f'<p class="said" dir="auto">{escape(expansion.text)}</p>'
    return f"{said}{expansion_note(expansion)}{drawn}"


def _bent(recipe: Recipe) -> list[str]:
    """By what the picture was bent: sliders, references and moodboard, styles."""
    return [text for text in (values_text(recipe), references_text(recipe), styles_text(recipe.styles)) if text]


def expansion_note(expansion: Expansion) -> str:
    """Who wrote an expanded prompt, and why it is not what was asked for."""
    return f"<p>{escape(written_by(expansion))}</p>" + (reason([expansion.notice]) if expansion.notice else "")


def written_by(expansion: Expansion) -> str:
    """`Written by the phrasebook, seed 7, then edited`."""
    if not expansion.writer:
        return "The prompt as it is written"
    if expansion.writer == "person":
        return "Written by hand"
    told = [f"Written by the {expansion.writer}" + (f" ({expansion.model})" if expansion.model else "")]
    if expansion.seed is not None:
        told.append(f"seed {expansion.seed}")
    return ", ".join([*told, "then edited"] if expansion.edited else told)


def mechanism(ability: Ability) -> str:
    """By what a control works here and in which range, or why it does not; empty where that is not known."""
    if ability.reason:
        return reason([f"{ability.reason.removesuffix('.')}.", KEPT])
    told = ", ".join(text for text in (ability.by, ability.range_text) if text)
    return f"<p>{escape(told[:1].upper() + told[1:])}</p>" if told else ""


def size_text(aspect_ratio: str, resolution: str) -> str:
    """The pixel size that an aspect ratio and a resolution give, with the ratio's category."""
    width, height = size_of(aspect_ratio, resolution)
    return f"<p>{ASPECT_RATIOS[aspect_ratio].category} · {width} × {height} pixels</p>"


def variant_text(variant: Variant, unavailable: str = "") -> str:
    """What a variant is best for and how fast; the reason instead when it cannot run here."""
    if unavailable:
        return f'<p class="reason">{escape(unavailable)}</p>'
    return f"<p>{escape(variant.best_for)} <span>{escape(variant.speed)} · {variant.steps} steps</span></p>"


def defaults_text(variant: Variant) -> str:
    """What empty boxes for steps and guidance mean with this variant."""
    return f"<p>{escape(variant.label)} takes {variant.steps} steps and guidance {variant.guidance_scale:g}.</p>"


def world_notice(checkpoint: CheckpointInfo) -> str:
    """The plain sentence about what the embedded model can draw; empty for other checkpoints."""
    if not (checkpoint.embedded and checkpoint.vocabulary):
        return ""
    words = sum(len(group) for name, group in checkpoint.vocabulary.items() if name != EXAMPLES)
    return (
        f"<p>This is the small model that ships with the studio. It knows a world of about {words} words; "
        "other words change little.</p>"
    )


def words_by_group(vocabulary: Vocabulary) -> str:
    """The words a checkpoint knows, one line per group."""
    lines = [
        f"<dt>{escape(name.replace('_', ' ').capitalize())}</dt><dd>{escape(', '.join(words))}</dd>"
        for name, words in vocabulary.items()
        if name != EXAMPLES
    ]
    return f'<dl class="words">{"".join(lines)}</dl>'


def model_text(checkpoint: CheckpointInfo, plan: MemoryPlan) -> str:
    """What a checkpoint is, and where its weights go in memory."""
    facts = [checkpoint.note] if checkpoint.note and checkpoint.note != plan.reason else []
    facts.append(plan.told)
    told = " ".join(f"{fact.removesuffix('.')}." for fact in facts)
    return f"<p>{escape(told)}</p>"


def status_text(status: EngineStatus, checkpoint: CheckpointInfo) -> str:
    """What is loaded, where, how many bytes of the budget it takes, and how many runs wait."""
    if not status.loaded:
        return f"<p>{escape(checkpoint.label)} loads with the first picture</p>"
    facts = [
        f"Loaded: {', '.join(short_name(part.name) for part in status.loaded)}",
        f"{status.device.upper()}, {status.precision}",
        f"{gigabytes(status.bytes)} of {gigabytes(status.budget_bytes)}",
    ]
    if status.reference_bytes:
        seconds = seconds_text(status.reference_seconds)
        facts.append(f"References: {gigabytes(status.reference_bytes)} kept, last read in {seconds}")
    if status.waiting:
        facts.append(f"{status.waiting} waiting")
    return f"<p>{escape(' · '.join(facts))}</p>"


def short_name(checkpoint: str) -> str:
    """The last part of a checkpoint's name, which may be a folder or a repository id."""
    return checkpoint.rstrip("/").rsplit("/", 1)[-1]


def _variant_label(name: str) -> str:
    return VARIANTS[name].label if name in VARIANTS else name
