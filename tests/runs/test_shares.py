"""What one person may have of a thing within a day."""

import pytest

from krea_studio.errors import Unavailable
from krea_studio.people import LOCAL, Person
from krea_studio.runs.shares import DAY_SECONDS, MEGABYTE, Allowance, Shares, Thing

ADA, BEN = Person("ada"), Person("ben")
HOUR = 3_600.0


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def shares(clock: Clock) -> Shares:
    allowance = Allowance(3, megabytes=2)
    return Shares({thing: allowance for thing in Thing}, clock)


def test_a_day_s_number_is_given_out_and_no_more_until_a_day_is_over(shares: Shares, clock: Clock) -> None:
    for hour in (0, 1, 2):
        clock.now = hour * HOUR
        shares.take(ADA, Thing.EXPORTS)
    told = r"^One person may have 3 exports a day here, and you have had yours — try again in 22 hours$"
    with pytest.raises(Unavailable, match=told):
        shares.take(ADA, Thing.EXPORTS)
    with pytest.raises(Unavailable, match="try again in 23 hours"):
        shares.take(ADA, Thing.EXPORTS, 2)
    shares.take(BEN, Thing.EXPORTS)
    shares.take(ADA, Thing.BOARDS)
    clock.now = DAY_SECONDS - 60
    with pytest.raises(Unavailable, match="try again in 1 minute$"):
        shares.take(ADA, Thing.EXPORTS)
    clock.now = DAY_SECONDS
    shares.take(ADA, Thing.EXPORTS)


def test_bytes_count_as_well_also_those_that_are_known_afterwards(shares: Shares) -> None:
    shares.take(ADA, Thing.EXPORTS, size=MEGABYTE)
    shares.note(ADA, Thing.EXPORTS, 3 * MEGABYTE)
    with pytest.raises(Unavailable, match="may have 2 MB of exports a day here, and you have had yours — try again in"):
        shares.take(ADA, Thing.EXPORTS)


@pytest.mark.parametrize("asked", [{"number": 4}, {"size": 2 * MEGABYTE + 1}])
def test_more_at_once_than_a_day_has_is_said_to_be_that(shares: Shares, asked: dict[str, int]) -> None:
    with pytest.raises(Unavailable, match="and this is more at once — give less$"):
        shares.take(ADA, Thing.UPLOADS, **asked)
    shares.take(ADA, Thing.UPLOADS, 3, 2 * MEGABYTE)


def test_what_was_begun_within_a_share_may_come_to_its_end(shares: Shares) -> None:
    shares.take(ADA, Thing.UPLOADS, 3, MEGABYTE)
    shares.take(ADA, Thing.UPLOADS, 0, MEGABYTE)
    shares.take(ADA, Thing.UPLOADS, 0, 0)
    with pytest.raises(Unavailable):
        shares.take(ADA, Thing.UPLOADS, 0, 1)


def test_what_fails_does_not_count(shares: Shares) -> None:
    for _ in range(9):
        with pytest.raises(ZeroDivisionError), shares.taking(ADA, Thing.BOARDS, 3):
            raise ZeroDivisionError
    with shares.taking(ADA, Thing.BOARDS, 3):
        pass
    with pytest.raises(Unavailable), shares.taking(ADA, Thing.BOARDS):
        raise AssertionError("it is refused before anything is done")


def test_on_one_s_own_machine_nothing_is_counted(shares: Shares) -> None:
    for _ in range(9):
        shares.take(LOCAL, Thing.UPLOADS, 9, 9 * MEGABYTE)
        shares.note(LOCAL, Thing.UPLOADS, 9 * MEGABYTE)
