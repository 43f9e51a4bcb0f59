"""The model side of the generative sliders: which mechanism serves each, and their values in force for one picture.

A checkpoint's own slider LoRA comes first; where there is none, the slider works as a direction in the text encoder.
What a slider needs is made ready before a run's first picture, so that a bad file is told before anything is drawn, and
is kept for later runs. A slider at 0 is not here at all: the shot does not name it.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence

from krea_studio.direction import sliders as meaning
from krea_studio.direction.sliders import SLIDER_LORA, TEXT_DIRECTION
from krea_studio.engine.base import Loading
from krea_studio.engine.checkpoints.manager import LoadedPipeline
from krea_studio.engine.checkpoints.table import Checkpoint
from krea_studio.engine.controls import adapters, slider_files, text_directions
from krea_studio.engine.controls.slider_files import SliderFile
from krea_studio.engine.controls.text_directions import Direction
from krea_studio.engine.pipeline.prompts import PromptEmbedding
from krea_studio.errors import Unavailable
from krea_studio.recipe.request import SLIDER_LIMIT, SLIDERS
from krea_studio.settings import Settings

CONTRASTS = 96
# How far value 100 moves a token along a text direction, as a share of the median token norm. Measured for the small
# world, where farther than this (intensity 1.5, the others 2) subjects are lost; a cautious guess for other encoders.
TEXT_SHARE = {"intensity": 0.2, "complexity": 0.2, "movement": 0.2}
SMALL_WORLD_TEXT_SHARE = {"intensity": 1.25, "complexity": 1.0, "movement": 1.0}


class Sliders:
    """The sliders of one device's pipelines. For one run at a time."""

    def __init__(self, settings: Settings, only: str | None = None) -> None:
        """`only` forces one mechanism, for comparisons."""
        self._settings = settings
        self._only = only
        self._directions: dict[Hashable, Direction] = {}

    def prepare(
        self,
        loaded: LoadedPipeline,
        wanted: Sequence[str],
        report: Callable[[Loading], None],
        check: Callable[[], None],
    ) -> dict[str, str]:
        """Make ready what the `wanted` sliders need; returns for each by what it works, with the data's identity.

        `report` and `check` as for the pipeline manager. Raises Unavailable for a slider LoRA that cannot be used.
        """
        names, loras = {}, []
        for slider in wanted:
            file = self._file(loaded.checkpoint, slider)
            if file is not None:
                adapters.ensure_loaded(loaded.pipeline, _adapter(file), file.path)
                loras.append(_adapter(file))
                names[slider] = f"{SLIDER_LORA} {file.identity}"
            else:
                names[slider] = f"{TEXT_DIRECTION} {self._find_direction(loaded, slider, report, check)}"
        # Only for all: which picture is drawn by a mix must not depend on what was drawn before it.
        if len(loras) == len(SLIDERS):
            adapters.ensure_mixed(loaded.pipeline, loras)
        return names

    def weights(self, loaded: LoadedPipeline, values: Mapping[str, int]) -> dict[str, float]:
        """The weights of the slider LoRAs' adapters for these values (−100…100)."""
        weights = {}
        for slider, value in values.items():
            file = self._file(loaded.checkpoint, slider)
            if file is not None:
                weights[_adapter(file)] = file.maximum_weight * value / SLIDER_LIMIT
        return weights

    def shifted(self, loaded: LoadedPipeline, text: PromptEmbedding, values: Mapping[str, int]) -> PromptEmbedding:
        """The prompt's embedding moved by those of these values (−100…100) that work as text directions."""
        shares = TEXT_SHARE if loaded.checkpoint.info.vocabulary is None else SMALL_WORLD_TEXT_SHARE
        moves = [
            (self._directions[loaded.encoder_identity, slider], shares[slider] * value / SLIDER_LIMIT)
            for slider, value in values.items()
            if self._file(loaded.checkpoint, slider) is None
        ]
        return text_directions.shifted(text, moves)

    def _file(self, checkpoint: Checkpoint, slider: str) -> SliderFile | None:
        if self._only == TEXT_DIRECTION:
            return None
        path = slider_files.find(checkpoint, slider, self._settings.sliders)
        if path is None:
            if self._only == SLIDER_LORA:
                raise Unavailable(f"{checkpoint.label} has no slider LoRA for {slider} — train one with train-slider")
            return None
        return slider_files.read(path, slider)

    def _find_direction(
        self,
        loaded: LoadedPipeline,
        slider: str,
        report: Callable[[Loading], None],
        check: Callable[[], None],
    ) -> str:
        contrasts = meaning.contrasts(slider, loaded.checkpoint.info.vocabulary, CONTRASTS)
        identity = f"{loaded.encoder_weights}-{text_directions.contrasts_hash(contrasts)}"
        key = loaded.encoder_identity, slider
        if key not in self._directions:
            self._directions[key] = text_directions.find(
                loaded.pipeline,
                contrasts,
                self._settings.cache / "text-directions" / f"{identity}-{slider}.safetensors",
                lambda fraction: report(Loading(f"{slider} in the text encoder", fraction)),
                check,
            )
            loaded.placed.settle()
        return identity


def _adapter(file: SliderFile) -> str:
    return f"slider_{file.slider}_{file.identity}"
