"""What is shown of a picture before it was judged: its colours, and no shape that could be recognised.

A classifier would have to judge a preview at every step, for previews are recognised from the first one on. How far
one must be reduced until it is not was measured: docs/measurements/safety.md.
"""

import io

from PIL import Image

SIDE_PX = 2
"""The longer side of what is left of a preview."""
JPEG_QUALITY = 80


def blurred(preview: bytes) -> bytes:
    """A JPEG of the same size that shows no more than SIDE_PX pixels along its longer side."""
    with Image.open(io.BytesIO(preview), formats=("JPEG",)) as image:
        shown = reduced(image.convert("RGB"), SIDE_PX)
    file = io.BytesIO()
    shown.save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()


def reduced(image: Image.Image, side_px: int) -> Image.Image:
    """An RGB picture at its size with what `side_px` pixels along its longer side show of it."""
    width, height = (max(1, round(side * side_px / max(image.size))) for side in image.size)
    return image.resize((width, height), Image.Resampling.BOX).resize(image.size, Image.Resampling.BICUBIC)
