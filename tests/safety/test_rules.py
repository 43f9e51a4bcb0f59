"""Rules for prompts: what is found in which disguise, and what is left alone. Stand-ins take real words' place."""

from pathlib import Path

import pytest

from krea_studio.errors import Refused, Unavailable
from krea_studio.measures.safety import tricky_prompts
from krea_studio.recipe.plan import plan
from krea_studio.recipe.recipe import Shot
from krea_studio.recipe.request import parse_request
from krea_studio.safety.rules import OWN_RULES, Rules, read_rules, texts_of

STAND_INS = """
harmless = ["blorb cake", "blorb's end"]

[[category]]
name = "blorbs"
phrases = ["blorb", "two wugs", "zap", "gazorp", "мук", "青蛙"]

[[category]]
name = "wugs with gizmos"
together = [["wug", "fep"], ["gizmo", "lol"]]
"""


@pytest.fixture
def rules(tmp_path: Path) -> Rules:
    (tmp_path / "rules.toml").write_text(STAND_INS, "utf-8")
    return Rules(tmp_path / "rules.toml")


@pytest.mark.parametrize(
    "text",
    [
        *("blorb", "a BLORB.", "blorbs in a row", "the blorb's hat", "B l o r b", "b.l-o_r*b", "b l o r b s"),
        *("blórb", "blörb", "bl\u00adorb", "bl\u200borb", "b\u0336l\u0336o\u0336r\u0336b\u0336"),
        *("bl0rb", "b1orb", "8lorb", "b|orb", "bl0rb!", "8lorb|", "b|0rb!!", "g@z0rp!", "b!!orb and bl0rb"),
        *("ｂｌｏｒｂ", "𝓫𝓵𝓸𝓻𝓫", "ⓑⓛⓞⓡⓑ", "🅱🅻🅾🆁🅱", "🇧🇱🇴🇷🇧", "ʙʟᴏʀʙ"),
        *("bl\u043erb", "bl\u03bfrb", "\u0412lorb", "two wugs", "two  wugs", "TWO\nWUGS", "twowugs"),
        *("t w o w.u.g.s", "two w-u-g-s"),
        *("zap", "z a p", "Z-A-P", "zaps", "мук", "МУК", "小青蛙在跳", "青 蛙"),
    ],
)
def test_a_phrase_is_found_in_every_disguise(rules: Rules, text: str) -> None:
    assert rules.category_of(f"a picture of {text} by the sea") == "blorbs"


@pytest.mark.parametrize(
    "text",
    [
        *("", "blorbing", "ablorb", "a blo, an rb", "za p", "zapped", "a blorb cake", "two red wugs", "wug", "gizmo"),
        *("blo rb", "b-lorb", "blor-b", "two wu gs", "t wowugs", "t w owugs", "the blorb's end", "муки", "青 and 蛙"),
    ],
)
def test_what_only_looks_like_it_passes(rules: Rules, text: str) -> None:
    assert rules.category_of(text) is None


def test_of_lists_one_of_each_is_needed_wherever_it_stands(rules: Rules) -> None:
    for text in ("a wug and a gizmo", "Gizmos. Then, later, feps.", "f e p l o l"):
        assert rules.category_of(text) == "wugs with gizmos"


def wishes_of(texts: list[str]) -> dict[str, object]:
    """A request that says these six texts, each in another place."""
    prompt, expansion, negative, trigger, keyword, avoided = texts
    image = "0" * 32
    content = {
        "representatives": [{"image": image, "share": 1.0}],
        "keywords": ["a", keyword],
        "avoids": ["a", avoided],
    }
    return {
        "prompt": prompt,
        "creativity": "low",
        "expansion": {"text": expansion},
        "negative_prompt": negative,
        "variant": "medium",
        "styles": [{"name": "Ink", "identity": image, "trigger": trigger}],
        "moodboard": {"name": "Dusk", "content": content},
    }


@pytest.mark.parametrize(
    ("place", "called"),
    [
        *enumerate(
            (
                "The prompt",
                "The expansion",
                "The negative prompt",
                "The trigger word of a style",
                "What the moodboard steers to",
                "What the moodboard avoids",
            )
        )
    ],
)
def test_every_text_of_a_shot_is_looked_at(rules: Rules, place: int, called: str) -> None:
    texts = ["fox"] * 6
    rules.require(texts_of(shot_of(wishes_of(texts))).items())
    texts[place] = "b l o r b"
    with pytest.raises(Refused, match=rf"^{called} is refused by the content filter \(blorbs\) — describe something"):
        rules.require(texts_of(shot_of(wishes_of(texts))).items())


def test_what_belongs_together_may_not_be_parted(rules: Rules) -> None:
    styles = [{"name": "Ink", "identity": "0" * 32, "trigger": "gizmo"}]
    with pytest.raises(Refused, match="^The prompt with its style and moodboard is refused .*wugs with gizmos"):
        rules.require(texts_of(shot_of({"prompt": "a wug", "styles": styles})).items())


def shot_of(wishes: dict[str, object]) -> Shot:
    return plan(parse_request(wishes), 7).shots[0]


class TestTheStudiosOwn:
    def test_harmless_prompts_pass(self) -> None:
        prompts = tricky_prompts()
        rules = Rules(OWN_RULES)
        assert len(set(prompts)) == 240
        assert [prompt for prompt in prompts if rules.category_of(prompt)] == []

    def test_each_category_finds_its_own_words(self) -> None:
        rules = Rules(OWN_RULES)
        for category in read_rules(OWN_RULES).category:
            for phrase in category.phrases:
                assert rules.category_of(f"a picture: {phrase.upper()}") is not None
            if category.together:
                for first in category.together[0]:
                    assert rules.category_of(" and ".join([first, *(words[0] for words in category.together[1:])]))

    def test_a_further_file_adds_to_them(self, tmp_path: Path) -> None:
        text = 'harmless = ["snuff film"]\n[[category]]\nname = "b"\nphrases = ["blorb"]\n'
        (tmp_path / "rules.toml").write_text(text)
        own, both = Rules(OWN_RULES), Rules(OWN_RULES, tmp_path / "rules.toml")
        assert (own.category_of("blorb"), both.category_of("blorb")) == (None, "b")
        assert own.category_of("snuff film") and both.category_of("csam") and not both.category_of("snuff film")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[category]]\nphrases = ['x y']", "name is missing"),
        ("[[category]]\nname = 'a'\nwords = ['x y']", "'words' is not a field"),
        ("harmless = ['x']", "harmless, number 1"),
        ("harmless = ['--']", "harmless, number 1 is '--' — write it with a letter or a digit"),
        ("[[category]]\nname = 'a'\nphrases = ['x y', \"'!'\"]", "write it with a letter or a digit"),
        ("category = ", "Invalid value"),
        (None, "No such file"),
    ],
)
def test_rules_that_cannot_be_read_are_told(tmp_path: Path, text: str | None, told: str) -> None:
    path = tmp_path / "rules.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(Unavailable, match="cannot be used, and nothing is drawn without them: .*") as raised:
        Rules(OWN_RULES, path).category_of("a fox")
    assert told in raised.value.message
