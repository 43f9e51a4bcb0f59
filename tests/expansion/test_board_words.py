"""What is kept of a language model's analysis: the look, and no subjects, names or surprises."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from krea_studio.direction.moodboards import Analysis, Cluster
from krea_studio.errors import InvalidRequest
from krea_studio.expansion.board_words import FIELDS, INSTRUCTION, MAX_PHRASE_CHARACTERS, Written, parse_written

PROFILE = "Muted, hazy colors under soft light. Grain is fine and even."
ANSWER = {
    "taste_profile": PROFILE,
    "keywords": ["muted pastels", "soft film grain", "low sun"],
    "avoids": ["harsh neon", "glossy 3D render"],
    "subjects": ["red fox", "snowy hills", "children"],
}


def written(**fields: object) -> Written:
    return parse_written(json.dumps({**ANSWER, **fields}))


def test_a_clean_answer_is_kept_as_it_is() -> None:
    assert parse_written(json.dumps(ANSWER)) == Written(PROFILE, tuple(ANSWER["keywords"]), tuple(ANSWER["avoids"]))


@pytest.mark.parametrize(
    "around",
    [
        "{}",
        "```json\n{}\n```",
        "Here you are!\n```\n{}\n```\nAnything else {{smile}}?",
        '<think>Perhaps {{"keywords": ["draft"]}} will do.</think>\n{}',
        '{{"keywords": ["first try"]}} No, better: {}',
        '{{"analysis": {}}}',
    ],
)
@pytest.mark.parametrize("comma", ["", ","])
def test_json_is_found_wherever_it_is(around: str, comma: str) -> None:
    said = json.dumps(ANSWER, indent=1).replace("\n}", f"{comma}\n}}").replace("\n ]", f"{comma}\n ]")
    assert parse_written(around.replace("{}", said).replace("{{", "{").replace("}}", "}")).taste_profile == PROFILE


@pytest.mark.parametrize("phrase", ["fox fur", "Foxes", "the children's colors", "snowy light", "a child's hand"])
def test_subjects_are_kept_out(phrase: str) -> None:
    assert written(keywords=[phrase, "low sun"]).keywords == ("low sun",)
    assert written(avoids=["low key", phrase]).avoids == ("low key",)


@pytest.mark.parametrize(
    ("one", "many"),
    [("house", "houses"), ("city", "cities"), ("leaf", "leaves"), ("tree", "trees"), ("glass", "glasses"),
     ("woman", "women"), ("church", "churches"), ("person", "people"), ("mouse", "mice"), ("knife", "knives")],
)  # fmt: skip
def test_singular_and_plural_are_one_subject(one: str, many: str) -> None:
    for subject, word in ((one, many), (many, one)):
        assert written(subjects=[subject], keywords=[f"old {word} textures", "low sun"]).keywords == ("low sun",)


def test_words_about_looks_are_no_subjects() -> None:
    kept = ("deep red shadows", "watercolor wash", "neon glow")
    assert written(subjects=["red fox", "watercolor landscape", "neon sign"], keywords=list(kept)).keywords == kept


def test_names_that_the_model_lists_are_kept_out_in_lower_case_too() -> None:
    keywords = ["wes anderson palette", "van gogh swirls", "low sun"]
    assert written(names=["Wes Anderson", "Vincent van Gogh"], keywords=keywords).keywords == ("low sun",)


@pytest.mark.parametrize(
    "phrase",
    ["Wes Anderson symmetry", "symmetry like Wes Anderson", "in the style of monet", "painting by turner",
     "photographed by somebody", "By Hokusai", "inspired by manga studios", "shot on Kodak film", "Nike gloss"],
)  # fmt: skip
def test_names_are_kept_out(phrase: str) -> None:
    assert written(keywords=["muted pastels", phrase, "low sun"]).keywords == ("muted pastels", "low sun")
    assert phrase not in written(avoids=[phrase, "low key"]).avoids


@pytest.mark.parametrize(
    "phrase",
    ["Art Deco ornament", "soft Bauhaus shapes", "Ukiyo-e lines", "lit by candlelight", "VHS noise", "Mid-Century"],
)  # fmt: skip
def test_styles_are_no_names(phrase: str) -> None:
    assert phrase in written(keywords=["muted pastels", phrase, "low sun"]).keywords


def test_capitals_are_read_as_the_answer_uses_them() -> None:
    sentences = ["Muted pastels", "Low sun", "Calm like Hopper"]
    assert written(keywords=sentences, avoids=[]).keywords == ("Muted pastels", "Low sun")
    titles = ["Muted Pastels", "Low Sun", "Film Grain"]
    assert written(keywords=titles, avoids=[]).keywords == tuple(titles)


def test_sentences_with_subjects_or_names_leave_the_profile() -> None:
    profile = f"{PROFILE} A fox looks out. It could be by Turner. Shadows: Deep and Art Deco."
    assert written(taste_profile=profile).taste_profile == f"{PROFILE} Shadows: Deep and Art Deco."


def test_lists_are_short_and_say_a_thing_once() -> None:
    found = written(
        keywords=["grain", "Grain.", "“low sun”", "x" * 61, 7, None, "  ", "...", *(f"tone {k}" for k in range(20))],
        avoids=["GRAIN", "glare", *(f"haze {k}" for k in range(20))],
    )
    assert found.keywords == ("grain", "low sun", *(f"tone {k}" for k in range(6)))
    assert found.avoids == ("glare", "haze 0", "haze 1", "haze 2", "haze 3")
    assert written(keywords="muted pastels, low sun").keywords == ("muted pastels", "low sun")


def test_a_long_profile_ends_with_a_sentence() -> None:
    sentence = "Soft light falls on pale surfaces of wool and clay."
    found = written(taste_profile=" ".join([sentence] * 20)).taste_profile
    assert found == " ".join([sentence] * 8) and len(found) <= 450
    endless = written(taste_profile="soft light and " * 60).taste_profile
    assert 400 < len(endless) <= 450 and endless.endswith("…")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no JSON object"),
        ("I cannot see any pictures.", "no JSON object"),
        ('["muted"]', "no JSON object"),
        ('{"keywords": ["muted"', "no JSON object"),
        ('{"a": ' * 20_000, "no JSON object"),
        ('{"keywords": 3, "taste_profile": []}', "says nothing"),
        ('{"keywords": [], "subjects": ["fox"]}', "says nothing"),
        ('{"keywords": ["foxes"], "subjects": ["fox"]}', "names subjects or people"),
    ],
    ids=range(8),
)
def test_what_is_useless_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(InvalidRequest, match=reason) as refused:
        parse_written(text)
    assert " — " in refused.value.message and "\n" not in refused.value.message


def test_the_instruction_asks_for_what_is_read() -> None:
    asked = json.loads(INSTRUCTION[INSTRUCTION.index("{") :])
    assert tuple(asked) == FIELDS


loose = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=80),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=12,
)
answers = st.fixed_dictionaries({}, optional={field: loose for field in FIELDS}).map(json.dumps)
texts = st.text(st.characters(exclude_categories=()), max_size=300) | st.text('{}[]",:\\ \nka<think>/', max_size=120)


@given(texts | answers | st.builds("{}{}{}".format, texts, answers, texts))
def test_nothing_but_a_refusal_comes_of_any_text(text: str) -> None:
    try:
        found = parse_written(text)
    except InvalidRequest as refused:
        assert refused.message.isprintable()
        return
    assert found.taste_profile or found.keywords
    assert len(found.taste_profile) <= 450 and len(found.keywords) <= 8 and len(found.avoids) <= 5
    assert all(0 < len(phrase) <= MAX_PHRASE_CHARACTERS for phrase in (*found.keywords, *found.avoids))
    image = "0" * 32
    Analysis(
        taste_profile=found.taste_profile,
        keywords=found.keywords,
        avoids=found.avoids,
        clusters=(Cluster(images=(image,)),),
        written_by="a model",
    )
