"""Entry point for `python app.py` and for Hugging Face Spaces: builds the page from the environment and serves it."""

from krea_studio.errors import StudioError
from krea_studio.settings import load_settings
from krea_studio.startup import uncollected, without_proxies

with uncollected(), without_proxies():
    from krea_studio.services import build_services
    from krea_studio.ui.server.launch import build_demo, serve_demo

try:
    services = build_services(load_settings())
    demo = build_demo(services)
    if __name__ == "__main__":
        serve_demo(demo, services)
except StudioError as error:
    raise SystemExit(f"krea-studio: {error.message}") from None
