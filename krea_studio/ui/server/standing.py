"""How a run stands, for the browser, which asks again and again while it shows one.

A run's id is 32 digits that only those know to whom it was given, so knowing it is the permission to look; where people
sign in, it is theirs alone.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from krea_studio.errors import InvalidRequest
from krea_studio.runs.runs import Runs
from krea_studio.ui import fragments
from krea_studio.ui.presenter import news_of
from krea_studio.ui.server.sign_in import person_of

PATH = "/runs/{run}"
PATIENCE_SECONDS = 2.0  # for news, before an answer without any
LOOK_SECONDS = 0.1


def standing_of(runs: Runs) -> Callable[[Request], Awaitable[Response]]:
    """The answer to `/runs/ID?since=VERSION`: as soon as the run is past that version, or after a while.

    404 where there is no such run here any more. `news` is the digits of `news_of`.
    """

    async def standing(request: Request) -> Response:
        since = request.query_params.get("since", "")
        version = int(since) if since.isdecimal() and len(since) < 12 else -1
        give_up = time.monotonic() + PATIENCE_SECONDS
        try:
            run = runs.watch(request.path_params["run"], person_of(request.scope))
            while run.version <= version and not run.state.ended and time.monotonic() < give_up:
                await asyncio.sleep(LOOK_SECONDS)
                run = runs.watch(run.id)
        except InvalidRequest as error:
            return JSONResponse({"error": error.message}, 404)
        told = {"version": run.version, "news": news_of(run, runs), "ended": run.state.ended}
        if not run.state.ended:
            told |= {
                "label": fragments.label_of(run),
                "share": fragments.share_of(run),
                "preview": fragments.preview_of(run),
            }
        return JSONResponse(told, headers={"Cache-Control": "no-store"})

    return standing
