"""Style references on the page: four places, filled in order, and nothing lost by what cannot be taken."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from krea_studio.errors import InvalidRequest
from krea_studio.people import LOCAL
from krea_studio.services import Services
from krea_studio.ui.create.panels.references import CARDS, PICTURES, STRENGTHS, USUAL_STRENGTH, ReferencesPanel
from krea_studio.ui.visitors import Visitors

VISITOR = SimpleNamespace(username=None, query_params={})
USUAL = {**dict.fromkeys(STRENGTHS, USUAL_STRENGTH), "wide_strengths": False}


@pytest.fixture
def panel(services: Services) -> ReferencesPanel:
    return ReferencesPanel(services, Visitors(shared=True))


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Five pictures of five colours."""
    paths = [tmp_path / f"{number}.png" for number in range(5)]
    for number, path in enumerate(paths):
        Image.new("RGB", (64, 48), (50 * number, 100, 200)).save(path)
    return [str(path) for path in paths]


def visible(update: dict[str, Any]) -> list[bool]:
    return [update[card]["visible"] for card in CARDS]


def test_pictures_fill_the_places_in_order(panel: ReferencesPanel, services: Services, files: list[str]) -> None:
    first = panel.add(LOCAL, files[:2], [], **USUAL)
    assert visible(first) == [True, True, False, False]
    assert [Path(first[name]).is_file() for name in PICTURES[:2]] == [True, True]
    strengths = {**USUAL, STRENGTHS[0]: 80}
    then = panel.add(LOCAL, files[2], first["references"], **strengths)
    assert then["references"][:2] == first["references"] and visible(then) == [True, True, True, False]
    assert [then[name]["value"] for name in STRENGTHS] == [80, USUAL_STRENGTH, USUAL_STRENGTH, USUAL_STRENGTH]
    services.library.references.require(then["references"])


def test_a_fifth_reference_is_refused_and_the_four_stay(panel: ReferencesPanel, files: list[str]) -> None:
    four = panel.add(LOCAL, files[:4], [], **USUAL)["references"]
    refused = panel.add(LOCAL, files[4:], four, **USUAL)
    assert "4 are taken" in refused["stage"]["value"] and "references" not in refused


def test_the_drop_zone_is_emptied_first_and_only_then(
    panel: ReferencesPanel, files: list[str], visitor: SimpleNamespace
) -> None:
    emptied, added = panel.drop(visitor, files[:1], [], **USUAL)
    assert emptied == {"reference_file": None} and "reference_file" not in added and visible(added)[0]
    _, told = panel.drop(visitor, None, [], **USUAL)
    assert "Nothing arrived" in told["stage"]["value"]


def test_what_of_a_picture_is_not_used_is_told_with_its_place_filled(panel: ReferencesPanel, tmp_path: Path) -> None:
    Image.new("RGB", (900, 100), "teal").save(tmp_path / "view.png")
    Image.new("RGB", (64, 64), "navy").save(tmp_path / "odd.png", icc_profile=b"private")
    update = panel.add(LOCAL, [str(tmp_path / "view.png"), str(tmp_path / "odd.png")], [], **USUAL)
    assert visible(update) == [True, True, False, False]
    assert all(words in update["stage"]["value"] for words in ("view.png", "odd.png", 'role="status"'))


def test_nothing_is_said_of_a_picture_that_is_used_whole(panel: ReferencesPanel, files: list[str]) -> None:
    assert "stage" not in panel.add(LOCAL, files[:1], [], **USUAL)


def test_what_systems_put_beside_pictures_takes_no_place(panel: ReferencesPanel, files: list[str]) -> None:
    clutter = [str(Path(files[0]).with_name(name)) for name in ("._0.png", ".DS_Store", "Thumbs.db")]
    assert visible(panel.add(LOCAL, [*files[:3], *clutter], [], **USUAL)) == [True, True, True, False]


def test_five_at_once_are_told_the_most(panel: ReferencesPanel, files: list[str]) -> None:
    refused = panel.add(LOCAL, files, [], **USUAL)
    assert "so 5 do not fit — give at most 4" in refused["stage"]["value"] and "references" not in refused


def test_pictures_that_are_gone_keep_no_other_from_coming_or_going(
    panel: ReferencesPanel, services: Services, files: list[str]
) -> None:
    three = panel.add(LOCAL, files[:3], [], **USUAL)["references"]
    for lost in three[:2]:
        services.library.references.path(lost).unlink()
    more = panel.add(LOCAL, files[3:4], three, **USUAL)
    assert len(more["references"]) == 4 and visible(more) == [True] * 4
    assert [isinstance(more[name], Image.Image) for name in PICTURES] == [True, True, False, False]
    left = panel.remove(0, VISITOR, three, **USUAL)
    assert left["references"] == three[1:] and visible(left) == [True, True, False, False]

    steering = {"references": three[:2], **USUAL}
    with pytest.raises(InvalidRequest, match="^Reference 2 is not in the library any more — remove it or add"):
        panel.fields({**steering, STRENGTHS[0]: 0})
    panel.fields({**steering, STRENGTHS[0]: 0, STRENGTHS[1]: 0})


def test_text_renamed_to_png_is_a_notice(panel: ReferencesPanel, files: list[str]) -> None:
    Path(files[1]).write_text("no picture")
    refused = panel.add(LOCAL, files[:2], [], **USUAL)
    assert "alert" in refused["stage"]["value"] and "references" not in refused


def test_a_removed_reference_lets_the_others_move_up(panel: ReferencesPanel, files: list[str]) -> None:
    three = panel.add(LOCAL, files[:3], [], **USUAL)["references"]
    strengths = {**USUAL, STRENGTHS[0]: 10, STRENGTHS[1]: 20, STRENGTHS[2]: 30}
    left = panel.remove(0, VISITOR, three, **strengths)
    assert left["references"] == three[1:] and visible(left) == [True, True, False, False]
    assert [left[name]["value"] for name in STRENGTHS[:2]] == [20, 30]


def test_the_wide_range_is_signed_and_comes_back(panel: ReferencesPanel) -> None:
    wide = panel.switch_range(True, **dict.fromkeys(STRENGTHS, 50))
    assert {(each["minimum"], each["maximum"], each["value"]) for each in wide.values()} == {(-200, 200, 50)}
    usual = panel.switch_range(False, **{**dict.fromkeys(STRENGTHS, -80), STRENGTHS[0]: 150})
    assert [usual[name]["value"] for name in STRENGTHS] == [100, 0, 0, 0]


def test_a_request_has_the_places_as_they_stand(panel: ReferencesPanel, files: list[str]) -> None:
    two = panel.add(LOCAL, files[:2], [], **USUAL)["references"]
    strengths = dict(zip(STRENGTHS, (80, -50, 50, 50), strict=True))
    chosen = panel.fields({"references": two, **strengths})["style_references"]
    assert chosen == [{"image": two[0], "strength": 0.8}, {"image": two[1], "strength": -0.5}]
