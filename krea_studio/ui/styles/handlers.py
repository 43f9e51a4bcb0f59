"""What the tab Styles does when something happens on it: each handler returns new values by the names of its parts.

Styles may change meanwhile on another page or by the command line, so the page says which style it shows by its
identity, and what is refused changes nothing. On a shared page strangers use styles and change none: every handler that
changes something asks who is there, whatever the page shows.
"""

import functools
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from krea_studio.direction.styles import OFFICIAL, OfficialStyle, StyleCard
from krea_studio.errors import InvalidRequest, StudioError
from krea_studio.library.styles.styles import Styles
from krea_studio.runs.run import Kind, Run, State
from krea_studio.runs.runs import Check, Report
from krea_studio.services import Services
from krea_studio.style_intake import StyleIntake
from krea_studio.ui import fragments
from krea_studio.ui.create.panels.styles import Chosen, StylesPanel
from krea_studio.ui.notices import HIDDEN, guarded, note, problem, remarks, visible
from krea_studio.ui.presenter import Update, shown
from krea_studio.ui.styles import fragments as style_fragments
from krea_studio.ui.styles.list import ALL, FITS, OFFICIAL_KEY, Style, key_of, meant
from krea_studio.ui.styles.pictures import cover_or_tile
from krea_studio.ui.visitors import Visitors
from krea_studio.ui.watching import Watch, over, timer_of

TEXTS = ("trigger", "suggested_prompt", "speed")


@dataclass(frozen=True)
class Imported:
    """What came of a file: the style, unless the doctor refused it, and his lines."""

    card: StyleCard | None
    lines: list[str]


class StyleHandlers:
    """The tab's behaviour, over one set of services and the page's visitors."""

    def __init__(self, services: Services, visitors: Visitors) -> None:
        self._library = services.library
        self._signing_in = services.settings.sign_in != "none"
        self._intake = services.intake
        self._engine = services.engine
        self._choice = StylesPanel(services, visitors)
        self._visitors = visitors
        self._imports = Watch(services.runs, Kind.IMPORT, "imports")

    def refreshed(self, visitor: gr.Request, open_style: str, search: str, show: str) -> Update:
        """The page was opened, or the tab: all as it is now, but no text in which somebody may be writing.

        Imports that go on are watched.
        """

        def refreshed() -> Update:
            styles = self._all(visitor)
            style = styles.get(open_style)
            if style is None:
                return self._opened(visitor, next(iter(styles.values()), None), search, show)
            return {**self._view(visitor, style), **self._looked_for(visitor, open_style, search, show)}

        # What was said of an import stays.
        return over(self._guarded(refreshed, clear=False), self._going_on(visitor))

    def looked_for(self, visitor: gr.Request, open_style: str, search: str, show: str) -> Update:
        """Words or filter changed: the cards that are meant."""
        return self._guarded(lambda: self._looked_for(visitor, open_style, search, show))

    def chosen(self, choice: gr.SelectData, visitor: gr.Request) -> Update:
        """A card was clicked: open its style, which is told by the card, since others may be shown by now."""

        def chosen() -> Update:
            caption = choice.value.get("caption") if isinstance(choice.value, dict) else None
            styles = self._all(visitor).items()
            key = next((key for key, style in styles if style_fragments.caption(style) == caption), "")
            # The browser has marked one already; of two clicks in a hurry it may be another one.
            return {**self._shown(visitor, self._get(visitor, key)), "cards": gr.update(selected_index=choice.index)}

        return self._guarded(chosen)

    def used(
        self, visitor: gr.Request, open_style: str, chosen_styles: list[Chosen], variant: str, **places: Any
    ) -> Update:
        """The open style takes a place on the Create tab, which is gone to."""

        def used() -> Update:
            name = self._styles(visitor).by_identity(open_style).name
            added = self._choice.add(visitor, name, chosen_styles, variant, **places)
            return {**added, "tabs": gr.update(selected="create")}

        return self._guarded(used)

    def favourite_switched(self, visitor: gr.Request, open_style: str, search: str, show: str) -> Update:
        """The open style becomes a favourite, or is none any more."""

        def switched() -> Update:
            card = self._changeable(visitor, open_style)
            card = self._styles(visitor).set_favourite(card.name, not card.favourite)
            return self._changed(visitor, card, search, show)

        return self._guarded(switched)

    def shared(self, visitor: gr.Request, open_style: str, team: bool, search: str, show: str) -> Update:
        """Share the open style with the team, or no longer, as the box says."""

        def shared() -> Update:
            card = self._styles(visitor).share(self._changeable(visitor, open_style).name, team)
            return {**self._changed(visitor, card, search, show), **note(fragments.shared(card.name, team))}

        return self._guarded(shared)

    def saved(self, visitor: gr.Request, open_style: str, search: str, show: str, **texts: str) -> Update:
        """Keep trigger words, suggested prompt and few steps as they were written."""

        def saved() -> Update:
            card = self._styles(visitor).edit(self._changeable(visitor, open_style).name, **texts)
            return {**self._changed(visitor, card, search, show), **style_fragments.texts(card), **note("Saved.")}

        return self._guarded(saved)

    def renamed(
        self,
        visitor: gr.Request,
        open_style: str,
        new_name: str,
        search: str,
        show: str,
        chosen_styles: list[Chosen],
        variant: str,
        **places: Any,
    ) -> Update:
        """Give the open style another name; the Create tab goes with it."""

        def renamed() -> Update:
            card = self._styles(visitor).rename(self._changeable(visitor, open_style).name, new_name)
            follows = self._choice.refresh(visitor, chosen_styles, variant, **places)
            return {**self._changed(visitor, card, search, show), **follows, "new_name": ""}

        return self._guarded(renamed)

    def cover_uploaded(
        self, visitor: gr.Request, open_style: str, search: str, show: str, cover_file: str | None
    ) -> Update:
        """Show the open style by an uploaded picture."""
        done = self._guarded(lambda: self._covered(visitor, open_style, search, show, cover_file)) if cover_file else {}
        return {**done, "cover_file": None}

    def cover_from_result(
        self,
        visitor: gr.Request,
        browser: str,
        open_style: str,
        search: str,
        show: str,
        shown_ids: list[str],
        selected: int,
    ) -> Update:
        """Show the open style by the picture that is looked at on the Create tab."""

        def covered() -> Update:
            self._changed_by(visitor)
            person = self._visitors.person(visitor, browser)
            record = self._library.get(shown_ids[selected], person) if 0 <= selected < len(shown_ids) else None
            if record is None:
                raise InvalidRequest("There is no result on the Create tab — generate a picture with the style first")
            return self._covered(visitor, open_style, search, show, str(record.path))

        return self._guarded(covered)

    def ask_delete(self, visitor: gr.Request, open_style: str) -> Update:
        """Ask before the open style goes."""

        def asked() -> Update:
            card = self._changeable(visitor, open_style)
            return {"confirm_text": style_fragments.deleting(card), "confirm": visible(True)}

        return self._guarded(asked)

    def keep_style(self) -> Update:
        """The style shall not be deleted."""
        return {"confirm": visible(False)}

    def deleted(self, visitor: gr.Request, open_style: str, search: str, show: str) -> Update:
        """Delete the open style; the first one of the others is opened."""

        def deleted() -> Update:
            card = self._changeable(visitor, open_style)
            self._styles(visitor).delete(card.name)
            first = next(iter(self._all(visitor).values()), None)
            told = note(f"«{card.name}» is deleted.")
            return {**self._opened(visitor, first, search, show), **self._list(visitor), **told}

        return self._guarded(deleted)

    def imported(self, visitor: gr.Request, dropped: str | None) -> Update:
        """Begin to take in an uploaded file if the doctor accepts it; it does not stay among the uploads."""
        if not dropped:
            return {"dropped": None}
        path, intake = Path(dropped), self._intake_of(visitor)

        def work(report: Report, check: Check) -> Imported:
            try:
                return _examined(intake, path)
            finally:
                _discard(path)

        begun = self._begin(visitor, path.name, work, "dropped", f"Examining {path.name} …")
        if timer_of("imports") not in begun:
            _discard(path)
        return {**begun, "dropped": None}

    def fetched(self, visitor: gr.Request, repository: str) -> Update:
        """Begin to take in the style of a repository on the Hub, if the doctor accepts it."""
        wanted, intake = repository or "", self._intake_of(visitor)

        def work(report: Report, check: Check) -> Imported:
            card, found = intake.import_from_hub(wanted)
            return Imported(card, found.lines())

        return self._begin(visitor, wanted, work, "fetch", "Asking the Hub …")

    def downloaded(self, visitor: gr.Request, open_style: str) -> Update:
        """Begin to download the open one of Krea's own styles."""
        name, intake = open_style.removeprefix(OFFICIAL_KEY), self._intake_of(visitor)

        def work(report: Report, check: Check) -> Imported:
            card, found = intake.install(name)
            return Imported(card, found.lines())

        return self._begin(visitor, name, work, "download")

    def follow_imports(
        self, visitor: gr.Request, imports_shown: list[str], open_style: str, search: str, show: str
    ) -> Update:
        """What came of imports: the style, opened, or why there is none."""
        update: Update = {}
        runs = self._imports.look(visitor, self._visitors.person(visitor), imports_shown)
        for run in (run for run in runs if run.state.ended):
            update |= self._guarded(functools.partial(self._ended, visitor, run, search, show))
        buttons = _buttons([self._imports.begun_by(run) for run in runs if not run.state.ended])
        return {**over(update, buttons), **self._imports.looked(runs, imports_shown)}

    def folder_taken_in(self, visitor: gr.Request, open_style: str, search: str, show: str) -> Update:
        """Take in what is new in the settings' folder of styles; who may change styles is told what was refused."""
        try:
            found = self._intake.import_folder()
        except StudioError as error:
            return problem(error.message) if self._may_change(visitor) else {"notice": gr.skip()}
        if found.refused and self._may_change(visitor):
            notice = {
                **problem("Files in the folder of styles are refused — see why, and replace or remove them"),
                "refusal": shown(style_fragments.refused_files(found.refused)),
            }
        elif found.renewed:
            names = ", ".join(f"«{card.name}»" for card in found.renewed)
            notice = note(f"New weights, because the file in the folder of styles has changed: {names}.")
        else:
            notice = {"notice": gr.skip()}
        if not (found.taken or found.renewed):
            return notice
        return {**self.refreshed(visitor, open_style, search, show), **self._list(visitor), **notice}

    def _begin(
        self, visitor: gr.Request, title: str, work: Callable[[Report, Check], Imported], by: str, told: str = ""
    ) -> Update:
        """Begin an import for somebody who may change styles, and say `told`; `by` is the part that was used."""

        def begun() -> Update:
            self._changed_by(visitor)
            person = self._visitors.person(visitor)
            timer = self._imports.begin(visitor, person, title, work, by)
            return {**timer, **self._working(visitor), **note(told)}

        return self._guarded(begun)

    def _working(self, visitor: gr.Request) -> Update:
        """The buttons as the imports have them that this page watches."""
        runs = self._imports.look(visitor, self._visitors.person(visitor))
        return _buttons([self._imports.begun_by(run) for run in runs if not run.state.ended])

    def _going_on(self, visitor: gr.Request) -> Update:
        """What the visitor began on another page, or on this one before it was loaded again, is watched here too."""
        person = self._visitors.person(visitor)
        known = {run.id for run in self._imports.look(visitor, person)}
        update: Update = {}
        for run in self._imports.going_on(person):
            told = {} if run.id in known else note(f"Adding {run.title} …")
            update |= {**self._imports.watch(visitor, [run.id]), **told}
        return {**update, **self._working(visitor)} if update else {}

    def _ended(self, visitor: gr.Request, run: Run, search: str, show: str) -> Update:
        if run.state is not State.DONE:
            return problem(run.failure)
        found: Imported = run.result
        if found.card is None:
            refusal = problem(f"{run.title} is no style that works here — its report says why; nothing was kept")
            return {**refusal, "refusal": shown(style_fragments.refused(found.lines))}
        emptied = {"repository": ""} if self._imports.begun_by(run) == "fetch" else {}
        return {
            **self._opened(visitor, found.card, search, show, found.lines),
            **self._list(visitor),
            **note(f"«{found.card.name}» is in the library."),
            **emptied,
        }

    def _covered(self, visitor: gr.Request, open_style: str, search: str, show: str, picture: str) -> Update:
        card = self._changeable(visitor, open_style)
        unused: list[str] = []
        card = self._styles(visitor).set_cover(card.name, picture, unused.append)
        return {**self._changed(visitor, card, search, show), **remarks(unused)}

    def _changed(self, visitor: gr.Request, card: StyleCard, search: str, show: str) -> Update:
        """After a change of the open style: all but its texts."""
        return {
            **self._view(visitor, card),
            **self._looked_for(visitor, card.identity, search, show),
            **self._list(visitor),
            "confirm": visible(False),
        }

    def _opened(
        self, visitor: gr.Request, style: Style | None, search: str, show: str, found: Iterable[str] = ()
    ) -> Update:
        key = key_of(style) if style else ""
        return {**self._shown(visitor, style, found), **self._looked_for(visitor, key, search, show)}

    def _shown(self, visitor: gr.Request, style: Style | None, found: Iterable[str] = ()) -> Update:
        """A style with all that belongs to it, its texts included."""
        view = self._view(visitor, style, found)
        texts = style_fragments.texts(style) if isinstance(style, StyleCard) else dict.fromkeys(TEXTS, "")
        written = {field: {**view[field], "value": text} for field, text in texts.items()}
        return {**view, **written, "confirm": visible(False)}

    def _view(self, visitor: gr.Request, style: Style | None, found: Iterable[str] = ()) -> Update:
        """What is seen of a style, except the contents of its texts; `found` are the doctor's lines where fresh."""
        card = style if isinstance(style, StyleCard) else None
        official = style if isinstance(style, OfficialStyle) else None
        person, styles = self._visitors.person(visitor), self._styles(visitor)
        changeable = card is not None and styles.may_change(card)
        cover = styles.cover(card) if card else None
        told = style_fragments.report(card, found) if card else style_fragments.official(official) if official else ""
        return {
            "open_style": key_of(style) if style else "",
            "heading": style_fragments.heading(style) if style else style_fragments.NO_STYLE,
            "cover": gr.update(value=str(cover) if cover else None, visible=cover is not None),
            "report": gr.update(value=told, visible=bool(told)),
            "use": visible(card is not None),
            "download": visible(official is not None and self._may_change(visitor)),
            "favourite": gr.update(
                value="★ Favourite" if card and card.favourite else "☆ Favourite", visible=changeable
            ),
            "texts": visible(card is not None),
            "save": visible(changeable),
            "manage": visible(changeable),
            "delete": visible(changeable and card is not None and not card.shipped),
            "team": gr.update(
                value=card is not None and (card.team or not card.owner),
                label=fragments.team(card.owner if card else "", person.id),
                interactive=changeable and card is not None and bool(card.owner),
                visible=self._signing_in and card is not None,
            ),
            "adding": visible(self._may_change(visitor)),
            "shared_note": visible(self._visitors.shared),
        } | {field: gr.update(interactive=changeable) for field in TEXTS}

    def _looked_for(self, visitor: gr.Request, open_style: str, search: str, show: str) -> Update:
        styles = self._found(visitor, search or "", show)
        return {
            "cards": gr.update(
                value=[(self._picture(visitor, style), style_fragments.caption(style)) for style in styles.values()],
                visible=bool(styles),
                selected_index=list(styles).index(open_style) if open_style in styles else None,
            ),
            "nothing": visible(not styles),
        }

    def _found(self, visitor: gr.Request, search: str, show: str) -> dict[str, Style]:
        """The styles that words and filter mean, by their keys."""
        base = self._engine.checkpoint_of(FITS[show]).label if show in FITS else ""
        return meant(self._styles(visitor).cards(), search, show, base)

    def _all(self, visitor: gr.Request) -> dict[str, Style]:
        return self._found(visitor, "", ALL)

    def _get(self, visitor: gr.Request, key: str) -> Style:
        if key.startswith(OFFICIAL_KEY) and (official := OFFICIAL.get(key.removeprefix(OFFICIAL_KEY))):
            return official
        return self._styles(visitor).by_identity(key)

    def _picture(self, visitor: gr.Request, style: Style) -> Any:
        if isinstance(style, OfficialStyle):
            return cover_or_tile(None, style.label)
        return cover_or_tile(self._styles(visitor).cover(style), style.name)

    def _list(self, visitor: gr.Request) -> Update:
        return {"add_style": gr.update(choices=self._choice.names(self._visitors.person(visitor)))}

    def _may_change(self, visitor: gr.Request) -> bool:
        return self._visitors.person(visitor).may_change_library

    def _styles(self, visitor: gr.Request) -> Styles:
        """The styles that are there for a visitor."""
        return self._library.styles.of(self._visitors.person(visitor))

    def _intake_of(self, visitor: gr.Request) -> StyleIntake:
        """What takes in a visitor's styles."""
        return self._intake.of(self._visitors.person(visitor))

    def _changed_by(self, visitor: gr.Request) -> Styles:
        """The styles, for a visitor who may change them."""
        return self._library.styles_for(self._visitors.person(visitor))

    def _changeable(self, visitor: gr.Request, open_style: str) -> StyleCard:
        return self._changed_by(visitor).by_identity(open_style)

    def _guarded(self, action: Callable[[], Update], clear: bool = True) -> Update:
        """What `action` gives, without the last notice; or a notice of what was wrong."""
        cleared = note("") | {"refusal": gr.update(**HIDDEN)} if clear else {}
        return guarded(lambda: {**cleared, **action()}, problem)


def _buttons(begun_by: Collection[str]) -> Update:
    """The buttons that say when they work; `begun_by` are those of the imports that go on."""
    texts = {"fetch": ("Add", "Adding…"), "download": ("Download", "Downloading…")}
    return {part: gr.update(value=texts[part][part in begun_by], interactive=part not in begun_by) for part in texts}


def _examined(intake: StyleIntake, path: Path) -> Imported:
    found = intake.inspect(path)
    return Imported(intake.take(found) if found.accepted else None, found.lines())


def _discard(upload: Path) -> None:
    """Remove a file if it is among the uploads."""
    if upload.is_relative_to(get_upload_folder()):
        with suppress(OSError):
            upload.unlink(missing_ok=True)
