"""Pictures as other tools write them: chunks and EXIF data that carry their settings, and small graphs of ComfyUI."""

import io
import json
import struct
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

MODEL, MAKE, USER_COMMENT, MAKER_NOTE, EXIF_DIRECTORY = 0x0110, 0x010F, 0x9286, 0x927C, 0x8769
BYTE, ASCII, LONG, UNDEFINED = 1, 2, 4, 7


def png(path: Path, packed: bool = False, **texts: str) -> Path:
    """A PNG with these texts, as Pillow's `add_text` and `add_itxt` write them; `__` in a name stands for `-`."""
    info = PngInfo()
    for key, text in texts.items():
        info.add_text(key.replace("__", "-"), text, zip=packed)
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)
    return path


def exif(
    entries: dict[int, tuple[int, bytes]], inner: dict[int, tuple[int, bytes]] | None = None, order: str = "<"
) -> bytes:
    """EXIF data with these entries (type and value by tag) in the first directory, and `inner` ones in EXIF's own."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    first = dict(entries)
    if inner is not None:
        first[EXIF_DIRECTORY] = (LONG, b"\0\0\0\0")
    # Values stand behind both directories.
    sizes = [2 + 12 * len(first) + 4, 2 + 12 * len(inner or {}) + 4 if inner is not None else 0]
    inner_place, place = 8 + sizes[0], 8 + sum(sizes)
    if inner is not None:
        first[EXIF_DIRECTORY] = (LONG, struct.pack(order + "I", inner_place))
    directories, values = b"", b""
    for directory in (first, inner) if inner is not None else (first,):
        directories += struct.pack(order + "H", len(directory))
        for tag, (kind, value) in sorted(directory.items()):
            count = 1 if kind == LONG else len(value)
            directories += struct.pack(order + "HHI", tag, kind, count)
            if len(value) <= 4:
                directories += value.ljust(4, b"\0")
            else:
                directories += struct.pack(order + "I", place + len(values))
                values += value
        directories += b"\0\0\0\0"
    return head + directories + values


def user_comment(text: str, encoding: str = "utf-16-be", order: str = "<") -> bytes:
    """EXIF data with a UserComment in Unicode, as piexif (big-endian whatever the file's order) and others write it."""
    return exif({}, {USER_COMMENT: (UNDEFINED, b"UNICODE\0" + text.encode(encoding))}, order)


def with_exif(path: Path, data: bytes) -> Path:
    """A JPEG or WebP, by the ending of its name, with these EXIF data."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG" if path.suffix in (".jpg", ".jpeg") else "WEBP", exif=b"Exif\0\0" + data)
    path.write_bytes(file.getvalue())
    return path


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def graph(**changed: Any) -> dict[str, Any]:
    """A graph of Krea 2 Turbo as ComfyUI's template has it; nodes are replaced, added, or with None taken out."""
    nodes = {
        "1": node("UNETLoader", unet_name="krea2_turbo_fp8_scaled.safetensors", weight_dtype="default"),
        "2": node("CLIPLoader", clip_name="qwen3vl_4b_fp8_scaled.safetensors", type="krea2"),
        "3": node("VAELoader", vae_name="qwen_image_vae.safetensors"),
        "4": node("CLIPTextEncode", text="a fox in the snow", clip=["2", 0]),
        "5": node("ConditioningZeroOut", conditioning=["4", 0]),
        "6": node("EmptySD3LatentImage", width=1376, height=768, batch_size=1),
        "7": node(
            "KSampler",
            **{"seed": 42, "steps": 8, "cfg": 1.0, "sampler_name": "euler", "scheduler": "simple", "denoise": 1.0},
            **{"model": ["1", 0], "positive": ["4", 0], "negative": ["5", 0], "latent_image": ["6", 0]},
        ),
        "8": node("VAEDecode", samples=["7", 0], vae=["3", 0]),
        "9": node("SaveImage", images=["8", 0], filename_prefix="krea2"),
    }
    for key, value in changed.items():
        nodes[key.removeprefix("n")] = value
    return {key: value for key, value in nodes.items() if value is not None}


def comfyui(path: Path, nodes: dict[str, Any], **texts: str) -> Path:
    return png(path, prompt=json.dumps(nodes), **texts)
