"""Serving the page: launch settings, the server's middleware and health check, and warming the engine.

`build_demo` gives the Blocks (for Spaces and for Gradio's own tools), `serve` runs them until interrupted. On Spaces
and in containers the address comes from GRADIO_SERVER_NAME and PORT, otherwise from the settings. The model
code is read in the background once the server answers, so that the page never waits for torch.
"""

import asyncio
import errno
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import gradio as gr
import gradio.blocks
from fastapi.exceptions import RequestValidationError
from gradio.utils import get_upload_folder
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from krea_studio.accounts.accounts import Accounts
from krea_studio.errors import InvalidRequest, StorageError, StudioError, Unavailable
from krea_studio.library.moodboard_files import MAX_ARCHIVE_BYTES
from krea_studio.library.pictures.loader import MAX_FILE_BYTES
from krea_studio.library.store import SHIPPED_STYLES_FOLDER
from krea_studio.library.styles.hub import MAX_BYTES as MAX_STYLE_BYTES
from krea_studio.services import Services, build_services
from krea_studio.settings import Settings, is_loopback
from krea_studio.startup import uncollected
from krea_studio.ui import theme
from krea_studio.ui.gradio_api import refusal_of_call
from krea_studio.ui.page import build_page
from krea_studio.ui.server import standing, status
from krea_studio.ui.server.calls import CheckedCalls, refuse_body
from krea_studio.ui.server.connections import limited_connections
from krea_studio.ui.server.files import show_in_place
from krea_studio.ui.server.hosts import Hosts
from krea_studio.ui.server.hub_sign_in import HubSignIn, hub_routes
from krea_studio.ui.server.leftovers import UNCOLLECTED_SECONDS, KnownSessions, Leftovers, Listeners, PlainSessions
from krea_studio.ui.server.logs import log_as_json
from krea_studio.ui.server.protection import BodyLimit, KnownHosts, SecurityHeaders, ShownFiles, UploadSpace
from krea_studio.ui.server.sign_in import SignIn, account_of, payer_of
from krea_studio.ui.server.uploads import UploadShare
from krea_studio.ui.server.values import refuse_other_values
from krea_studio.validation import shown

logger = logging.getLogger(__name__)

# What a loader refuses by itself, with a reason. Styles are larger, but on a shared page strangers could fill the disk.
MAX_UPLOAD_BYTES = max(MAX_FILE_BYTES, MAX_ARCHIVE_BYTES)
SESSIONS_KEPT = 500
SPARE_THREADS = 40  # for short requests, beside the threads that wait for the engine


def build_demo(services: Services) -> gr.Blocks:
    """The page with its queue; not serving yet."""
    _require_root_path()
    _require_upload_folder()
    shared = is_shared(services.settings)
    services.runs.unwatched_seconds = services.settings.unwatched_seconds if shared else None
    if shared:
        services.library.judge_what_comes_in(services.studio.content_filter.admit, discard_upload)
    with uncollected():
        page = build_page(services, shared)
    refuse_other_values(page)
    show_in_place(page, services.library.shows)  # after it, since events tell of shown files
    return page.queue(max_size=services.settings.queue_size)


def is_shared(settings: Settings) -> bool:
    """Whether strangers may open the page; else whoever opens it owns the library."""
    return not is_loopback(address(settings)[0]) or settings.sign_in != "none"


def discard_upload(file: Path) -> None:
    """Remove a file that was uploaded, which Gradio would give out for a day; any other one stays."""
    if file.resolve().is_relative_to(Path(get_upload_folder()).resolve()):
        with suppress(OSError):  # refused it is in any case
            file.unlink()


def serve(settings: Settings) -> NoReturn:
    """Build the page and serve it until interrupted; raises Unavailable when the address cannot be used."""
    services = build_services(settings)
    serve_demo(build_demo(services), services)


def serve_demo(demo: gr.Blocks, services: Services) -> NoReturn:
    """Serve a page that `build_demo` made, until interrupted; then the process ends."""
    services.runs.resume()  # before a tab is opened, which then shows them
    url = start(demo, services)
    if services.settings.log == "json":
        log_as_json()
    # Who stops a service sends SIGTERM: it ends as by Ctrl+C. A second one of either ends it at once.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        print(f"Krea Studio is at {url}", flush=True)
        threading.Thread(target=_warm, args=(services,), name="warm-engine", daemon=True).start()
        demo.block_thread()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    left = services.runs.close()
    services.library.close()
    if left:
        print(f"{left} run{'s' * (left > 1)} will go on when the studio is started again", flush=True)
    # All is on disk. Threads may still download or compute: Python would wait for the ones, and break the others.
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def start(demo: gr.Blocks, services: Services) -> str:
    """Serve a page in threads of its own, and return its address; raises Unavailable when that cannot be used."""
    host, port = address(services.settings)
    # A browser and Gradio write an IPv6 address in brackets.
    name = f"[{host}]" if ":" in host and not host.startswith("[") else host
    try:
        with _asked_directly(), limited_connections():
            # Gradio would look a second time whether its page is there, for three seconds: too short on a busy machine.
            _, url, _ = demo.launch(
                server_name=name,
                server_port=port,
                prevent_thread_lock=True,
                _frontend=False,
                **launch_options(services),
            )
    except OSError:
        raise Unavailable(_why_unused(host, port)) from None
    return url


def _why_unused(host: str, port: int) -> str:
    """What is wrong with an address at which Gradio cannot listen; it does not say."""
    hint = "set KREA_STUDIO_HOST to one of this machine's addresses, or to 0.0.0.0 for all of them"
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
        with socket.socket(found[0][0], socket.SOCK_STREAM) as listener:
            listener.bind(found[0][4])
    except socket.gaierror:
        return f"There is no address {shown(host)} — {hint}"
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            return f"{host} is not an address of this machine — {hint}"
        if error.errno == errno.EACCES:
            return f"Port {port} is not for everybody to listen at — set KREA_STUDIO_PORT to one from 1024 on"
    return f"Port {port} on {host} cannot be used — stop what listens there, or set KREA_STUDIO_PORT to another port"


def address(settings: Settings) -> tuple[str, int]:
    """Where to listen: the hosting platform's variables first, then the settings."""
    host, port = os.environ.get("GRADIO_SERVER_NAME") or settings.host, settings.port
    for variable in ("GRADIO_SERVER_PORT", "PORT"):
        if given := os.environ.get(variable):
            port = int(given) if given.isdecimal() and len(given) <= 5 else 0
            if not 1 <= port <= 65_535:
                raise InvalidRequest(f"{variable} is {shown(given)} — give a number from 1 to 65535, or leave it unset")
    return host, port


@contextmanager
def _asked_directly() -> Iterator[None]:
    """Gradio asks its own server whether that is there; a proxy of the environment would lead elsewhere."""
    httpx = gradio.blocks.httpx
    gradio.blocks.httpx = SimpleNamespace(get=partial(httpx.get, trust_env=False), URL=httpx.URL)
    try:
        yield
    finally:
        gradio.blocks.httpx = httpx


def _require_root_path() -> None:
    """Raise InvalidRequest where no address of the page could be made of GRADIO_ROOT_PATH."""
    path = os.environ.get("GRADIO_ROOT_PATH", "")
    if path and not path.startswith(("/", "http://", "https://")):
        raise InvalidRequest(
            f"GRADIO_ROOT_PATH is {path[:200]!r} — give the path that a reverse proxy serves the page at, such as "
            "/studio, or its whole address"
        )


def _require_upload_folder() -> None:
    """Raise StorageError where Gradio could not keep what is uploaded and shown."""
    folder = os.environ.get("GRADIO_TEMP_DIR") or "the temporary files"
    try:
        folder = get_upload_folder()
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise StorageError(
            f"The folder for uploads, {folder}, cannot be written ({error.strerror or error}) — set GRADIO_TEMP_DIR to "
            "a folder that can"
        ) from None


def launch_options(services: Services) -> dict[str, Any]:
    """Everything for `launch` beside the address: look, limits, and what Gradio must not offer."""
    host, _ = address(services.settings)
    return {
        "theme": theme.studio_theme(),
        "css": theme.stylesheet(),
        "head": theme.head(),
        "favicon_path": theme.FAVICON,
        "footer_links": ["api"],
        "quiet": True,
        "show_error": False,
        "enable_monitoring": False,
        "run_history": False,
        "ssr_mode": False,
        "pwa": False,
        "max_file_size": MAX_STYLE_BYTES if is_loopback(host) else MAX_UPLOAD_BYTES,
        "max_threads": services.settings.queue_size + SPARE_THREADS,
        "state_session_capacity": SESSIONS_KEPT,
        "auth_dependency": None if services.settings.sign_in == "none" else account_of,
        "app_kwargs": {
            "openapi_url": None,
            "exception_handlers": {RequestValidationError: refuse_body},
            "routes": [
                Route("/healthz", _healthy),
                Route(status.READY, status.readiness_of(services)),
                Route(status.METRICS, status.metrics_of(services)),
                Route(standing.PATH, standing.standing_of(services.runs)),
            ],
            "middleware": [
                Middleware(SecurityHeaders),
                *_sign_in(services.settings),
                Middleware(BodyLimit),
                Middleware(UploadShare, services.shares, partial(payer_of, shared=is_shared(services.settings))),
                Middleware(CheckedCalls, refusal_of_call),
                Middleware(KnownSessions),
                Middleware(UploadSpace),
                Middleware(ShownFiles, services.library.shows),
            ],
            "lifespan": _behind(Hosts.of(host, services.settings.host_names), _patience(services.settings)),
        },
        # Of which ShownFiles gives out what pages show, and Gradio copies the covers of styles.
        "allowed_paths": [str(services.library.folder), str(SHIPPED_STYLES_FOLDER)],
    }


def _sign_in(settings: Settings) -> list[Middleware]:
    """What lets in only who signs in. Raises InvalidRequest where nobody could."""
    if settings.admins and settings.sign_in != "huggingface":
        raise InvalidRequest(
            "KREA_STUDIO_ADMINS is for KREA_STUDIO_SIGN_IN=huggingface — make an admin by: accounts add NAME --admin"
        )
    if settings.sign_in == "none":
        return []
    accounts = Accounts(settings.library, timedelta(days=settings.sign_in_days))
    stay_seconds = round(settings.sign_in_days * 86_400)
    if settings.sign_in == "huggingface":
        routes = hub_routes()
        accounts.name_admins(settings.admin_names)
        return [Middleware(HubSignIn, accounts, stay_seconds, routes, settings.admin_names)]
    if not any(not account.is_hub for account in accounts.all()):
        raise InvalidRequest(
            "Nobody could sign in, as there are no accounts — make one: python -m krea_studio accounts add NAME"
        )
    return [Middleware(SignIn, accounts, stay_seconds)]


def _behind(hosts: Hosts, patience: float) -> Callable[[Any], AbstractAsyncContextManager[None]]:
    """Gradio puts its middleware around all that it is given; this comes around that, as the server starts.

    `patience` is for how many seconds what nobody listens to is kept.
    """

    @asynccontextmanager
    async def started(app: Any) -> AsyncIterator[None]:
        listeners = Listeners()
        app.middleware_stack = KnownHosts(listeners.counting(app.middleware_stack), hosts)
        app.state_holder.__class__ = PlainSessions  # which Gradio has made by now
        dropping = asyncio.create_task(Leftovers(app.get_blocks()._queue, listeners, patience).keep_dropping())
        try:
            yield
        finally:
            dropping.cancel()

    return started


def _patience(settings: Settings) -> float:
    return settings.unwatched_seconds if is_shared(settings) else UNCOLLECTED_SECONDS


async def _healthy(_: Request) -> JSONResponse:
    return JSONResponse({"status": "ok"})


def _warm(services: Services) -> None:
    """Read the model code, and take in the styles that were put into their folder since the last start."""
    try:
        services.engine.prepare()
        refused = services.intake.import_folder().refused
    except StudioError as error:
        logger.warning("The engine or the styles are not ready: %s", error.message)
        return
    for path, reason in refused.items():
        logger.warning("The style %s was left out: %s", path, reason)
