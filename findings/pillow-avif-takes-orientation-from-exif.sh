#!/usr/bin/env bash
# Pillow 12.3.0: saving as AVIF takes the orientation out of the Image.Exif that it was given.
#
# The AVIF writer moves the orientation into the file's own rotation property, and to do so pops the tag from the
# caller's object. The AVIF is right. But whoever writes one picture in several formats with one EXIF, as galleries and
# thumbnailers do, gets every file after the AVIF without its orientation: they lie on their side.
#
# Seen: JPEG, AVIF, JPEG again with the same Image.Exif come back with orientation 6, 6 and none; with the WebP, PNG and
# TIFF writers in the AVIF's place 6, 6 and 6.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pillow==12.3.0 >/dev/null 2>&1
"$folder/venv/bin/python" - <<'PYTHON'
import io
import sys

from PIL import Image

ORIENTATION = 0x0112
picture = Image.new("RGB", (64, 32), "red")


def orientations(formats):
    """Of copies that are saved one after another with one EXIF."""
    exif, found = Image.Exif(), []
    exif[ORIENTATION] = 6
    for format in formats:
        file = io.BytesIO()
        picture.save(file, format, exif=exif)
        found.append(Image.open(file).getexif().get(ORIENTATION))
    return found


found = {between: orientations(("JPEG", between, "JPEG")) for between in ("AVIF", "WEBP", "PNG", "TIFF")}
print(found)
sys.exit(found != {"AVIF": [6, 6, None], "WEBP": [6, 6, 6], "PNG": [6, 6, 6], "TIFF": [6, 6, 6]})
PYTHON
