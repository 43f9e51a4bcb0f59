#!/usr/bin/env bash
# Gradio 6.31.0: a gr.State's change listener does not run when the event that wrote the State has queue=False.
#
# With the queue, an event that writes a State starts the State's change listener. Without it the server answers the
# same, and even names the State in `changed_state_ids`, but the page takes no notice, on the console neither: whoever
# takes a quick event out of the queue loses what follows from it. A Textbox in the place of the State works both ways.
#
# Seen: queued 1, unqueued 0, unqueued with a Textbox 1 (how often the listener ran after one click each).
# Needs a Chromium on the PATH.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet gradio==6.31.0 playwright==1.61.0 >/dev/null
cd "$folder"
GRADIO_ANALYTICS_ENABLED=False "$folder/venv/bin/python" - <<'PYTHON'
import shutil
import sys

import gradio as gr
from playwright.sync_api import sync_playwright

counts = {"queued": 0, "unqueued": 0, "textbox": 0}


def count(name):
    def listener():
        counts[name] += 1

    return listener


with gr.Blocks() as demo:
    for name, queue, holder in (
        ("queued", True, gr.State(0)),
        ("unqueued", False, gr.State(0)),
        ("textbox", False, gr.Textbox("0")),
    ):
        gr.Button(name, elem_id=name).click(lambda: "1", None, holder, queue=queue)
        holder.change(count(name), None, None)

_, url, _ = demo.launch(prevent_thread_lock=True, quiet=True)
with sync_playwright() as playwright:
    executable = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
    page = browser.new_page()
    page.goto(url)
    for name in counts:
        page.locator(f"#{name}").click()
        page.wait_for_timeout(3000)
    browser.close()
demo.close()
print(counts)
sys.exit(counts != {"queued": 1, "unqueued": 0, "textbox": 1})
PYTHON
