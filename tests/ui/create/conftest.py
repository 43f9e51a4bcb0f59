"""What the tests of the Create tab share."""

from types import SimpleNamespace

import pytest

from krea_studio.services import Services
from krea_studio.ui.create.tab import CreateTab
from krea_studio.ui.visitors import Visitors


@pytest.fixture
def page() -> SimpleNamespace:
    """A visitor's page, which is known by its session."""
    return SimpleNamespace(username=None, session_hash="one")


@pytest.fixture
def create(services: Services) -> CreateTab:
    return CreateTab(services, Visitors(shared=False))
