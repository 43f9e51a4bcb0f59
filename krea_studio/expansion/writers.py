"""Which writer expands the prompts of a variant: the setting's, or else what is there.

A phrasebook is always there. It speaks the words of an embedded checkpoint, and plain English for any other one. A
checkpoint whose text encoder writes needs nothing else; an endpoint is used where one is set up.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from krea_studio.engine.base import Chat, Engine, LanguageModel
from krea_studio.errors import InvalidRequest, Unavailable
from krea_studio.expansion.chat_server import Endpoint
from krea_studio.expansion.creativity import ENDPOINT, PHRASEBOOK, TEXT_ENCODER, Expander, asking
from krea_studio.expansion.phrasebook import Phrasebook
from krea_studio.settings import Settings, environment_variable


@dataclass(frozen=True)
class ResidentWriter:
    """The language model in the checkpoint that runs `variant`, as an Expander."""

    language_model: LanguageModel
    variant: str
    model: str
    timeout_seconds: float
    writer: str = TEXT_ENCODER

    def write(
        self,
        prompt: str,
        level: str,
        seed: int,
        check: Callable[[], None],
        again: bool = False,
        fits: Callable[[str], bool] = lambda text: True,
    ) -> str:
        """See Expander.write. Waits for its turn as a run does; its time begins when it writes.

        Never raises Unfinished: an answer that reaches Chat's limit is longer than an expansion may be, and is cut.
        """
        asked = asking(prompt, level, seed, again)
        chat = Chat(
            asked.message,
            system=asked.instruction,
            temperature=asked.temperature,
            top_p=asked.top_p,
            seed=seed,
            timeout_seconds=self.timeout_seconds,
        )
        return self.language_model.write(self.variant, chat, check)


class ForOneRun:
    """An Expander for the pictures of one run: what could not be reached for one of them is not asked again."""

    def __init__(self, expander: Expander) -> None:
        self.writer, self.model = expander.writer, expander.model
        self._expander = expander
        self._unavailable: Unavailable | None = None

    def write(
        self,
        prompt: str,
        level: str,
        seed: int,
        check: Callable[[], None],
        again: bool = False,
        fits: Callable[[str], bool] = lambda text: True,
    ) -> str:
        """See Expander.write."""
        if self._unavailable:
            raise self._unavailable
        try:
            return self._expander.write(prompt, level, seed, check, again, fits)
        except Unavailable as error:
            self._unavailable = error
            raise


class Expanders:
    """The writers of one studio."""

    def __init__(self, settings: Settings, engine: Engine, language_model: LanguageModel) -> None:
        self._settings = settings
        self._engine = engine
        self._language_model = language_model

    def of(self, variant: str) -> Expander:
        """Who expands the prompts of `variant`. Raises Unavailable where the setting names one that is not there."""
        chosen, resident = self._settings.expander, self._language_model.writer(variant)
        if chosen == ENDPOINT or (chosen == "auto" and self._settings.expander_url):
            return self._endpoint
        if chosen == TEXT_ENCODER and resident is None:
            label = self._engine.checkpoint_of(variant).label
            raise Unavailable(
                f"The text encoder of {label} cannot write, or is not on this machine — set KREA_STUDIO_EXPANDER to "
                f"auto, {PHRASEBOOK} or {ENDPOINT}"
            )
        if chosen in (TEXT_ENCODER, "auto") and resident is not None:
            timeout_seconds = self._settings.expander_timeout_seconds
            return ResidentWriter(self._language_model, variant, resident, timeout_seconds)
        return Phrasebook(self._engine.checkpoint_of(variant).vocabulary)

    @cached_property
    def _endpoint(self) -> Endpoint:
        """One for all runs, since it learns what the server takes."""
        settings = self._settings
        if not settings.expander_url:
            raise InvalidRequest(
                f"The expander is {ENDPOINT}, but no address is set — set {environment_variable('expander_url')}"
            )
        return Endpoint(
            settings.expander_url,
            settings.expander_model,
            settings.expander_key,
            settings.expander_timeout_seconds,
            settings.expander_thinking_tokens,
        )
