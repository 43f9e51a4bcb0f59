"""Whose a style is: what another did not share is as if it were not there, whatever is asked of it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from krea_studio.direction.styles import StyleCard, StyleFacts
from krea_studio.errors import InvalidRequest
from krea_studio.library.styles.styles import AlreadyHere, Styles
from krea_studio.people import LOCAL, Person, member
from tests.doubles import write_style

ADA, BEN, CLEO = member("ada"), member("ben"), member("cleo", admin=True)
STRANGER = Person("browser-0123456789abcdef0123456789abcdef")
SECRET = "Secret Dusk"


def taken_in(styles: Styles, name: str, number: int = 1) -> StyleCard:
    with styles.incoming() as path:
        return styles.keep(write_style(path, number), name, StyleFacts(trigger="a secret"))


@pytest.fixture
def styles(tmp_path: Path) -> Styles:
    """The operator's, who sees all; one style ships with the studio."""
    write_style(tmp_path / "shipped" / "woodcut.safetensors", 100, name="Woodcut")
    return Styles(tmp_path / "library" / "styles", tmp_path / "shipped")


@pytest.fixture
def secret(styles: Styles, tmp_path: Path) -> StyleCard:
    """A style of ada's, with a cover."""
    taken_in(styles.of(ADA), SECRET)
    Image.new("RGB", (64, 64), "red").save(tmp_path / "red.png")
    return styles.of(ADA).set_cover(SECRET, tmp_path / "red.png")


CHANGES: dict[str, Callable[[Styles, str], object]] = {
    "rename": lambda styles, name: styles.rename(name, "Mine"),
    "delete": lambda styles, name: styles.delete(name),
    "share": lambda styles, name: styles.share(name),
    "unshare": lambda styles, name: styles.share(name, False),
    "favourite": lambda styles, name: styles.set_favourite(name),
    "edit": lambda styles, name: styles.edit(name, trigger="mine"),
    "uncover": lambda styles, name: styles.set_cover(name, None),
}


def kept(styles: Styles) -> dict[str, bytes]:
    found = (path for path in styles.folder.iterdir() if path.suffix in (".json", ".png", ".safetensors"))
    return {path.name: path.read_bytes() for path in found}


@pytest.mark.parametrize("method", [*CHANGES, "get"])
@pytest.mark.parametrize("name", [SECRET, "secret dusk", "Secret Dusk 2", "ada"])
@pytest.mark.parametrize("person", [BEN, CLEO, STRANGER], ids=lambda person: person.id)
def test_what_is_not_shared_is_not_there(
    styles: Styles, secret: StyleCard, method: str, name: str, person: Person
) -> None:
    before = kept(styles)
    with pytest.raises(InvalidRequest) as told:
        (CHANGES | {"get": lambda styles, name: styles.get(name)})[method](styles.of(person), name)
    beside = told.value.message.replace(name, "")
    assert "ada" not in beside and "secret" not in beside.lower()
    with pytest.raises(InvalidRequest, match="is not in the library any more"):
        styles.of(person).by_identity(secret.identity)
    assert styles.of(person).names() == ["Woodcut"] and kept(styles) == before


@pytest.mark.parametrize("method", CHANGES)
@pytest.mark.parametrize("person", [BEN, STRANGER], ids=lambda person: person.id)
def test_what_is_shared_is_changed_by_nobody_else(
    styles: Styles, secret: StyleCard, method: str, person: Person
) -> None:
    styles.of(ADA).share(SECRET)
    before = kept(styles)
    with pytest.raises(InvalidRequest):
        CHANGES[method](styles.of(person), SECRET)
    assert kept(styles) == before


def test_what_is_shared_is_used_until_it_is_not_any_more_and_an_admin_may_remove_it(
    styles: Styles, secret: StyleCard
) -> None:
    styles.of(ADA).share(SECRET)
    assert styles.of(BEN).by_identity(secret.identity).trigger == "a secret"
    assert styles.of(STRANGER).names() == ["Woodcut"]
    styles.of(ADA).share(SECRET, False)
    assert styles.of(BEN).names() == ["Woodcut"] and styles.of(ADA).names() == [SECRET, "Woodcut"]
    styles.of(ADA).share(SECRET)
    styles.of(CLEO).rename(SECRET, "Dusk")
    assert styles.of(ADA).get("Dusk").owner == "ada"
    styles.of(CLEO).delete("Dusk")
    assert styles.of(ADA).names() == ["Woodcut"] and kept(styles) == {}


def test_who_brings_what_another_has_learns_nothing_and_both_keep_it(styles: Styles, secret: StyleCard) -> None:
    mine = taken_in(styles.of(BEN), "Mine")
    assert mine.identity == secret.identity and styles.of(BEN).cover(mine) is None
    with pytest.raises(AlreadyHere, match="as 'Mine'"):
        taken_in(styles.of(BEN), "Again")
    styles.of(ADA).delete(SECRET)
    assert styles.path(mine.identity).is_file() and styles.of(BEN).names() == ["Mine", "Woodcut"]
    styles.of(BEN).delete("Mine")
    assert kept(styles) == {}


def test_what_the_operator_brings_is_everybody_s_though_somebody_has_it(styles: Styles, secret: StyleCard) -> None:
    taken_in(styles, "For all")
    assert styles.of(BEN).names() == ["For all", "Woodcut"] and styles.of(ADA).names() == [SECRET, "Woodcut"]
    assert styles.names() == ["For all", "Woodcut"]
    with pytest.raises(AlreadyHere, match="as 'For all'"):
        taken_in(styles.of(BEN), "Mine")


def test_each_may_have_a_style_of_a_name(styles: Styles, secret: StyleCard) -> None:
    taken_in(styles.of(BEN), SECRET, 2)
    assert styles.names() == [SECRET, f"{SECRET} 2", "Woodcut"]
    styles.of(ADA).share(SECRET)
    assert styles.of(BEN).names() == [SECRET, f"{SECRET} 2", "Woodcut"]
    assert styles.of(BEN).get(f"{SECRET} 2").identity == secret.identity
    styles.of(CLEO).set_favourite(SECRET)
    assert styles.of(ADA).get(SECRET).favourite, "what is known by a number keeps its own name"
    with pytest.raises(InvalidRequest, match="is ada's, who alone may change it"):
        styles.of(BEN).rename(f"{SECRET} 2", "Mine")


def test_styles_from_before_are_everybody_s_and_stay_readable(styles: Styles) -> None:
    card = taken_in(styles, "Dawn")
    content = json.loads((styles.folder / f"{card.identity}.json").read_bytes())
    assert content["schema_version"] == 1 and not {"owner", "team"} & content.keys()
    for person in (ADA, BEN, CLEO, STRANGER, LOCAL):
        assert styles.of(person).names() == ["Dawn", "Woodcut"]
    styles.of(BEN).rename("Dawn", "Noon")
    assert styles.of(ADA).get("Noon").owner == ""
    with pytest.raises(InvalidRequest, match="everybody's already"):
        styles.of(BEN).share("Noon")
    with pytest.raises(InvalidRequest, match="only who is signed in may change them"):
        styles.of(STRANGER).rename("Noon", "Mine")


def test_the_cover_of_a_style_is_named_by_its_content_and_shown_to_whom_the_style_is_there(
    styles: Styles, secret: StyleCard, tmp_path: Path
) -> None:
    first = styles.of(ADA).cover(secret)
    assert first and styles.of(ADA).shows(first.name) and not styles.of(BEN).shows(first.name)
    Image.new("RGB", (64, 64), "navy").save(tmp_path / "navy.png")
    styles.of(ADA).set_cover(SECRET, tmp_path / "navy.png")
    second = styles.of(ADA).cover(secret)
    assert second and second != first and not first.exists()
    styles.of(ADA).share(SECRET)
    assert styles.of(BEN).shows(second.name) and not styles.of(STRANGER).shows(second.name)


def test_what_is_private_goes_with_its_owner(styles: Styles, secret: StyleCard) -> None:
    taken_in(styles.of(ADA), "Shared", 2)
    styles.of(ADA).share("Shared")
    styles.of(Person("ada")).delete_private()
    assert styles.names() == ["Shared", "Woodcut"]
    assert sorted(Path(name).suffix for name in kept(styles)) == [".json", ".safetensors"]
