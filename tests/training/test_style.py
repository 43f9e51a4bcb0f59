"""Training a style: it learns a look, goes on after a stop, leaves the model as it was, and tells what is wrong."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors import SafetensorError, safe_open
from torch.nn import functional as F

from krea_studio.engine.checkpoints.manager import PipelineManager
from krea_studio.engine.checkpoints.memory import Room
from krea_studio.engine.checkpoints.table import resolve
from krea_studio.engine.controls import adapters
from krea_studio.errors import InvalidRequest, Refused, StorageError, Unavailable
from krea_studio.licence import Licence
from krea_studio.safety.content_filter import ContentFilter
from krea_studio.safety.rules import Rules
from krea_studio.training import adapter, captioned, logbook, loop, style
from krea_studio.training.captions import STYLE_WORDS
from krea_studio.training.foreign_styles import FOREIGN_STYLES
from krea_studio.training.style import Task
from krea_studio.training.style_pictures import PICTURES, caption_of, scene_of, write_folder
from krea_studio.training.world import PALETTES, SUBJECTS
from tests.doubles import REFUSED_SEED, JudgedByColour, colour_of

SMALL = Task(
    "Blueprint",
    "blueprint drawing",
    steps=4,
    rank=4,
    alpha=8,
    learning_rate=4e-3,
    targets=style.TARGETS,
    size=128,
    batch=4,
    sample_every=0,
    seed=0,
)


@pytest.fixture(scope="module")
def loaded() -> Any:
    manager = PipelineManager(Room(8 * 10**9), Licence(Path("outputs")))
    return manager.get(resolve("mini-medium"), torch.float32, "cpu", lambda event: None, lambda: None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    write_folder(folder, "blueprint", 8)
    return folder


def trained(loaded: Any, folder: Path, work: Path, **changes: Any) -> dict[str, torch.Tensor]:
    pictures = captioned.read_folder(folder)
    content_filter = ContentFilter(JudgedByColour())
    return style.train(loaded, pictures, replace(SMALL, **changes), work, content_filter, told=lambda line: None)


def same(some: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> bool:
    return some.keys() == others.keys() and all(torch.equal(some[key], others[key]) for key in some)


def test_it_learns_the_look(loaded: Any, folder: Path, tmp_path: Path) -> None:
    pipeline, pictures = loaded.pipeline, captioned.read_folder(folder)
    tensors = trained(loaded, folder, tmp_path / "work", steps=12)
    path = tmp_path / "style.safetensors"
    adapter.write(tensors, path, style.metadata(SMALL, loaded.checkpoint, pictures, None))
    adapters.ensure_loaded(pipeline, "learned", path)
    (group, *_) = style._groups(loaded, pictures, SMALL.size, tmp_path, lambda line: None)
    clean = group.latents.float()
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    prompts = [captioned.with_trigger(pictures[k].caption, SMALL.trigger) for k in group.numbers]

    @torch.no_grad()
    def loss(weight: float) -> float:
        total = 0.0
        for time in (0.4, 0.7, 0.9):
            times = torch.full((len(clean),), time)
            with adapters.weighted(pipeline.transformer, {"learned": weight} if weight else {}):
                found = style.velocity(
                    pipeline.transformer,
                    (1 - time) * clean + time * noise,
                    times,
                    group.grid,
                    adapter.encoded(pipeline, prompts),
                )
            total += float(F.mse_loss(found, noise - clean))
        return total

    assert loss(1.0) < 0.9 * loss(0.0)
    assert loss(-0.5) > loss(0.0)


def test_a_training_that_was_interrupted_ends_as_one_that_was_not(
    loaded: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained(loaded, folder, tmp_path / "whole")

    def stop(step: int) -> None:
        if step == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(loop, "run", partial(loop.run, save_every_seconds=0, on_save=stop))
        trained(loaded, folder, tmp_path / "parts")
    assert same(whole, trained(loaded, folder, tmp_path / "parts"))
    assert list(logbook.losses(tmp_path / "parts" / "losses.csv")) == [1, 2, 3, 4]
    assert not same(whole, trained(loaded, folder, tmp_path / "other", seed=1))


def test_a_training_that_went_further_is_not_cut_short(loaded: Any, folder: Path, tmp_path: Path) -> None:
    trained(loaded, folder, tmp_path / "work", steps=3)
    with pytest.raises(InvalidRequest, match="has learned for 3 steps already, which is more than the 2 wanted"):
        trained(loaded, folder, tmp_path / "work", steps=2)


def test_the_transformer_is_left_as_it_was(loaded: Any, folder: Path, tmp_path: Path) -> None:
    transformer = loaded.pipeline.transformer
    before = {name.replace(".base_layer", ""): p.clone() for name, p in transformer.named_parameters()}
    trained(loaded, folder, tmp_path, steps=2)
    after = {name.replace(".base_layer", ""): p for name, p in transformer.named_parameters()}
    assert after.keys() == before.keys()
    assert all((after[name] == p).all() for name, p in before.items())


def test_what_alpha_scales_is_in_the_file(loaded: Any, tmp_path: Path) -> None:
    """The adapter while it learns, and its file at weight 1, give the same prediction; so does one of half strength at 2."""
    transformer = loaded.pipeline.transformer
    x = torch.randn(1, 16, transformer.config.in_channels, generator=torch.Generator().manual_seed(1))
    conditioning = adapter.encoded(loaded.pipeline, ["a fox"])

    @torch.no_grad()
    def predicted() -> torch.Tensor:
        return style.velocity(transformer, x, torch.tensor([0.7]), style.Grid(4, 4), conditioning)

    layers = style.layers_of(transformer, style.TARGETS)
    with adapter.learning(transformer, "learning", 4, 12, layers, seed=3) as parameters:
        for parameter in parameters.values():
            torch.nn.init.normal_(parameter, std=0.05)
        learning = predicted()
        adapter.write(adapter.tensors_of(transformer, "learning"), tmp_path / "once.safetensors", {})
        adapter.write(adapter.tensors_of(transformer, "learning", 0.5), tmp_path / "twice.safetensors", {})
    still = predicted()
    for name, weight in (("once", 1.0), ("twice", 2.0)):
        adapters.ensure_loaded(loaded.pipeline, name, tmp_path / f"{name}.safetensors")
        with adapters.weighted(transformer, {name: weight}):
            read = predicted()
        assert (learning - still).abs().mean() > 20 * (learning - read).abs().mean()


def test_the_command_writes_a_file_that_says_what_it_is(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "blueprint.safetensors"
    arguments = ["--name", "Blueprint", "--trigger", "blueprint drawing", "--out", str(out), "--size", "128"]
    assert (
        style.main(
            [str(folder), *arguments, "--steps", "3", "--batch", "2", "--sample-every", "0", "--strength", "0.5"]
        )
        == 0
    )
    with safe_open(out, "pt") as file:
        said = file.metadata()
        keys = list(file.keys())
        assert all(file.get_tensor(key).dtype == torch.float16 for key in keys)
    assert all(key.startswith("transformer.transformer_blocks.") for key in keys)
    assert {key.rsplit(".", 2)[1] for key in keys} == {"lora_A", "lora_B"}
    assert (said["name"], said["trigger"], said["trained_on"]) == ("Blueprint", "blueprint drawing", "mini-medium")
    assert (said["rank"], said["alpha"], said["steps"], said["pictures"]) == ("16", "16", "3", "8")
    captions = [picture.caption for picture in captioned.read_folder(folder)]
    assert said["format"] == "pt" and said["strength"] == "0.5" and said["suggested_prompt"] in captions
    assert out.stat().st_size < 2 * 10**6
    assert (tmp_path / "blueprint-loss.png").stat().st_size > 5000


def test_samples_are_drawn_on_the_way_and_at_the_end(
    loaded: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = replace(style.VARIANTS["medium"], steps=1, guidance_scale=0.0)
    monkeypatch.setitem(style.VARIANTS, "medium", quick)
    trained(loaded, folder, tmp_path, steps=3, sample_every=2)
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == ["finished.jpg", "step-000002.jpg"]
    with Image.open(tmp_path / "samples" / "finished.jpg") as sheet:
        assert sheet.size == (style.SAMPLES * logbook.CELL_PX, logbook.CELL_PX)


def test_a_sample_that_is_refused_is_left_blank_and_told(
    loaded: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds, told = (7, REFUSED_SEED, 8, 9), list[str]()
    monkeypatch.setattr(
        style, "_drawn", lambda *asked: [Image.new("RGB", (256, 256), colour_of(seed)) for seed in seeds]
    )
    pictures, task = captioned.read_folder(folder), replace(SMALL, steps=1, sample_every=9)
    style.train(loaded, pictures, task, tmp_path, ContentFilter(JudgedByColour()), told.append)
    with Image.open(tmp_path / "samples" / "finished.jpg") as sheet:
        blank = [min(sheet.getpixel((k * logbook.CELL_PX + 128, 128))) > 250 for k in range(len(seeds))]
    assert blank == [False, True, False, False]
    assert "The content filter did not pass a picture, which is left blank" in told


def test_words_and_filter_are_looked_at_before_anything_is_trained(loaded: Any, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text('[[category]]\nname = "blorbs"\nphrases = ["blorb"]\n')
    pictures, work = captioned.read_folder(folder), tmp_path / "work"
    with pytest.raises(Refused, match=r"^The caption of \S+, with the trigger, is refused .* \(blorbs\)"):
        judge = ContentFilter(JudgedByColour(), Rules(tmp_path / "rules.toml"))
        style.train(loaded, pictures, replace(SMALL, trigger="b l o r b"), work, judge)
    with pytest.raises(Unavailable, match="no filter"):
        judge = ContentFilter(JudgedByColour(Unavailable("no filter — install it")))
        style.train(loaded, pictures, replace(SMALL, sample_every=9), work, judge)
    assert not work.exists()


def test_targets_are_layers_of_the_transformer(loaded: Any) -> None:
    transformer = loaded.pipeline.transformer
    blocks = transformer.config.num_layers
    assert len(style.layers_of(transformer, style.TARGETS)) == len(style.TARGETS) * blocks
    assert style.layers_of(transformer, ["final_layer.linear"]) == ["final_layer.linear"]
    with pytest.raises(InvalidRequest, match="--targets has 'attn.to_z', which is no layer .* choose from attn.to_q"):
        style.layers_of(transformer, ["attn.to_q", "attn.to_z"])


NAMES = ["--name", "Woodcut", "--trigger", "woodcut print"]


@pytest.fixture
def unloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """No model may be loaded."""
    monkeypatch.setattr(style, "load", lambda *arguments: pytest.fail("a model was loaded"))


def spoiled(folder: Path, spoil: Callable[[Path], Any]) -> Path:
    folder.mkdir(exist_ok=True)
    Image.new("RGB", (64, 64), "navy").save(folder / "fox.png")
    (folder / "fox.txt").write_text("a fox")
    spoil(folder)
    return folder


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: (f / "fox.txt").unlink(), r"fox.png has no caption — write what it shows into fox.txt"),
        (lambda f: (f / "fox.txt").write_text(" \n"), r"fox.txt is empty — describe the picture"),
        (lambda f: (f / "fox.txt").write_text("a" * 3000), r"fox.txt has 3,000 characters — describe the picture"),
        (lambda f: (f / "fox.txt").write_bytes(b"\xff\xfe\x00"), r"fox.txt cannot be read as text .* save it as UTF-8"),
        (lambda f: (f / "fox.png").unlink(), r"has no pictures \(.png, .jpg, .* — put the pictures"),
        (lambda f: (f / "fox.png").write_bytes(b"GIF89a"), r"'fox.png' is not a PNG, JPEG, WebP, AVIF or HEIC picture"),
        (lambda f: (f / "fox.png").write_bytes((f / "fox.png").read_bytes()[:90]), r"'fox.png' is damaged"),
        (lambda f: (f / "fox.jpg").write_bytes(b"\xff\xd8\xff"), r"fox.jpg and fox.png would share one caption"),
    ],
)
def test_a_spoiled_folder_is_told_before_a_model_is_loaded(
    unloaded: None, tmp_path: Path, spoil: Callable[[Path], Any], words: str
) -> None:
    with pytest.raises(InvalidRequest, match=words):
        style.main([str(spoiled(tmp_path / "pictures", spoil)), *NAMES])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--steps", "0"], "--steps is 0 — give a number above 0 up to 1,000,000"),
        (["--rank", "1000"], "--rank is 1000 — give a number above 0 up to 256"),
        (["--alpha", "nan"], "--alpha is nan — give a number above 0 up to 1,024"),
        (["--batch", "-1"], "--batch is -1 — give a number above 0 up to 256"),
        (["--size", "9999"], "--size is 9999 — give a number above 0 up to 2,048"),
        (["--sample-every", "-1"], "--sample-every is -1 — give a number from 0 up to 1,000,000"),
        (["--strength", "0"], "--strength is 0.0 — give a number above 0 up to 4"),
        (["--learning-rate", "3"], "--learning-rate is 3.0 — give a number between 0 and 1"),
        (["--seed", "-1"], "--seed is -1 — give a number from 0 up to 4,294,967,295"),
        (["--seed", "99999999999999999999"], "--seed is 99999999999999999999 — give a number from 0 up to"),
        (["--trigger", " "], "--trigger is '' — give 1 to 100 characters"),
        (
            ["--checkpoint", "mini-turbo"],
            "mini-turbo is distilled, .* train on mini-medium, .* or add --even-distilled",
        ),
    ],
)
def test_bad_options_are_one_line(unloaded: None, tmp_path: Path, options: list[str], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        style.main([str(spoiled(tmp_path / "pictures", lambda folder: None)), *NAMES, *options])


def test_where_it_cannot_write_is_told_before_a_training(unloaded: None, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for options in (["--out", f"{tmp_path}/file/x.safetensors"], ["--work", f"{tmp_path}/file"]):
        with pytest.raises(StorageError, match="The folder .*file.* cannot be written"):
            style.main([str(folder), *NAMES, *options])


def test_another_style_s_file_is_not_replaced(unloaded: None, folder: Path, tmp_path: Path) -> None:
    adapter.write({"x": torch.zeros(1)}, tmp_path / "ink.safetensors", {"name": "Ink"})
    with pytest.raises(InvalidRequest, match="holds the style 'Ink' — name another file"):
        style.main([str(folder), *NAMES, "--out", str(tmp_path / "ink.safetensors")])


@pytest.mark.parametrize("error", [SafetensorError("No space left on device"), OSError(errno.ENOSPC, "No space left")])
def test_a_full_disk_is_told_and_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(tensors: Any, path: Path, metadata: Any) -> None:
        path.write_bytes(b"half")
        raise error

    monkeypatch.setattr(adapter, "save_file", full)
    with pytest.raises(StorageError, match="ink.safetensors.* free some space"):
        adapter.write({"x": torch.zeros(1)}, tmp_path / "ink.safetensors", {})
    assert not list(tmp_path.iterdir())


def test_names_of_all_scripts_have_files_of_their_own() -> None:
    names = ["Étude No. 2", "水墨", "油画", "a/b"]
    assert [style._file_name(name) for name in names] == ["étude-no-2", "水墨", "油画", "a-b"]


def test_a_folder_that_is_none_is_told(unloaded: None, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="is not a folder — give one with pictures and their captions"):
        style.main([str(tmp_path / "nowhere"), *NAMES])


def test_a_caption_that_the_encoder_would_cut_is_told(loaded: Any, tmp_path: Path) -> None:
    folder = spoiled(tmp_path / "pictures", lambda f: (f / "fox.txt").write_text("qzx " * 400))
    with pytest.raises(InvalidRequest, match=r"The caption of fox.png, with the trigger, has [\d,]+ tokens"):
        trained(loaded, folder, tmp_path / "work")


@pytest.mark.parametrize(
    "change",
    [
        {"rank": 8},
        {"alpha": 4},
        {"trigger": "etching"},
        {"learning_rate": 1e-3},
        {"size": 256},
        {"targets": ("ff.up",)},
    ],
)
def test_other_settings_do_not_go_on_from_the_same_state(folder: Path, change: dict[str, Any]) -> None:
    pictures = captioned.read_folder(folder)
    name = style._name_of(SMALL, pictures, "a/krea")
    assert style._name_of(replace(SMALL, **change), pictures, "a/krea") != name
    assert style._name_of(replace(SMALL, steps=9, sample_every=5), pictures, "a/krea") == name
    assert style._name_of(SMALL, pictures[1:], "a/krea") != name != style._name_of(SMALL, pictures, "b/krea")


@given(st.integers(32, 8000), st.integers(32, 8000), st.sampled_from([256, 512, 1024]), st.sampled_from([16, 32]))
def test_pictures_are_cut_to_sizes_that_the_pipeline_takes(width: int, height: int, side: int, multiple: int) -> None:
    across, down = captioned.size_for((width, height), side, multiple)
    assert across % multiple == down % multiple == 0
    assert 0.6 < across * down / side**2 < 1.4
    if 0.6 < width / height < 2:
        assert 0.75 < (across / down) / (width / height) < 1.34


def test_the_trigger_stands_behind_the_caption() -> None:
    assert captioned.with_trigger("a fox at sea.", "woodcut print") == "a fox at sea, woodcut print"


@pytest.mark.parametrize("look", FOREIGN_STYLES)
def test_the_shipped_styles_are_learned_from_captions_without_any_style(look: str) -> None:
    scenes = [scene_of(look, number) for number in range(PICTURES)]
    known = [phrase for phrases in STYLE_WORDS.values() for phrase in phrases]
    for scene in scenes:
        assert scene.style == look
        assert not any(phrase in caption_of(scene).lower() for phrase in known)
    for attribute, values in (("subject", SUBJECTS), ("palette", tuple(PALETTES))):
        counts = [sum(getattr(scene, attribute) == value for scene in scenes) for value in values]
        assert max(counts) - min(counts) <= 0.1 * PICTURES / len(values) + 1
    pairs = {(scene.subject, scene.palette) for scene in scenes}
    assert len(pairs) > 0.7 * len(SUBJECTS) * len(PALETTES)
