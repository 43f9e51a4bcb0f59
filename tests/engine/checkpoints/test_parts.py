import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from diffusers import Krea2Transformer2DModel
from safetensors.torch import load_file, save_file

from krea_studio.engine.checkpoints.identity import weights_of
from krea_studio.engine.checkpoints.manager import PipelineManager
from krea_studio.engine.checkpoints.memory import Room
from krea_studio.engine.checkpoints.table import CHECKPOINTS, WEIGHTED_PARTS, Checkpoint, missing, resolve
from krea_studio.engine.checkpoints.weight_files import weight_files
from krea_studio.errors import Stopped, Unavailable
from krea_studio.licence import Licence
from krea_studio.settings import Settings

FILE = "diffusion_pytorch_model.safetensors"


def get(manager, checkpoint, told=None, check=lambda: None):
    return manager.get(checkpoint, torch.float32, "cpu", told or (lambda event: None), check)


def own(folder):
    return Checkpoint("own", "Own", str(folder))


def variant(name):
    return resolve(Settings().checkpoint_for(name))


def rewrite(path, **values):
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def spoil_nothing_here(folder):
    for file in folder.iterdir():
        file.unlink() if file.is_file() else [inner.unlink() for inner in file.iterdir()]


def truncate(folder):
    path = folder / "vae" / FILE
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def overwrite_header(folder):
    path = next((folder / "text_encoder").glob("*.safetensors"))
    path.write_bytes(b"not a weight file" + path.read_bytes()[17:])


def claim_sixty_gigabytes(folder):
    """A file that states more numbers than any machine here has room for, and is a hole behind its header."""
    header = json.dumps({"img_in.weight": {"dtype": "F32", "shape": [15 * 10**9], "data_offsets": [0, 60 * 10**9]}})
    with (folder / "transformer" / FILE).open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header.encode())
        file.truncate(8 + len(header) + 60 * 10**9)


def an_encoder_of_another_size(folder):
    config = json.loads((folder / "text_encoder" / "config.json").read_text())
    rewrite(folder / "text_encoder" / "config.json", text_config={**config["text_config"], "hidden_size": 4096})


def only_a_pickle(folder):
    path = folder / "transformer" / FILE
    torch.save(load_file(path), path.with_suffix(".bin"))
    path.unlink()


def lose_a_shard(folder):
    shutil.rmtree(folder / "transformer")
    shutil.copytree(Path(CHECKPOINTS["mini-large"].source) / "transformer", folder / "transformer")
    (folder / "transformer" / "diffusion_pytorch_model-00002-of-00002.safetensors").unlink()


def lose_the_index(folder):
    lose_a_shard(folder)
    (folder / "transformer" / f"{FILE}.index.json").unlink()


def shards_elsewhere(name):
    def spoil(folder):
        lose_a_shard(folder)
        rewrite(folder / "transformer" / f"{FILE}.index.json", weight_map={"a": name})

    return spoil


def scales_beside_the_weights(folder):
    path = folder / "transformer" / FILE
    tensors = load_file(path)
    layer = next(name for name in tensors if name.endswith("to_q.weight"))
    save_file(tensors | {f"{layer}_scale": torch.ones(1)}, path, metadata={"format": "pt"})


def quantized_by(method):
    def spoil(folder):
        config = folder / "transformer" / "config.json"
        rewrite(config, quantization_config={"quant_method": method, "load_in_4bit": True})

    return spoil


SPOILED = {
    "weights in a pickle only": (only_a_pickle, "diffusion_pytorch_model.bin, a pickle"),
    "a missing shard": (lose_a_shard, "diffusion_pytorch_model-00002-of-00002.safetensors, one of 2 shards"),
    "shards without an index": (lose_the_index, f"lacks transformer/{FILE}.index.json"),
    "a pickle as a shard": (shards_elsewhere("weights.bin"), "'weights.bin', which is no safetensors"),
    "a shard of another folder": (shards_elsewhere("../vae/" + FILE), "no safetensors file beside it"),
    "a number as a shard": (shards_elsewhere(5), "'5', which is no safetensors file"),
    "a shard on two lines": (shards_elsewhere("a\n.safetensors"), "which is no safetensors file"),
    "a shard with an endless name": (shards_elsewhere("a" * 10_000 + ".safetensors"), "which is no safetensors file"),
    "a quantizer that is not installed": (quantized_by("bitsandbytes"), "pip install bitsandbytes"),
    "another quantizer that is not installed": (quantized_by("sdnq"), "pip install sdnq"),
    "an unknown quantizer": (quantized_by("fp8"), "the method 'fp8'"),
    "scales beside the weights": (scales_beside_the_weights, "to_q.weight_scale"),
    "weights of another name": (
        lambda f: rewrite(f / "text_encoder" / "config.json", transformers_weights="adapter_model.bin"),
        "adapter_model.bin",
    ),
    "an adapter beside the weights": (
        lambda f: (f / "text_encoder" / "adapter_config.json").write_text("{}"),
        "adapter_config.json",
    ),
    "nothing in it": (spoil_nothing_here, "model_index.json"),
    "truncated weights": (truncate, FILE),
    "no weight file": (overwrite_header, "text_encoder"),
    "index that is no JSON": (lambda f: (f / "model_index.json").write_text("{"), "model_index.json"),
    "another pipeline": (lambda f: rewrite(f / "model_index.json", _class_name="FluxPipeline"), "FluxPipeline"),
    "another class": (lambda f: rewrite(f / "vae" / "config.json", _class_name="AutoencoderKL"), "AutoencoderKL"),
    "weights of another size": (lambda f: rewrite(f / "transformer" / "config.json", num_layers=9), "transformer"),
    "tokenizer that is no JSON": (lambda f: (f / "tokenizer" / "tokenizer.json").write_text("{"), "tokenizer"),
    "more than memory": (claim_sixty_gigabytes, "60.0 GB of weights do not fit"),
    "an encoder of another size": (an_encoder_of_another_size, "width of the text is"),
    "parts that do not fit": (lambda f: rewrite(f / "model_index.json", patch_size=1), "do not fit"),
    "text layers that are not there": (
        lambda f: rewrite(f / "model_index.json", text_encoder_select_layers=[1, 3, 99]),
        "do not fit",
    ),
}


@pytest.mark.parametrize("spoil, named", SPOILED.values(), ids=SPOILED.keys())
def test_a_spoiled_checkpoint_is_one_clear_line_and_harms_no_other(manager, own_folder, spoil, named):
    kept = get(manager, variant("turbo"))
    spoil(own_folder)
    assert len(missing(own(own_folder)) or "") < 600
    with pytest.raises(Unavailable) as caught:
        get(manager, own(own_folder))
    assert named in caught.value.message and " — " in caught.value.message
    assert "\n" not in caught.value.message and len(caught.value.message) < 600
    assert get(manager, variant("turbo")) is kept


@pytest.mark.parametrize("variant", ["fp16", "bf16", "ema"])
def test_a_variant_is_drawn_from_and_named_and_never_the_pickle_beside_it(manager, own_folder, variant):
    path = own_folder / "transformer" / FILE
    tensors = load_file(path)
    # Other weights than those of the variant, so that they would be noticed.
    torch.save({name: torch.zeros_like(tensor) for name, tensor in tensors.items()}, path.with_suffix(".bin"))
    path.rename(path.with_name(f"diffusion_pytorch_model.{variant}.safetensors"))
    told = []
    loaded = get(PipelineManager(Room(10**10), Licence(Path("outputs"))), own(own_folder), told.append)
    assert all(torch.equal(loaded.pipeline.transformer.state_dict()[name], tensors[name]) for name in tensors)
    assert loaded.weights == weights_of(own(own_folder))
    assert {event.what for event in told if "transformer" in event.what} == {f"Own: transformer ({variant})"}


def test_full_weights_are_taken_before_a_variant_beside_them(manager, own_folder):
    identity = weights_of(own(own_folder))
    path = own_folder / "text_encoder" / "model.safetensors"
    halves = {name: tensor.half() for name, tensor in load_file(path).items()}
    save_file(halves, path.with_name("model.fp16.safetensors"), metadata={"format": "pt"})
    loaded = get(PipelineManager(Room(10**10), Licence(Path("outputs"))), own(own_folder))
    assert loaded.weights == identity
    assert sum(loaded.sizes.values()) == sum(get(manager, variant("turbo")).sizes.values())


def test_shards_of_a_variant_are_read_and_named(own_folder):
    shutil.rmtree(own_folder / "transformer")
    Krea2Transformer2DModel.from_pretrained(CHECKPOINTS["mini-large"].source + "/transformer").half().save_pretrained(
        own_folder / "transformer", variant="fp16", max_shard_size="5MB"
    )
    files = weight_files(own_folder / "transformer", "transformer")
    assert files.variant == "fp16" and len(files.files) > 1 and not files.lacking
    loaded = get(PipelineManager(Room(10**10), Licence(Path("outputs"))), own(own_folder))
    assert loaded.pipeline.transformer.dtype == torch.float32


def test_a_blank_image_decoder_is_found(manager, own_folder):
    path = own_folder / "vae" / FILE
    tensors = load_file(path)
    tensors["post_quant_conv.weight"].zero_()
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(Unavailable, match="blank"):
        get(manager, own(own_folder))


def test_variants_share_what_is_the_same(manager):
    turbo, medium, large = (get(manager, variant(name)) for name in ("turbo", "medium", "large"))
    for other in (medium, large):
        for part in ("vae", "text_encoder", "tokenizer"):
            assert getattr(turbo.pipeline, part) is getattr(other.pipeline, part)
        assert turbo.decoder is other.decoder and turbo.preview is other.preview
        for part in ("transformer", "scheduler"):
            assert getattr(turbo.pipeline, part) is not getattr(other.pipeline, part)
    rows, whole = manager.status()
    assert {row.name for row in rows} >= {turbo.checkpoint.name, medium.checkpoint.name, large.checkpoint.name}
    assert whole < sum(row.bytes for row in rows)


def test_the_least_recently_used_leaves_when_the_budget_is_reached(manager):
    turbo, medium, large = variant("turbo"), variant("medium"), variant("large")
    sizes = [get(manager, checkpoint).sizes for checkpoint in (turbo, medium, large)]
    budget = sum({**sizes[0], **sizes[1], **sizes[2]}.values()) - 10_000
    small = PipelineManager(Room(10**10, budget), Licence(Path("outputs")))
    get(small, turbo), get(small, medium), get(small, turbo), get(small, large)
    rows, whole = small.status()
    assert [row.name for row in rows] == [turbo.name, large.name]
    assert whole <= budget


def test_what_is_too_large_is_refused_before_anything_leaves(manager):
    needed = sum(get(manager, variant("turbo")).sizes.values())
    small = PipelineManager(Room(10**10, needed + 1000), Licence(Path("outputs")))
    kept = get(small, variant("turbo"))
    with pytest.raises(Unavailable, match="KREA_STUDIO_MEMORY_BUDGET_GB"):
        get(small, variant("large"))
    assert get(small, variant("turbo")) is kept


def test_loading_is_told_and_can_be_given_up(manager):
    fresh = PipelineManager(Room(10**10), Licence(Path("outputs")))
    told = []
    get(fresh, variant("turbo"), told.append)
    fractions = [event.fraction for event in told]
    assert fractions[0] == 0 and fractions[-1] == 1 and fractions == sorted(fractions)
    assert all(event.what.startswith(variant("turbo").label) for event in told)

    def give_up():
        if told and "transformer" in told[-1].what:
            raise Stopped("enough")

    fresh, told = PipelineManager(Room(10**10), Licence(Path("outputs"))), []
    with pytest.raises(Stopped):
        get(fresh, variant("turbo"), told.append, give_up)
    assert fresh.status() == ((), 0)


def test_a_part_is_given_up_within_itself(manager):
    """On a slow share one part takes minutes: it is told how far it is, and Stop is heard between its tensors."""
    fresh, told = PipelineManager(Room(10**10), Licence(Path("outputs"))), []
    get(fresh, variant("turbo"), told.append)
    shares = [event.fraction for event in told if "transformer" in event.what]
    assert len(shares) > 20 and shares == sorted(shares)

    def give_up():
        if told and "transformer" in told[-1].what and told[-1].fraction > shares[5]:
            raise Stopped("enough")

    kept = get(manager, variant("turbo"))
    fresh, told = PipelineManager(Room(10**10), Licence(Path("outputs"))), []
    with pytest.raises(Stopped):
        get(fresh, variant("turbo"), told.append, give_up)
    assert told[-1].fraction < shares[-1] and fresh.status() == ((), 0)
    assert get(manager, variant("turbo")) is kept


def test_parts_that_do_not_fit_are_refused_before_anything_leaves(manager, own_folder):
    small = PipelineManager(
        Room(10**10, sum(get(manager, variant("turbo")).sizes.values()) + 1000), Licence(Path("outputs"))
    )
    kept = get(small, variant("turbo"))
    an_encoder_of_another_size(own_folder)
    with pytest.raises(Unavailable, match="width of the text"):
        get(small, own(own_folder))
    assert get(small, variant("turbo")) is kept


@pytest.mark.parametrize("precision", [torch.float16, torch.float32])
def test_what_is_loaded_has_memory_of_its_own(own_folder, precision):
    """A file that is written over in its place, as `cp` does, neither changes nor ends what draws from memory."""
    loaded = PipelineManager(Room(10**10), Licence(Path("outputs"))).get(
        own(own_folder), precision, "cpu", lambda event: None, lambda: None
    )
    models = [loaded.pipeline.transformer, loaded.pipeline.text_encoder, loaded.pipeline.vae]
    before = [sum(p.double().sum() for p in model.parameters()) for model in models]
    for part in WEIGHTED_PARTS:
        for file in (own_folder / part).glob("*.safetensors"):
            file.write_bytes(b"")
    assert [sum(p.double().sum() for p in model.parameters()) for model in models] == before


def test_other_weights_in_its_place_are_loaded_and_spoiled_ones_refused(own_folder):
    manager, checkpoint = PipelineManager(Room(10**10), Licence(Path("outputs"))), own(own_folder)
    first = get(manager, checkpoint)
    assert get(manager, checkpoint) is first
    path = own_folder / "transformer" / FILE
    whole, state = path.read_bytes(), load_file(path)
    save_file({**state, "img_in.bias": state["img_in.bias"] + 1}, path)
    second = get(manager, checkpoint)
    assert second.weights == weights_of(checkpoint) != first.weights
    assert second.pipeline.text_encoder is first.pipeline.text_encoder
    assert not torch.equal(second.pipeline.transformer.img_in.bias, first.pipeline.transformer.img_in.bias)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Unavailable, match=FILE):
        get(manager, checkpoint)
    assert [row.weights for row in manager.status()[0]] == [second.weights]
    path.unlink()
    assert get(manager, checkpoint) is second, "what is gone draws on"
    path.write_bytes(whole)
    assert get(manager, checkpoint).weights == first.weights


def hub_error(kind):
    import httpx

    response = httpx.Response(403, request=httpx.Request("GET", "https://huggingface.co/krea/Krea-2-Turbo"))
    return kind("refused", response=response)


def test_the_hub_says_no(manager, monkeypatch):
    from huggingface_hub import constants, errors

    from krea_studio.engine.checkpoints import parts

    # Offline: the files are looked for in the cache only.
    with pytest.raises(Unavailable, match="HF_HUB_OFFLINE"):
        get(manager, CHECKPOINTS["krea-2-turbo"])
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    answers = {
        hub_error(errors.GatedRepoError): "accept the licence at https://huggingface.co/krea/Krea-2-Turbo.* HF_TOKEN",
        hub_error(errors.RepositoryNotFoundError): "no repository krea/Krea-2-Turbo",
        hub_error(errors.RemoteEntryNotFoundError): "krea/Krea-2-Turbo has no model_index.json",
        errors.LocalEntryNotFoundError("no connection"): "no connection.*check the network",
        OSError(28, "No space left on device"): "No space left",
        ImportError("Using SOCKS proxy, but the 'socksio' package is not installed."): "SOCKS proxy.*check the network",
    }
    for raised, message in answers.items():

        def refuse(*args, raised=raised, **kwargs):
            raise raised

        monkeypatch.setattr(parts, "hf_hub_download", refuse)
        with pytest.raises(Unavailable, match=message):
            get(manager, CHECKPOINTS["krea-2-turbo"])


def test_a_repository_is_loaded_from_what_the_hub_gives(manager, monkeypatch, own_folder):
    from huggingface_hub import constants

    from krea_studio.engine.checkpoints import parts

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(parts, "hf_hub_download", lambda repository, file: str(own_folder / file))
    monkeypatch.setattr(parts, "snapshot_download", lambda repository, allow_patterns: str(own_folder))
    fresh = PipelineManager(Room(10**10), Licence(Path("outputs")))
    turbo = replace(CHECKPOINTS["krea-2-turbo"])
    assert get(fresh, turbo).pipeline.vae is get(fresh, CHECKPOINTS["krea-2-raw"]).pipeline.vae


def test_a_repository_without_safetensors_is_told_what_it_lacks(manager, own_folder, monkeypatch):
    from huggingface_hub import constants, errors

    from krea_studio.engine.checkpoints import parts

    def one_file(repository, file):
        if not (own_folder / file).is_file():
            raise hub_error(errors.RemoteEntryNotFoundError)
        return str(own_folder / file)

    (own_folder / "transformer" / FILE).unlink()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(parts, "hf_hub_download", one_file)
    monkeypatch.setattr(parts, "snapshot_download", lambda repository, allow_patterns: str(own_folder))
    with pytest.raises(Unavailable, match=f"lacks transformer/{FILE}"):
        get(manager, resolve("own/krea-copy"))


def in_the_cache(folder, monkeypatch, offline):
    """The Hub's cache with `folder` as what is there of own/krea-copy, and no way to the Hub."""
    from huggingface_hub import constants

    repository = folder.parent / "hub" / "models--own--krea-copy"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("a" * 40)
    (repository / "snapshots").mkdir()
    folder.rename(repository / "snapshots" / ("a" * 40))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder.parent / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    return resolve("own/krea-copy")


BROKEN_OFF = {
    "a part": (lambda f: shutil.rmtree(f / "vae"), "vae/config.json"),
    "the weights of a part": (lambda f: (f / "vae" / FILE).unlink(), "vae/" + FILE),
    "a shard": (lose_a_shard, "00002-of-00002"),
    "the tokenizer": (lambda f: shutil.rmtree(f / "tokenizer"), "tokenizer"),
}


@pytest.mark.parametrize("lose, named", BROKEN_OFF.values(), ids=BROKEN_OFF.keys())
def test_offline_a_download_that_was_broken_off_is_missing(manager, own_folder, monkeypatch, lose, named):
    lose(own_folder)
    checkpoint = in_the_cache(own_folder, monkeypatch, offline=True)
    assert named in missing(checkpoint) and "HF_HUB_OFFLINE" in missing(checkpoint)
    with pytest.raises(Unavailable, match="HF_HUB_OFFLINE is set"):
        get(manager, checkpoint)


def test_offline_a_whole_download_is_loaded(own_folder, monkeypatch):
    checkpoint = in_the_cache(own_folder, monkeypatch, offline=True)
    assert missing(checkpoint) is None
    assert set(WEIGHTED_PARTS) <= get(PipelineManager(Room(10**10), Licence(Path("outputs"))), checkpoint).parts.keys()


def test_without_a_network_a_download_that_was_broken_off_says_so(manager, own_folder, monkeypatch):
    lose_a_shard(own_folder)
    checkpoint = in_the_cache(own_folder, monkeypatch, offline=False)
    monkeypatch.setattr("huggingface_hub.utils._http.time", SimpleNamespace(sleep=lambda seconds: None, time=time.time))
    with pytest.raises(Unavailable, match="own/krea-copy .*cannot be downloaded .* check the network"):
        get(manager, checkpoint)
