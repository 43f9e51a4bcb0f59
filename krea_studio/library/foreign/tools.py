"""The tools whose pictures bring their settings along, in the order in which they are asked, and how a file is read.

The studio's own recipe comes first. A picture may carry the texts of several tools: a graph of ComfyUI stands beside
what one of its nodes wrote in AUTOMATIC1111's way, which says outright what the graph has to be searched for.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from krea_studio.errors import InvalidRequest
from krea_studio.library.foreign import comfyui, infotext, objects
from krea_studio.library.foreign.settings import Settings, read_object
from krea_studio.library.foreign.texts import CARRIERS, Texts
from krea_studio.library.foreign.translation import Translation, translated
from krea_studio.library.pictures.metadata import opened, recipe_in
from krea_studio.recipe.recipe import Recipe

KINDS = f"{', '.join(each.name for each in CARRIERS[:-1])} or {CARRIERS[-1].name}"
WANTED = f"give a {KINDS} picture as its tool saved it"


@dataclass(frozen=True)
class Tool:
    """A tool, or a family: its name, where it writes its settings, and how they are read.

    `read` gives the name of the very tool and its settings; None for a picture that has none of its texts.
    """

    name: str
    written: str
    read: Callable[[Texts], tuple[str, Settings] | None]


TOOLS = (
    Tool("InvokeAI", "`invokeai_metadata`; up to 2.3 `sd-metadata`", objects.read_invokeai),
    Tool("SwarmUI", "`sui_image_params` in `parameters` or in EXIF's UserComment", objects.read_swarmui),
    Tool(
        "Fooocus and RuinedFooocus",
        "`parameters` as JSON or as text, by `fooocus_scheme`; EXIF's UserComment by its MakerNote",
        objects.read_fooocus,
    ),
    Tool("NovelAI", "`Comment`, where `Software` names it", objects.read_novelai),
    Tool(
        "AUTOMATIC1111, Forge, reForge, SD.Next and others",
        "`parameters` as text, or EXIF's UserComment",
        infotext.read,
    ),
    Tool(
        "ComfyUI", "the graph in `prompt`, or else the one in `workflow`; in WebP EXIF's Model and Make", comfyui.read
    ),
)


@dataclass(frozen=True)
class ForeignPicture:
    """What a picture of another tool says of how it was made, and what that is here."""

    tool: str
    settings: Settings
    translation: Translation


def read_picture(path: Path | str, name: str | None = None) -> Recipe | ForeignPicture:
    """The recipe in a picture that this studio made, or what another tool wrote in it; refusals call the file `name`.

    Raises InvalidRequest for a file that is missing, of another kind, damaged, or without settings that are known,
    StorageError where it cannot be read.
    """
    name = str(path) if name is None else name
    with opened(path, name, WANTED) as file:
        head = file.read(16)
        file.seek(0)
        carrier = next((each for each in CARRIERS if each.beginning.match(head)), None)
        if carrier is None:
            raise InvalidRequest(f"{name} is no {KINDS} — {WANTED}")
        if carrier.name == "PNG":
            recipe = recipe_in(file, name, WANTED)
            if recipe is not None:
                return recipe
            file.seek(0)
        try:
            texts = carrier.texts(file)
        except ValueError as error:
            raise InvalidRequest(f"{name} cannot be read ({error}) — {WANTED}") from None
    found = next((found for tool in TOOLS if (found := tool.read(texts))), None)
    if found is None:
        raise _nothing_known(name, texts)
    tool, settings = found
    if not settings.known:
        raise InvalidRequest(f"{name} was made by {tool}, but nothing of use can be read: {'. '.join(settings.notes)}")
    return ForeignPicture(tool, settings, translated(settings))


def _nothing_known(name: str, texts: Texts) -> InvalidRequest:
    broken = [key for key, text in texts.items() if text.lstrip().startswith("{") and read_object(text) is None]
    if broken:
        return InvalidRequest(
            f"{name} holds a text {broken[0]!r} that is not valid JSON — it was changed; use the original"
        )
    return InvalidRequest(f"{name} holds no settings that are known here — {WANTED}, unchanged by others")
