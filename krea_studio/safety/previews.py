"""What is shown of a picture before it was judged: colours and where things are, and nothing that could be recognised.

A classifier would have to judge a preview at every step, and knows finished pictures only. How far a preview must be
reduced until it is not recognised was measured: docs/measurements/safety.md.
"""

import io

from PIL import Image

SIDE_PX = 8
"""The longer side of what is left of a preview."""
JPEG_QUALITY = 80


def blurred(preview: bytes) -> bytes:
    """A JPEG of the same size that shows no more than SIDE_PX pixels along its longer side."""
    with Image.open(io.BytesIO(preview), formats=("JPEG",)) as image:
        size = image.size
        small = image.convert("RGB")
    scale = SIDE_PX / max(size)
    small = small.resize([max(1, round(side * scale)) for side in size], Image.Resampling.BOX)
    file = io.BytesIO()
    small.resize(size, Image.Resampling.BICUBIC).save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()
