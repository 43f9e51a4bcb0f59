import json
from dataclasses import replace

import pytest
import torch

from krea_studio.engine.checkpoints.manager import PipelineManager
from krea_studio.engine.checkpoints.table import CHECKPOINTS, Checkpoint, resolve
from krea_studio.errors import Stopped, Unavailable
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


SPOILED = {
    "nothing in it": (spoil_nothing_here, "model_index.json"),
    "truncated weights": (truncate, FILE),
    "no weight file": (overwrite_header, "text_encoder"),
    "index that is no JSON": (lambda f: (f / "model_index.json").write_text("{"), "model_index.json"),
    "another pipeline": (lambda f: rewrite(f / "model_index.json", _class_name="FluxPipeline"), "FluxPipeline"),
    "another class": (lambda f: rewrite(f / "vae" / "config.json", _class_name="AutoencoderKL"), "AutoencoderKL"),
    "weights of another size": (lambda f: rewrite(f / "transformer" / "config.json", num_layers=9), "transformer"),
    "tokenizer that is no JSON": (lambda f: (f / "tokenizer" / "tokenizer.json").write_text("{"), "tokenizer"),
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
    with pytest.raises(Unavailable) as caught:
        get(manager, own(own_folder))
    assert named in caught.value.message and " — " in caught.value.message
    assert "\n" not in caught.value.message and len(caught.value.message) < 600
    assert get(manager, variant("turbo")) is kept


def test_a_blank_image_decoder_is_found(manager, own_folder):
    from safetensors.torch import load_file, save_file

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
    small = PipelineManager(budget)
    get(small, turbo), get(small, medium), get(small, turbo), get(small, large)
    rows, whole = small.status()
    assert [row.name for row in rows] == [turbo.name, large.name]
    assert whole <= budget


def test_what_is_too_large_is_refused_before_anything_leaves(manager):
    needed = sum(get(manager, variant("turbo")).sizes.values())
    small = PipelineManager(needed + 1000)
    kept = get(small, variant("turbo"))
    with pytest.raises(Unavailable, match="KREA_STUDIO_MEMORY_BUDGET_GB"):
        get(small, variant("large"))
    assert get(small, variant("turbo")) is kept


def test_loading_is_told_and_can_be_given_up(manager):
    fresh = PipelineManager(10**10)
    told = []
    get(fresh, variant("turbo"), told.append)
    fractions = [event.fraction for event in told]
    assert fractions[0] == 0 and fractions[-1] == 1 and fractions == sorted(fractions)
    assert all(event.what.startswith(variant("turbo").label) for event in told)

    def give_up():
        if told and "transformer" in told[-1].what:
            raise Stopped("enough")

    fresh, told = PipelineManager(10**10), []
    with pytest.raises(Stopped):
        get(fresh, variant("turbo"), told.append, give_up)
    assert fresh.status() == ((), 0)


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
        errors.LocalEntryNotFoundError("no connection"): "no connection.*check the network",
        OSError(28, "No space left on device"): "No space left",
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
    fresh = PipelineManager(10**10)
    turbo = replace(CHECKPOINTS["krea-2-turbo"])
    assert get(fresh, turbo).pipeline.vae is get(fresh, CHECKPOINTS["krea-2-raw"]).pipeline.vae
