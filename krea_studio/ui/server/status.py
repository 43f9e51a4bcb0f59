"""How the studio stands, for supervisors: `/readyz`, and `/metrics` as Prometheus reads it. No prompts, no names.

Everybody is told whether it is ready, and more only who asks on this machine itself or where the setting allows it. A
proxy here says for whom it asks, or under which name.
"""

from collections.abc import Awaitable, Callable, Iterator

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from krea_studio.errors import StudioError
from krea_studio.runs.run import State
from krea_studio.services import Services
from krea_studio.settings import is_loopback

READY, METRICS = "/readyz", "/metrics"
FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
KIND_OF_TEXT = "text/plain; version=0.0.4; charset=utf-8"

Answer = Callable[[Request], Awaitable[Response]]


def readiness_of(services: Services) -> Answer:
    """The answer to `/readyz`: 200 where pictures can be kept, else 503; the reason is for this machine."""

    async def ready(request: Request) -> Response:
        told: dict[str, object] = {"status": "ready"}
        try:
            await run_in_threadpool(services.library.check_writable)
        except StudioError as error:
            reason = {"reason": error.message} if _may_know(request, services) else {}
            return JSONResponse({"status": "not ready"} | reason, 503)
        if _may_know(request, services):
            status = services.engine.status()
            waiting, going_on, _ = _line(services)
            told |= {"device": status.device, "loaded": [each.name for each in status.loaded]}
            told |= {"waiting": waiting, "running": going_on}
        return JSONResponse(told, headers={"Cache-Control": "no-store"})

    return ready


def metrics_of(services: Services) -> Answer:
    """The answer to `/metrics`; 404 to those who may not know."""

    async def metrics(request: Request) -> Response:
        if not _may_know(request, services):
            return PlainTextResponse("There is nothing here.", 404)
        try:
            lines = await run_in_threadpool(lambda: list(_lines(services)))
        except StudioError as error:
            return PlainTextResponse(error.message, 503)
        return PlainTextResponse("\n".join(lines) + "\n", media_type=KIND_OF_TEXT)

    return metrics


def _lines(services: Services) -> Iterator[str]:
    counts, library = services.runs.counts, services.library
    waiting, going_on, drawing = _line(services)
    yield from _told("runs_total", "counter", "Runs that ended since the start, by what they did and how they ended")
    for (kind, state), number in sorted(counts.runs.items()):
        yield f'krea_studio_runs_total{{kind="{kind}",outcome="{state}"}} {number}'
    for name, sort, description, value in (
        ("pictures_drawn_total", "counter", "Pictures drawn since the start, refused ones among them", counts.drawn),
        ("drawing_seconds_total", "counter", "Seconds for which they were drawn", round(counts.seconds, 3)),
        ("runs_waiting", "gauge", "Runs that wait", waiting),
        ("runs_running", "gauge", "Runs that go on", going_on),
        ("runs_drawing", "gauge", "Runs whose turn it is on the engine", drawing),
        ("pictures", "gauge", "Pictures in the library", library.records.count()),
        ("pictures_refused", "gauge", "Pictures of the library that the filter refused", library.refusals.count()),
    ):
        yield from _told(name, sort, description)
        yield f"krea_studio_{name} {value}"


def _told(name: str, sort: str, description: str) -> tuple[str, str]:
    return f"# HELP krea_studio_{name} {description}.", f"# TYPE krea_studio_{name} {sort}"


def _line(services: Services) -> tuple[int, int, int]:
    """How many runs wait, go on, and of these, have their turn."""
    entries = services.runs.unended()
    states = [entry.state for entry in entries]
    return states.count(State.WAITING), states.count(State.RUNNING), sum(entry.busy for entry in entries)


def _may_know(request: Request, services: Services) -> bool:
    if services.settings.metrics == "everybody":
        return True
    if any(name in request.headers for name in FORWARDED):
        return False
    asked_by = request.client.host if request.client else ""
    return is_loopback(asked_by) and is_loopback(request.url.hostname or "")
