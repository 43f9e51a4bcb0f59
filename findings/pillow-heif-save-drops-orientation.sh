#!/usr/bin/env bash
# pillow-heif 1.8.1 with Pillow 12.3.0: saving as HEIF takes the orientation out of the EXIF and does not turn the picture.
#
# `picture.save(path, exif=picture.getexif())` is how a picture that is stored sideways keeps standing upright in a copy:
# Pillow's own JPEG, PNG, WebP and AVIF writers keep the tag, and readers turn by it. The HEIF writer takes the tag out
# (of an Image.Exif and of its bytes alike), leaves every other tag, and writes the pixels as they lie, without a
# transformation property: the copy lies on its side for good, and nothing in it tells so any more.
#
# Seen: JPEG, PNG, WEBP and AVIF come back with orientation 6; HEIF with none, as large as before, its maker's name kept.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pillow==12.3.0 pillow-heif==1.8.1 >/dev/null
"$folder/venv/bin/python" - <<'PYTHON'
import io
import sys

import pillow_heif
from PIL import Image

pillow_heif.register_heif_opener()
ORIENTATION, MAKE = 0x0112, 0x010F
sideways = Image.new("RGB", (64, 32), "red")
exif = Image.Exif()
exif[ORIENTATION], exif[MAKE] = 6, "A camera"


def kept(format, given):
    """Size, orientation and maker of a copy in this format."""
    file = io.BytesIO()
    sideways.save(file, format, exif=given)
    copy = Image.open(file)
    found = copy.getexif()
    return copy.size, found.get(ORIENTATION), found.get(MAKE)


found = {format: {kept(format, exif), kept(format, exif.tobytes())} for format in ("JPEG", "PNG", "WEBP", "AVIF", "HEIF")}
print(found)
upright = {((64, 32), 6, "A camera")}
expected = dict.fromkeys(found, upright) | {"HEIF": {((64, 32), None, "A camera")}}
sys.exit(found != expected)
PYTHON
