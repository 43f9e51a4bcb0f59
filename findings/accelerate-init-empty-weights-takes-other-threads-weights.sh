#!/usr/bin/env bash
# accelerate 1.15.0 with torch 2.13.0: within init_empty_weights, modules that other threads build have no weights either.
#
# `with init_empty_weights():` builds a model without memory, to look at its shapes or to fill it from a file. It does so
# by exchanging nn.Module.register_parameter for the whole process. A server that looks at one checkpoint in one thread
# while another thread loads a model gets that model on the meta device, and fails later ("Cannot copy out of meta
# tensor"), now and then. `with torch.device("meta"):`, which reads alike and serves the same end, counts for its own
# thread alone.
#
# Seen: a layer built by another thread meanwhile is on meta within init_empty_weights, on cpu within torch.device("meta").
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 accelerate==1.15.0 >/dev/null 2>&1
"$folder/venv/bin/python" - <<'PYTHON' 2>/dev/null
import sys
import threading

import torch
from accelerate import init_empty_weights


def built_by_another_thread(context):
    """The device of a layer that this thread builds while another one is within the context."""
    within, done = threading.Event(), threading.Event()

    def look():
        with context:
            within.set()
            done.wait(60)

    other = threading.Thread(target=look)
    other.start()
    within.wait(60)
    device = torch.nn.Linear(2, 2).weight.device.type
    done.set()
    other.join()
    return device


found = {
    "init_empty_weights": built_by_another_thread(init_empty_weights()),
    "torch.device": built_by_another_thread(torch.device("meta")),
}
print(found)
sys.exit(found != {"init_empty_weights": "meta", "torch.device": "cpu"})
PYTHON
