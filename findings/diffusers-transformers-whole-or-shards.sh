#!/usr/bin/env bash
# diffusers 0.42.1 and transformers 5.23.0: with whole weights and shards in one folder, each loads the other ones.
#
# A folder may hold both, as when a sharded model was saved again into the folder of an older copy. Where
# `NAME.safetensors` stands beside `NAME.safetensors.index.json`, transformers' from_pretrained reads the one file and
# diffusers' from_pretrained the shards, both without a word. A pipeline's folder has parts of both libraries, so of two
# parts that were updated alike one loads the new weights and one the old.
#
# Seen: transformers 1.0 (the whole file's value), diffusers 2.0 (the shards').
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 diffusers==0.42.1 transformers==5.23.0 accelerate==1.15.0 >/dev/null
cd "$folder"
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - <<'PYTHON' 2>/dev/null
import shutil
import sys
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from transformers import BertConfig, BertModel


def fill(model, value):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(value)


def of_both(model, folder):
    """Whole weights of ones, then shards of twos, in one folder; what is loaded from there."""
    fill(model, 1.0)
    model.save_pretrained(folder)
    whole = next(folder.glob("*.safetensors"))
    kept = folder.parent / whole.name
    shutil.copy(whole, kept)
    fill(model, 2.0)
    model.save_pretrained(folder, max_shard_size="20KB")
    shutil.move(kept, whole)
    assert whole.exists() and list(folder.glob("*.index.json"))
    return next(type(model).from_pretrained(folder).parameters()).flatten()[0].item()


sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "vocab_size": 300}
bert = BertModel(BertConfig(**sizes))
vae = AutoencoderKL(block_out_channels=(32,), norm_num_groups=8, latent_channels=4)
found = {"transformers": of_both(bert, Path("a")), "diffusers": of_both(vae, Path("b"))}
print(found)
sys.exit(found != {"transformers": 1.0, "diffusers": 2.0})
PYTHON
