"""Reports on pictures: noted once for each person, and told newest first."""

from krea_studio.library.store import Library
from krea_studio.people import LOCAL, Person
from tests.library.test_store import save, shot_of


def test_reports_are_noted_once_for_each_person(library: Library) -> None:
    first, second = save(library, shot_of()), save(library, shot_of(8))
    for record, person in ((first, Person("ada")), (first, Person("ada")), (first, Person("bob")), (second, LOCAL)):
        library.reports.add(record.id, person)
    found = library.reports.all()
    assert [(each.picture, each.reporter) for each in found] == [
        (second.id, "local"),
        (first.id, "bob"),
        (first.id, "ada"),
    ]


def test_they_are_kept_with_the_library(library: Library) -> None:
    library.reports.add("0123456789abcdef", LOCAL)
    before = library.reports.all()
    library.close()
    again = Library(library.folder)
    assert again.reports.all() == before and len(before) == 1
    again.close()
