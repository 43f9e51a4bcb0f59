"""Captions in varied natural language for the small world, and the words that it knows.

A caption names some of a scene's attributes, in changing words and order; any attribute may be left out, and then the
picture may show any value of it. Grades (dense, vivid, moving) are put into words in five steps.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from krea_studio.training.world.scenes import PALETTES, SETTINGS, SKIES, STYLES, SUBJECTS, Scene

SUBJECT_WORDS = {
    "cat": ("cat", "kitten", "sitting cat"),
    "fox": ("fox", "red fox", "sitting fox"),
    "bird": ("bird", "flying bird", "songbird"),
    "fish": ("fish", "striped fish", "tropical fish"),
    "whale": ("whale", "blue whale", "spouting whale"),
    "tree": ("tree", "round tree", "apple tree"),
    "flower": ("flower", "blossom", "daisy"),
    "cactus": ("cactus", "potted cactus", "flowering cactus"),
    "mushroom": ("mushroom", "toadstool", "spotted mushroom"),
    "house": ("house", "cottage", "little house"),
    "lighthouse": ("lighthouse", "striped lighthouse", "beacon"),
    "sailboat": ("sailboat", "sailing boat", "boat"),
    "balloon": ("hot air balloon", "balloon", "striped balloon"),
    "rocket": ("rocket", "rocket ship", "spaceship"),
}
PALETTE_WORDS = {
    "sunset": ("sunset colors", "a sunset palette", "sunset oranges and pinks", "sunset tones"),
    "ocean": ("ocean colors", "an ocean palette", "ocean blues", "blue ocean tones"),
    "forest": ("forest colors", "a forest palette", "forest greens", "green forest tones"),
    "candy": ("candy colors", "a candy palette", "candy pinks", "sweet candy tones"),
    "autumn": ("autumn colors", "an autumn palette", "autumn browns", "golden autumn tones"),
    "midnight": ("midnight colors", "a midnight palette", "midnight blue", "dark midnight tones"),
    "mint": ("mint colors", "a mint palette", "mint green", "fresh mint tones"),
    "monochrome": ("monochrome", "black and white", "a monochrome palette", "shades of gray"),
}
STYLE_WORDS = {
    "papercut": ("papercut", "paper cut", "cut paper art", "layered paper"),
    "flat": ("flat poster", "screen print", "flat vector art", "flat design"),
    "ink": ("ink drawing", "line drawing", "pen and ink", "ink sketch"),
    "watercolor": ("watercolor", "watercolor painting", "aquarelle", "watercolor wash"),
    "mosaic": ("mosaic", "tile mosaic", "mosaic of tiles", "tiled picture"),
    "neon": ("neon sign", "neon lights", "glowing neon", "neon"),
}
SETTING_WORDS = {
    "hills": ("over rolling hills", "in the hills", "with soft hills", "on a hill"),
    "mountains": ("in the mountains", "with mountain peaks", "before tall mountains", "in a mountain land"),
    "waves": ("at sea", "on the waves", "among sea waves", "over the water"),
    "plain": ("on a wide plain", "on flat ground", "in an open field", "on the plain"),
}
SKY_WORDS = {
    "sun": ("in the sun", "under a bright sun", "on a sunny day", "with a big sun"),
    "moon": ("under the moon", "with a crescent moon", "at night with the moon", "in the moonlight"),
    "clear": ("under an empty sky", "under a clear sky", "with a clear sky", "with nothing in the sky"),
}
GRADE_WORDS = {
    "density": (
        ("minimal", "empty", "very simple"),
        ("simple", "sparse", "clean"),
        ("balanced",),
        ("detailed", "busy", "rich"),
        ("crowded", "dense", "packed with detail"),
    ),
    "vividness": (
        ("muted", "faded", "washed out"),
        ("soft", "pale", "gentle colors"),
        ("natural colors",),
        ("bright", "colorful", "lively colors"),
        ("vivid", "saturated", "intense colors"),
    ),
    "motion": (
        ("still", "static", "motionless"),
        ("calm", "quiet", "with a light breeze"),
        ("with some wind",),
        ("windy", "moving", "with a strong wind"),
        ("dynamic", "stormy", "full of motion"),
    ),
}
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "subject": SUBJECTS,
    "palette": tuple(PALETTES),
    "style": STYLES,
    "setting": SETTINGS,
    "sky": SKIES,
    "density": ("0", "1", "2", "3", "4"),
    "vividness": ("0", "1", "2", "3", "4"),
    "motion": ("0", "1", "2", "3", "4"),
}
_NAMED = {
    "subject": 0.94, "palette": 0.78, "style": 0.82, "setting": 0.5, "sky": 0.5,
    "density": 0.4, "vividness": 0.4, "motion": 0.4,
}  # fmt: skip
_OPENINGS = ("", "", "", "a picture of ", "an image of ", "a poster of ", "a beautiful ", "please draw ")


@dataclass(frozen=True)
class Caption:
    """A caption and the attributes that it names, each with its value (grades as "0" … "4")."""

    text: str
    named: dict[str, str]


def grade(value: float) -> int:
    """The step, 0…4, of a graded attribute in 0…1."""
    return min(4, int(value * 5))


def value_of(scene: Scene, attribute: str) -> str:
    """Which of an attribute's values in `ATTRIBUTES` a scene has."""
    value = getattr(scene, attribute)
    return str(grade(value)) if isinstance(value, float) else value


def caption(scene: Scene, draw: random.Random, always: tuple[str, ...] = (), never: tuple[str, ...] = ()) -> Caption:
    """Describe the scene; attributes in `always` are named for certain, those in `never` not, the others by chance."""
    named = {}
    for attribute, chance in _NAMED.items():
        if attribute in always or (draw.random() < chance and attribute not in never):
            named[attribute] = value_of(scene, attribute)
    words = {name: _words(name, value, draw) for name, value in named.items()}
    text = draw.choice((_sentence, _sentence, _list, _headline))(words, draw)
    if draw.random() < 0.3:
        text = text[:1].upper() + text[1:]
    return Caption(text + draw.choice(("", "", "", ".")), named)


def _words(attribute: str, value: str, draw: random.Random) -> str:
    if attribute in GRADE_WORDS:
        return draw.choice(GRADE_WORDS[attribute][int(value)])
    table = {
        "subject": SUBJECT_WORDS,
        "palette": PALETTE_WORDS,
        "style": STYLE_WORDS,
        "setting": SETTING_WORDS,
        "sky": SKY_WORDS,
    }
    return draw.choice(table[attribute][value])


def _article(words: str) -> str:
    return f"{'an' if words[:1] in 'aeiou' else 'a'} {words}"


def _sentence(words: dict[str, str], draw: random.Random) -> str:
    """«papercut of a fox in the hills under the moon, in autumn colors, busy, still»"""
    subject = _article(words["subject"]) if "subject" in words else "a scene"
    text = draw.choice((_article(words["style"]), words["style"])) + " of " + subject if "style" in words else subject
    text = draw.choice(_OPENINGS[:4]) + text if "style" in words else draw.choice(_OPENINGS[:6]) + text
    places = [words[k] for k in ("setting", "sky") if k in words]
    draw.shuffle(places)
    text = " ".join([text, *places])
    if "palette" in words:
        text += draw.choice((", in ", " in ")) + words["palette"]
    grades = [words[k] for k in GRADE_WORDS if k in words]
    draw.shuffle(grades)
    return ", ".join([text, *grades])


def _list(words: dict[str, str], draw: random.Random) -> str:
    """«fox, autumn colors, papercut, busy, in the hills»"""
    items = list(words.values()) or ["a picture"]
    draw.shuffle(items)
    return ", ".join(items)


def _headline(words: dict[str, str], draw: random.Random) -> str:
    """«a busy still fox in the hills, papercut, autumn colors»"""
    grades = [words[k] for k in GRADE_WORDS if k in words]
    draw.shuffle(grades)
    plain = [g for g in grades if " " not in g]
    subject = " ".join([*plain, words.get("subject", "scene")])
    text = draw.choice(_OPENINGS[:6]) + _article(subject)
    text = " ".join([text, *(words[k] for k in ("setting", "sky") if k in words)])
    rest = [words[k] for k in ("style", "palette") if k in words] + [g for g in grades if " " in g]
    draw.shuffle(rest)
    return ", ".join([text, *rest])


def vocabulary() -> dict[str, list[str]]:
    """The words the embedded checkpoints know, by group, and example prompts made of them."""
    tables = {
        "subject": SUBJECT_WORDS, "palette": PALETTE_WORDS, "rendering style": STYLE_WORDS,
        "setting": SETTING_WORDS, "sky": SKY_WORDS,
    }  # fmt: skip
    words = {group: [phrases[0] for phrases in table.values()] for group, table in tables.items()}
    names = {"density": "how dense", "vividness": "how vivid", "motion": "how much motion"}
    words |= {names[k]: [phrases[0] for phrases in steps] for k, steps in GRADE_WORDS.items()}
    words["examples"] = [
        "papercut of a fox in the mountains under the moon, in autumn colors",
        "a hot air balloon over rolling hills in the sun, flat poster, sunset colors, vivid",
        "neon sign of a whale at sea, midnight colors, dynamic",
        "watercolor painting of a lighthouse on the waves in ocean blues, with a strong wind",
        "mosaic of a red fox on a sunny day, forest greens",
        "ink drawing of a sailboat at sea under a clear sky, mint colors, minimal",
        "layered paper rocket with a crescent moon, candy colors, crowded",
        "a cat in an open field, screen print, black and white, still",
    ]
    return words
