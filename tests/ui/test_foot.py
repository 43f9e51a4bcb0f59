"""The foot of the page: the licence, which only who runs the studio accepts."""

from types import SimpleNamespace

import pytest

from krea_studio.licence import Licence
from krea_studio.services import Services
from krea_studio.ui.foot import ACCEPTED, Foot
from krea_studio.ui.fragments import FOOTER, LICENCE_TERMS
from krea_studio.ui.visitors import Visitors
from tests.ui.conftest import signed_in

ACCEPTED_HERE = Licence.accepted
STRANGER, BEN, ADA = SimpleNamespace(username=None), signed_in("ben"), signed_in("ada", admin=True)


@pytest.mark.parametrize(
    ("shared", "visitor", "may"),
    [(False, STRANGER, True), (True, STRANGER, False), (True, BEN, False), (True, ADA, True)],
)
def test_who_runs_the_studio_accepts_it(services: Services, shared: bool, visitor: SimpleNamespace, may: bool) -> None:
    update = Foot(services, Visitors(shared)).accept(visitor)
    assert (services.settings.library / "licence.json").is_file() == may
    told = update["licence_notice"]["value"]
    assert (ACCEPTED in told) == may and ("ask them, or an admin" in told) != may
    assert ("accept_licence" in update) == may


def test_the_button_is_there_until_it_is_accepted_wherever_that_was(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Licence, "accepted", ACCEPTED_HERE)
    foot = Foot(services, Visitors(False))
    assert foot.open()["accept_licence"]["visible"]
    Licence(services.settings.library).accept()
    assert not foot.open()["accept_licence"]["visible"]


def test_the_notice_that_the_licence_asks_for_is_there() -> None:
    assert "Krea 2 is licensed under the Krea 2 Community License Agreement." in FOOTER
    assert "https://www.krea.ai/krea-2-use-policy" in LICENCE_TERMS
