"""The small picture that stands for a large one in lists."""

import io

from PIL import Image

THUMBNAIL_SIDE_PX = 320


def thumbnail_bytes(image: Image.Image) -> bytes:
    """An RGB picture as a JPEG whose longer side is at most THUMBNAIL_SIDE_PX."""
    small = image.copy()
    small.thumbnail((THUMBNAIL_SIDE_PX, THUMBNAIL_SIDE_PX), Image.Resampling.LANCZOS, reducing_gap=2.0)
    file = io.BytesIO()
    small.save(file, format="JPEG", quality=85)
    return file.getvalue()
