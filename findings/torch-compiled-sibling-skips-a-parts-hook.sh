#!/usr/bin/env bash
# torch 2.13.0: where repeated blocks are compiled one by one, a hook on a part of a later block is never called.
#
# Compiling each repeated block of a transformer (`block.compile()`, what diffusers calls regional compilation) makes one
# graph that serves all of them. A forward hook on a part of the third block, such as one that keeps what a norm gives
# for a loss or a look inside, was there before anything was compiled, and is still left out: the third block runs the
# first one's graph, whose guards do not look at the hooks of parts. A hook on the block itself is called. Nothing is
# raised or logged; what the hook was to keep is missing, or is that of an earlier, uncompiled call.
# With `torch._dynamo.config.skip_nnmodule_hook_guards = False` the third block gets a graph of its own, with its hook.
#
# Seen: calls of the hook on a block 1 and 1 (eager, compiled), of the hook on its part 1 and 0, and 1 with the guards.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 >/dev/null 2>&1
"$folder/venv/bin/python" - <<'PYTHON' 2>/dev/null
import sys

import torch
from torch import nn


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(8), nn.Linear(8, 8)

    def forward(self, states):
        return states + self.linear(self.norm(states))


def calls(of, compiled):
    """How often a hook on the third block, or on its norm, is called in one pass through three blocks."""
    blocks, seen = nn.ModuleList(Block() for _ in range(3)), []
    hooked = blocks[2] if of == "block" else blocks[2].norm
    hooked.register_forward_hook(lambda module, arguments, output: seen.append(True))
    if compiled:
        torch._dynamo.reset()
        for block in blocks:
            block.compile(backend="eager")
    states = torch.zeros(2, 8)
    for block in blocks:
        states = block(states)
    return len(seen)


found = {of: (calls(of, False), calls(of, True)) for of in ("block", "norm")}
torch._dynamo.config.skip_nnmodule_hook_guards = False
found["norm, hooks guarded"] = calls("norm", True)
print(found)
sys.exit(found != {"block": (1, 1), "norm": (1, 0), "norm, hooks guarded": 1})
PYTHON
