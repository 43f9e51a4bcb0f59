"""Entry point for `python app.py` and for Hugging Face Spaces: builds the page from the environment and serves it.

Beside it a Space has `settings.env`, written by `python -m krea_studio space`; a checkout has none.
"""

from pathlib import Path

from krea_studio.errors import StudioError
from krea_studio.settings import load_settings
from krea_studio.startup import take_settings, uncollected, without_proxies

try:
    take_settings(Path(__file__).with_name("settings.env"))  # before libraries that read the environment once
    with uncollected(), without_proxies():
        from krea_studio.services import build_services
        from krea_studio.ui.server.launch import build_demo, serve_demo

    services = build_services(load_settings())
    demo = build_demo(services)
    if __name__ == "__main__":
        serve_demo(demo, services)
except StudioError as error:
    raise SystemExit(f"krea-studio: {error.message}") from None
