"""The doctor for styles: one adapter in every format gives one picture, and every bad file is told what it is."""

import json
import os
import pickle
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from krea_studio.engine.checkpoints.table import CHECKPOINTS
from krea_studio.engine.controls import adapters
from krea_studio.engine.lora.doctor import MOST_LEFT_OUT, diagnose, write
from krea_studio.engine.lora.files import MOST_BYTES, opened
from krea_studio.engine.lora.layers import Architecture, architectures
from krea_studio.engine.lora.reading import LoraReading
from krea_studio.engine.lora.report import Diagnosis
from krea_studio.errors import InvalidRequest, StorageError
from tests.engine import lora_writers
from tests.engine.lora_writers import FORMATS, LAYERS, Adapter, change, sides, write_format

KNOWN = architectures()
MEDIUM, LARGE, TURBO, RAW, PUBLISHED_TURBO = KNOWN


@pytest.fixture(scope="module")
def adapter() -> Adapter:
    return lora_writers.known_adapter(TURBO)


@pytest.fixture(scope="module")
def drawn(adapter: Adapter, manager: Any) -> Iterator[Callable[[Path | None], np.ndarray]]:
    """Draws one small picture on mini-turbo with a file's LoRA or without; (height, width, 3)."""
    pipeline = manager.get(CHECKPOINTS["mini-turbo"], torch.float32, "cpu", lambda event: None, lambda: None).pipeline
    names: dict[Path, str] = {}

    def drawn(path: Path | None) -> np.ndarray:
        if path is not None and path not in names:
            names[path] = f"style{len(names)}"
            adapters.ensure_loaded(pipeline, names[path], path)
        weights = {names[path]: 1.0} if path is not None else {}
        with torch.no_grad(), adapters.weighted(pipeline.transformer, weights):
            picture = pipeline(
                "a fox in the snow", height=128, width=128, num_inference_steps=2, guidance_scale=0.0,
                max_sequence_length=48, generator=torch.Generator().manual_seed(7), output_type="np",
            ).images[0]  # fmt: skip
        if path is not None:
            pipeline.transformer.delete_adapters(names.pop(path))
        return (picture * 255).round()

    yield drawn


@pytest.fixture(scope="module")
def known_pictures(
    adapter: Adapter, drawn: Callable[[Path | None], np.ndarray], tmp_path_factory: pytest.TempPathFactory
) -> tuple[np.ndarray, np.ndarray]:
    """The picture without a style, and that with the known adapter as it is, unconverted."""
    path = tmp_path_factory.mktemp("known") / "known.safetensors"
    state = {}
    for layer, halves in adapter.items():
        for side, tensor in zip("AB", sides(halves), strict=True):
            state[f"transformer.{layer}.lora_{side}.weight"] = tensor.contiguous()
    save_file(state, path)
    return drawn(None), drawn(path)


def lora(architecture: Architecture = TURBO, layers: tuple[str, ...] = LAYERS[:3]) -> dict[str, torch.Tensor]:
    """The state of a small plain LoRA for these layers."""
    state = {}
    for layer in layers:
        out, width = architecture.layers[layer]
        draw = torch.Generator().manual_seed(3)
        state[f"transformer.{layer}.lora_A.weight"] = torch.randn(2, width, generator=draw)
        state[f"transformer.{layer}.lora_B.weight"] = torch.randn(out, 2, generator=draw) * 0.01
    return state


def saved(folder: Path, state: dict[str, torch.Tensor], **said: str) -> Path:
    path = folder / "style.safetensors"
    save_file(state, path, said)
    return path


def refused(path: Path, words: str) -> Diagnosis:
    """The doctor refuses the file with these words, in a report that can be printed and written as JSON."""
    found = diagnose(path, KNOWN)
    assert not found.accepted and words in " ".join(found.problems), found.problems
    assert all(" — " in problem and problem.isprintable() for problem in found.problems)
    assert all(line.isprintable() and len(line) < 700 for line in found.lines())
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["accepted"] is False
    with pytest.raises(InvalidRequest, match="refused"):
        write(found, path.with_name("never.safetensors"), {})
    assert not path.with_name("never.safetensors").exists()
    return found


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_change_and_the_same_picture(
    name: str,
    adapter: Adapter,
    tmp_path: Path,
    drawn: Callable[[Path | None], np.ndarray],
    known_pictures: tuple[np.ndarray, np.ndarray],
) -> None:
    path = write_format(name, adapter, TURBO, tmp_path)
    found = diagnose(path, KNOWN)
    assert found.accepted, found.problems
    assert [one.name for one in found.fits] == ["mini-medium", "mini-turbo"]
    assert found.keys == len(load_file(path)) and not found.unmatched and found.left_out == 0
    assert found.ranks == (4, 4) and sum(found.modules.values()) == len(LAYERS)
    assert found.effect.mean == pytest.approx(0.08, rel=0.03)
    assert len(found.dropped) == (2 if name == "with a text encoder" else 0)

    written = tmp_path / "normal" / "style.safetensors"
    write(found, written, {"name": "Known"})
    state = load_file(written)
    assert len(state) == 2 * len(LAYERS)
    for layer, halves in adapter.items():
        down, up = (state[f"transformer.{layer}.lora_{side}.weight"].float() for side in "AB")
        assert (up @ down - change(halves)).norm() < 1e-3 * change(halves).norm(), layer

    without, wanted = known_pictures
    picture = drawn(written)
    assert abs(picture - wanted).max() <= 1
    assert abs(picture - without).max() > 20


def test_what_was_written_is_what_diffusers_itself_loads(tmp_path: Path, load: Callable[[str], Any]) -> None:
    """Layers of different ranks, as a resolved DoRA has them, read by the stock loader instead of the studio's."""
    pipeline = load("turbo").pipeline
    state = {key: tensor * 2 for key, tensor in lora().items()}
    noise = torch.Generator().manual_seed(0)
    for layer in LAYERS[:2]:
        out = TURBO.layers[layer][0]
        norms = TURBO.weight(layer).float().norm(dim=1, keepdim=True)
        state[f"transformer.{layer}.dora_scale"] = norms * (1 + 0.1 * torch.randn(out, 1, generator=noise))
    found = diagnose(saved(tmp_path, state), KNOWN)
    write(found, tmp_path / "normal.safetensors", {})
    assert found.ranks[0] == 2 and 200 < found.ranks[1] <= 256
    pipeline.load_lora_weights(tmp_path / "normal.safetensors", adapter_name="stock")
    try:
        for layer in LAYERS[:3]:
            bent = pipeline.transformer.get_submodule(layer)
            delta = bent.get_delta_weight("stock")
            base = TURBO.weight(layer).float()
            merged = base + state[f"transformer.{layer}.lora_B.weight"] @ state[f"transformer.{layer}.lora_A.weight"]
            if (magnitude := state.get(f"transformer.{layer}.dora_scale")) is not None:
                merged = magnitude * merged / merged.norm(dim=1, keepdim=True)
            assert (delta - (merged - base)).norm() < 1e-3 * (merged - base).norm()
    finally:
        pipeline.transformer.delete_adapters("stock")


def test_what_was_written_is_read_as_the_same_style(adapter: Adapter, tmp_path: Path) -> None:
    path = write_format("kohya of original names", adapter, TURBO, tmp_path)
    state = load_file(path)
    save_file(state, path, {"modelspec.trigger_phrase": "sks fox", "ss_base_model_version": "krea2"})
    first = diagnose(path, KNOWN)
    write(first, path, {"name": "Fox"})
    second = diagnose(path, KNOWN)
    assert second.accepted and second.fits == first.fits and second.modules.keys() == first.modules.keys()
    assert second.formats == ("diffusers (transformer.…), diffusers names",) and second.dtypes == ("F16",)
    assert (second.stated.name, second.stated.trigger) == ("Fox", "sks fox")
    assert second.effect.mean == pytest.approx(first.effect.mean, rel=1e-3)
    assert list(tmp_path.iterdir()) == [path]


class TestFits:
    def test_a_full_size_style_is_known_without_its_checkpoint(self, tmp_path: Path) -> None:
        layers = ("transformer_blocks.27.attn.to_q", "text_fusion.projector", "text_fusion.layerwise_blocks.1.ff.up")
        found = diagnose(saved(tmp_path, lora(RAW, layers)), KNOWN)
        assert found.accepted and [one.name for one in found.fits] == ["krea-2-raw", "krea-2-turbo"]
        assert found.effect.relative_to == "" and found.effect.largest > 0
        assert "made for Krea 2 Raw, Krea 2 Turbo" in found.lines()[0]

    def test_a_style_for_few_blocks_is_not_for_a_deeper_transformer_unless_it_says_so(self, tmp_path: Path) -> None:
        found = diagnose(saved(tmp_path, lora()), KNOWN)
        assert [one.name for one in found.fits] == ["mini-medium", "mini-turbo"]
        found = diagnose(saved(tmp_path, lora(), trained_on="mini-large"), KNOWN)
        assert [one.name for one in found.fits] == ["mini-large"]
        deep = lora(LARGE, ("transformer_blocks.11.attn.to_q",))
        assert [one.name for one in diagnose(saved(tmp_path, deep), KNOWN).fits] == ["mini-large"]
        found = diagnose(saved(tmp_path, deep, trained_on="mini-turbo"), KNOWN)
        assert [one.name for one in found.fits] == ["mini-large"]
        assert "says that it was trained on 'mini-turbo'" in " ".join(found.notes)

    def test_another_width_and_no_known_checkpoint(self, tmp_path: Path) -> None:
        state = lora()
        state |= {key: torch.ones(2, 512) for key in list(state)[:1]}
        found = refused(saved(tmp_path, state), "fits no known checkpoint: in Mini ")
        assert "is 256 wide here and 512 there" in found.problems[0]
        assert diagnose(saved(tmp_path, lora()), ()).problems

    def test_a_dora_without_its_weights_on_this_machine(self, tmp_path: Path) -> None:
        layer = "transformer_blocks.3.attn.to_k"
        state = lora(RAW, (layer,)) | {f"transformer.{layer}.dora_scale": torch.ones(RAW.layers[layer][0], 1)}
        found = refused(saved(tmp_path, state), "those of Krea 2 Raw or Krea 2 Turbo are not on this machine")
        assert found.fits == (RAW, PUBLISHED_TURBO)

    def test_a_dora_is_worked_out_with_the_weights_that_it_was_trained_on(self, tmp_path: Path) -> None:
        layer = LAYERS[0]
        noise = 1 + 0.003 * torch.randn(256, 1, generator=torch.Generator().manual_seed(0))
        for base, other in ((MEDIUM, TURBO), (TURBO, MEDIUM)):
            magnitude = base.weight(layer).float().norm(dim=1, keepdim=True) * noise * 1.02
            state = lora(base, (layer,)) | {f"{layer}.dora_scale": magnitude}
            found = diagnose(saved(tmp_path, state), KNOWN)
            assert found.accepted and found.base is base and found.ranks[0] > 2
            assert any(base.label in note and "weight 1" in note for note in found.notes)
            assert diagnose(saved(tmp_path, state, trained_on=other.name), KNOWN).base is other
        refused(saved(tmp_path, state | {f"{layer}.dora_scale": magnitude * 10}), "a DoRA of other weights")


class TestReport:
    @pytest.mark.parametrize("seed", range(3))
    def test_numbers_of_every_kind_of_storage(self, seed: int, tmp_path: Path) -> None:
        kind = (torch.bfloat16, torch.float16, torch.float8_e4m3fn)[seed]
        state = {key: tensor.to(kind) for key, tensor in lora().items()}
        state[f"transformer.{LAYERS[0]}.alpha"] = torch.tensor(6)
        found = diagnose(saved(tmp_path, state), KNOWN)
        assert found.accepted and found.dtypes == (("BF16", "F16", "F8_E4M3")[seed],)
        assert (found.ranks, found.alphas) == ((2, 2), (6, 6))
        write(found, tmp_path / "normal.safetensors", {})
        written = load_file(tmp_path / "normal.safetensors")
        for layer, scale in zip(LAYERS[:3], (3, 1, 1), strict=True):
            a, b = (state[f"transformer.{layer}.lora_{side}.weight"].float() for side in "AB")
            down, up = (written[f"transformer.{layer}.lora_{side}.weight"].float() for side in "AB")
            assert (up @ down - scale * b @ a).norm() < 1e-3 * (b @ a).norm() * scale

    def test_what_the_file_says_of_itself(self, tmp_path: Path) -> None:
        said = {
            "modelspec.title": "Wood\ncut\x1b[31m",
            "ss_base_model_version": "krea2",
            "ss_tag_frequency": json.dumps({"10_wood": {"w00dcut": 20, "a fox": 3, "a whale": 2}}),
        }
        found = diagnose(saved(tmp_path, lora(), **said), KNOWN)
        assert (found.stated.name, found.stated.base_model) == ("Wood cut [31m", "krea2")
        assert (found.stated.trigger, found.stated.trigger_guessed) == ("w00dcut", True)
        assert "trigger: w00dcut (guessed from its captions)" in found.lines()
        assert found.stated.metadata == {"name": "Wood cut [31m", "trained_on": "krea2"}
        said["trigger"] = "woodcut style"
        found = diagnose(saved(tmp_path, lora(), **said), KNOWN)
        assert (found.stated.trigger, found.stated.trigger_guessed) == ("woodcut style", False)

    def test_a_suggested_prompt_is_kept_as_long_as_a_style_may_have_it(self, tmp_path: Path) -> None:
        said = {"suggested_prompt": "a fox, " * 400, "name": "x" * 400}
        found = diagnose(saved(tmp_path, lora(), **said), KNOWN)
        assert (len(found.stated.suggested_prompt), len(found.stated.name)) == (2000, 300)

    @given(text=st.text(max_size=60), frequency=st.one_of(st.text(max_size=20), st.just('{"a":{"b":"x"}}')))
    @settings(max_examples=15)
    def test_no_metadata_stops_a_report(self, text: str, frequency: str) -> None:
        folder = Path.cwd()
        said = {"name": text, "ss_tag_frequency": frequency, "lora_adapter_metadata": text}
        clean = {key: value.encode("utf-8", "ignore").decode() for key, value in said.items()}
        found = diagnose(saved(folder, lora(), **clean), KNOWN)
        assert found.accepted or "lora_adapter_metadata, which says how strong it is" in found.problems[0]
        assert all(line.isprintable() for line in found.lines())

    def test_alpha_from_the_config_beside_a_file_of_peft(self, tmp_path: Path) -> None:
        path = tmp_path / "adapter_model.safetensors"
        layer = LAYERS[0]
        state = lora(TURBO, (layer,))
        save_file({key.replace("transformer.", "base_model.model.", 1): t for key, t in state.items()}, path)
        alone = diagnose(path, KNOWN)
        assert "states no alpha" in " ".join(alone.notes)
        path.with_name("adapter_config.json").write_text(json.dumps({"r": 2, "lora_alpha": 8}))
        beside = diagnose(path, KNOWN)
        assert beside.alphas == (8, 8) and beside.effect.mean == pytest.approx(4 * alone.effect.mean)

    @pytest.mark.parametrize(
        ("config", "alphas"),
        [
            ({"alpha_pattern": {r".*\.to_q": 8}}, (8, 2, 2)),
            ({"alpha_pattern": {"to_q|to_v": 8}}, (8, 8, 2)),
            ({"alpha_pattern": {"attn.wq": 8}}, (8, 2, 2)),
            ({"alpha_pattern": {"gate": 8}}, (2, 2, 2, 2)),
            ({"alpha_pattern": {r"^transformer_blocks\.0\.attn\.to_(q|v)": 8, "to_v": 4, "to_q": 4}}, (8, 8, 2)),
            ({"alpha_pattern": {"to_v": 4, r"attn\..*": 8}}, (8, 4, 8)),
            ({"alpha_pattern": {}, "lora_alpha": 6}, (6, 6, 6)),
            ({"alpha_pattern": {"to_q": -4}, "lora_alpha": -2}, (-4, -2, -2)),
            ({"alpha_pattern": {"to_q": 0}}, (0, 2, 2)),
            ({"alpha_pattern": None, "rank_pattern": {"to_x": 1}, "r": 0}, (2, 2, 2)),
        ],
    )
    def test_patterns_of_the_config_are_peft_s(
        self, config: dict[str, Any], alphas: tuple[float, ...], tmp_path: Path
    ) -> None:
        """Expressions over the names of the model that was trained, the first that a name has; rank is 2 here."""
        stated = {f"transformer.{field}": value for field, value in ({"lora_alpha": 2} | config).items()}
        layers = LAYERS[:3]
        if "gate" in str(config):
            # In diffusers' names `gate` is not the end of the first one's, in Krea's own it would be.
            layers = (*layers, "transformer_blocks.2.attn.to_gate", "transformer_blocks.1.ff.gate")
            alphas = (*alphas, 8)
        state = lora(layers=layers)
        with opened(saved(tmp_path, state, lora_adapter_metadata=json.dumps(stated))) as file:
            reading = LoraReading(file, TURBO.layers)
            for layer, alpha in zip(layers, alphas, strict=True):
                down, up = (state[f"transformer.{layer}.lora_{side}.weight"] for side in "AB")
                change = reading.factors(layer)
                assert reading.alpha(layer) == alpha
                assert torch.allclose(change.up @ change.down, alpha / 2 * up @ down, atol=1e-6)

    @pytest.mark.parametrize(
        ("config", "words"),
        [
            ({"lora_alpha": 10**400}, "states a whole number of 1329 bits for lora_alpha, which is no usable number"),
            ({"lora_alpha": "8"}, "states '8' for lora_alpha"),
            ({"lora_alpha": True}, "states True for lora_alpha"),
            ({"lora_alpha": [8]}, "states [8] for lora_alpha"),
            ({"lora_alpha": float("nan")}, "states nan for lora_alpha"),
            ({"lora_alpha": 1e300}, "too large"),
            ({"lora_alpha": 0}, "it does nothing"),
            ({"alpha_pattern": {"to_x": 8}}, "has 'to_x', which is the name of none of its layers"),
            ({"alpha_pattern": {"to_q": 8, "mlp.up": 8}}, "which is the name of none of its layers"),
            ({"alpha_pattern": {"to_(q": 8}}, "has 'to_(q', which is not understood here"),
            ({"alpha_pattern": {"(.+)+x": 8}}, "has '(.+)+x', which is not understood here"),
            ({"alpha_pattern": {".?" * 20 + "x": 8}}, "not understood here"),
            ({"alpha_pattern": {"(.|..)" * 8 + "x": 8}}, "not understood here"),
            ({"alpha_pattern": {"(?=.*to_q)": 8}}, "not understood here"),
            ({"alpha_pattern": {"to_q" * 50: 8}}, "not understood here"),
            ({"alpha_pattern": {f"to_{k}": 8 for k in range(1001)}}, "is no table of at most 1,000 patterns"),
            ({"alpha_pattern": {f".*to_{k}": 8 for k in range(17)}}, "more than 16 patterns that are no names"),
            ({"alpha_pattern": [8]}, "is no table"),
        ],
    )
    def test_a_config_that_is_not_understood_is_told(self, config: dict[str, Any], words: str, tmp_path: Path) -> None:
        stated = {f"transformer.{field}": value for field, value in config.items()}
        refused(saved(tmp_path, lora(), lora_adapter_metadata=json.dumps(stated)), words)

    def test_file_names_that_no_terminal_should_see(self, tmp_path: Path) -> None:
        path = saved(tmp_path, lora()).rename(tmp_path / "fox\x1b[31m.safetensors")
        found = diagnose(path, KNOWN)
        assert found.accepted and found.lines()[0].startswith("fox [31m.safetensors: accepted, made for Mini")
        path = path.rename(tmp_path / "fox\x1b\udce4.safetensors")
        json.dumps(refused(path, "not valid UTF-8").as_dict(), ensure_ascii=False).encode()

    def test_layers_that_change_nothing_are_told(self, tmp_path: Path) -> None:
        state = lora()
        state[f"transformer.{LAYERS[1]}.lora_B.weight"].zero_()
        found = diagnose(saved(tmp_path, state), KNOWN)
        state[f"transformer.{LAYERS[1]}.lora_A.weight"].fill_(1e30)
        found = diagnose(saved(tmp_path, state), KNOWN)
        assert found.accepted and "1 of its 3 layers change nothing" in found.notes
        write(found, tmp_path / "normal.safetensors", {})
        assert len(load_file(tmp_path / "normal.safetensors")) == 4


class TestBadFiles:
    def test_no_plain_file(self, tmp_path: Path) -> None:
        for path, words in ((tmp_path / "none.safetensors", "does not exist"), (tmp_path, "is a folder")):
            with pytest.raises(InvalidRequest, match=words):
                diagnose(path, KNOWN)
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(InvalidRequest, match="not a plain file"):
            diagnose(tmp_path / "pipe", KNOWN)

    @pytest.mark.parametrize("name", ["style.pt", "style.ckpt", "style.bin", "style.safetensors"])
    @pytest.mark.parametrize("zipped", [True, False])
    def test_pickles_are_never_opened(self, name: str, zipped: bool, tmp_path: Path) -> None:
        class Trap:
            def __reduce__(self) -> tuple[Any, ...]:
                return (os.mkdir, (str(tmp_path / "sprung"),))

        path = tmp_path / name
        if zipped:
            torch.save({"transformer.img_in.lora_A.weight": Trap()}, path)
        else:
            path.write_bytes(pickle.dumps(Trap()))
        refused(path, "pickle")
        assert not (tmp_path / "sprung").exists()

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"", "is empty"),
            (b"abc", "no safetensors file"),
            (b"<!DOCTYPE html><html>Log in</html>", "a web page"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "Git LFS pointer"),
            (b'{"error": "gated"}', "JSON"),
            (b"GGUF\x03\x00\x00\x00" * 9, "GGUF"),
            (struct.pack("<Q", 2**60) + b"{}", "states a header of 1,152,921,504,606,846,976 bytes"),
            (struct.pack("<Q", 10**6) + b'{"a":', "damaged or only half there"),
            (struct.pack("<Q", 2) + b"{}", "it is empty"),
        ],
    )
    def test_what_is_no_lora(self, content: bytes, words: str, tmp_path: Path) -> None:
        path = tmp_path / "style.safetensors"
        path.write_bytes(content)
        refused(path, words)

    def test_a_refusal_names_the_file_once(self, tmp_path: Path) -> None:
        path = tmp_path / "style.safetensors"
        path.write_bytes(b"")
        found = refused(path, "it is empty — download or copy it again")
        with pytest.raises(InvalidRequest, match="^'style.safetensors' is refused: it is empty — [^']*$"):
            write(found, tmp_path / "never.safetensors", {})

    def test_a_truncated_file_and_one_with_more_in_it(self, tmp_path: Path) -> None:
        path = saved(tmp_path, lora())
        whole = path.read_bytes()
        for content in (whole[:-1], whole[: len(whole) // 2], whole[:200], whole + b"more"):
            path.write_bytes(content)
            refused(path, "damaged or only half there")

    @pytest.mark.parametrize(
        "tensors",
        [
            {"a": ("F32", [3], [0, 8])},
            {"a": ("F32", [-1], [0, 8])},
            {"a": ("F32", [2**40, 2**40], [0, 8])},
            {"a": ("Q4", [8], [0, 8])},
            {"a": ("F32", [1], [0, 4]), "b": ("F32", [2], [2, 10])},
        ],
    )
    def test_a_header_that_lies(self, tensors: dict[str, tuple[str, list[int], list[int]]], tmp_path: Path) -> None:
        fields = ("dtype", "shape", "data_offsets")
        header = json.dumps({name: dict(zip(fields, told, strict=True)) for name, told in tensors.items()}).encode()
        path = tmp_path / "style.safetensors"
        path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
        refused(path, "damaged or only half there")

    def test_a_file_of_5_gb_is_refused_by_its_size(self, tmp_path: Path) -> None:
        path = tmp_path / "style.safetensors"
        with path.open("wb") as file:
            file.truncate(5 * 10**9)
        refused(path, f"5,000,000,000 bytes, more than the {MOST_BYTES:,}")

    def test_names_without_end(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        refused(saved(tmp_path, {"block." * 200: torch.ones(1)}), "names of up to 1,200 characters")
        monkeypatch.setattr("krea_studio.engine.lora.files.MOST_TENSORS", 10)
        refused(saved(tmp_path, {str(k): torch.ones(1) for k in range(11)}), "11 tensors")

    def test_a_style_for_another_model(self, tmp_path: Path) -> None:
        key = "lora_unet_output_blocks_3_1_transformer_blocks_0_attn1_to_q"
        state = {
            f"{key}.lora_down.weight": torch.ones(4, 1280),
            f"{key}.lora_up.weight": torch.ones(1280, 4),
            f"{key}.alpha": torch.tensor(4.0),
            "lora_te1_text_model_encoder_layers_0_mlp_fc1.alpha": torch.tensor(4.0),
        }
        found = refused(saved(tmp_path, state, ss_base_model_version="sdxl_base_v1-0"), "it is made for SDXL, not for")
        assert (found.matched, len(found.dropped), len(found.unmatched)) == (0, 1, 3)
        assert "base: sdxl_base_v1-0" in found.lines()
        flux = lora() | {"transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight": torch.ones(2, 3072)}
        refused(saved(tmp_path, flux), "it is made for FLUX")

    def test_a_style_that_only_bends_a_text_encoder(self, tmp_path: Path) -> None:
        key = "lora_te_layers_0_self_attn_q_proj"
        state = {f"{key}.lora_down.weight": torch.ones(4, 8), f"{key}.lora_up.weight": torch.ones(8, 4)}
        refused(saved(tmp_path, state), "changes no layer of Krea 2's transformer")

    def test_one_key_that_nobody_knows_is_enough(self, tmp_path: Path) -> None:
        state = lora() | {"transformer.transformer_blocks.0.attn.to_x.lora_A.weight": torch.ones(2, 256)}
        found = refused(saved(tmp_path, state), "1 of its keys match no layer of Krea 2, the first is 'transformer.")
        assert (found.matched, len(found.unmatched)) == (6, 1)

    @pytest.mark.parametrize(
        ("part", "tensor", "words"),
        [
            ("lora_A.weight", torch.full((2, 256), float("nan")), "no numbers"),
            ("lora_B.weight", torch.full((256, 2), float("inf")), "no numbers"),
            ("alpha", torch.tensor(float("nan")), "no numbers"),
            ("alpha", torch.tensor(3e38), "too large"),
            ("alpha", torch.tensor(1e14), "too large for half precision"),
            ("alpha", torch.tensor([1.0, 2.0]), "alpha is not a single number"),
            ("alpha", torch.tensor(1.0 + 2.0j), "alpha is stored as C64"),
            ("lora_A.weight", torch.ones(3, 256), "do not fit each other"),
            ("lora_A.weight", torch.ones(2, 256, dtype=torch.int8), "stored as I8"),
            ("lora_A.weight", torch.ones(0, 256), "not a matrix"),
            ("lora_A.weight", torch.ones(2, 256, 3, 3), "not a matrix"),
            ("lokr_w1", torch.ones(2, 2), "not both there"),
            ("lora_B.bias", torch.ones(256), "changes the layer's bias"),
            ("lora_B.bias", torch.zeros(128, dtype=torch.uint8).view(torch.float4_e2m1fn_x2), "bias is stored as F4"),
            ("dora_scale", torch.ones(77, 1), "magnitudes are 77 × 1"),
            ("dora_scale", torch.full((256, 1), float("nan")), "no numbers"),
        ],
    )
    def test_one_bad_tensor(self, part: str, tensor: torch.Tensor, words: str, tmp_path: Path) -> None:
        state = lora(layers=(LAYERS[0],)) | {f"transformer.{LAYERS[0]}.{part}": tensor}
        state[f"transformer.{LAYERS[0]}.lora_B.weight"] *= 1e3
        refused(saved(tmp_path, state | lora(layers=LAYERS[1:2])), words)

    def test_an_absurd_rank(self, tmp_path: Path) -> None:
        state = {
            f"transformer.{LAYERS[0]}.lora_A.weight": torch.ones(5000, 256),
            f"transformer.{LAYERS[0]}.lora_B.weight": torch.ones(256, 5000),
        }
        refused(saved(tmp_path, state), "its rank is 5,000, of at most 1,024")

    def test_a_style_that_does_nothing(self, tmp_path: Path) -> None:
        refused(saved(tmp_path, {key: torch.zeros_like(tensor) for key, tensor in lora().items()}), "it does nothing")

    @pytest.mark.parametrize(("base", "layers"), [(TURBO, LAYERS[:3]), (RAW, ("transformer_blocks.27.attn.to_q",))])
    def test_a_style_that_does_next_to_nothing(
        self, base: Architecture, layers: tuple[str, ...], tmp_path: Path
    ) -> None:
        """Also of a checkpoint whose weights are not here to compare with."""
        state = {key: t * 1e-9 if "lora_B" in key else t for key, t in lora(base, layers).items()}
        refused(saved(tmp_path, state), "it does next to nothing: no layer changes by more than ")
        state = {key: t * 1e-2 if "lora_B" in key else t for key, t in lora(base, layers).items()}
        assert diagnose(saved(tmp_path, state), KNOWN).accepted

    def test_a_change_that_two_thin_matrices_cannot_hold(self, tmp_path: Path) -> None:
        """A LoKr of the published size: its rank is far too high; where it falls off quickly, little is lost."""
        out, width = RAW.layers["transformer_blocks.0.ff.up"]
        draw = torch.Generator().manual_seed(0)
        w1, w2 = (torch.randn(side, generator=draw) for side in ((64, 48), (out // 64, width // 48)))
        key = "diffusion_model.blocks.0.mlp.up.lokr_"
        found = refused(saved(tmp_path, {f"{key}w1": w1, f"{key}w2": w2}), "would leave out")
        assert found.left_out > MOST_LEFT_OUT
        first = torch.outer(w1[:, 0], w1[0])
        second = torch.outer(w2[:, 0], w2[0])
        state = {f"{key}w1": first + 0.05 * w1, f"{key}w2": second + 0.05 * w2}
        found = diagnose(saved(tmp_path, state), KNOWN)
        assert found.accepted and found.ranks == (64, 64) and 0 < found.left_out < MOST_LEFT_OUT
        found = diagnose(saved(tmp_path, {f"{key}w1": first + 0.15 * w1, f"{key}w2": second + 0.15 * w2}), KNOWN)
        assert found.accepted and 64 < found.ranks[0] <= 256 and found.left_out < MOST_LEFT_OUT
        assert any("matrices leave out" in note for note in found.notes)

    def test_a_file_that_changes_between_the_look_and_the_writing(self, tmp_path: Path) -> None:
        path = saved(tmp_path, lora())
        found = diagnose(path, KNOWN)
        assert found.accepted
        state = lora()
        state[f"transformer.{LAYERS[0]}.lora_A.weight"].fill_(float("nan"))
        still = {key: torch.zeros_like(tensor) for key, tensor in lora().items()}
        for changed in (state, lora(LARGE, ("transformer_blocks.11.attn.to_q",)), still):
            saved(tmp_path, changed)
            with pytest.raises(InvalidRequest):
                write(found, tmp_path / "never.safetensors", {})
        path.unlink()
        with pytest.raises(InvalidRequest, match="does not exist"):
            write(found, tmp_path / "never.safetensors", {})
        assert not list(tmp_path.iterdir())

    def test_a_place_that_cannot_be_written(self, tmp_path: Path) -> None:
        found = diagnose(saved(tmp_path, lora()), KNOWN)
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(StorageError, match="cannot be written"):
            write(found, tmp_path / "file" / "style.safetensors", {})

    def test_a_full_disk_leaves_nothing_half_written(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        found = diagnose(saved(tmp_path, lora()), KNOWN)

        def full(state: Any, path: Path, metadata: Any) -> None:
            path.write_bytes(b"half")
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

        monkeypatch.setattr("krea_studio.engine.lora.doctor.save_file", full)
        with pytest.raises(StorageError, match="No space left on device .* check the folder and the free space"):
            write(found, tmp_path / "new" / "style.safetensors", {})
        assert not list((tmp_path / "new").iterdir())

    def test_the_file_is_not_read_as_a_whole(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Reading asks for one layer's tensors at a time and lets them go."""
        import weakref

        from krea_studio.engine.lora.files import LoraFile

        alive: list[weakref.ref] = []
        most = 0

        def read(self: LoraFile, key: str, real: Any = LoraFile.read) -> torch.Tensor:
            nonlocal most
            tensor = real(self, key)
            alive.append(weakref.ref(tensor))
            most = max(most, sum(ref() is not None for ref in alive))
            return tensor

        monkeypatch.setattr(LoraFile, "read", read)
        layers = tuple(layer for layer in TURBO.layers if "blocks" in layer)
        assert diagnose(saved(tmp_path, lora(layers=layers)), KNOWN).accepted
        assert len(alive) == 2 * len(layers) > 100 and most <= 4


def test_the_writer_keeps_metadata_and_names(tmp_path: Path) -> None:
    found = diagnose(saved(tmp_path, lora(), trigger="old", name="Old"), KNOWN)
    write(found, tmp_path / "new.safetensors", {"trigger": "new"})
    with safe_open(tmp_path / "new.safetensors", framework="pt") as file:
        assert file.metadata() == {"format": "pt", "name": "Old", "trigger": "new"}
        assert set(file.keys()) == set(lora())
