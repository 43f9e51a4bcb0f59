"""Settings that come back from a picture, and what is told of those that draw otherwise here."""

import html
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from krea_studio.library.foreign.texts import ENDINGS
from krea_studio.library.store import Library
from krea_studio.recipe.plan import plan
from krea_studio.recipe.recipe import FIRST_WEIGHTS
from krea_studio.recipe.request import parse_request
from krea_studio.services import Services
from krea_studio.ui.create.panels.references import STRENGTHS
from krea_studio.ui.create.tab import CreateTab
from tests.doubles import picture
from tests.library.foreign.builders import comfyui, graph, node, user_comment, with_exif
from tests.ui.conftest import PageEngine
from tests.ui.create.driving import ME, board, kept, look_of, of_controls, run, stages, taken_over, values


def test_a_recent_picture_is_shown_and_reused(create: CreateTab, library: Library) -> None:
    kept(library, seed=1)
    record = kept(library, seed=2, prompt="a whale", variant="medium", aspect_ratio="9:16", steps=5)
    shown = create.recent.show_picture(SimpleNamespace(index=0), ME, "", [record.id])
    assert shown["gallery"]["value"][0][0] == str(record.path)
    update = create.actions.reuse(ME, "", shown["shown_ids"], shown["selected"])
    expected = {"prompt": "a whale", "variant": "medium", "aspect_ratio": "9:16", "resolution": "512", "seed": "2"}
    assert {name: update[name] for name in expected} == expected
    assert update["random_seed"] is False
    assert update["steps"] == "5"
    assert update["guidance_scale"] == ""


def test_reused_settings_ask_for_the_same_picture(
    create: CreateTab, visitor: SimpleNamespace, engine: PageEngine
) -> None:
    updates = run(
        create, visitor, prompt="a whale", aspect_ratio="4:5", batch=3, variant="medium", negative_prompt="boats"
    )
    ids = [update for update in updates if "shown_ids" in update][-1]["shown_ids"]
    chosen = create.results.choose_picture(SimpleNamespace(index=2), ME, "", ids)
    reused = of_controls(create.actions.reuse(ME, "", ids, chosen["selected"]))
    run(create, visitor, **reused)
    checkpoint = "mini-medium"
    assert engine.plans[3].shots[0].recipe(checkpoint) == engine.plans[2].shots[0].recipe(checkpoint)


def test_a_dropped_picture_fills_the_controls(create: CreateTab, library: Library) -> None:
    update = create.recall.drop(ME, str(kept(library, seed=9, prompt="a lighthouse").path))
    assert (update["prompt"], update["seed"]) == ("a lighthouse", "9")
    assert update["settings_file"] is None


def test_a_dropped_picture_without_a_recipe_is_a_notice(create: CreateTab, tmp_path: Path) -> None:
    stranger = tmp_path / "stranger.png"
    picture(SimpleNamespace(width=8, height=8, seed=1)).save(stranger)
    told = create.recall.drop(ME, str(stranger))["stage"]["value"]
    assert "stranger.png holds no settings that are known here" in told


def test_a_picture_of_another_tool_fills_the_controls_with_what_fits(
    create: CreateTab, visitor: SimpleNamespace, engine: PageEngine, tmp_path: Path
) -> None:
    nodes = graph(n30=node("LoraLoaderModelOnly", model=["1", 0], lora_name="ink.safetensors", strength_model=0.8))
    nodes["7"]["inputs"] |= {"model": ["30", 0], "seed": 2**40, "steps": 12}
    update = create.recall.drop(ME, str(comfyui(tmp_path / "theirs.png", nodes)), "what stood there")
    expected = {"prompt": "a fox in the snow", "variant": "turbo", "aspect_ratio": "16:9", "resolution": "1K"}
    assert {name: update[name] for name in expected} == expected
    assert (update["steps"], update["seed"], update["random_seed"]) == ("12", "", True)
    note = html.unescape(update["stage"]["value"])
    assert note.startswith('<div class="notice notice-quiet" role="status">ComfyUI made this picture.')
    assert "Seed 1099511627776 is left out" in note
    assert "No counterpart here: LoRA 'ink' at 0.8; Scheduler 'simple'." in note
    run(create, visitor, **taken_over(values(), update))
    assert engine.plans[0].shots[0].steps == 12


def test_a_jpeg_of_another_tool_is_taken_too(create: CreateTab, tmp_path: Path) -> None:
    text = "a whale\nNegative prompt: boats\nSteps: 20, Sampler: Euler a, CFG scale: 5.5, Seed: 3, Size: 1024x1024"
    update = create.recall.drop(ME, str(with_exif(tmp_path / "theirs.jpg", user_comment(text))))
    assert (update["prompt"], update["negative_prompt"]) == ("a whale", "boats")
    assert (update["variant"], update["guidance_scale"], update["seed"]) == ("medium", "", "3"), (
        "4.5 is the variant's own"
    )
    assert "Sampler &#x27;Euler a&#x27;" in update["stage"]["value"]


def test_a_prompt_that_is_not_known_leaves_the_one_that_stands_there(create: CreateTab, tmp_path: Path) -> None:
    nodes = graph(n4=node("Writer"), n7=node("KSampler", **{**graph()["7"]["inputs"], "positive": ["4", 0]}))
    path = str(comfyui(tmp_path / "theirs.png", nodes))
    update = create.recall.drop(ME, path, "a lighthouse")
    assert (update["prompt"], update["seed"]) == ("a lighthouse", "42")
    assert "The prompt comes out of Writer (node 4)" in update["stage"]["value"]
    refused = create.recall.drop(ME, path, "")
    assert "Writer (node 4), which is not known here — write a prompt" in refused["stage"]["value"]
    assert "seed" not in refused


def test_the_place_for_a_picture_takes_what_is_read(create: CreateTab) -> None:
    with gr.Blocks():
        parts: dict[str, Any] = {}
        create.recall.build(parts)
    assert parts["settings_file"].file_types == list(ENDINGS)


def test_a_recipe_of_another_checkpoint_is_told(create: CreateTab, library: Library) -> None:
    shot = plan(parse_request({"prompt": "a fox", "resolution": "512"}), 7).shots[0]
    record = library.save(shot.recipe("krea-2-turbo"), picture(shot), 1.0)
    note = create.actions.reuse(ME, "", [record.id], 0)["stage"]["value"]
    assert "krea-2-turbo&#x27; drew this picture" in note


@pytest.mark.parametrize(("weights", "told"), [("a" * 16, "Another"), (FIRST_WEIGHTS["mini-turbo"], "An earlier")])
def test_a_recipe_of_other_weights_is_told(
    create: CreateTab, engine: PageEngine, library: Library, weights: str, told: str
) -> None:
    shot = plan(parse_request({"prompt": "a fox", "resolution": "512"}), 7).shots[0]
    record = library.save(shot.recipe("mini-turbo", weights=weights), picture(shot), 1.0)

    def notes() -> list[str]:
        updates = (create.actions.reuse(ME, "", [record.id], 0), create.recall.drop(ME, str(record.path)))
        return [update["stage"]["value"] for update in updates]

    engine.identities = {"turbo": weights}
    assert not any("drew this picture" in note for note in notes())
    engine.identities = {"turbo": "b" * 16}
    assert all(f"{told} Mini turbo (weights {weights[:8]}) drew this picture" in note for note in notes())


def test_reused_strengths_are_the_same_to_the_last_digit(
    create: CreateTab, visitor: SimpleNamespace, engine: PageEngine, services: Services
) -> None:
    looks = [look_of(services.library, colour) for colour in ("red", "teal")]
    board(services, "Dusk", *looks)
    content = services.studio.analyze("Dusk").content().model_dump(mode="json")
    wishes = [{"image": looks[0], "strength": 0.333}, {"image": looks[1], "strength": -0.07}]
    record = kept(
        services.library, style_references=wishes, moodboard={"name": "Dusk", "strength": 0.125, "content": content}
    )
    update = create.actions.reuse(ME, "", [record.id], 0)
    assert update[STRENGTHS[0]]["value"] == 33.3
    again = run(create, visitor, **taken_over(values(), update))
    assert stages(again)[-1] == ""
    chosen = engine.plans[0].asked
    assert [each.strength for each in chosen.style_references] == [0.333, -0.07]
    assert chosen.moodboard.strength == 0.125


def test_a_missing_reference_leaves_the_other_settings_to_be_reused(
    create: CreateTab, visitor: SimpleNamespace, engine: PageEngine, library: Library
) -> None:
    looks = [look_of(library, colour) for colour in ("red", "teal")]
    record = kept(library, prompt="a whale", style_references=[{"image": image} for image in looks])
    library.references.path(looks[1]).unlink()
    for update in (create.actions.reuse(ME, "", [record.id], 0), create.recall.drop(ME, str(record.path))):
        assert update["prompt"] == "a whale" and update["references"] == looks
        assert "Reference 2 is not in the library any more — remove it" in update["stage"]["value"]
        assert "Reference 1" not in update["stage"]["value"]
    refused = run(create, visitor, **taken_over(values(), update))
    assert "Reference 2 is not in the library any more" in stages(refused)[-1]
    assert engine.plans == []
