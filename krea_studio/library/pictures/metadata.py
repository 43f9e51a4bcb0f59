"""The texts inside a PNG: the recipe for this studio, the settings line that other tools read, and the mark of origin.

Written are three international text chunks: `krea_studio` (the recipe as JSON), `parameters` (the line that
AUTOMATIC1111's web UI made a convention) and XMP with the IPTC digital source type of generated media. Reading treats
a file as hostile: it is never decoded as a picture, sizes are capped, and no path in it is followed.
"""

import io
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from PIL.Image import Image
from PIL.PngImagePlugin import PngInfo

from krea_studio import __version__
from krea_studio.errors import InvalidRequest, StorageError
from krea_studio.library.pictures.containers import png_texts
from krea_studio.recipe.recipe import Recipe
from krea_studio.recipe.sigmas import sigmas_text
from krea_studio.validation import shown

RECIPE_KEY = "krea_studio"
PARAMETERS_KEY = "parameters"
XMP_KEY = "XML:com.adobe.xmp"
PNG_COMPRESSION_LEVEL = 1
"""Level 1 takes two thirds of the time of the usual 6 for a file about a tenth larger."""

WANTED = "give a PNG that this studio made"
MAX_FILE_BYTES = 256 * 2**20
MAX_RECIPE_CHARACTERS = 256 * 2**10
MAX_RECIPE_BYTES = 4 * MAX_RECIPE_CHARACTERS  # the most that UTF-8 makes of them

GENERATED_MEDIA_XMP = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
    ' Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"/>'
    '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)


def png_bytes(image: Image, recipe: Recipe) -> bytes:
    """`image` as a PNG file that carries `recipe` and nothing of what `image.info` may hold."""
    texts = PngInfo()
    texts.add_itxt(PARAMETERS_KEY, parameters_text(recipe))
    texts.add_itxt(RECIPE_KEY, json.dumps(recipe.as_json(), ensure_ascii=False, allow_nan=False))
    texts.add_itxt(XMP_KEY, GENERATED_MEDIA_XMP)
    file = io.BytesIO()
    image.save(file, format="PNG", pnginfo=texts, compress_level=PNG_COMPRESSION_LEVEL)
    return file.getvalue()


def parameters_text(recipe: Recipe) -> str:
    """The settings as AUTOMATIC1111's `infotext`: prompt, negative prompt, and a last line of `name: value` pairs.

    The CFG scale there is the usual convention, `unconditional + cfg · (conditional − unconditional)`, so Krea's
    guidance g is written as `1 + g`, and 1 means that guidance is off.
    """
    lines = [recipe.conditioning_prompt]
    if recipe.negative_prompt:
        lines.append(f"Negative prompt: {recipe.negative_prompt}")
    pairs = {
        "Steps": recipe.steps,
        "Sampler": "Euler",
        **({"Sigmas": sigmas_text(recipe.sigmas)} if recipe.sigmas else {}),
        "CFG scale": f"{1 + recipe.guidance_scale:g}",
        "Seed": recipe.seed,
        "Size": f"{recipe.width}x{recipe.height}",
        "Model": recipe.checkpoint,
        **{slider.capitalize(): value for slider, value in recipe.sliders.items()},
        "Version": f"Krea Studio {__version__}",
    }
    lines.append(", ".join(f"{name}: {_quoted(value)}" for name, value in pairs.items()))
    return "\n".join(lines)


def _quoted(value: object) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if any(c in text for c in ',:\n"') else text


def read_recipe(path: Path | str, name: str | None = None) -> Recipe:
    """The recipe inside a PNG that this studio wrote, or one before it. A refusal calls it `name`, or else its path.

    Raises InvalidRequest for a file that is missing, is no PNG, or holds no usable recipe, StorageError where the file
    cannot be read.
    """
    name = str(path) if name is None else name
    with opened(path, name, WANTED) as file:
        recipe = recipe_in(file, name)
    if recipe is None:
        raise InvalidRequest(f"{name} holds no recipe — {WANTED}, unchanged by other tools")
    return recipe


def recipe_in(file: BinaryIO, name: str, wanted: str = WANTED) -> Recipe | None:
    """The recipe inside a PNG, wherever other tools moved it; None where there is none.

    Raises InvalidRequest, which calls the file `name`, where the recipe is unusable, and where the file is no PNG or a
    damaged one; `wanted` says what to give instead.
    """
    value = json_in(file, RECIPE_KEY, name, wanted)
    if value is None:
        return None
    if not isinstance(value, dict):
        raise InvalidRequest(f"{name} holds {shown(value)} instead of a recipe — it was changed; use the original")
    try:
        return Recipe.from_json(value)
    except InvalidRequest as error:
        raise InvalidRequest(f"{name}: {error.message}") from None


def json_in(file: BinaryIO, key: str, name: str, wanted: str = WANTED) -> Any:
    """What the studio keeps under a key in a PNG, wherever other tools moved it; None where there is no such key.

    Raises InvalidRequest, which calls the file `name`, where it is no JSON, and where the file is no PNG or a damaged
    one; `wanted` says what to give instead.
    """
    try:
        _, text = next(png_texts(file, (key,), MAX_RECIPE_BYTES), (key, None))
    except ValueError:
        raise InvalidRequest(f"{name} is not a PNG, or a damaged one — {wanted}") from None
    if text is None:
        return None
    if len(text) > MAX_RECIPE_CHARACTERS:
        raise InvalidRequest(
            f"{name} holds a recipe of {len(text):,} characters — this studio reads at most {MAX_RECIPE_CHARACTERS:,}"
        )
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise InvalidRequest(
            f"{name} holds a recipe that is not valid JSON — it was changed; use the original"
        ) from None


@contextmanager
def opened(path: Path | str, name: str, wanted: str) -> Iterator[BinaryIO]:
    """A picture file of at most MAX_FILE_BYTES that a person named; `wanted` says what to give (`give a PNG …`).

    Raises InvalidRequest, which calls it `name`, where there is no such file, StorageError where it cannot be read.
    """
    try:
        found = _status(path)
        # Opening a pipe would wait for whoever writes into it.
        if not stat.S_ISREG(found.st_mode):
            kind = "a folder" if stat.S_ISDIR(found.st_mode) else "not a plain file"
            raise InvalidRequest(f"{name} is {kind} — {wanted}")
        if found.st_size > MAX_FILE_BYTES:
            raise InvalidRequest(f"{name} has {found.st_size:,} bytes — give a picture of at most {MAX_FILE_BYTES:,}")
        with open(path, "rb") as file:
            yield file
    except (FileNotFoundError, NotADirectoryError):
        raise InvalidRequest(f"{name} does not exist — {wanted}") from None
    except OSError as error:
        raise StorageError(f"{name} cannot be read ({error.strerror}) — check the file and its permissions") from None


def _status(path: Path | str) -> os.stat_result:
    try:
        return os.stat(path)
    except ValueError:
        # A path with a NUL or half of a surrogate pair.
        raise FileNotFoundError from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
