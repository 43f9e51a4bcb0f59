"""Drawing the shots of a plan with a stock pipeline: the torch side of the local engine.

One generator per image, on the CPU whatever the device, so that a seed is a picture: image k of a batch equals the same
seed alone. The shots go through the stock `Krea2Pipeline.__call__` one after another. To stop, the step callback
raises; the pipeline's own `_interrupt` would still decode. Whatever ends a run, the pipeline is the stock one after it.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import Krea2Pipeline
from PIL import Image

from krea_studio.direction.references import MECHANISM, attended_pictures, board_words
from krea_studio.engine.base import Chat, Event, Files, ImageReady, MemoryPlan, Step
from krea_studio.engine.checkpoints.activations import Run
from krea_studio.engine.checkpoints.device import choose_device, choose_precision, room
from krea_studio.engine.checkpoints.manager import LoadedPipeline, PipelineManager
from krea_studio.engine.checkpoints.memory import GIGABYTE
from krea_studio.engine.checkpoints.parts import token_counter
from krea_studio.engine.checkpoints.table import Checkpoint, supplier
from krea_studio.engine.controls import adapters, styles
from krea_studio.engine.controls.references import References
from krea_studio.engine.controls.sliders import Sliders
from krea_studio.engine.controls.styles import Styles
from krea_studio.engine.local.writing import write
from krea_studio.engine.pipeline.compilation import Compilation
from krea_studio.engine.pipeline.preview import predicted_clean
from krea_studio.engine.pipeline.prompts import (
    PromptCache,
    PromptEmbedding,
    count_tokens,
    require_fitting,
    token_limit,
    with_words,
)
from krea_studio.engine.pipeline.savings import Savings, applied
from krea_studio.engine.pipeline.sigmas import stock_sigmas
from krea_studio.errors import InvalidRequest, Unavailable
from krea_studio.licence import Licence
from krea_studio.recipe.plan import GenerationPlan
from krea_studio.recipe.recipe import Shot
from krea_studio.settings import Settings


class Drawing:
    """The loaded models of one device, what draws with them and asks them. For one run at a time."""

    def __init__(self, settings: Settings, savings: Savings | None = None, mechanism: str | None = None) -> None:
        """`savings` overrules the setting `exact_savings`, `mechanism` how sliders work, both for measurements.

        Raises Unavailable without the device.
        """
        if savings is None:
            savings = Savings() if settings.exact_savings else Savings.none()
        self.savings = savings
        self.previews = settings.previews
        self.device = choose_device(settings.device)
        self.precision = choose_precision(settings.precision, self.device)
        self.manager = PipelineManager(room(settings.memory_budget_gb, self.device), Licence(settings.library))
        self.sliders = Sliders(settings, mechanism)
        self.references = References(round(settings.reference_cache_gb * GIGABYTE))
        self.styles = Styles(round(settings.style_cache_gb * GIGABYTE))
        self.compilation = Compilation(settings.compile, self.device, self.precision)
        self._prompts = PromptCache()
        self._counters: dict[str, Krea2Pipeline] = {}

    def memory_plan(self, checkpoint: Checkpoint) -> MemoryPlan:
        """See Engine.memory_plan. Raises Unavailable for what cannot be read."""
        return self.manager.plan(checkpoint, self.precision)

    def draw(
        self,
        checkpoint: Checkpoint,
        plan: GenerationPlan,
        tell: Callable[[Event], None],
        check: Callable[[], None],
        files: Files,
    ) -> None:
        """Draw the plan's shots one after another, and `tell` of each as it begins, goes on and is finished.

        `files` is asked for what is not in memory.

        Raises InvalidRequest before the first one when any of them cannot be drawn as asked, Unavailable when the
        checkpoint cannot be loaded or memory runs out, and what `check` raises when the run is to end.
        """
        shots = plan.shots
        with _memory_errors():
            loaded = self.manager.get(checkpoint, self.precision, self.device, tell, check, _run_of(shots))
            for shot in shots:
                require_drawable(loaded, shot)
            wanted = dict.fromkeys(slider for shot in shots for slider in shot.sliders)
            mechanisms = self.sliders.prepare(loaded, tuple(wanted), tell, check)
            names = {
                each.identity: each.name for shot in shots for each in shot.styles if each.identity and each.weight
            }
            self.styles.prepare(loaded, names, files.style)
            if any(map(attended_pictures, shots)):
                self.references.new_run()
            for place, shot in enumerate(shots):
                tell(Step(place, 0, shot.steps, embedded=checkpoint.embedded))
                started = time.perf_counter()
                image = self.picture(loaded, shot, files.picture, place, tell, check)
                seconds = time.perf_counter() - started
                recipe = shot.recipe(
                    checkpoint.name,
                    weights=loaded.weights,
                    slider_mechanisms={slider: mechanisms[slider] for slider in shot.sliders},
                    reference_mechanism=MECHANISM if attended_pictures(shot) else None,
                )
                tell(ImageReady(place, image, seconds, recipe))

    def picture(
        self,
        loaded: LoadedPipeline,
        shot: Shot,
        read: Callable[[str], bytes],
        place: int = 0,
        tell: Callable[[Event], None] = lambda event: None,
        check: Callable[[], None] = lambda: None,
    ) -> Image.Image:
        """One shot's picture. Its sliders and styles must be prepared.

        `read` gives the PNG of a picture that the shot refers to. After each step `check` is called, which may
        raise to stop, and a Step of shot `place` is told.
        """
        pipeline = loaded.pipeline
        try:
            toward, away, share = board_words(shot, loaded.checkpoint.info.vocabulary)
            text = self._embedding(loaded, shot.conditioning_prompt, toward, share)
            text = self.sliders.shifted(loaded, text, shot.sliders)
            arguments = {"prompt_embeds": text.values, "prompt_embeds_mask": text.mask}
            if shot.guidance_scale > 0:
                negative = self._embedding(loaded, shot.negative_prompt, away, share)
                arguments |= {"negative_prompt_embeds": negative.values, "negative_prompt_embeds_mask": negative.mask}
            if shot.sigmas:
                arguments["sigmas"] = stock_sigmas(pipeline, shot.sigmas, shot.width, shot.height)
            neutral = self._embedding(loaded, "") if attended_pictures(shot) else text
            loaded.placed.settle()
            latents = pipeline.prepare_latents(
                1,
                loaded.pipeline.vae.config.z_dim,
                shot.height,
                shot.width,
                text.values.dtype,
                text.values.device,
                torch.Generator("cpu").manual_seed(shot.seed),
            )
            with (
                applied(pipeline.transformer, self.savings, self.compilation.steps(pipeline.transformer)),
                adapters.weighted(
                    pipeline.transformer, self.sliders.weights(loaded, shot.sliders), styles.weights(shot.style_weights)
                ),
                self.references.applied(loaded, shot, read, neutral, check),
            ):
                (made,) = pipeline(
                    **arguments,
                    latents=latents,
                    width=shot.width,
                    height=shot.height,
                    num_inference_steps=shot.steps,
                    guidance_scale=shot.guidance_scale,
                    callback_on_step_end=self._after_step(loaded, shot, latents, place, tell, check),
                    output_type="latent" if self.savings.single_frame else "pil",
                    return_dict=False,
                )
        except BaseException:
            # Stopped in the middle, a model that came for a while is still on the device.
            loaded.placed.settle()
            raise
        self.compilation.drawn(pipeline.transformer)
        if not self.savings.single_frame:
            return made[0]
        if not made.isfinite().all():
            raise Unavailable(
                f"{loaded.checkpoint.label} computed values that are no numbers in {self.precision} — set "
                "KREA_STUDIO_PRECISION to bfloat16 or float32"
            )
        latents = pipeline._unpack_latents(made, shot.height, shot.width)[:, :, 0]
        return loaded.decoder.picture(latents, loaded.plan.tiled)

    def write(self, checkpoint: Checkpoint, chat: Chat, check: Callable[[], None]) -> str:
        """The answer of the checkpoint's language model, as `writing.write` gives it. Raises Unavailable."""
        with _memory_errors():
            loaded = self.manager.get(checkpoint, self.precision, self.device, lambda event: None, check)
            if not (loaded.encoder.sees if chat.pictures else loaded.encoder.writes):
                ability = "sees" if chat.pictures else "writes"
                raise Unavailable(
                    f"{checkpoint.label} has no language model that {ability} — choose another checkpoint"
                )
            with loaded.placed.reading() as device:
                return write(loaded.pipeline, device, chat, check)

    def count_tokens(self, checkpoint: Checkpoint, text: str) -> tuple[int, int]:
        """The tokens of a prompt, and how many the checkpoint reads at most. Reads its tokenizer at the first time."""
        holder = supplier(checkpoint, "tokenizer")
        if holder.source not in self._counters:
            self._counters[holder.source] = token_counter(holder)
        pipeline = self._counters[holder.source]
        return count_tokens(pipeline, text), token_limit(pipeline)

    def _embedding(self, loaded: LoadedPipeline, text: str, words: str = "", share: float = 0.0) -> PromptEmbedding:
        trimmed = self.savings.trimmed_text
        return self._prompts.embedding(loaded.pipeline, loaded.encoder_identity, text, trimmed, words, share)

    def _after_step(
        self,
        loaded: LoadedPipeline,
        shot: Shot,
        latents: torch.Tensor,
        place: int,
        tell: Callable[[Event], None],
        check: Callable[[], None],
    ) -> Any:
        """The pipeline's callback: `check` whether to go on, and `tell` of the step."""
        token_px = loaded.pipeline.vae_scale_factor * loaded.pipeline.patch_size
        rows, columns = shot.height // token_px, shot.width // token_px

        def after_step(pipeline: Krea2Pipeline, index: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            nonlocal latents
            check()
            preview = None
            if self.previews:
                sigma, next_sigma = pipeline.scheduler.sigmas[index : index + 2].tolist()
                clean = predicted_clean(latents, tensors["latents"], sigma, next_sigma)
                preview = loaded.preview.jpeg(clean, rows, columns)
            latents = tensors["latents"]
            tell(Step(place, index + 1, shot.steps, preview, loaded.checkpoint.embedded))
            return {}

        return after_step


def _run_of(shots: Sequence[Shot]) -> Run:
    """What the shots of a plan need at most."""
    seen = [attended_pictures(shot) for shot in shots]
    references = (sum(not each.of_board for each in some) + any(each.of_board for each in some) for some in seen)
    largest = max(shots, key=lambda shot: shot.width * shot.height)
    return Run(largest.width, largest.height, max(references))


def require_drawable(loaded: LoadedPipeline, shot: Shot) -> None:
    """Raise InvalidRequest for a size that it would round, a prompt that it would cut, sigmas that it would bend."""
    pipeline = loaded.pipeline
    multiple = pipeline.vae_scale_factor * pipeline.patch_size
    if shot.width % multiple or shot.height % multiple:
        raise InvalidRequest(
            f"The size is {shot.width} × {shot.height} — give sides that are multiples of {multiple} pixels"
        )
    if shot.sigmas:
        stock_sigmas(pipeline, shot.sigmas, shot.width, shot.height)
    require_fitting(pipeline, shot.conditioning_prompt, "The prompt")
    if shot.guidance_scale > 0:
        require_fitting(pipeline, shot.negative_prompt, "The negative prompt")
    toward, away, _ = board_words(shot, loaded.checkpoint.info.vocabulary)
    name = "with the moodboard's words"
    if toward:
        require_fitting(pipeline, with_words(toward, shot.conditioning_prompt), f"The prompt {name}")
    if away and shot.guidance_scale > 0:
        require_fitting(pipeline, with_words(away, shot.negative_prompt), f"The negative prompt {name}")


@contextmanager
def _memory_errors() -> Iterator[None]:
    """Turn running out of memory, of whichever kind, into Unavailable with advice."""
    advice = "choose a smaller size or a smaller checkpoint, or lower KREA_STUDIO_MEMORY_BUDGET_GB"
    try:
        yield
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        raise Unavailable(f"The device ran out of memory — {advice}") from None
    except MemoryError:
        raise Unavailable(f"The machine ran out of memory — {advice}") from None
    except RuntimeError as error:
        if "DefaultCPUAllocator" not in str(error):
            raise
        raise Unavailable(f"The machine ran out of memory — {advice}") from None
