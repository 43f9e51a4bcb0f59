"""The tab Team: what admins see and may do, and that nobody else may."""

from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from krea_studio.accounts.accounts import Account, Accounts
from krea_studio.errors import InvalidRequest
from krea_studio.library.records import Usage
from krea_studio.library.store import Library
from krea_studio.people import LOCAL, member
from krea_studio.recipe.request import parse_request
from krea_studio.runs.run import State
from krea_studio.services import Services, services_over
from krea_studio.settings import Settings
from krea_studio.ui.server.launch import build_demo, launch_options
from krea_studio.ui.team import fragments
from krea_studio.ui.team.handlers import TeamHandlers
from krea_studio.ui.visitors import Visitors
from tests.doubles import drawn
from tests.runs.conftest import Gate, ended, request_of, shot_of
from tests.ui.conftest import PageEngine, connect, signed_in

PASSWORD = "seven foxes in snow"
THEN = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def services(engine: PageEngine, library: Library) -> Iterator[Services]:
    services = services_over(Settings(library=library.folder, sign_in="accounts"), library, engine, engine)
    accounts = Accounts(library.folder)
    for name, admin in (("ada", True), ("ben", False), ("cleo", False)):
        accounts.add(name, PASSWORD, admin)
    yield services
    services.runs.close()


@pytest.fixture
def team(services: Services) -> TeamHandlers:
    return TeamHandlers(services, Accounts(services.settings.library), Visitors(shared=True))


def visitor_of(name: str | None) -> SimpleNamespace:
    """Who asks by an account, of which ada's alone is an admin's, or, without one of these names, by none."""
    return signed_in(name, admin=name == "ada") if name in ("ada", "ben") else SimpleNamespace(username=name)


def draw(services: Services, name: str, prompt: str = "a fox") -> str:
    run = services.runs.submit(parse_request({"prompt": prompt, "resolution": "512", "seed": 5}), member(name))
    return ended(services.runs, run).id


def test_an_admin_sees_how_much_everybody_makes_and_no_prompt(services: Services, team: TeamHandlers) -> None:
    draw(services, "ben", "a secret fox"), draw(services, "ben"), draw(services, "gone")
    told = team.look(visitor_of("ada"))["team_usage"]
    rows = [row.replace("</td>", "").split("<td>")[1:] for row in told.split("<tr>")[2:]]
    assert [row[:3] for row in rows] == [
        ["ada (admin)", "0", "0"],
        ["ben", "2", "2"],
        ["cleo", "0", "0"],
        ["gone (no account)", "1", "1"],
    ]
    assert "secret" not in told


def test_what_is_for_admins_is_for_nobody_else(services: Services, team: TeamHandlers) -> None:
    run = draw(services, "cleo")
    assert team.open(visitor_of("ada"))["team_tab"]["visible"]
    for name in ("ben", "", None, "Ada"):
        visitor = visitor_of(name)
        assert not team.open(visitor)["team_tab"]["visible"]
        for update in (team.look(visitor), team.stop(visitor, run), team.remove(visitor, "cleo", True)):
            assert set(update) == {"team_notice"} and "for admins" in update["team_notice"]["value"]
    assert services.library.recent(1, member("cleo")) and Accounts(services.settings.library).get("cleo")


def test_an_admin_ends_the_run_of_another(services: Services, engine: PageEngine, team: TeamHandlers) -> None:
    gate, events = Gate(), drawn(shot_of())
    engine.scripts = [[*events[:1], gate, *events[1:]]]
    run = services.runs.submit(request_of(batch=4), member("ben"))
    gate.reached()
    (choice,) = team.look(visitor_of("ada"))["team_runs"]["choices"]
    assert choice[1] == run and choice[0].startswith("ben draws") and "a fox" not in choice[0]
    team.stop(visitor_of("ada"), run)
    gate.open()
    assert ended(services.runs, run).state is State.STOPPED
    assert "no run" in team.stop(visitor_of("ada"), "f" * 32)["team_notice"]["value"]


def test_a_removed_account_leaves_its_pictures_or_takes_them_along(services: Services, team: TeamHandlers) -> None:
    library = services.library
    draw(services, "ben"), draw(services, "cleo"), draw(services, "cleo")
    library.bin.delete(library.recent(1, member("cleo"))[0].id, member("cleo"))
    assert "ben is removed; its pictures stay" in team.remove(visitor_of("ada"), "ben", False)["team_notice"]["value"]
    assert library.recent(9, member("ben"))
    update = team.remove(visitor_of("ada"), "cleo", True)
    assert "cleo is removed, with 2 pictures" in update["team_notice"]["value"]
    assert [record.owner for record in library.recent(9, LOCAL)] == ["ben"] and not library.bin.records(LOCAL)
    assert len(list(library.folder.glob("*/*.png"))) == 1
    assert "your own account" in team.remove(visitor_of("ada"), "ada", True)["team_notice"]["value"]
    with pytest.raises(InvalidRequest):
        Accounts(library.folder).get("cleo")


def test_pictures_whose_files_are_gone_are_removed_as_well(services: Services) -> None:
    draw(services, "ben"), draw(services, "ben")
    services.library.recent(1, member("ben"))[0].path.unlink()
    assert services.library.remove_all_of("ben") == 2
    assert services.library.records.usage() == {}


def test_names_are_text() -> None:
    made = {"<b>": Usage(1, 0, THEN)}
    assert "&lt;b&gt;" in fragments.usage([Account("ada", False, THEN)], made, [])


def test_the_page_has_the_tab_where_people_sign_in(services: Services) -> None:
    demo = build_demo(services)
    _, url, _ = demo.launch(prevent_thread_lock=True, **launch_options(services))
    try:
        client = connect(url, auth=("ada", PASSWORD))
        assert "team-usage" in str(client.config["components"])
    finally:
        demo.close()
