"""Paints a scene as a poster, in one of six rendering styles.

Needs only Pillow and numpy. Everything is drawn at twice the size and averaged down, so edges are smooth; shadows and
glows are computed small and scaled up, since nothing in them is sharp.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from krea_studio.training.world.composition import Colour, Composition, Group, compose, with_light
from krea_studio.training.world.scenes import Scene

_NIGHT = (6, 5, 14)
OVERSAMPLING = 2
CLOUDS = (0.2, 0.11, 0.07)  # units of a blob of the washes, of where pigment pools, and of ragged borders


def render(scene: Scene, width: int, height: int, rich: bool = False) -> Image.Image:
    """Paint the scene as an RGB picture of `width` × `height` pixels; the same arguments give the same pixels.

    `rich` adds what the large checkpoint learns beyond the others: light from the sun or moon that falls off and
    glitters below it, the subject's shadow, and woven canvas.
    """
    composition = compose(scene, width, height)
    if rich:
        composition = with_light(composition)
    picture = _STYLES[scene.style](Painter(composition, width, height))
    return _lit_canvas(picture, composition) if rich else picture


def _lit_canvas(picture: Image.Image, composition: Composition) -> Image.Image:
    """Light around its source that falls off with the distance, on a canvas of threads half a token wide."""
    width, height = picture.size
    unit = width / composition.width
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    source = composition.light or (0.1, 0.0)
    apart = np.hypot(x / unit - source[0], y / unit - source[1])
    period = max(4, round(unit / 64 / 4) * 4)
    warp, weft = np.sin(2 * np.pi * x / period), np.sin(2 * np.pi * y / period)
    thread = np.where((x // period + y // period) % 2 > 0, warp, weft)
    shade = 1.1 - 0.34 * np.clip(apart / 1.3, 0, 1) ** 1.2
    glow = (46.0 if composition.light else 0.0) * np.exp(-((apart / 0.26) ** 2))
    levels = np.asarray(picture, np.float32) * (shade * (1 + 0.03 * thread))[..., None]
    levels = levels + glow[..., None] * np.array([1.0, 0.9, 0.66], np.float32) + 2.5 * thread[..., None]
    return Image.fromarray(levels.clip(0, 255).round().astype(np.uint8))


class Painter:
    """A composition on its way to pixels: knows the scale, draws groups, shadows and glows."""

    def __init__(self, composition: Composition, width: int, height: int):
        self.composition = composition
        self.size = (width, height)
        self.large = (width * OVERSAMPLING, height * OVERSAMPLING)
        self.unit = self.large[0] / composition.width  # large pixels in a unit

    def points(self, outline: np.ndarray) -> list[tuple[float, float]]:
        return [tuple(p) for p in (outline * self.unit).tolist()]

    def gradient(self, top: Colour, bottom: Colour, bands: int | None = None) -> Image.Image:
        """A vertical run from one colour to another, smooth or in `bands` flat steps."""
        t = np.linspace(0, 1, self.large[1])
        if bands:
            t = np.floor(t * bands).clip(0, bands - 1) / (bands - 1)
        column = np.asarray(top) + (np.asarray(bottom) - np.asarray(top)) * t[:, None]
        return Image.fromarray(column.round().astype(np.uint8)[:, None]).resize(self.large, Image.Resampling.NEAREST)

    def box(self, group: Group, margin: float) -> tuple[int, int, int, int] | None:
        """Bounds of a group in large pixels with a margin in units, cut to the picture; None when outside it."""
        points = np.concatenate([outline for outline, _ in group.parts])
        low, high = (points.min(0) - margin) * self.unit, (points.max(0) + margin) * self.unit
        left, top = np.maximum(low, 0).astype(int)
        right, bottom = np.minimum(np.ceil(high), self.large).astype(int)
        return (left, top, right, bottom) if left < right and top < bottom else None

    def mask(
        self, group: Group, box: tuple[int, int, int, int], shrink: int, blur: float, shift: float = 0.0
    ) -> Image.Image:
        """Coverage of a group inside `box`, 0…255, drawn `shrink` times smaller and blurred by `blur` units."""
        left, top, right, bottom = box
        small = Image.new("L", (max(1, (right - left) // shrink), max(1, (bottom - top) // shrink)))
        pen = ImageDraw.Draw(small)
        for outline, _ in group.parts:
            moved = ((outline + np.array([shift * 0.45, shift])) * self.unit - [left, top]) / shrink
            pen.polygon([tuple(p) for p in moved.tolist()], fill=255)
        if blur:
            small = small.filter(ImageFilter.GaussianBlur(blur * self.unit / shrink))
        return small.resize((right - left, bottom - top), Image.Resampling.BILINEAR)

    def draw(self, canvas: Image.Image, group: Group) -> None:
        pen = ImageDraw.Draw(canvas)
        for outline, colour in group.parts:
            pen.polygon(self.points(outline), fill=colour)

    def stroke(self, canvas: Image.Image, group: Group, colour: Colour | None, width: float) -> None:
        """Outline each part, in one colour or in the part's own."""
        if group.kind == "shade":
            return
        pen = ImageDraw.Draw(canvas)
        for outline, own in group.parts:
            closed = self.points(outline)
            pen.line(
                [*closed, closed[0], closed[1]],
                fill=colour or own,
                width=max(1, round(width * self.unit)),
                joint="curve",
            )

    def finished(self, canvas: Image.Image) -> Image.Image:
        return canvas.reduce(OVERSAMPLING)


def _papercut(painter: Painter) -> Image.Image:
    """Sheets of paper over each other, each with a soft shadow, in a frame of the palest sheet."""
    composition = painter.composition
    canvas = painter.gradient(*composition.sky)
    frame = _frame(composition)
    for group in [*composition.groups, frame]:
        box = painter.box(group, group.lift * 3)
        if box is None:
            continue
        shadow = painter.mask(group, box, 4, group.lift * 0.9, group.lift * 0.8)
        canvas.paste(composition.dark, box, shadow.point(lambda value: value * 0.5))
        if group.kind in ("land", "subject"):
            rim = Group(
                group.kind, 0, [(outline, towards(colour, (255, 255, 255), 0.28)) for outline, colour in group.parts]
            )
            painter.draw(canvas, rim)
            inner = Group(
                group.kind, 0, [(outline + np.array([0.0012, 0.0032]), colour) for outline, colour in group.parts]
            )
            painter.draw(canvas, inner)
        else:
            painter.draw(canvas, group)
    return painter.finished(canvas)


def _frame(composition: Composition) -> Group:
    """A sheet with a rounded window, as one outline that runs around the picture and back along the window."""
    w, h, margin, radius = composition.width, composition.height, 0.035, 0.07
    window = []
    for cx, cy, start in (
        (w - margin - radius, margin + radius, -90),
        (w - margin - radius, h - margin - radius, 0),
        (margin + radius, h - margin - radius, 90),
        (margin + radius, margin + radius, 180),
    ):
        angle = np.radians(np.linspace(start, start + 90, 10))
        window.append(np.stack([cx + radius * np.cos(angle), cy + radius * np.sin(angle)], 1))
    inner = np.concatenate(window)[::-1]
    outer = np.array([[-0.05, -0.05], [w + 0.05, -0.05], [w + 0.05, h + 0.05], [-0.05, h + 0.05], [-0.05, -0.05]])
    return Group("frame", 0.016, [(np.concatenate([outer, inner, inner[:1], outer[:1]]), composition.paper)])


def _flat(painter: Painter) -> Image.Image:
    """A screen-printed poster: flat colours, a banded sky, no shadows."""
    canvas = painter.gradient(*painter.composition.sky, bands=5)
    for group in painter.composition.groups:
        painter.draw(canvas, group)
    return painter.finished(canvas)


def line_width(group: Group) -> float:
    """Of a group's contours, in units."""
    return 0.0095 if group.kind in ("subject", "land") else 0.0075


def _ink(painter: Painter) -> Image.Image:
    """Dark contours on pale paper, the colours only as a thin wash, the subject's a fuller one."""
    composition = painter.composition
    paper = towards(composition.paper, (255, 252, 244), 0.6)
    canvas = painter.gradient(towards(composition.sky[0], paper, 0.5), towards(composition.sky[1], paper, 0.7))
    for group in composition.groups:
        wash = {"subject": 0.1, "land": 0.5, "streak": 0.6}.get(group.kind, 0.35)
        painter.draw(canvas, Group(group.kind, 0, [(o, towards(c, paper, wash)) for o, c in group.parts]))
        painter.stroke(
            canvas,
            group,
            towards(composition.dark, (0, 0, 0), 0.35),
            line_width(group),
        )
    return painter.finished(canvas)


def _watercolor(painter: Painter) -> Image.Image:
    """Transparent washes with darker rims and pigment that pools, on white paper that shows at the border."""
    composition = painter.composition
    width, height = painter.size
    scale = painter.unit / OVERSAMPLING
    paper = np.array([253.0, 251.0, 246.0], np.float32)
    wash, pools, ragged = (_clouds(painter, cell) for cell in CLOUDS)
    sky = np.asarray(painter.gradient(*composition.sky).resize(painter.size), np.float32)
    picture = paper + (sky - paper) * (0.62 + 0.25 * wash[..., None])
    for group in composition.groups:
        box = painter.box(group, 0.03)
        if box is None:
            continue
        box = tuple(v // OVERSAMPLING * OVERSAMPLING for v in box)
        area = tuple(v // OVERSAMPLING for v in box)
        extent = (area[2] - area[0], area[3] - area[1])
        if min(extent) < 1:
            continue
        flat = Image.new("RGB", extent, group.parts[0][1])
        pen = ImageDraw.Draw(flat)
        for outline, colour in group.parts:
            pen.polygon([tuple(p) for p in (outline * scale - area[:2]).tolist()], fill=colour)
        mask = painter.mask(group, box, 1, 0).reduce(OVERSAMPLING)
        small = mask.resize((max(1, extent[0] // 4), max(1, extent[1] // 4)), Image.Resampling.BOX)
        wide = small.filter(ImageFilter.GaussianBlur(0.012 * scale / 4)).resize(extent, Image.Resampling.BILINEAR)
        cover, inside = np.asarray(mask, np.float32) / 255, np.asarray(wide, np.float32) / 255
        rim = np.clip(cover - inside, 0, 1)
        region = (slice(area[1], area[3]), slice(area[0], area[2]))
        strength = (cover * np.clip(0.74 + 0.2 * pools[region] + 0.6 * rim, 0, 1))[..., None]
        colours = np.asarray(flat, np.float32)
        under = picture[region]
        blended = under * (1 - strength) + (0.84 * colours + 0.16 * under * colours / 255) * strength
        picture[region] = blended * (1 - 0.22 * (rim * cover)[..., None])
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    border = np.minimum(np.minimum(x, width - 1 - x), np.minimum(y, height - 1 - y)) / scale
    edge = np.clip((border + 0.03 * (ragged - 0.5)) / 0.045, 0, 1)
    picture = paper + (picture - paper) * edge[..., None]
    return Image.fromarray(picture.clip(0, 255).round().astype(np.uint8))


def _clouds(painter: Painter, cell: float) -> np.ndarray:
    """`clouds` with blobs of `cell` units, for the whole picture."""
    return clouds(painter.size, cell * painter.unit / OVERSAMPLING)


@cache
def clouds(size: tuple[int, int], cell_px: float) -> np.ndarray:
    """Smooth values in 0…1 of shape (height, width), in blobs of `cell_px`: a fixed function of the place."""
    width, height = size
    columns, rows = int(np.ceil(width / cell_px)) + 1, int(np.ceil(height / cell_px)) + 1
    fixed = np.random.default_rng(round(1e6 / cell_px)).random((256, 256))[:rows, :columns]
    small = Image.fromarray((fixed * 255).astype(np.uint8))
    box = (0.0, 0.0, width / cell_px, height / cell_px)
    return np.asarray(small.resize(size, Image.Resampling.BICUBIC, box=box), np.float32) / 255


_TILE_SHADES = np.random.default_rng(7).integers(-8, 9, (256, 256, 1))


def _mosaic(painter: Painter) -> Image.Image:
    """Square tiles, each in the mean colour of what it covers and a shade of its own, with pale grout between them."""
    canvas = painter.gradient(*painter.composition.sky)
    for group in painter.composition.groups:
        painter.draw(canvas, group)
    width, height = painter.size
    tile = max(4, round(painter.unit / OVERSAMPLING / 32))  # a token, so that no tile is cut by one
    columns, rows = max(1, width // tile), max(1, height // tile)
    coarse = canvas.resize((columns, rows), Image.Resampling.BOX)
    shaded = np.asarray(coarse, np.int16) + _TILE_SHADES[np.arange(rows)[:, None] % 256, np.arange(columns) % 256]
    tiles = Image.fromarray(shaded.clip(0, 255).astype(np.uint8))
    picture = tiles.resize(painter.large, Image.Resampling.NEAREST)
    pen, grout = ImageDraw.Draw(picture), towards(painter.composition.paper, (120, 120, 120), 0.25)
    thick = max(1, round(0.0034 * painter.unit))
    for k in range(columns + 1):
        x = k * painter.large[0] / columns
        pen.line([(x, 0), (x, painter.large[1])], fill=grout, width=thick)
    for k in range(rows + 1):
        y = k * painter.large[1] / rows
        pen.line([(0, y), (painter.large[0], y)], fill=grout, width=thick)
    return painter.finished(picture)


def _neon(painter: Painter) -> Image.Image:
    """Glowing tubes along the contours, on near-black; the subject's panels are lit from behind."""
    composition = painter.composition
    night = tuple(towards(towards(c, composition.dark, 0.5), _NIGHT, 0.8) for c in composition.sky)
    base = painter.gradient(*night)
    lines = Image.new("RGB", painter.large, (0, 0, 0))
    for group in composition.groups:
        if group.kind == "subject":
            shade = [(o, towards(_lit(c), _NIGHT, 0.5)) for o, c in group.parts]
        else:
            shade = [(o, towards(towards(c, composition.dark, 0.5), _NIGHT, 0.8)) for o, c in group.parts]
        for canvas, parts in ((base, shade), (lines, [(o, (0, 0, 0)) for o, _ in group.parts])):
            painter.draw(canvas, Group(group.kind, 0, parts))
        bright = [(o, _lit(c)) for o, c in group.parts]
        painter.stroke(lines, Group(group.kind, 0, bright), None, line_width(group))
    small = lines.reduce(4)
    glow = small.filter(ImageFilter.GaussianBlur(0.012 * painter.unit / 4)).resize(
        painter.large, Image.Resampling.BILINEAR
    )
    glow = glow.point(lambda value: min(255, int(value * 1.5)))
    return painter.finished(ImageChops.screen(ImageChops.screen(base, glow), lines))


def _lit(colour: Colour) -> Colour:
    """The colour as a light: raised until its strongest channel is nearly full."""
    lift = 245 / max(60, *colour)
    return tuple(min(255, round(c * lift)) for c in colour)


def towards(colour: Colour, other: Colour, t: float) -> Colour:
    return tuple(round(a + (b - a) * t) for a, b in zip(colour, other, strict=True))


_STYLES = {
    "papercut": _papercut,
    "flat": _flat,
    "ink": _ink,
    "watercolor": _watercolor,
    "mosaic": _mosaic,
    "neon": _neon,
}
