"""The command `generate`: flags become a request, and its pictures a line each on standard output."""

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from krea_studio.cli.flags import FLAGS, RANDOM_FLAGS, SPEED_FLAG, flag_of
from krea_studio.cli.parts import as_json, plain, remark, with_number
from krea_studio.cli.progress import Progress
from krea_studio.cli.styles import chosen_styles, take_in_folder
from krea_studio.direction.references import references_text
from krea_studio.direction.sliders import values_text
from krea_studio.direction.speed import preset_of
from krea_studio.direction.styles import chosen_card, made_for_another, other_styles, styles_text
from krea_studio.errors import InvalidRequest
from krea_studio.files import make_folder
from krea_studio.library.moodboards import Moodboards
from krea_studio.library.pictures.metadata import read_recipe
from krea_studio.library.records import Record, seconds_text
from krea_studio.library.references import Reference, References
from krea_studio.library.store import MOODBOARD_FOLDER, REFERENCE_FOLDER
from krea_studio.recipe.plan import require_plannable
from krea_studio.recipe.recipe import Recipe, steps_of
from krea_studio.recipe.request import GenerationRequest, parse_request
from krea_studio.recipe.sigmas import read_sigmas
from krea_studio.redrawing import differences
from krea_studio.services import Services, build_services
from krea_studio.settings import load_settings
from krea_studio.studio import Saved, StudioEvent, Withheld
from krea_studio.validation import field_schema, shown


def generate(options: argparse.Namespace) -> int:
    """Make the pictures that the options describe. Raises StudioError when it cannot."""
    with prepared(options) as (services, request), Progress() as progress:

        def show(event: StudioEvent) -> None:
            if isinstance(event, Saved):
                progress.pause()
                print_saved(event.record, options.json)
            elif isinstance(event, Withheld):
                progress.pause()
                remark(event.message)
            else:
                progress.show(event)

        services.studio.generate(request, tell=show)
    return 0


@contextmanager
def prepared(
    options: argparse.Namespace, base: GenerationRequest | None = None
) -> Iterator[tuple[Services, GenerationRequest]]:
    """The services for a run, and the request that the options describe, ready for it: on top of `base` where there is
    one, or of the recipe in the picture that they name.

    Nothing is written while a flag may still be refused; then what is worth knowing is remarked.
    """
    recipe = read_recipe(options.source) if options.source and base is None else None
    base = recipe.request() if recipe else base
    references = _references(options)
    settings = load_settings()
    styles = chosen_styles(options.styles or (), settings.library)
    request = _request(options, base, references, settings.library, styles)
    if options.out is not None:
        _require_folder(options.out)
    services = build_services(settings, options.out)
    with closing(services.library):
        if options.styles:
            take_in_folder(services)
        if options.few_steps:
            request = _with_few_steps(request, options, services)
        for picture, _ in references:
            services.library.references.keep(picture)
        for note in _notes(recipe, request, services):
            remark(note)
        yield services, request


def print_saved(record: Record, in_json: bool, **beside: Any) -> None:
    """Print a picture that was kept, in JSON with what is told `beside` it."""
    if (expansion := record.recipe.expansion) and expansion.notice:
        remark(expansion.notice)
    print(_json(record, **beside) if in_json else _line(record), flush=True)


def _value(field: str, text: str) -> Any:
    """The flag's text as the field's own type; text that is no number stays text, and the request refuses it."""
    kind = field_schema(GenerationRequest, field)["type"]
    conversions: dict[str, Callable[[str], Any]] = {"integer": int, "number": float, "array": read_sigmas}
    convert = conversions.get(kind, str)
    try:
        return convert(text)
    except ValueError:
        return text


def _moodboard(text: str, library: Path) -> tuple[str, float | None]:
    """`with_number`, but for a text that as a whole is the name of a board in the library."""
    name, strength = with_number(text)
    if strength is not None:
        # Only looked at: the request may still be refused, and nothing is written then.
        boards = Moodboards(library / MOODBOARD_FOLDER, References(library / REFERENCE_FOLDER))
        with suppress(InvalidRequest):
            return boards.get(text).name, None
    return name, strength


def _references(options: argparse.Namespace) -> list[tuple[Reference, float | None]]:
    """The pictures that the flags name, read but not kept yet, each with its strength if one was given."""
    found = []
    for text in options.references or ():
        path, strength = with_number(text)
        if strength is not None and not Path(path).exists() and Path(text).exists():
            path, strength = text, None
        found.append((Reference.read(path, remark), strength))
    return found


def _request(
    options: argparse.Namespace,
    base: GenerationRequest | None,
    references: Sequence[tuple[Reference, float | None]],
    library: Path,
    styles: Sequence[dict[str, Any]],
) -> GenerationRequest:
    """The request that the flags describe, on top of `base` where there is one; `library` has the moodboards."""
    given = {
        field: _value(field, getattr(options, field))
        for field in ("prompt", *FLAGS)
        if getattr(options, field) is not None
    }
    if references:
        given["style_references"] = [_chosen(strength, image=picture.id) for picture, strength in references]
    if options.moodboard is not None:
        name, strength = _moodboard(options.moodboard, library)
        given["moodboard"] = _chosen(strength, name=name)
    if styles:
        given["styles"] = styles
    if options.locked_sliders is not None:
        given["locked_sliders"] = [name.strip() for name in options.locked_sliders.split(",") if name.strip()]
    if options.random_mode:
        given["random_mode"] = True
    else:
        for field, flag in RANDOM_FLAGS.items():
            if field in given:
                raise InvalidRequest(
                    f"{flag} {shown(getattr(options, field))} works in random mode only — add --random"
                )
    wishes: dict[str, Any] = {}
    if base is not None:
        wishes = base.model_dump()
        if given.get("variant", wishes["variant"]) != wishes["variant"]:
            wishes |= {"steps": None, "guidance_scale": None, "sigmas": None}
        if "steps" in given or "sigmas" in given:  # one goes with the other
            wishes |= {"steps": None, "sigmas": None}
        if any(given.get(field, wishes[field]) != wishes[field] for field in ("prompt", "creativity")):
            wishes["expansion"] = None  # it was written for the other prompt
    request = parse_request(wishes | given, name=flag_of)
    require_plannable(request)
    return request


def _with_few_steps(request: GenerationRequest, options: argparse.Namespace, services: Services) -> GenerationRequest:
    """The request as its style of few steps wants it, but for what the flags themselves say."""
    cards = services.library.styles.cards()
    chosen = (chosen_card(each, cards) for each in request.styles if each.weight)
    preset = preset_of({card.name: card.speed for card in chosen if card and card.speed})
    given = {field for field in preset if getattr(options, field) is not None}
    if given & {"steps", "sigmas"}:  # one goes with the other
        given |= {"steps", "sigmas"}
    kept = {field: getattr(request, field) for field in given}
    request = parse_request({**request.model_dump(), **preset, **kept}, name=flag_of)
    require_plannable(request)
    return request


def _chosen(strength: float | None, **named: str) -> dict[str, Any]:
    return named if strength is None else {**named, "strength": strength}


def _require_folder(out: Path) -> None:
    """Refuse a folder named by the person that cannot be written, as the bad input that it is."""
    try:
        make_folder(out)
    except OSError as error:
        raise InvalidRequest(
            f"--out is {shown(str(out))} ({error.strerror}) — name a folder that can be made"
        ) from None
    if not os.access(out, os.W_OK | os.X_OK):
        raise InvalidRequest(f"--out is {shown(str(out))}, which you may not write — name a folder that you may write")


def _notes(recipe: Recipe | None, request: GenerationRequest, services: Services) -> Iterator[str]:
    """What a person should know before a run: how it differs from a recipe's, styles made for another checkpoint."""
    checkpoint, cards = services.engine.checkpoint_of(request.variant), services.library.styles.cards()
    if recipe is not None:
        yield from differences(recipe, services.engine, request.variant)
        if other := other_styles(request.styles, cards):
            yield other
    for style in request.styles:
        card = chosen_card(style, cards)
        if card is not None and (other := made_for_another(card, request.variant, checkpoint.label)):
            yield f"{card.name}: {other}"
        if card is not None and card.speed and style.weight and steps_of(request) != card.speed.steps:
            yield f"{card.name} is {card.speed.words}: {SPEED_FLAG} draws so"


def _json(record: Record, **beside: Any) -> str:
    return as_json({"path": str(record.path), **beside, **record.as_json()})


def _line(record: Record) -> str:
    recipe = record.recipe
    told = [values_text(recipe), references_text(recipe), styles_text(recipe.styles)]
    if recipe.expansion and recipe.expansion.text != recipe.prompt:
        told.append(f"drawn as «{plain(recipe.expansion.text)}»")
    return (
        f"{record.path}  seed {recipe.seed}, {recipe.width} × {recipe.height}, {recipe.variant} ({recipe.checkpoint}), "
        f"{seconds_text(record.seconds)}" + "".join(f", {text}" for text in told if text)
    )
