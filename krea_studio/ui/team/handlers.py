"""What happens on the tab Team. Every handler looks itself whether an admin asks: hiding the tab protects nothing."""

import time
from collections.abc import Callable

import gradio as gr

from krea_studio.accounts.accounts import Accounts
from krea_studio.errors import InvalidRequest, Unavailable
from krea_studio.people import LOCAL
from krea_studio.runs.run import Run
from krea_studio.services import Services
from krea_studio.ui.notices import guarded, note, problem, visible
from krea_studio.ui.presenter import Update
from krea_studio.ui.team import fragments
from krea_studio.ui.visitors import Visitors

NOTICE = "team_notice"
MOST_WAIT_SECONDS = 60.0  # for a step, and for what is being written
SHOWN = ("team_usage", "team_runs", "team_accounts")


class TeamHandlers:
    """The tab's behaviour, over one set of services and its accounts."""

    def __init__(self, services: Services, accounts: Accounts, visitors: Visitors) -> None:
        self._runs, self._library = services.runs, services.library
        self._accounts, self._visitors = accounts, visitors

    def open(self, visitor: gr.Request) -> Update:
        """The page was opened: the tab is there for admins."""
        return {"team_tab": visible(self._visitors.person(visitor).runs_studio)}

    def look(self, visitor: gr.Request) -> Update:
        """How things stand now."""
        return self._guarded(visitor, lambda: {})

    def stop(self, visitor: gr.Request, run: str | None) -> Update:
        """End anybody's run."""

        def stop() -> Update:
            if not run:
                raise InvalidRequest("No run is chosen — choose one")
            self._runs.stop(run, LOCAL)
            return note("The run ends.", NOTICE)

        return self._guarded(visitor, stop)

    def remove(self, visitor: gr.Request, account: str | None, with_pictures: bool) -> Update:
        """Remove an account, and what it made where that is asked for; its runs end."""

        def remove() -> Update:
            if not account:
                raise InvalidRequest("No account is chosen — choose one")
            if account.lower() == (visitor.username or "").lower():
                raise InvalidRequest("You cannot remove your own account — ask another admin, or use the command line")
            name = self._accounts.close(account).name
            self._end_runs(name)
            count = self._library.remove_all_of(name) if with_pictures else 0
            self._accounts.remove(name, with_pictures)  # last, so that it can be tried again
            told = f", with {count} picture{'s' * (count != 1)}" if with_pictures else "; its pictures stay"
            return note(f"{name} is removed{told}.", NOTICE) | {"team_with_pictures": False}

        return self._guarded(visitor, remove)

    def _guarded(self, visitor: gr.Request, action: Callable[[], Update]) -> Update:
        def act() -> Update:
            if not self._visitors.person(visitor).runs_studio:
                raise InvalidRequest("This is for admins — ask one of them")
            return action() | self._shown()

        return guarded(act, lambda message: problem(message, NOTICE))

    def _end_runs(self, name: str) -> None:
        """End all runs of an account, and wait until they have. Raises Unavailable where one does not."""
        until = time.monotonic() + MOST_WAIT_SECONDS
        while own := [run for run in self._going_on() if run.owner == name]:
            for run in own:
                self._runs.stop(run.id, LOCAL)
            if time.monotonic() > until:
                raise Unavailable(f"A run of {name} has not ended yet — try again in a moment")
            time.sleep(0.1)

    def _going_on(self) -> list[Run]:
        return [run for run in self._runs.of(LOCAL) if not run.state.ended]

    def _shown(self) -> Update:
        runs, accounts = self._going_on(), self._accounts.all()
        return {
            "team_usage": fragments.usage(accounts, self._library.records.usage(), runs),
            "team_runs": gr.update(choices=[(fragments.run_label(run), run.id) for run in runs], value=None),
            "team_accounts": gr.update(choices=[account.name for account in accounts], value=None),
        }
