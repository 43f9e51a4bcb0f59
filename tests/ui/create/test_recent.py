"""Recent pictures: whose they are, and what is gone."""

from types import SimpleNamespace

import pytest

from krea_studio.library.store import Library
from krea_studio.services import Services
from krea_studio.ui.create.tab import CreateTab
from krea_studio.ui.visitors import Visitors
from tests.ui.create.driving import BROWSER, ME, kept, run


def test_recent_pictures_are_there_after_a_reload(
    create: CreateTab, visitor: SimpleNamespace, library: Library
) -> None:
    older, newer = kept(library, seed=1), kept(library, seed=2)
    update = create.recent.strip(visitor, "")
    assert update["recent_ids"] == [newer.id, older.id]
    assert update["recent"]["value"] == [str(newer.thumbnail), str(older.thumbnail)]


def test_strangers_see_only_their_own_pictures(services: Services, visitor: SimpleNamespace, library: Library) -> None:
    shared = CreateTab(services, Visitors(shared=True))
    mine = kept(library, owner=f"browser-{BROWSER}")
    kept(library, owner="browser-" + "f" * 32)
    kept(library, owner="local")
    assert shared.recent.strip(visitor, BROWSER)["recent_ids"] == [mine.id]
    newcomer = shared.recent.strip(visitor, "")
    assert newcomer["recent_ids"] == []
    assert len(newcomer["browser"]) == 32
    run(shared, visitor, browser=BROWSER)
    assert len(shared.recent.strip(visitor, BROWSER)["recent_ids"]) == 2
    run(shared, visitor, browser="")
    assert len(shared.recent.strip(visitor, BROWSER)["recent_ids"]) == 2


@pytest.mark.parametrize("forged", ["local", "../", "F" * 32, 7 * "x"])
def test_a_forged_browser_name_is_replaced(services: Services, visitor: SimpleNamespace, forged: str) -> None:
    assert CreateTab(services, Visitors(shared=True)).recent.strip(visitor, forged)["browser"] != forged


def test_a_picture_that_was_deleted_is_a_notice(create: CreateTab, library: Library) -> None:
    record = kept(library)
    record.path.unlink()
    for index in (0, 1, -1):
        notice = create.recent.show_picture(SimpleNamespace(index=index), ME, "", [record.id])["stage"]["value"]
        assert "not in the library any more" in notice
