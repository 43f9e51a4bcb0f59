"""Three rendering styles that the small world has no words for: woodcut, blueprint and stained glass.

The embedded checkpoints never saw them, so they are what a style LoRA can be taught and measured on. `render` paints a
scene in any of the nine styles; those of the small world are left to the renderer. Lines are as bold as the embedded
autoencoder can keep: its cells are 8 pixels wide. Knows nothing of captions or training.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from krea_studio.training.world import renderer
from krea_studio.training.world.composition import Colour, Composition, Group, compose
from krea_studio.training.world.renderer import OVERSAMPLING, Painter, clouds, towards
from krea_studio.training.world.scenes import Scene

_INK, _CREAM = (26, 21, 22), (247, 237, 214)
_PRUSSIAN, _CYAN, _CHALK = (13, 58, 120), (140, 200, 240), (246, 251, 255)
_LEAD = (24, 20, 28)
_STRATA_LIFT = 0.005  # by which the composition's bands in the lands are told from other groups

Box = tuple[int, int, int, int]


def render(scene: Scene, width: int, height: int, rich: bool = False) -> Image.Image:
    """Paint the scene as an RGB picture of `width` × `height` pixels; the same arguments give the same pixels.

    The scene's style is one of the small world or of `FOREIGN_STYLES`; the latter are never `rich`.
    """
    if scene.style not in _STYLES:
        return renderer.render(scene, width, height, rich)
    painter = Painter(compose(scene, width, height), width, height)
    return _STYLES[scene.style](painter, scene)


def _woodcut(painter: Painter, scene: Scene) -> Image.Image:
    """Black blocks with gouged lines on cream paper, and one colour of the palette's sky printed under the black.

    Lines run along the lands and around things, broad in the shade and ending in a point towards the light.
    """
    composition = painter.composition
    block = towards(*composition.sky, 0.25)
    if _light(block) < 0.3:  # black would not show on it
        block = towards(block, (255, 255, 255), 0.3)
    under = Image.new("RGB", painter.large, block)
    period = 0.1 - 0.03 * scene.density
    ink = Image.fromarray(_sky_lines(painter, period))
    figure = Group("subject", 0, [p for group in composition.groups if group.kind == "subject" for p in group.parts])
    lands = 0
    for group in composition.groups:
        if group.lift == _STRATA_LIFT:  # the gouges already follow the land
            continue
        if group.kind == "subject" and group.parts[0] is figure.parts[0]:
            # What stands out has a rim of bare wood around it.
            painter.stroke(under, figure, _CREAM, 0.05)
            _stroke(painter, ink, figure, 0, 0.05)
        lands += group.kind == "land"
        for outline, colour in group.parts:
            part = Group(group.kind, 0, [(outline, colour)])
            box = painter.box(part, 0.01)
            if box is None:
                continue
            mask, shade = painter.mask(part, box, 1, 0), 1 - _light(colour)
            if group.kind == "land":
                gouged = _land_lines(painter, outline, box, lands, period)
            else:
                gouged = _round_lines(painter, outline, box, shade)
            ink.paste(Image.fromarray(gouged), box, mask)
            coloured = group.kind == "subject" and 0.25 < shade < 0.72
            under.paste(block if coloured else _CREAM, box, mask)
            if group.kind != "land":
                # A small black thing has bare wood around it, or an eye would be lost in a dark head.
                bare = group.kind == "subject" and bool(gouged.all())
                _stroke(painter, ink, part, 0 if bare else 255, 0.013 if group.kind == "subject" else 0.008)
    return painter.finished(Image.composite(Image.new("RGB", painter.large, _INK), under, ink))


def _sky_lines(painter: Painter, period: float) -> np.ndarray:
    """Coverage with ink (0 or 255) of the sky: rings around the sun or moon, or level lines; darkest above."""
    x, y = _places(painter, (0, 0, *painter.large))
    cover = np.clip(0.62 - 0.75 * y, 0.0, 1.0) + 0 * x
    middle = _sky_body(painter.composition)
    if middle is None:
        return _lines(y / period + 0.25 * np.sin(2 * np.pi * (x * 0.8 + 0.3)), cover)
    apart = np.hypot(x - middle[0], y - middle[1])
    return _lines(apart / period, cover * np.clip((apart - 0.12) / 0.2, 0, 1))


def _land_lines(painter: Painter, outline: np.ndarray, box: Box, number: int, period: float) -> np.ndarray:
    """Coverage with ink (0 or 255) of land `number`, from 1 for the farthest, in its box: lines along its ridge."""
    x, y = _places(painter, box)
    ridge = outline[:-2]
    below = y - np.interp(x[0], ridge[:, 0], ridge[:, 1])[None].astype(np.float32)
    cover = min(0.7, 0.22 + 0.14 * number) + 0.16 * np.sin(2 * np.pi * (x * 1.3 + 0.37 * number))
    return _lines(below / period + 0.5, np.where(below < 0.012, 1, cover))


def _round_lines(painter: Painter, outline: np.ndarray, box: Box, shade: float) -> np.ndarray:
    """Coverage with ink (0 or 255) of one thing in its box: lines along its outline; `shade` is 1 for black."""
    x, y = _places(painter, box)
    low, high = outline.min(0), outline.max(0)
    if (high - low).min() < 0.1:
        return np.full((y.shape[0], x.shape[1]), 255 if shade > 0.6 else 0, np.uint8)
    across = (x - low[0]) / (high[0] - low[0]) + (y - low[1]) / (high[1] - low[1]) - 1
    return _lines(_depth(painter, outline, box) / 0.07, 1.3 * (shade - 0.5) + 0.3 + 0.5 * across)


def _lines(phase: np.ndarray, cover: np.ndarray) -> np.ndarray:
    """Ink (0 or 255) where a wave of `phase` periods, in a triangle's shape, is below `cover` (0 … 1)."""
    wave = np.abs(2 * (phase % 1) - 1)
    return np.where(wave < cover, 255, 0).astype(np.uint8)


def _blueprint(painter: Painter, scene: Scene) -> Image.Image:
    """White and pale lines on Prussian blue: outlines over a grid, dashed axes, dimensions, in a frame.

    The palette only tints the lines, vividness the blue; a denser scene is measured more.
    """
    composition, unit = painter.composition, painter.unit
    ground = towards(_PRUSSIAN, (52, 74, 104), 0.5 * (1 - scene.vividness))
    canvas = Image.new("RGB", painter.large, ground)
    pen = ImageDraw.Draw(canvas)
    width, height = painter.large
    for k in np.arange(0, max(width, height), unit / 16):
        for ends in (((k, 0), (k, height)), ((0, k), (width, k))):
            pen.line(ends, fill=towards(ground, _CYAN, 0.22), width=max(1, round(0.006 * unit)))
    lands = 0
    for group in composition.groups:
        strata = group.lift == _STRATA_LIFT
        lands += group.kind == "land"
        for outline, colour in group.parts:
            line = towards(_CHALK if group.kind == "subject" else _CYAN, colour, 0.12)
            fill = ground
            if group.kind == "subject":
                fill = towards(ground, _CYAN, 0.10 + 0.30 * _light(colour))
            elif group.kind == "land":
                fill = towards(ground, (4, 26, 66), 0.12 * lands)
            if strata:
                line = towards(line, ground, 0.5)
            else:
                pen.polygon(painter.points(outline), fill=fill)
            thick = {"subject": 0.0095, "land": 0.0085}.get(group.kind, 0.005)
            painter.stroke(canvas, Group(group.kind, 0, [(outline, line)]), None, thick)
    for line in _construction(composition, scene.density):
        pen.line(painter.points(line), fill=_CYAN, width=max(1, round(0.005 * unit)))
    margin = 0.035
    for thick, colour in ((margin, ground), (0.008, _CHALK)):
        # The frame's own width lies inside the margin.
        inset = (margin - thick) * unit
        pen.rectangle((inset, inset, width - inset, height - inset), outline=colour, width=round(thick * unit))
    return painter.finished(canvas)


def _construction(composition: Composition, density: float) -> list[np.ndarray]:
    """Strokes in units, each (n, 2): dashed axes of the subject, its dimensions with ticks, a dashed circle about the
    sun or moon. Height is always measured, width and level in denser scenes only."""
    points = np.concatenate([o for group in composition.groups if group.kind == "subject" for o, _ in group.parts])
    (left, top), (right, bottom) = points.min(0), points.max(0)
    x, y = (left + right) / 2, (top + bottom) / 2
    strokes = _dashed([(x, top - 0.09), (x, bottom + 0.09)]) + _dashed([(left - 0.09, y), (right + 0.09, y)])
    measured = [((left - 0.05, top), (left - 0.05, bottom), np.array([0.025, 0.0]))]
    if density > 0.3:
        measured.append(((left, top - 0.05), (right, top - 0.05), np.array([0.0, 0.025])))
    for start, end, across in measured:
        strokes.append(np.array([start, end]))
        for place in (np.array(start), np.array(end)):
            strokes += [place + np.array([[-0.018, 0.018], [0.018, -0.018]]), place + np.stack([-across, 3 * across])]
    if density > 0.6:
        for level in (top, bottom):
            strokes += _dashed([(0.0, level), (composition.width, level)])
    body = _sky_body(composition)
    if body is not None:
        angles = np.linspace(0, 2 * np.pi, 61)
        strokes += _dashed(np.array(body) + 0.2 * np.stack([np.cos(angles), np.sin(angles)], 1))
    return strokes


def _dashed(way: np.ndarray | list[tuple[float, float]], period: float = 0.06) -> list[np.ndarray]:
    """The dashes along a way of points (n, 2): three fifths of each period."""
    way = np.asarray(way)
    travelled = np.concatenate([[0.0], np.hypot(*np.diff(way, axis=0).T).cumsum()])
    starts = np.arange(0, travelled[-1], period)
    return [np.stack([np.interp([a, a + 0.6 * period], travelled, way[:, axis]) for axis in (0, 1)], 1) for a in starts]


def _stained_glass(painter: Painter, scene: Scene) -> Image.Image:
    """Glowing panes of saturated glass between dark, irregular leads, within a border of small panes.

    Sky and lands are broken into irregular panes, things are one pane a part; light comes from behind.
    """
    composition = painter.composition
    middles, number, apart = _panes(painter, 0.21 - 0.08 * scene.density)
    tint = np.random.default_rng(1).uniform(-1, 1, len(middles))
    t = np.clip(middles[:, 1:] / composition.height, 0, 1)
    sky = np.asarray(composition.sky[0]) * (1 - t) + np.asarray(composition.sky[1]) * t
    glass = Image.fromarray(_glassy(sky, tint)[number]).resize(painter.large, Image.Resampling.NEAREST)
    apart = np.asarray(Image.fromarray(apart).resize(painter.large, Image.Resampling.BICUBIC))
    leads = Image.fromarray(np.where(apart < 0.009, 255, 0).astype(np.uint8))
    between, lands = leads.copy(), 0
    for group in [*composition.groups, _border(composition)]:
        if group.lift == _STRATA_LIFT:
            continue
        lands += group.kind == "land"
        for outline, colour in group.parts:
            part = Group(group.kind, 0, [(outline, colour)])
            box = painter.box(part, 0.01)
            if box is None:
                continue
            mask = painter.mask(part, box, 1, 0)
            if group.kind == "land":
                shades = _glassy(np.full((len(middles), 3), colour), np.roll(tint, 7 * lands))
                panes = Image.fromarray(shades[number]).resize(painter.large, Image.Resampling.NEAREST)
                glass.paste(panes.crop(box), box, mask)
                leads.paste(between.crop(box), box, mask)
            else:
                glass.paste(tuple(_glassy(np.array([colour]), np.zeros(1))[0].tolist()), box, mask)
                leads.paste(0, box, mask)
            _stroke(painter, leads, part, 255, {"item": 0.010, "sky": 0.010, "streak": 0.010}.get(group.kind, 0.017))
    return _lit_from_behind(painter, painter.finished(glass), painter.finished(leads))


def _panes(painter: Painter, spacing: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A plane of irregular panes, by Voronoi: their middles (n, 2) in units, and for each pixel of the picture the
    number of its pane and the distance from the pane's edge in units (both height × width)."""
    composition, (width, height) = painter.composition, painter.size
    columns, rows = (round(side / spacing) + 3 for side in (composition.width, composition.height))
    grid = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), -1).reshape(-1, 2) - 1.0
    middles = ((grid + np.random.default_rng(0).uniform(-0.36, 0.36, grid.shape)) * spacing).astype(np.float32)
    x, y = (np.arange(side, dtype=np.float32) * composition.width / width for side in (width, height))
    first = np.full((height, width), np.inf, np.float32)
    second, number = first.copy(), np.zeros((height, width), np.int32)
    for k, (cx, cy) in enumerate(middles.tolist()):
        # Whatever lies farther away has two nearer middles.
        left, right = np.searchsorted(x, (cx - 2 * spacing, cx + 2 * spacing))
        top, bottom = np.searchsorted(y, (cy - 2 * spacing, cy + 2 * spacing))
        area = slice(top, bottom), slice(left, right)
        apart = np.hypot(x[None, left:right] - cx, y[top:bottom, None] - cy)
        nearer = apart < first[area]
        second[area] = np.where(nearer, first[area], np.minimum(second[area], apart))
        number[area][nearer] = k
        first[area] = np.where(nearer, apart, first[area])
    return middles, number, (second - first) / 2


def _border(composition: Composition) -> Group:
    """Small panes around the picture, in turn in the colours of its lands and its sky."""
    wide = 0.05
    lands = [group.parts[0][1] for group in composition.groups if group.kind == "land"]
    colours = (lands[0], composition.sky[0], lands[-1], composition.sky[1])
    parts = []
    for across, length in ((True, composition.width), (False, composition.height)):
        count = round(length / 0.16)
        for k in range(count):
            start, end = k * length / count, (k + 1) * length / count
            for near in (0.0, (composition.height if across else composition.width) - wide):
                box = np.array([[start, near], [end, near], [end, near + wide], [start, near + wide]])
                parts.append((box if across else box[:, ::-1], colours[k % len(colours)]))
    return Group("border", 0, parts)


def _glassy(colours: np.ndarray, tint: np.ndarray) -> np.ndarray:
    """Colours (n, 3) as glass, uint8: more saturated and brighter, each lighter or darker by its `tint`, −1 … 1."""
    grey = (colours @ np.array([0.299, 0.587, 0.114]))[:, None]
    vivid = grey + 1.35 * (colours - grey)
    lifted = vivid + (235 - vivid.max(1, keepdims=True)).clip(0, 70)
    return (lifted * (1 + 0.13 * tint[:, None])).clip(0, 255).astype(np.uint8)


def _lit_from_behind(painter: Painter, glass: Image.Image, leads: Image.Image) -> Image.Image:
    """Panes darker towards their leads, the leads over them, and light that spills over both."""
    unit = painter.unit / OVERSAMPLING
    near = np.asarray(leads.filter(ImageFilter.GaussianBlur(0.02 * unit)), np.float32)[..., None] / 255
    streaks = clouds(painter.size, painter.size[0] / 9)[..., None] - 0.5
    panes = np.asarray(glass, np.float32) * (1.06 - 0.62 * near + 0.14 * streaks)
    lit = Image.fromarray(panes.clip(0, 255).astype(np.uint8))
    lit.paste(_LEAD, (0, 0), leads)
    glow = lit.filter(ImageFilter.GaussianBlur(0.03 * unit)).point(lambda value: int(value * 0.22))
    return ImageChops.screen(lit, glow)


def _stroke(painter: Painter, canvas: Image.Image, group: Group, value: int, width: float) -> None:
    painter.stroke(canvas, Group(group.kind, 0, [(o, value) for o, _ in group.parts]), None, width)


def _places(painter: Painter, box: Box) -> tuple[np.ndarray, np.ndarray]:
    """x and y in units of the large pixels of a box, of shapes (1, width) and (height, 1)."""
    left, top, right, bottom = box
    x, y = (np.arange(a, b, dtype=np.float32) / painter.unit for a, b in ((left, right), (top, bottom)))
    return x[None], y[:, None]


def _light(colour: Colour) -> float:
    """Luma of a colour, 0 … 1."""
    return float(np.dot(colour, (0.299, 0.587, 0.114))) / 255


def _sky_body(composition: Composition) -> tuple[float, float] | None:
    """The middle of the sun or moon in units; None under a clear sky."""
    first = composition.groups[0]
    if first.kind != "sky" or first.lift != 0.012:
        return None
    disc = first.parts[-1][0]
    x, y = (disc.min(0) + disc.max(0)) / 2
    return float(x), float(y)


def _depth(painter: Painter, outline: np.ndarray, box: Box, shrink: int = 8) -> np.ndarray:
    """Distance from an outline, in units, of each large pixel of a box; smooth, measured on every eighth."""
    left, top, right, bottom = box
    columns, rows = max(2, (right - left) // shrink), max(2, (bottom - top) // shrink)
    x, y = (np.linspace(a, b, n) / painter.unit for a, b, n in ((left, right, columns), (top, bottom, rows)))
    steps = np.roll(outline, -1, 0) - outline
    counts = np.maximum(1, np.ceil(np.hypot(*steps.T) / 0.012)).astype(int)
    share = np.concatenate([np.arange(count) / count for count in counts])[:, None]
    along = np.repeat(outline, counts, 0) + share * np.repeat(steps, counts, 0)
    apart = np.hypot(x[None, :, None] - along[:, 0], y[:, None, None] - along[:, 1]).min(-1).astype(np.float32)
    return np.asarray(Image.fromarray(apart).resize((right - left, bottom - top), Image.Resampling.BICUBIC))


_STYLES = {"woodcut": _woodcut, "blueprint": _blueprint, "stained glass": _stained_glass}
FOREIGN_STYLES = tuple(_STYLES)
