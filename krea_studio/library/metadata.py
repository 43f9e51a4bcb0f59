"""The texts inside a PNG: the recipe for this studio, the settings line that other tools read, and the mark of origin.

Written are three international text chunks: `krea_studio` (the recipe as JSON), `parameters` (the line that
AUTOMATIC1111's web UI made a convention) and XMP with the IPTC digital source type of generated media. Reading treats
a file as hostile: it is never decoded as a picture, sizes are capped, and no path in it is followed.
"""

import io
import json
from pathlib import Path
from typing import BinaryIO, NoReturn

from PIL.Image import Image
from PIL.PngImagePlugin import PngInfo

from krea_studio import __version__
from krea_studio.errors import InvalidRequest, StorageError
from krea_studio.library.containers import TEXT_CHUNKS, png_chunk_data, png_chunks, png_text
from krea_studio.recipe.recipe import Recipe
from krea_studio.recipe.sigmas import sigmas_text
from krea_studio.validation import shown

RECIPE_KEY = "krea_studio"
PARAMETERS_KEY = "parameters"
XMP_KEY = "XML:com.adobe.xmp"
PNG_COMPRESSION_LEVEL = 1
"""Level 1 takes two thirds of the time of the usual 6 for a file about a tenth larger."""

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
    path = Path(path)
    name = str(path) if name is None else name
    try:
        value = json.loads(_recipe_text(path, name), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise InvalidRequest(
            f"{name} holds a recipe that is not valid JSON — it was changed; use the original"
        ) from None
    if not isinstance(value, dict):
        raise InvalidRequest(f"{name} holds {shown(value)} instead of a recipe — it was changed; use the original")
    try:
        return Recipe.from_json(value)
    except InvalidRequest as error:
        raise InvalidRequest(f"{name}: {error.message}") from None


def _recipe_text(path: Path, name: str) -> str:
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise InvalidRequest(f"{name} has {size:,} bytes — give a picture of at most {MAX_FILE_BYTES:,}")
        with path.open("rb") as file:
            text = _text_in(file)
    except (FileNotFoundError, NotADirectoryError):
        raise InvalidRequest(f"{name} does not exist — give a PNG that this studio made") from None
    except IsADirectoryError:
        raise InvalidRequest(f"{name} is a folder — give a PNG that this studio made") from None
    except OSError as error:
        raise StorageError(f"{name} cannot be read ({error.strerror}) — check the file and its permissions") from None
    except ValueError:
        raise InvalidRequest(f"{name} is not a PNG, or a damaged one — give a PNG that this studio made") from None
    if text is None:
        raise InvalidRequest(f"{name} holds no recipe — give a PNG that this studio made, unchanged by other tools")
    if len(text) > MAX_RECIPE_CHARACTERS:
        raise InvalidRequest(
            f"{name} holds a recipe of {len(text):,} characters — this studio reads at most {MAX_RECIPE_CHARACTERS:,}"
        )
    return text


def _text_in(file: BinaryIO) -> str | None:
    """The recipe's text in a PNG, wherever other tools moved it; None where there is none.

    Other chunks are stepped over, whatever they hold. Raises ValueError for a file that is no PNG, or a damaged one.
    """
    key, last = RECIPE_KEY.encode() + b"\0", b""
    for kind, place, length in png_chunks(file):
        last = kind
        if kind not in TEXT_CHUNKS or file.read(len(key)) != key:
            continue
        data = png_chunk_data(file, kind, place, length)
        if data is None:
            raise ValueError("a recipe with a wrong check sum")
        return png_text(kind, data, MAX_RECIPE_BYTES)[1]
    if last != b"IEND":
        raise ValueError("a PNG without its end")
    return None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
