"""What is written into the page of an engine and its runs."""

from krea_studio.ui.presenter import status_of
from tests.ui.conftest import PageEngine


def test_the_status_line_says_what_is_loaded_where_and_how_many_wait(engine: PageEngine) -> None:
    assert status_of(engine, "turbo")["status"] == (
        "<p>Loaded: mini-turbo · CPU, float32 · 30 MB of 4.0 GB · 2 waiting</p>"
    )
