"""Who a request is from, and what that person may."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from krea_studio.errors import InvalidRequest
from krea_studio.library.store import Library
from krea_studio.people import LOCAL, Person
from krea_studio.ui.visitors import UNKNOWN, Visitors
from tests.library.test_store import picture, shot_of

BROWSER = "0123456789abcdef" * 2
NOBODY, ANA = SimpleNamespace(username=None), SimpleNamespace(username="ana")


def test_on_one_s_own_machine_everybody_is_the_same_person_who_may_everything() -> None:
    own = Visitors(shared=False)
    assert own.person(NOBODY) == own.person(NOBODY, BROWSER) == LOCAL
    assert own.person(ANA) == replace(LOCAL, id="ana")


def test_on_a_shared_page_a_browser_is_a_person_who_changes_nothing() -> None:
    shared = Visitors(shared=True)
    assert shared.person(NOBODY, BROWSER) == Person(f"browser-{BROWSER}")
    assert shared.person(ANA, BROWSER) == Person("ana", may_change_library=True)


@pytest.mark.parametrize("forged", ["", "local", BROWSER.upper(), BROWSER + "\n", "../" + BROWSER, None])
def test_whoever_names_no_browser_is_nobody_in_particular(forged: str) -> None:
    assert Visitors(shared=True).person(NOBODY, forged) == UNKNOWN


def test_the_library_decides_what_a_person_sees_and_changes(library: Library) -> None:
    ana, stranger = Person("ana", may_change_library=True), Person("browser-1")
    shot = shot_of()
    hers, theirs = (library.save(shot.recipe("mini-turbo"), picture(shot), 1.0, who) for who in (ana, stranger))
    assert library.recent(9, ana) == [hers] and library.recent(9, stranger) == [theirs]
    assert library.get(hers.id, ana) == hers and library.get(hers.id, stranger) is None
    assert {record.id for record in library.recent(9, LOCAL)} == {hers.id, theirs.id}
    assert library.moodboards_for(ana).create("Mine").owner == "ana"
    assert library.styles_for(ana).cards() == library.styles.cards()
    for changed in (library.moodboards_for, library.styles_for):
        with pytest.raises(InvalidRequest, match="only who is signed in may change them — sign in first"):
            changed(stranger)
