"""The page's public endpoints for the Gradio clients, plain HTTP and agents: `generate`, `add_reference`, `inspect`.

The parameters of `generate`, their defaults and its documentation are made from the fields of GenerationRequest.
Everything else that the page can do is private to it.
"""

import inspect
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from krea_studio.errors import InvalidRequest, StorageError, StudioError, Unavailable
from krea_studio.library.pictures.formats import KINDS
from krea_studio.library.pictures.metadata import read_recipe
from krea_studio.library.records import Record
from krea_studio.recipe.request import GenerationRequest, default, help_text, parse_request
from krea_studio.redrawing import differences
from krea_studio.runs.run import State
from krea_studio.runs.shares import Thing
from krea_studio.services import Services
from krea_studio.ui.visitors import Visitors
from krea_studio.validation import shown, without_folders

logger = logging.getLogger(__name__)

Pictures = list[dict[str, Any]]
NEWS_SECONDS = 0.5
UPLOAD_IT = 'upload a picture, and give {"path": what the upload answers, "meta": {"_type": "gradio.FileData"}}'
# The names of each endpoint's values, in their order.
ENDPOINTS = {"generate": tuple(GenerationRequest.model_fields), "add_reference": ("image",), "inspect": ("image",)}


def add_endpoints(services: Services, visitors: Visitors) -> None:
    """Add `/generate`, `/add_reference` and `/inspect` to the Blocks that is being built."""
    gr.api(
        generate_function(services, visitors),
        api_name="generate",
        concurrency_limit=services.settings.queue_size,
    )
    # A file's component and not a type of `gr.api`: only the former refuses a path that was not uploaded.
    for function, answer in (
        (reference_function(services, visitors), gr.Textbox(label="Its id", visible=False)),
        (inspect_function(services), gr.JSON(label="Its recipe", visible=False)),
    ):
        gr.on(
            [gr.Button(visible=False).click],
            function,
            gr.File(label="Picture", visible=False),
            answer,
            api_name=function.__name__,
            queue=False,
        )


def reference_function(services: Services, visitors: Visitors) -> Callable[..., str]:
    """A function that keeps a picture file and returns the id by which a style reference names it."""

    def add_reference(visitor: gr.Request, image: str | None) -> str:
        """Keep a picture, and return the id by which `style_references` of `/generate` name it.

        Parameters:
            image: a PNG, JPEG, WebP, AVIF or HEIC file.

        Returns:
            The picture's id, the same for the same picture.
        """
        with _told():
            if image is None:
                raise InvalidRequest(f"No picture was given — upload a {KINDS} file")
            with services.shares.taking(visitors.payer(visitor), Thing.REFERENCES):
                return services.library.references.add(image, person=visitors.person(visitor))

    return add_reference


def inspect_function(services: Services) -> Callable[[str], dict[str, Any]]:
    """A function that reads the recipe inside a picture file, and says what draws otherwise here today."""

    def inspect(image: str | None) -> dict[str, Any]:
        """Read the recipe inside a PNG that this studio made.

        Parameters:
            image: the PNG.

        Returns:
            `recipe`, whose fields `/generate` takes, beside facts on the picture, and `notes`: what to know before it
            is drawn again, such as other weights than those that drew it; empty where all is as it was.
        """
        with _told():
            if image is None:
                raise InvalidRequest("No picture was given — upload a PNG that this studio made")
            recipe = read_recipe(image, Path(image).name)
            return {"recipe": recipe.as_json(), "notes": differences(recipe, services.engine)}

    return inspect


def refusal_of_call(endpoint: str, body: Any, by_name: bool) -> tuple[int, str] | None:
    """Why a call cannot be taken, with the status of the answer; None where it can.

    The body of a call with values `by_name` is an object of them, of another one `{"data": […]}`, in their order.
    """
    if endpoint not in ENDPOINTS:
        return 404, f"There is no endpoint {shown(endpoint)} — use one of {', '.join(ENDPOINTS)}"
    names = ENDPOINTS[endpoint]
    if not isinstance(body, dict):
        return 422, f"{shown(body)} is not a call — give a JSON object"
    values = body
    if not by_name:
        given = body.get("data")
        if not isinstance(given, list) or len(given) != len(names):
            what = f"{len(given)} values were" if isinstance(given, list) else "no list was"
            return 422, (
                f"In `data` {what} given — give the {len(names)} values of {', '.join(names)} in this order, or call "
                f"/gradio_api/call/v2/{endpoint}, which takes them by name"
            )
        values = dict(zip(names, given, strict=True))
    try:
        if endpoint == "generate":
            parse_request(values)
        elif unknown := set(values) - set(names):
            raise InvalidRequest(f"{shown(min(unknown))} is not known here — give {', '.join(names)}")
        elif values.get(names[0]) is None:
            raise InvalidRequest(f"{names[0]} is missing — {UPLOAD_IT}")
        elif not _names_a_file(values[names[0]]):
            raise InvalidRequest(f"{names[0]} is {shown(values[names[0]])}, which was not uploaded — {UPLOAD_IT}")
    except InvalidRequest as error:
        return 422, error.message
    return None


def _names_a_file(given: Any) -> bool:
    """Whether Gradio takes a value for a file: one that was uploaded here, or an address."""
    path = given.get("path") if isinstance(given, dict) else None
    if not isinstance(path, str) or given.get("meta") != {"_type": "gradio.FileData"}:
        return False
    return path.startswith(("http://", "https://")) or Path(os.path.abspath(path)).is_relative_to(get_upload_folder())


@contextmanager
def _told() -> Iterator[None]:
    """What the studio refuses, as Gradio tells it to a program."""
    try:
        yield
    except StorageError as error:
        logger.error("%s", error.message)
        raise gr.Error(without_folders(error.message), print_exception=False) from None
    except StudioError as error:
        raise gr.Error(error.message, print_exception=False) from None


def generate_function(services: Services, visitors: Visitors) -> Callable[..., Iterator[Pictures]]:
    """A generator function with one parameter per request field that yields the pictures finished so far."""

    def generate(visitor: gr.Request, *values: Any) -> Iterator[Pictures]:
        runs, person = services.runs, visitors.person(visitor)
        with _told():
            request = parse_request(dict(zip(GenerationRequest.model_fields, values, strict=True)))
            run = runs.watch(runs.submit(request, person), person)
        try:
            while not run.state.ended:
                yield [picture(record) for record in run.finished]
                # Also without news: Gradio can only stop a run between two values.
                run = runs.watch(run.id, person, run.version, NEWS_SECONDS)
            yield [picture(record) for record in run.finished]
            if run.state is not State.DONE:
                with _told():
                    raise Unavailable(run.failure)
            if run.failure:  # a picture is not there
                gr.Warning(run.failure)
        finally:
            runs.stop(run.id, person)

    return _described(generate)


def picture(record: Record) -> dict[str, Any]:
    """One finished picture as the endpoint returns it; `image` is a file that clients download."""
    return {
        "image": {"path": str(record.path), "meta": {"_type": "gradio.FileData"}},
        **record.as_json(),
    }


def _described(generate: Callable[..., Iterator[Pictures]]) -> Callable[..., Iterator[Pictures]]:
    """Give the function the request's fields as its signature, types and docstring, which Gradio publishes."""
    fields = GenerationRequest.model_fields
    visitor = inspect.Parameter("visitor", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=gr.Request)
    parameters = [
        inspect.Parameter(
            name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=inspect.Parameter.empty if field.is_required() else default(name),
            annotation=field.annotation,
        )
        for name, field in fields.items()
    ]
    vars(generate)["__signature__"] = inspect.Signature([visitor, *parameters], return_annotation=Pictures)
    generate.__annotations__ = {
        "visitor": gr.Request,
        **{name: field.annotation for name, field in fields.items()},
        "return": Pictures,
    }
    lines = "\n".join(f"    {name}: {help_text(name)}" for name in fields)
    generate.__doc__ = (
        "Generate one to four pictures with Krea 2.\n\n"
        f"Parameters:\n{lines}\n\n"
        "Returns:\n    The finished pictures: image file, seed, size, variant, checkpoint, prompt, seconds, recipe."
    )
    return generate
