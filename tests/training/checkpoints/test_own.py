"""What mini-turbo makes, for its decoder to learn on."""

from __future__ import annotations

import torch

from krea_studio.recipe.aspect_ratios import size_of
from krea_studio.training import flow
from krea_studio.training.checkpoints import architecture, own, text


def test_its_runs_have_the_levels_of_the_pipeline():
    scheduler = architecture.scheduler()
    scheduler.set_timesteps(sigmas=[1 - k / 8 for k in range(8)], mu=own.TURBO_SHIFT)
    assert torch.allclose(
        scheduler.sigmas, torch.tensor(flow.noise_levels(own.TURBO_STEPS, own.TURBO_SHIFT)), atol=1e-6
    )


def test_a_run_lies_beside_its_picture_and_is_not_made_again(tmp_path, monkeypatch):
    monkeypatch.setattr(own, "PICTURES", 1)
    monkeypatch.setattr(own, "TURBO_STEPS", 2)
    monkeypatch.setattr(text, "encode", lambda *_: (torch.randn(1, 5, 3, 128), torch.ones(1, 5, dtype=torch.bool)))
    torch.manual_seed(0)
    model = architecture.transformer(layers=1)
    own.build(model, None, None, tmp_path, "cpu")
    (path,) = tmp_path.iterdir()
    saved = torch.load(path, weights_only=True)
    width, height = size_of("1:1", "1K")
    assert saved["picture"].shape == (height, width, 3) and saved["picture"].dtype == torch.uint8
    assert saved["latents"].shape == (6, height // 8, width // 8) and saved["latents"].isfinite().all()
    written = path.stat().st_mtime_ns
    own.build(model, None, None, tmp_path, "cpu")
    assert path.stat().st_mtime_ns == written
