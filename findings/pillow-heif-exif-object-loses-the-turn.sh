#!/usr/bin/env bash
# pillow-heif 1.8.1 with Pillow 12.3.0: a HEIF saved with `exif=` as an Image.Exif lies on its side; as bytes it stands.
#
# The writer turns a picture by the orientation in its EXIF: it writes a rotation property, and the tag as 1. Given the
# same EXIF as an Image.Exif, which is what `getexif()` returns and what Pillow's own writers take alike, it writes the
# tag as 1 too, but no rotation. The copy then lies on its side in every reader, and nothing in it tells so any more.
#
# Seen, of a picture of 64 x 32 with orientation 6: from bytes 32 x 64, from the Image.Exif 64 x 32, orientation 1 in
# both. Pillow's JPEG, PNG, WebP and AVIF writers make the same file of both.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pillow==12.3.0 pillow-heif==1.8.1 >/dev/null 2>&1
"$folder/venv/bin/python" - <<'PYTHON'
import io
import sys

import pillow_heif
from PIL import Image

pillow_heif.register_heif_opener()
ORIENTATION = 0x0112


def copies(format):
    """Size and orientation of a copy whose EXIF was given as an Image.Exif, and of one from the same EXIF's bytes."""
    found = []
    for packed in (False, True):
        exif = Image.Exif()
        exif[ORIENTATION] = 6
        file = io.BytesIO()
        Image.new("RGB", (64, 32), "red").save(file, format, exif=exif.tobytes() if packed else exif)
        copy = Image.open(file)
        found.append((copy.size, copy.getexif().get(ORIENTATION)))
    return found


found = {format: copies(format) for format in ("JPEG", "PNG", "WEBP", "AVIF", "HEIF")}
print(found)
same = dict.fromkeys(("JPEG", "PNG", "WEBP", "AVIF"), [((64, 32), 6)] * 2)
sys.exit(found != same | {"HEIF": [((64, 32), 1), ((32, 64), 1)]})
PYTHON
