"""Serving the page: launch settings, the server's middleware and health check, and warming the engine.

`build_demo` gives the Blocks (for Spaces and for Gradio's own tools), `serve` runs them until interrupted. On Spaces
and in containers the address comes from GRADIO_SERVER_NAME and PORT, otherwise from the settings. The model
code is read in the background once the server answers, so that the page never waits for torch.
"""

import logging
import os
import tempfile
import threading
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from krea_studio.errors import InvalidRequest, StudioError, Unavailable
from krea_studio.library.hub import MAX_BYTES as MAX_STYLE_BYTES
from krea_studio.library.loader import MAX_FILE_BYTES
from krea_studio.library.moodboard_files import MAX_ARCHIVE_BYTES
from krea_studio.library.store import RECORDS_FILE
from krea_studio.services import Services, build_services
from krea_studio.settings import Settings, is_loopback
from krea_studio.startup import uncollected
from krea_studio.ui import theme
from krea_studio.ui.page import build_page
from krea_studio.ui.server import standing
from krea_studio.ui.server.protection import BodyLimit, SameSiteUploads, SecurityHeaders

logger = logging.getLogger(__name__)

# What a loader refuses by itself, with a reason. Styles are larger, but on a shared page strangers could fill the disk.
MAX_UPLOAD_BYTES = max(MAX_FILE_BYTES, MAX_ARCHIVE_BYTES)
SESSIONS_KEPT = 500
SPARE_THREADS = 40  # for short requests, beside the threads that wait for the engine


def build_demo(services: Services) -> gr.Blocks:
    """The page with its queue; not serving yet."""
    host, _ = address(services.settings)
    shared = not is_loopback(host)
    services.runs.unwatched_seconds = services.settings.unwatched_seconds if shared else None
    with uncollected():
        page = build_page(services, shared)
    return page.queue(max_size=services.settings.queue_size)


def serve(settings: Settings) -> None:
    """Build the page and serve it until interrupted; raises Unavailable when the address cannot be used."""
    services = build_services(settings)
    serve_demo(build_demo(services), services)


def serve_demo(demo: gr.Blocks, services: Services) -> None:
    """Serve a page that `build_demo` made, until interrupted."""
    host, port = address(services.settings)
    services.runs.resume()  # before a tab is opened, which then shows them
    try:
        _, url, _ = demo.launch(
            server_name=host, server_port=port, prevent_thread_lock=True, **launch_options(services)
        )
    except OSError:
        raise Unavailable(
            f"Port {port} on {host} cannot be used — stop what listens there, or set KREA_STUDIO_PORT to another port"
        ) from None
    print(f"Krea Studio is at {url}", flush=True)
    threading.Thread(target=_warm, args=(services,), name="warm-engine", daemon=True).start()
    demo.block_thread()
    services.runs.close()


def address(settings: Settings) -> tuple[str, int]:
    """Where to listen: the hosting platform's variables first, then the settings."""
    port = os.environ.get("PORT") or os.environ.get("GRADIO_SERVER_PORT") or settings.port
    try:
        return os.environ.get("GRADIO_SERVER_NAME") or settings.host, int(port)
    except ValueError:
        raise InvalidRequest(f"PORT is {port!r} — give a whole number, or leave it unset") from None


def launch_options(services: Services) -> dict[str, Any]:
    """Everything for `launch` beside the address: look, limits, and what Gradio must not offer."""
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
        "max_file_size": MAX_STYLE_BYTES if is_loopback(address(services.settings)[0]) else MAX_UPLOAD_BYTES,
        "max_threads": services.settings.queue_size + SPARE_THREADS,
        "state_session_capacity": SESSIONS_KEPT,
        "app_kwargs": {
            "openapi_url": None,
            "routes": [Route("/healthz", _healthy), Route(standing.PATH, standing.standing_of(services.runs))],
            "middleware": [Middleware(SecurityHeaders), Middleware(SameSiteUploads), Middleware(BodyLimit)],
        },
        **_file_access(services.library.folder),
    }


def _file_access(library: Path) -> dict[str, list[str]]:
    """Let Gradio copy pictures from a library that lies outside the places it may read anyway; never the records."""
    readable = (Path.cwd(), Path(tempfile.gettempdir()))
    outside = not any(library.resolve().is_relative_to(place.resolve()) for place in readable)
    return {
        "allowed_paths": [str(library)] if outside else [],
        "blocked_paths": [str(library / (RECORDS_FILE + suffix)) for suffix in ("", "-wal", "-shm")],
    }


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
