"""The pictures that a shot attends to, on the model's side: read, encoded once, and captured within a byte budget.

How they are attended to is `reference_attention`'s part. What is kept here can always be computed again; a picture
does not depend on what was kept.
"""

import io
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from PIL import Image

from krea_studio.direction.references import AttendedPicture, attended_pictures
from krea_studio.engine.cache import ByteCache
from krea_studio.engine.checkpoints.manager import LoadedPipeline
from krea_studio.engine.controls.reference_attention import Capture, Preset, Reference, attending
from krea_studio.engine.pipeline.prompts import PromptEmbedding
from krea_studio.engine.pipeline.single_frame import SingleFrameEncoder
from krea_studio.errors import Unavailable
from krea_studio.recipe.recipe import Shot

LATENT_BYTES = 64 * 2**20
BOARD_PIXELS = 384 * 384  # a moodboard's pictures are read smaller, since there are more of them
# A board's pictures together keep as many tokens as this many of them have, and attract as much attention: less, and a
# board of different pictures would give its look more weakly than the best one of them.
BOARD_TOKENS = 2


@dataclass(frozen=True)
class Encoded:
    """A picture's packed, normalised latents (1, rows · columns, channels)."""

    latents: torch.Tensor
    rows: int
    columns: int

    @property
    def bytes(self) -> int:
        return self.latents.nbytes


USUAL_PRESET = Preset()


class References:
    """What was read of references by one device's pipelines. For one run at a time."""

    def __init__(self, budget_bytes: int, preset: Preset = USUAL_PRESET) -> None:
        self.preset = preset
        self.seconds = 0.0  # that the present run, or the latest one with any, spent on encoding and capturing
        self._captures: ByteCache[Capture] = ByteCache(budget_bytes)
        self._latents: ByteCache[Encoded] = ByteCache(LATENT_BYTES)
        self._encoders: dict[Hashable, SingleFrameEncoder] = {}

    @property
    def size_bytes(self) -> int:
        """Of the captures that are kept."""
        return self._captures.bytes

    def forget(self) -> None:
        """Forget what was read, for comparisons."""
        self._captures.clear()
        self._latents.clear()

    def new_run(self) -> None:
        """A run with references begins: count its seconds."""
        self.seconds = 0.0

    @contextmanager
    def applied(
        self,
        loaded: LoadedPipeline,
        shot: Shot,
        read: Callable[[str], bytes],
        neutral: PromptEmbedding,
        check: Callable[[], None],
    ) -> Iterator[None]:
        """The pipeline attends to the shot's references while the context lasts; with none, nothing at all.

        `read` gives the PNG of one by its id, `neutral` the embedding of the empty prompt; `check` is called between
        captures and may raise.
        """
        wanted = attended_pictures(shot)
        if not wanted:
            yield
            return
        for cache in (self._captures, self._latents):
            cache.new_round()
        of_board = sum(each.of_board for each in wanted)
        references = [self._reference(loaded, each, read, neutral, of_board) for each in wanted]
        preset = self.preset.under(shot.guidance_scale)
        with attending(
            loaded.pipeline.transformer, references, neutral, shot.steps, self._captures, check, preset, self._spent
        ):
            yield

    def _spent(self, seconds: float) -> None:
        self.seconds += seconds

    def _reference(
        self,
        loaded: LoadedPipeline,
        wanted: AttendedPicture,
        read: Callable[[str], bytes],
        neutral: PromptEmbedding,
        of_board: int,
    ) -> Reference:
        started = time.perf_counter()
        place = loaded.parts["vae"].identity, loaded.pipeline.patch_size, wanted.image, wanted.of_board
        encoded = self._latents.get(place, lambda: self._encoded(loaded, read(wanted.image), wanted.of_board))
        kept, times = None, 1
        if wanted.of_board:
            times = min(of_board, BOARD_TOKENS)
            kept = max(1, round(times * encoded.latents.shape[1] / of_board))
        self._spent(time.perf_counter() - started)
        return Reference(
            identity=_identity(loaded, place, neutral),
            latents=encoded.latents,
            rows=encoded.rows,
            columns=encoded.columns,
            strength=wanted.strength,
            kept_tokens=kept,
            times=times,
        )

    def _encoded(self, loaded: LoadedPipeline, png: bytes, of_board: bool) -> Encoded:
        vae = loaded.parts["vae"].identity
        if vae not in self._encoders:
            # One at a time: it is small beside the checkpoint, but not nothing.
            self._encoders = {vae: SingleFrameEncoder(loaded.pipeline.vae).to(loaded.decoder.mean.device)}
        return _encode(loaded, self._encoders[vae], png, of_board)


def _identity(loaded: LoadedPipeline, place: Hashable, neutral: PromptEmbedding) -> Hashable:
    """All that a capture depends on beside the noise level."""
    return loaded.parts["transformer"].identity, loaded.encoder_identity, neutral.values.shape[1], place


def _encode(loaded: LoadedPipeline, encoder: SingleFrameEncoder, png: bytes, of_board: bool) -> Encoded:
    patch = loaded.pipeline.patch_size
    token_px = loaded.pipeline.vae_scale_factor * patch
    with Image.open(io.BytesIO(png), formats=("PNG",)) as opened:
        picture = _sized(opened.convert("RGB"), BOARD_PIXELS if of_board else None, token_px)
    latents = encoder(picture).to(loaded.pipeline.transformer.dtype)
    if not latents.isfinite().all():
        raise Unavailable(
            f"{loaded.checkpoint.label} reads a reference as values that are no numbers in {encoder.mean.dtype} — set "
            "KREA_STUDIO_PRECISION to bfloat16 or float32"
        )
    rows, columns = (side // patch for side in latents.shape[-2:])
    return Encoded(loaded.pipeline._pack_latents(latents, *latents.shape), rows, columns)


def _sized(picture: Image.Image, most_pixels: int | None, step_px: int) -> Image.Image:
    """With sides that are multiples of a token's, and no more pixels than `most_pixels`."""
    factor = 1.0 if most_pixels is None else min(1.0, (most_pixels / (picture.width * picture.height)) ** 0.5)
    width, height = (max(1, int(side * factor / step_px + 1e-6)) * step_px for side in picture.size)
    return picture if (width, height) == picture.size else picture.resize((width, height), Image.Resampling.LANCZOS)
