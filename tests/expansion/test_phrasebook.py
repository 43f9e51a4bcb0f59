"""The phrasebook keeps what is written, fills only what is open, contradicts nothing, and says only words it may."""

import json
import random
import re
from collections import defaultdict
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from krea_studio.engine.checkpoints.table import ASSETS
from krea_studio.errors import InvalidRequest, Stopped
from krea_studio.expansion.creativity import LEVELS
from krea_studio.expansion.phrasebook import ADDED, Phrasebook
from krea_studio.expansion.phrases import CUES, OPPOSED, PHRASES, SMALL_WORLD_CUES
from krea_studio.expansion.words import names
from krea_studio.training.world.captions import (
    GRADE_WORDS,
    PALETTE_WORDS,
    SETTING_WORDS,
    SKY_WORDS,
    STYLE_WORDS,
    SUBJECT_WORDS,
    caption,
)
from krea_studio.training.world.scenes import random_scene

VOCABULARY = json.loads((ASSETS / "vocabulary.json").read_text("utf-8"))
SMALL_WORLD, PLAIN = Phrasebook(VOCABULARY), Phrasebook()
BOOKS = {"small world": SMALL_WORLD, "plain English": PLAIN}
EXPANDING = tuple(ADDED)

# The small world as its captions say it: group → value → its phrases; this is what the phrasebook is judged by.
GROUPS = {"style": "rendering style", "density": "how dense", "vividness": "how vivid", "motion": "how much motion"}
TABLES = {"palette": PALETTE_WORDS, "style": STYLE_WORDS, "setting": SETTING_WORDS, "sky": SKY_WORDS}
TABLES |= {name: {str(grade): words for grade, words in enumerate(steps)} for name, steps in GRADE_WORDS.items()}
SAID = {
    phrase: (GROUPS.get(name, name), value)
    for name, table in TABLES.items()
    for value, phrases in table.items()
    for phrase in phrases
}
_SAID = re.compile(rf"\b({'|'.join(sorted(map(re.escape, SAID), key=len, reverse=True))})\b")

levels = st.sampled_from(EXPANDING)
seeds = st.integers(0, 2**32 - 1)


@st.composite
def small_world_prompts(draw: st.DrawFn) -> tuple[str, dict[str, str]]:
    """A caption of any scene, and what it names: group → value."""
    made = caption(random_scene(draw(seeds)), random.Random(draw(seeds)))
    return made.text, {GROUPS.get(name, name): value for name, value in made.named.items()}


def said(text: str) -> dict[str, set[str]]:
    """What a text says of the small world: group → values."""
    found = defaultdict(set)
    for phrase in _SAID.findall(text.lower()):
        group, value = SAID[phrase]
        found[group].add(value)
    return found


def write(book: Phrasebook, prompt: str, level: str, seed: int) -> str:
    return book.write(prompt, level, seed, lambda: None)


@given(small_world_prompts(), levels, seeds)
def test_what_a_prompt_names_stays_and_nothing_contradicts_it(
    made: tuple[str, dict[str, str]], level: str, seed: int
) -> None:
    prompt, named = made
    text = write(SMALL_WORLD, prompt, level, seed)
    assert prompt in text
    found = said(text)
    assert all(found[group] == {value} for group, value in named.items() if group != "subject")
    assert all(len(values) == 1 for values in found.values())
    added = found.keys() - named.keys()
    assert len(added) == len(SMALL_WORLD.additions(prompt, level, seed)) <= ADDED[level][1]
    for group, value, other, others in (
        ("sky", "sun", "palette", {"midnight"}),
        ("palette", "monochrome", "how vivid", {"2", "3", "4"}),
    ):
        if added & {group, other} and value in found[group]:
            assert not found[other] & others, text


@given(small_world_prompts(), levels, seeds)
def test_it_is_deterministic_and_neighbouring_seeds_differ(
    made: tuple[str, dict[str, str]], level: str, seed: int
) -> None:
    prompt, _ = made
    for book in (SMALL_WORLD, Phrasebook(VOCABULARY)):
        assert write(book, prompt, level, seed) == write(SMALL_WORLD, prompt, level, seed)
    for book in BOOKS.values():
        if level == "high" and len(book.additions(prompt, level, seed)) >= 3:
            assert len({write(book, prompt, level, seed + k) for k in range(4)}) == 4


@given(small_world_prompts(), levels, seeds)
def test_the_small_world_hears_only_its_own_words(made: tuple[str, dict[str, str]], level: str, seed: int) -> None:
    prompt, _ = made
    before, _, after = write(SMALL_WORLD, prompt, level, seed).partition(prompt)
    known = sorted((p for g, ps in VOCABULARY.items() if g != "examples" for p in ps), key=len, reverse=True)
    rest = f"{before}|{after}".lower()
    for phrase in known:
        rest = rest.replace(phrase, "")
    assert re.fullmatch(r"( of )?\|[ ,.]*(in )?[ ,.]*", rest), rest


@given(small_world_prompts())
def test_every_way_of_naming_a_group_is_read(made: tuple[str, dict[str, str]]) -> None:
    prompt, named = made
    assert SMALL_WORLD.read(prompt).groups == named.keys() - {"subject"}


@pytest.mark.parametrize("phrase", SAID)
def test_each_phrase_of_the_small_world_names_its_group_alone(phrase: str) -> None:
    assert SMALL_WORLD.read(f"a fox {phrase}").groups == {SAID[phrase][0]}
    assert SMALL_WORLD.read(f"{phrase.upper()}, fox").groups == {SAID[phrase][0]}


@pytest.mark.parametrize("subject", [phrase for phrases in SUBJECT_WORDS.values() for phrase in phrases])
def test_subjects_of_the_small_world_name_nothing_else(subject: str) -> None:
    assert not SMALL_WORLD.read(f"a {subject}").groups


@pytest.mark.parametrize("name", BOOKS)
def test_more_is_added_from_level_to_level(name: str) -> None:
    book = BOOKS[name]
    prompts = [caption(random_scene(k), random.Random(k)).text for k in range(200)]
    counts = [mean(len(book.additions(prompt, level, k)) for k, prompt in enumerate(prompts)) for level in EXPANDING]
    assert counts[0] + 0.3 < counts[1] and counts[1] + 0.3 < counts[2], counts
    for prompt in ("a fox", "An old woman", "fox"):
        for level in EXPANDING:
            assert ADDED[level][0] <= len(book.additions(prompt, level, 1)) <= ADDED[level][1]


@pytest.mark.parametrize("name", BOOKS)
def test_more_variety_from_level_to_level(name: str) -> None:
    spread = [len({write(BOOKS[name], "a fox", level, seed) for seed in range(400)}) for level in EXPANDING]
    assert spread[0] < spread[1] < spread[2] and spread[2] >= 380


def test_low_fills_gaps_and_never_sets_a_mood() -> None:
    for seed in range(30):
        assert set(SMALL_WORLD.additions("a fox", "low", seed)) == {"rendering style"}
        assert set(SMALL_WORLD.additions("mosaic of a fox", "low", seed)) == {"setting"}
        assert set(PLAIN.additions("a fox", "low", seed)) == {"medium"}
        assert set(PLAIN.additions("an oil painting of a fox", "low", seed)) == {"light"}
        for prompt in ("a photo of a fox in soft light", "logo for a tea brand", "a map of Rome", "an infographic"):
            assert write(PLAIN, prompt, "low", seed) == prompt


def test_low_is_neutral() -> None:
    for prompt in ("New York skyline", "an explosion in a warehouse", "an oil painting of a fox"):
        found = {phrase for seed in range(60) for phrase in PLAIN.additions(prompt, "low", seed).values()}
        assert found <= {"photograph", "illustration", "digital painting", "pencil drawing"} | {
            "natural light", "soft diffuse light", "gentle side light", "soft backlight"
        }, found  # fmt: skip


def test_a_denied_thing_denies_nothing_else() -> None:
    assert PLAIN.read("a boat, no mountains").denied == frozenset()
    assert PLAIN.read("a fox with no hat at night").facts == {"night"}
    assert PLAIN.read("no bright colors, not in a photo").facts == frozenset()
    assert PLAIN.read("a photo, not a photo of a crowd").denied.isdisjoint({"photographic"})


def test_a_detailed_prompt_stays_as_it_is() -> None:
    long = "an old fisherman mends a net" + " and beside him lies one more small basket" * 15
    for book in BOOKS.values():
        for level in EXPANDING:
            assert write(book, long, level, 3) == long


@given(small_world_prompts(), levels, seeds, st.integers(0, 12))
def test_only_what_fits_is_added(made: tuple[str, dict[str, str]], level: str, seed: int, room: int) -> None:
    prompt, _ = made
    for book in BOOKS.values():
        most = len(prompt.split()) + room
        found = book.write(prompt, level, seed, lambda: None, fits=lambda text: len(text.split()) <= most)  # noqa: B023
        assert prompt in found and len(found.split()) <= most


def test_high_adds_something_unexpected() -> None:
    bold = {phrase.text for phrases in PHRASES.values() for phrase in phrases if phrase.bold}
    for seed in range(30):
        assert bold & set(PLAIN.additions("a fox", "high", seed).values())
        assert not bold & set(PLAIN.additions("a fox", "medium", seed).values())


def test_ships_stay_at_sea_unless_liberties_are_wanted() -> None:
    for seed in range(30):
        assert SMALL_WORLD.additions("ink drawing of a sailboat", "low", seed) == {"setting": "at sea"}
        assert SMALL_WORLD.additions("ink drawing of a cat", "low", seed)["setting"] != "at sea"
    assert len({SMALL_WORLD.additions("a cat", "high", seed).get("setting") for seed in range(60)}) >= 4


# What a prompt says → groups of plain English that must be left alone, words that must not be added.
PLAIN_CASES = {
    "a fox at night": ("", "midday sun|daylight|morning|golden hour|dappled"),
    "a fox under the stars": ("", "midday sun|daylight|morning|evening sun"),
    "black and white portrait of a sailor": (
        "palette composition",
        "jewel|pastel|neon|golden hour|oil painting|colored",
    ),
    "ink drawing of a harbor": ("medium", "lens|film|photograph|focus"),
    "an illustration of a bear": ("medium", "lens|film grain|photograph"),
    "photo of a bear": ("medium", "painting|drawing|illustration|collage"),
    "a minimal poster with a chair": ("density medium", "dense|rich|layered|overflowing|every corner"),
    "a crowded market": ("density", "empty|uncluttered|few elements"),
    "a calm lake": ("motion", "whirlwind|gust|mid-motion"),
    "a dancer leaping": ("motion", "still|statue|moment|held"),
    "a girl in a red dress": ("palette", "black and white|sepia"),
    "a fox at sunset": ("light", "moonlight|midday"),
    "close-up of an eye": ("composition", "wide|vast"),
    "a fox, 85 mm, f/1.8": ("lens", "painting|drawing|mosaic|illustration"),
    "a fox, shot on 35mm film": ("medium lens composition", "painting|drawing"),
    "a bird's-eye view of a town": ("composition", "low angle"),
    "ukiyo-e wave": ("medium", "lens|photograph"),
    "a kitchen": ("", "evening sun|dappled|lightning|midday"),
    "a desert in midday heat": ("", "moonlight|night|blues|studio|candle|lamplight"),
    "a neon-lit alley": ("light", "daylight|midday|black and white"),
    "sepia photograph of a train": ("medium palette", "neon|vivid|jewel"),
    "a foggy street": ("", "deep focus|sharpness"),
    "without any color": ("palette", ""),
    "pastel macaroons": ("palette", "black and white|acid"),
    "3D render of a robot": ("medium", "lens|film"),
    "a symmetrical hall": ("composition", "outdoors|midday sun"),
    "Watercolour of a church": ("medium", "lens|film"),
    "a vivid parrot": ("", "muted|faded|sepia|black and white"),
    "a muted landscape": ("composition", "acid|jewel|bright primary"),
    "a frozen moment in a storm": ("motion", "clear morning|calm air"),
    "a lone tree in the snow": ("density", "every corner|intricate"),
    "AN ANIME GIRL": ("medium", "photograph|lens"),
    # What is denied is named too, and what it would say is not said.
    "a fox without any color": ("palette", "golden hour|blue hour|neon|painting|pastel|stained|embroidery|tapestry"),
    "no color, just lines": ("palette medium", "golden hour|blue hour|neon|color"),
    "a portrait, not a photo": ("medium composition", "lens|focus|grain|vignetting|photograph"),
    "a fox in a photo, not a painting": ("medium", "painting|drawing|illustration"),
    "a street, not crowded": ("density", "rich|layered|overflowing|every corner"),
    "a landscape, no sun and no moon": ("light composition", "moonlight|sun|daylight"),
    "a colorless room": ("palette", "colored|golden hour|neon|painting"),
    "a windless lake": ("motion", r"\bwind\b|breeze|gust"),
    "still life with three lemons": ("motion", r"\bwind\b|breeze|gust"),
    "nothing but a chair": ("density", r"rich|overflowing|\bwind\b|gust|motion|drift"),
    "a single apple, nothing else": ("density", "rich|overflowing"),
    "a plate of pasta": ("", "moving|windblown|gust|motion|drift"),
    "a blueprint of a chair": ("medium", r"amber|of red|earth|candy|colors|light|sun|lens|gust"),
    "an underwater view of a diver": ("composition", r"candle|fire|leaves|shade|breeze|\bwind\b|gust|sun|moon|\bair"),
    "two astronauts on the moon": ("light", r"breeze|\bwind\b|gust|\bair"),
    "logo for a coffee brand": ("medium", "light|sun|lens|breeze|motion|view|angle|shot"),
    "a map of an island": ("medium", "light|sun|lens|breeze|motion|view|angle|shot"),
    "a boy in the rain": ("", "candle|dappled|leaves|studio|midday|lamplight"),
    "New York skyline": ("", "candlelight|studio|lamplight|window light"),
}


@pytest.mark.parametrize("prompt", PLAIN_CASES)
def test_plain_english_leaves_alone_what_is_named(prompt: str) -> None:
    groups, words = PLAIN_CASES[prompt]
    assert set(groups.split()) <= PLAIN.read(prompt).groups
    for level in EXPANDING:
        for seed in range(40):
            added = PLAIN.additions(prompt, level, seed)
            assert not set(groups.split()) & added.keys()
            assert not (words and re.search(words, ", ".join(added.values()))), added
            assert prompt in write(PLAIN, prompt, level, seed)


@given(st.sampled_from(list(PLAIN_CASES)), levels, seeds)
def test_no_facts_oppose_one_another(prompt: str, level: str, seed: int) -> None:
    facts = [PLAIN.read(prompt).facts]
    for group, text in PLAIN.additions(prompt, level, seed).items():
        facts += [phrase.facts for phrase in PHRASES[group] if phrase.text == text]
    for one, other in OPPOSED:
        assert not any(one in a and other in b for k, a in enumerate(facts) for j, b in enumerate(facts) if j != k)


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=80)


@given(texts | st.sampled_from(["a fox, ", "A fox.", "fox…", "“fox”", "a\nfox", 'sign "OPEN."']), levels, seeds)
def test_any_text_is_kept_letter_for_letter(prompt: str, level: str, seed: int) -> None:
    for book in BOOKS.values():
        try:
            assert prompt in write(book, prompt, level, seed)
        except InvalidRequest as refused:
            assert "knows English only" in refused.message


@pytest.mark.parametrize(
    "prompt", ["ein Fuchs im Wald mit einem Hut", "une fille dans le jardin", "лиса в снегу", "雪地里的狐狸"]
)
def test_other_languages_are_left_to_others(prompt: str) -> None:
    for book in BOOKS.values():
        with pytest.raises(InvalidRequest, match="English only — "):
            write(book, prompt, "medium", 0)


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("a fox", "neon sign of a fox in the mountains under an empty sky, in candy colors, soft, minimal"),
        ("fox, vivid", "fox, vivid, papercut, in the mountains, autumn colors, minimal, still"),
        ("A fox sleeps.", None),
        ("A poster of a fox", None),
        ("a sign in a field", None),
    ],
)
def test_it_reads_well(prompt: str, text: str | None) -> None:
    found = write(SMALL_WORLD, prompt, "high", 2)
    assert text is None or found == text
    if prompt.endswith("."):
        assert re.fullmatch(rf"{re.escape(prompt)} [A-Z][a-z, ]+\.", found)
    if prompt.startswith("A"):
        assert found.startswith(prompt)


def test_phrases_read_well_after_in_and_repeat_no_noun() -> None:
    for seed in range(400):
        text = write(PLAIN, "a fox", "high", seed)
        assert not re.search(r"\bin (?:one|only|inverted)\b", text), text
        assert "neon sign" not in write(SMALL_WORLD, 'a sign that says "OPEN"', "high", seed)
        assert "window of" not in write(PLAIN, "a window in a wall", "high", seed)


def test_the_medium_has_its_article() -> None:
    found = {write(PLAIN, "a fox", "medium", seed) for seed in range(40)}
    assert any(text.startswith("an ink drawing of a fox") for text in found)
    assert all(re.match(r"(an [aeiou]|a [^aeiou])", text) for text in found)


def test_stop_passes_through() -> None:
    def check() -> None:
        raise Stopped("stopped")

    with pytest.raises(Stopped):
        PLAIN.write("a fox", "medium", 0, check)


def test_the_tables_are_sound() -> None:
    assert tuple(LEVELS) == ("raw", *EXPANDING)
    known = {fact for pair in OPPOSED for fact in pair}
    for group, phrases in PHRASES.items():
        assert len(phrases) >= 15 and len({phrase.text for phrase in phrases}) == len(phrases)
        assert sum(phrase.bold for phrase in phrases) >= 4 and sum(not phrase.bold for phrase in phrases) >= 10
        for phrase in phrases:
            assert phrase.facts <= known and phrase.text == phrase.text.strip() and "|" not in phrase.text
            assert not names(phrase.text, 0) or phrase.text.startswith("3D")
            opposing = [pair for pair in OPPOSED if set(pair) <= phrase.facts]
            assert not opposing, (group, phrase)
    for cue in (*CUES, *SMALL_WORLD_CUES):
        assert cue.facts <= known and all(cue.words), cue
