from io import BytesIO

import numpy as np
import torch
from PIL import Image

from krea_studio.engine.base import ImageReady, Step
from krea_studio.engine.checkpoints.table import ASSETS, PREVIEW_FILE
from krea_studio.engine.pipeline import preview
from tests.engine.conftest import events_of, small_plan


def test_the_prediction_is_exact_for_a_straight_path():
    clean, noise = torch.randn(1, 6, 64), torch.randn(1, 6, 64)
    at = {sigma: (1 - sigma) * clean + sigma * noise for sigma in (1.0, 0.7, 0.2, 0.0)}
    for before, after in ((1.0, 0.7), (0.7, 0.2), (0.2, 0.0)):
        found = preview.predicted_clean(at[before], at[after], before, after)
        assert torch.allclose(found, clean, atol=1e-5)


def test_every_step_has_a_preview_and_the_last_one_is_near_the_picture(engine):
    resolved = small_plan(width=256, height=192, steps=4)
    events = events_of(engine, resolved)
    begun, *told = (event for event in events if isinstance(event, Step))
    assert begun == Step(0, 0, 4, embedded=True)
    steps = {event.step: event for event in told}
    assert list(steps) == [1, 2, 3, 4]
    previews = [Image.open(BytesIO(step.preview)) for step in steps.values()]
    assert {(image.format, image.size) for image in previews} == {("JPEG", (256 // 4, 192 // 4))}
    picture = next(event.image for event in events if isinstance(event, ImageReady))
    small = np.asarray(picture.resize(previews[0].size, Image.Resampling.BOX), float)

    def distance(image):
        return np.abs(np.asarray(image, float) - small).mean()

    blank = np.broadcast_to(small.mean((0, 1)), small.shape)
    assert distance(previews[-1]) < 0.6 * np.abs(blank - small).mean()


def test_a_map_beside_the_vae_is_used_when_it_fits(load, tmp_path):
    loaded = load("turbo")
    fitted = preview.fit(loaded.pipeline, loaded.decoder)
    changed = preview.PreviewMap(fitted.weight * 0.5)
    preview.save(changed, tmp_path)
    assert torch.equal(preview.load_or_fit(loaded.pipeline, loaded.decoder, tmp_path).weight, changed.weight)
    preview.save(preview.PreviewMap(torch.zeros(3, 12)), tmp_path)
    assert preview.load_or_fit(loaded.pipeline, loaded.decoder, tmp_path).weight.shape == fitted.weight.shape
    (tmp_path / PREVIEW_FILE).write_bytes(b"something else")
    assert preview.load_or_fit(loaded.pipeline, loaded.decoder, tmp_path).weight.equal(fitted.weight)


def test_fitting_is_the_same_every_time(load):
    loaded = load("turbo")
    again = preview.fit(loaded.pipeline, loaded.decoder)
    assert torch.equal(again.weight, preview.fit(loaded.pipeline, loaded.decoder).weight)


def test_the_embedded_checkpoints_come_with_the_map_that_would_be_fitted(load):
    loaded = load("turbo")
    shipped = torch.from_numpy(np.load(ASSETS / "mini-medium" / "vae" / PREVIEW_FILE))
    assert torch.allclose(shipped, preview.fit(loaded.pipeline, loaded.decoder).weight, atol=1e-3)
