"""The page `docs/models_folder.md`: what `python -m krea_studio models` says of a folder with a file of every kind.

`python -m tests.models_page` writes it anew; a test compares it with what is committed. Every file is made of the
embedded checkpoints, so it is three thousand times smaller than those that people hold, and named as theirs are.
"""

import contextlib
import io
import os
import tempfile
from pathlib import Path
from unittest import mock

import torch

from krea_studio.cli.main import main
from krea_studio.documents import FOLDER
from tests import model_files as kinds
from tests.model_files import comfy_decoder, comfy_encoder, encoder_state, native, quantised, write, write_gguf

PAGE = FOLDER / "models_folder.md"
COMMAND = "python -m tests.models_page"
_ORIGINALS = {
    "krea2_turbo_fp8_scaled": kinds.fp8_scaled,
    "krea2_turbo_fp8_scaled_older": kinds.fp8_old_spelling,
    "krea2_turbo_fp8": kinds.fp8_plain,
    "krea2_turbo_int8": kinds.int8_plain,
    "krea2_turbo_int8_convrot": kinds.int8_convrot,
    "krea2_turbo_mxfp8": kinds.mxfp8,
    "krea2_turbo_nvfp4": kinds.nvfp4,
}
# What else only one tensor tells: the file's name, and the tensor's.
_FOREIGN = {
    "krea2_svdquant_r128": "blocks.0.attn.wq.svdq_l1",
    "krea2_sdnq_uint4": "blocks.0.attn.wq.zero_point",
    "krea2_nunchaku_int4": "transformer_blocks.0.attn.to_qkv_gate.qweight",
    "krea2_nvfp4_awq_modelopt": "blocks.0.attn.wq.pre_quant_scale",
    "krea2_bnb_nf4": "blocks.0.attn.wq.weight.absmax",
    "krea2_quantfunc": "quantfunc.blocks.0.attn.wq.weight",
    "krea2_orbitquant": "blocks.0.attn.wq.orbit_codes",
}
_OTHER_MODELS = {
    "flux1_dev": "double_blocks.0.img_attn.qkv.weight",
    "qwen3_4b": "model.layers.0.self_attn.q_norm.weight",
    "something": "weight",
}


def fill(folder: Path) -> Path:
    """A models folder with a file of every kind that is known here, read or refused."""
    one = torch.ones(2, 2)
    state, diffusion = native(kinds.transformer_state()), folder / "diffusion_models"
    write(diffusion / "krea2_turbo_bf16.safetensors", {name: each.bfloat16() for name, each in state.items()})
    write(diffusion / "krea2_turbo_diffusers_names.safetensors", kinds.transformer_state(), prefix="transformer.")
    for name, quantiser in _ORIGINALS.items():
        write(diffusion / f"{name}.safetensors", *quantised(state, quantiser))
    mixed = {**quantised(state, kinds.int8_convrot)[0]}
    mixed["blocks.0.attn.wq.weight"] = state["blocks.0.attn.wq.weight"].bfloat16()
    del mixed["blocks.0.attn.wq.weight_scale"], mixed["blocks.0.attn.wq.comfy_quant"]
    write(diffusion / "krea2_raw_mixed.safetensors", mixed)
    for kind in ("Q8_0", "Q4_0"):
        name = f"krea2_turbo-{kind}.gguf"
        write_gguf(folder / "unet" / name, state, lambda n, t, kind=kind: kind if kinds.is_big(n, t) else "F32")
    write_gguf(folder / "unet" / "krea2_Q8_CR.gguf", state, lambda *_: "F16", **{"comfy.gguf.quant.first": "{}"})
    write(
        folder / "checkpoints" / "krea2_turbo_all_in_one.safetensors",
        {f"model.diffusion_model.{name}": each for name, each in state.items()}
        | {
            f"text_encoders.qwen3vl_4b.transformer.{name}": each
            for name, each in comfy_encoder(encoder_state()).items()
        }
        | {f"vae.{name}": each for name, each in comfy_decoder().items()},
    )
    write(folder / "text_encoders" / "qwen3vl_4b_bf16.safetensors", comfy_encoder(encoder_state()))
    write(folder / "vae" / "qwen_image_vae.safetensors", comfy_decoder())
    write(folder / "loras" / "krea2_etching.safetensors", {"diffusion_model.blocks.0.attn.wq.lora_A.weight": one})
    refused = folder / "refused"
    for name, tensor in _FOREIGN.items():
        write(refused / f"{name}.safetensors", {**state, tensor: one})
    for name, tensor in _OTHER_MODELS.items():
        write(refused / f"{name}.safetensors", {tensor: one})
    write(refused / "model-00001-of-00003.safetensors", state)
    (refused / "renamed_pickle.safetensors").write_bytes(b"PK\x03\x04" + bytes(60))
    (refused / "saved_web_page.safetensors").write_bytes(b"<!DOCTYPE html>" + bytes(60))
    (refused / "git_lfs_pointer.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    (refused / "half_downloaded.safetensors").write_bytes((refused / "something.safetensors").read_bytes()[:-4])
    return folder


def page() -> str:
    """The page as it is to be."""
    with tempfile.TemporaryDirectory() as folder:
        lines = "\n".join(_listed(fill(Path(folder) / "models")))
    return f"""# A models folder

What `python -m krea_studio models FOLDER` says of a folder with one file of every kind that is known here. The files
are made of the embedded checkpoints, so they are about three thousand times smaller than published ones; which format
fits which card is in the [README](../README.md#the-files-that-you-have), what is read in [what it takes
in](what_it_takes_in.md). Written by `{COMMAND}`.

A line says what the studio would do with the file: the parts that it holds and how many of their tensors are stored in
which format, where its weights go in memory (here with `KREA_STUDIO_BASE=mini-medium` for what the file lacks, and 8 GB
for weights), or why it is refused and what to get instead. Only headers are read.

```
{lines}
```
"""


def _listed(folder: Path) -> list[str]:
    """The command's lines, with the embedded checkpoint for what the files lack and 8 GB for weights."""
    printed, here = io.StringIO(), Path.cwd()
    settings = {"KREA_STUDIO_BASE": "mini-medium", "KREA_STUDIO_MEMORY_BUDGET_GB": "8"}
    os.chdir(folder.parent)
    try:
        with contextlib.redirect_stdout(printed), mock.patch.dict(os.environ, settings):
            assert main(["models", folder.name]) == 0
    finally:
        os.chdir(here)
    return printed.getvalue().replace(f"{folder.parent.resolve()}/", "").splitlines()


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
