"""What was refused is told to whom it concerns, newest first, and survives the library's closing."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from krea_studio.library.refusals import Refusal
from krea_studio.library.store import Library
from krea_studio.people import LOCAL, Person

AT = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
ONE = Refusal("0123456789abcdef", "ada", 7, 0.75, "by colour", "mini-turbo", AT)


def test_refusals_are_told_newest_first_to_their_owner_and_who_sees_all(library: Library) -> None:
    later = replace(ONE, id="fedcba9876543210", created_at=AT + timedelta(seconds=1))
    others = replace(ONE, id="0" * 16, owner="bob")
    for refusal in (later, others, ONE):
        library.refusals.add(refusal)
    assert library.refusals.of(Person("ada")) == [later, ONE]
    assert set(library.refusals.of(LOCAL)) == {later, others, ONE} and library.refusals.of(LOCAL, 1) == [later]
    assert library.refusals.of(Person("eve")) == []


def test_they_are_kept(library: Library) -> None:
    library.refusals.add(ONE)
    library.refusals.add(replace(ONE, score=0.8))
    library.close()
    again = Library(library.folder)
    assert again.refusals.of() == [replace(ONE, score=0.8)]
    assert again.refusals.has(ONE.id) and not again.refusals.has("0" * 16)
    again.close()
