"""The history finds every picture that it is asked for, page by page, and no other."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from krea_studio.errors import InvalidRequest
from krea_studio.library.history.history import History
from krea_studio.library.history.search import Search, parse_search
from krea_studio.library.history.words import words_of
from krea_studio.library.names import folded
from krea_studio.library.records import Record, Records
from krea_studio.people import LOCAL, Person
from krea_studio.recipe.recipe import Recipe, Shot
from krea_studio.recipe.request import parse_request
from tests.library.history.test_search import berlin
from tests.strategies import prompts, ready_data

__all__ = ["berlin"]

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ADA, EVE = Person("Ada"), Person("ada")


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    records = Records(tmp_path / "records.sqlite3")
    yield records
    records.close()


@pytest.fixture
def history(records: Records) -> History:
    return History(records)


def recipe_of(**fields: Any) -> Recipe:
    request = parse_request({"prompt": "a fox", "resolution": "512", **fields})
    return Shot.of(request, request.seed or 0).recipe("mini-turbo")


def add(records: Records, number: int, owner: str = "local", at: datetime | None = None, **fields: Any) -> Record:
    """The record of a picture that is there, a minute after that of the number before it."""
    path = records.database.parent / "2026-01-02" / f"030405-{number:016x}-s7.png"
    path.parent.mkdir(exist_ok=True)
    path.touch()
    recipe = fields.pop("recipe", None) or recipe_of(**fields)
    return records.add(Record(recipe, path, owner, 1.5, at or START + timedelta(minutes=number)))


def found(history: History, person: Person = LOCAL, **search: Any) -> list[int]:
    """The numbers of the pictures that are found."""
    return [int(record.id, 16) for record in history.page(parse_search(search), person, limit=1000).records]


SEARCHES: list[dict[str, Any]] = [{}, {"words": "fox"}, {"variant": "turbo"}, {"words": "fo", "aspect_ratio": "1:1"}]


@pytest.mark.parametrize("search", SEARCHES, ids=str)
@pytest.mark.parametrize("person", [LOCAL, ADA], ids=lambda person: person.id)
class TestPages:
    def test_pages_are_all_of_it_newest_first_while_pictures_come_and_go(
        self, records: Records, history: History, search: dict[str, Any], person: Person
    ) -> None:
        kept = [add(records, number, "Ada", prompt="a fox") for number in range(10)]
        pages, after, more = [], None, True
        while more:
            page = history.page(parse_search(search), person, after=after, limit=3)
            pages.append([int(record.id, 16) for record in page.records])
            after, more = page.records[-1].key, page.more
            add(records, 100 + len(pages), "Ada")
            records.delete(kept[9 - 3 * (len(pages) - 1)], START)
        assert pages == [[9, 8, 7], [6, 5, 4], [3, 2, 1], [0]]

    def test_pages_upward_are_the_same(
        self, records: Records, history: History, search: dict[str, Any], person: Person
    ) -> None:
        kept = [add(records, number, "Ada") for number in range(8)]
        page = history.page(parse_search(search), person, before=kept[1].key, limit=3)
        assert ([int(record.id, 16) for record in page.records], page.more) == ([4, 3, 2], True)
        page = history.page(parse_search(search), person, before=kept[4].key, limit=3)
        assert ([int(record.id, 16) for record in page.records], page.more) == ([7, 6, 5], False)
        page = history.page(parse_search(search), person, before=kept[7].key)
        assert (page.records, page.more) == ([], False)
        page = history.page(parse_search(search), person, before=kept[2].key, after=kept[6].key, limit=2)
        assert ([int(record.id, 16) for record in page.records], page.more) == ([5, 4], True)

    def test_what_is_left_out_makes_no_page_shorter(
        self, records: Records, history: History, search: dict[str, Any], person: Person
    ) -> None:
        for number in range(20):
            record = add(records, number, "Ada")
            if number % 5 < 3:
                record.path.unlink()
        with records.transaction() as connection:
            connection.execute("UPDATE picture SET recipe = 'no JSON' WHERE id = ?", (f"{18:016x}",))
        page = history.page(parse_search(search), person, limit=4)
        assert ([int(record.id, 16) for record in page.records], page.more) == ([19, 14, 13, 9], True)
        page = history.page(parse_search(search), person, after=page.records[-1].key, limit=4)
        assert ([int(record.id, 16) for record in page.records], page.more) == ([8, 4, 3], False)

    def test_a_page_is_one_statement_that_looks_at_no_other_picture(
        self, records: Records, history: History, search: dict[str, Any], person: Person
    ) -> None:
        kept = [add(records, number, "Ada") for number in range(9)]
        for places in ({}, {"after": kept[8].key}, {"before": kept[0].key}):
            said = statements(
                records, lambda places=places: history.page(parse_search(search), person, limit=3, **places)
            )
            assert len(said) == 1
            plan = [step[-1] for step in records.select(f"EXPLAIN QUERY PLAN {said[0]}", ())]
            assert any(step.startswith("SEARCH picture USING ") for step in plan)
            assert not any("TEMP B-TREE" in step or step.startswith("SCAN picture ") for step in plan)
            indexes = ("picture_index VIRTUAL TABLE", "picture_of_owner", "picture_shown")
            index = indexes[0 if search else 1 if person is ADA else 2]
            assert index in plan[0]


def statements(records: Records, work: Callable[[], object]) -> list[str]:
    """The statements that read pictures while something is done."""
    said: list[str] = []
    with records.transaction() as connection:
        connection.set_trace_callback(said.append)
    try:
        work()
    finally:
        with records.transaction() as connection:
            connection.set_trace_callback(None)
    return [each for each in said if each.startswith("SELECT")]


@pytest.mark.parametrize("key", [10**30, -(10**30), 2**63, -(2**63), 0])
def test_a_key_of_nothing_is_an_end(records: Records, history: History, key: int) -> None:
    record = add(records, 1)
    assert history.page(after=key).records == ([record] if key > record.key else [])
    assert history.page(before=key).records == ([record] if key < record.key else [])
    assert history.page(Search(words="fox"), ADA, before=key, after=-key).records == []


def test_more_rows_than_are_read_at_once(records: Records, history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("krea_studio.library.history.history.MOST_ROWS", 3)
    for number in range(8):
        add(records, number)
    assert found(history) == [7, 6, 5, 4, 3, 2, 1, 0] and not history.page(limit=8).more and history.page(limit=7).more


def test_an_empty_page_ends_it(history: History, records: Records) -> None:
    assert history.page().records == [] and not history.page().more
    add(records, 1)
    assert history.page(limit=0).records == [] and history.page(limit=0).more


@given(st.lists(ready_data, min_size=1, max_size=6), st.data())
def test_filters_find_what_the_recipes_say(
    tmp_path_factory: pytest.TempPathFactory, asked: list[dict[str, Any]], data: st.DataObject
) -> None:
    with closing(Records(tmp_path_factory.mktemp("filters") / "records.sqlite3")) as records:
        recipes = [recipe_of(**each) for each in asked]
        for number, recipe in enumerate(recipes):
            add(records, number, recipe=recipe)
        chosen = data.draw(st.sampled_from(recipes))
        styles = [style.name for style in chosen.styles]
        wanted: dict[str, Any] = {
            "variant": chosen.variant,
            "aspect_ratio": chosen.aspect_ratio,
            "creativity": chosen.creativity,
            **({"moodboard": chosen.moodboard.name} if chosen.moodboard else {}),
            **({"style": data.draw(st.sampled_from(styles))} if styles else {}),
            "with_references": True,
        }
        search = {field: wanted[field] for field in data.draw(st.sets(st.sampled_from(sorted(wanted)), min_size=1))}
        assert found(History(records), **search) == [
            number for number, recipe in reversed([*enumerate(recipes)]) if is_found(recipe, search)
        ]


def is_found(recipe: Recipe, search: dict[str, Any]) -> bool:
    board = recipe.moodboard
    said = {
        "style": {name_of(style.name) for style in recipe.styles if style.weight},
        "moodboard": {name_of(board.name)} if board and board.strength else set(),
        "with_references": {any(reference.strength for reference in recipe.style_references)},
    }
    return all(
        (name_of(value) if field in ("style", "moodboard") else value)
        in said.get(field, {getattr(recipe, field, None)})
        for field, value in search.items()
    )


def name_of(name: str) -> str:
    return folded(" ".join("".join(c for c in name if c.isprintable() or c.isspace()).split()))


HOSTILE = (
    *('"', "'", '""', '"fox', "fox*", "*", "^fox", "fox AND", "AND OR NOT", "NEAR(fox owl, 2)", "prompt:fox", "-fox"),
    *(
        "marks : turbo",
        ":variant:turbo",
        "%",
        "fox\x00owl",
        "'; DROP TABLE picture; --",
        "{a b} : c",
        "()" * 400,
        "a " * 500,
    ),
    *(" ".join(f"{number:x}{chr(97 + number % 26)}" for number in range(250)), "a-" * 499, "\n\t\u2028 fox"),
    *("{join}", "{0}", "\ufffe", "🦊" * 900, "ก" * 1000),
)


@pytest.mark.parametrize("words", HOSTILE, ids=repr)
def test_signs_in_words_are_no_questions(records: Records, history: History, words: str) -> None:
    add(records, 1, prompt=f"before {words} after")
    add(records, 2, prompt="nothing of it")
    assert found(history, words=words) == ([1] if words_of(words) else [])
    assert found(history, EVE, words=words) == []


@given(prompts, prompts, st.data())
def test_every_part_of_a_prompt_finds_it(
    tmp_path_factory: pytest.TempPathFactory, one: str, other: str, data: st.DataObject
) -> None:
    recipe = recipe_of(prompt=f"{one} {other}")
    parts = data.draw(st.lists(st.sampled_from(recipe.prompt.split()), min_size=1))
    assume(any(map(words_of, parts)))
    with closing(Records(tmp_path_factory.mktemp("words") / "records.sqlite3")) as records:
        add(records, 1, recipe=recipe)
        assert found(History(records), words=" ".join(parts)[:1000]) == [1]


def test_words_are_those_of_prompt_expansion_and_triggers_each_from_its_beginning(
    records: Records, history: History
) -> None:
    add(records, 1, prompt="Füchse im Schnee", creativity="high", expansion={"text": "foxes in deep snow"})
    style = {"name": "Ink", "weight": 1.0, "trigger": "sumi-e wash", "identity": "0" * 32}
    add(records, 2, prompt="红色的狐狸在月光下", styles=[style])
    add(records, 3, prompt="สุนัขจิ้งจอกสีแดง", styles=[{**style, "weight": 0.0}], negative_prompt="snow", variant="medium")
    for words, numbers in (
        ("fuchse", [1]), ("SCHNEE füch", [1]), ("fox snow", [1]), ("schnee foxes", [1]), ("chnee", []),
        ("sumi-e", [2]), ("sumi wash", [2]), ("wash-sumi", []), ("狐狸", [2]), ("月", [2]),
        ("狐月", []), ("月光 红", [2]),
        ("จิ้งจอก", [3]), ("snow owl", []), ("s", []),
    ):  # fmt: skip
        assert found(history, words=words) == numbers, words


def test_names_are_found_whatever_their_case(records: Records, history: History) -> None:
    add(records, 1, styles=[{"name": "Ünder  the “Sea”/100%", "identity": "0" * 32}])
    add(records, 2, styles=[{"name": "under the", "identity": "1" * 32}])
    assert found(history, style=" ünder the “SEA”/100% ") == [1]


def test_owners_are_told_apart_in_every_search(records: Records, history: History) -> None:
    for number, owner in enumerate(["Ada", "ada", "local", "Ada"]):
        add(records, number, owner)
    for search in SEARCHES:
        assert (found(history, ADA, **search), found(history, EVE, **search)) == ([3, 0], [1])
        assert found(history, Person("AND"), **search) == []
        assert found(history, LOCAL, **search) == [3, 2, 1, 0]
        assert sum(history.counts(parse_search(search), ADA).values()) == 2


def test_a_star_is_given_by_who_sees_the_picture(records: Records, history: History) -> None:
    first, second = add(records, 1, "Ada"), add(records, 2, "Ada")
    assert history.star(first.id, ADA) == replace(first, starred=True) == records.get(first.id)
    assert history.star(first.id, ADA).starred, "twice is as good as once"
    assert found(history, starred=True) == [1] and found(history, EVE, starred=True) == []
    for person, picture in ((EVE, first.id), (LOCAL, "0" * 16), (LOCAL, "' OR 1 --")):
        with pytest.raises(InvalidRequest, match=r"^There is no picture .* here — "):
            history.star(picture, person)
    assert history.star(first.id, LOCAL, on=False) == first
    assert history.star(second.id) and found(history, starred=True, words="fox", variant="turbo") == [2]


def test_a_day_is_counted_by_the_machine_s_own_time(berlin: None, records: Records, history: History) -> None:
    late, early = datetime(2026, 7, 1, 21, 59, tzinfo=UTC), datetime(2026, 7, 1, 22, tzinfo=UTC)
    for number, at in enumerate([late, early, early, early + timedelta(days=9), datetime(1970, 1, 1, tzinfo=UTC)]):
        add(records, number, "Ada", at=at)
    first, second, third = date(2026, 7, 1), date(2026, 7, 2), date(2026, 7, 11)
    for search in SEARCHES:
        search = parse_search(search)
        assert history.counts(search, ADA) == {third: 1, second: 2, first: 1, date(1970, 1, 1): 1}
        assert list(history.counts(search)) == [third, second, first, date(1970, 1, 1)]
        assert history.counts(search, since=second, until=second) == {second: 2}
        assert history.counts(search, until=date(1970, 1, 1)) == {date(1970, 1, 1): 1}
        assert history.counts(search, EVE) == {}
        assert (history.count(search, ADA), history.count(search), history.count(search, EVE)) == (5, 5, 0)
        for day, numbers in ((first, [0]), (second, [2, 1]), (third, [3])):
            of_day = search.model_dump() | {"since": day, "until": day}
            assert found(history, **of_day) == numbers
            assert history.count(parse_search(of_day)) == len(numbers)
    assert found(history, since="2026-07-01T23:59", until="2026-07-02T00:00") == [1, 0]
    assert found(history, since="2026-07-03", until="2026-07-02") == []


def test_two_processes_that_add_and_ask_see_each_other(records: Records, history: History) -> None:
    with closing(Records(records.database)) as beside:
        mine, theirs = add(records, 1), add(beside, 2)
        assert [record.id for record in history.page(Search(words="fox")).records] == [theirs.id, mine.id]
        History(beside).star(mine.id)
        assert found(history, starred=True) == [1]


def test_index_and_table_stay_in_step(records: Records, history: History) -> None:
    kept = [add(records, number) for number in range(6)]
    add(records, 1, prompt="a fox once more")
    history.star(kept[2].id)
    records.delete(kept[3], START)
    records.delete(kept[4], START)
    records.restore(kept[4])
    records.forget([kept[5].id, kept[0].id])
    with closing(sqlite3.connect(records.database, isolation_level=None)) as beside:
        beside.execute("INSERT INTO picture_index (picture_index) VALUES ('integrity-check')")
        shown = beside.execute("SELECT created_at FROM picture WHERE deleted_at IS NULL ORDER BY created_at").fetchall()
        assert beside.execute("SELECT rowid FROM picture_index ORDER BY rowid").fetchall() == shown
    assert found(history) == found(history, words="fox") == [4, 2, 1] and found(history, words="once") == [1]
