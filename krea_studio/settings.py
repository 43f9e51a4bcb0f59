"""Every option of a studio, each with its environment variable KREA_STUDIO_<NAME>.

`load_settings()` reads the environment and nothing else: no hidden file changes how a studio behaves. Settings are
frozen; who wants another value builds another Settings. An empty variable counts as not set. Which checkpoint names
exist is the engine's knowledge.
"""

import ipaddress
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr, StringConstraints, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from krea_studio.errors import InvalidRequest
from krea_studio.validation import refusal

PREFIX = "KREA_STUDIO_"
CHECKPOINT_HELP = (
    "a name from the checkpoint table, a local folder, a .safetensors or .gguf file, or a repository id on the Hugging "
    "Face Hub"
)

# ASCII alone: a browser sends no other name.
_HOST_NAME = r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*"

_HUB_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"

CheckpointName = Annotated[str, StringConstraints(min_length=1, max_length=1000, strip_whitespace=True)]


def _in_home(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:
        raise ValueError("there is no such home directory; write the path in full") from None


Folder = Annotated[Path, AfterValidator(_in_home)]


class Settings(BaseSettings):
    """Options of one studio; read from the environment by `load_settings`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", allow_inf_nan=False, env_file=None, env_ignore_empty=True
    )

    library: Folder = Field(
        default=Path("outputs"), description="Folder in which pictures, thumbnails and their records are kept"
    )
    checkpoint_medium: CheckpointName = Field(
        default="mini-medium", description=f"What runs the variant Medium: {CHECKPOINT_HELP}"
    )
    checkpoint_large: CheckpointName = Field(
        default="mini-large", description=f"What runs the variant Large: {CHECKPOINT_HELP}"
    )
    checkpoint_turbo: CheckpointName = Field(
        default="mini-turbo", description=f"What runs the variant Turbo: {CHECKPOINT_HELP}"
    )
    base: CheckpointName | None = Field(
        default=None,
        description="Checkpoint that gives a single file of weights what it lacks: a name, a folder or a repository id",
    )
    models: Folder | None = Field(
        default=None,
        description="Folder of models as ComfyUI keeps it, where a single file's text encoder and VAE are looked for",
    )
    sliders: Folder = Field(
        default=Path("sliders"), description="Folder of slider LoRAs that you trained: CHECKPOINT/SLIDER.safetensors"
    )
    styles: Folder = Field(
        default=Path("styles"), description="Folder of style LoRAs: every NAME.safetensors in it joins the library"
    )
    cache: Folder = Field(
        default=Path("~/.cache/krea-studio"),
        validate_default=True,
        description="Folder for what can be computed again, such as the sliders' text directions",
    )
    reference_cache_gb: float = Field(
        default=2.0, ge=0, description="Gigabytes of main memory for what was read of style references and moodboards"
    )
    style_cache_gb: float = Field(
        default=2.0, ge=0, description="Gigabytes of the device's memory for styles that stay loaded after a run"
    )
    expander: Literal["auto", "phrasebook", "text encoder", "endpoint"] = Field(
        default="auto", description="What expands prompts; auto takes the best of those that are there"
    )
    expander_url: str | None = Field(
        default=None,
        pattern=r"^https?://\S{1,990}$",
        description="give the address of an OpenAI-compatible server, such as http://127.0.0.1:8000/v1",
    )
    expander_model: str = Field(default="", max_length=1000, description="Name of the model that the server is to use")
    expander_key: SecretStr = Field(
        default=SecretStr(""), description="Key of the server, if it needs one; never shown and never kept"
    )
    expander_timeout_seconds: float = Field(
        default=60.0, gt=0, description="An expansion that takes longer than this many seconds is given up"
    )
    expander_thinking_tokens: int = Field(
        default=6_000,
        ge=0,
        le=1_000_000,
        description="Tokens that the server's model may think for before it writes, where it cannot be kept from that",
    )
    engine: Literal["local", "zerogpu"] = Field(
        default="local", description="Where runs are drawn: in this process, or on the GPUs of a ZeroGPU Space"
    )
    device: str = Field(
        default="auto", pattern=r"^(auto|cpu|mps|cuda(:\d{1,2})?)$", description="give auto, cpu, cuda, cuda:N or mps"
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="Number format of the weights; auto takes what is fastest on the device"
    )
    memory_budget_gb: float | None = Field(
        default=None,
        gt=0,
        description="Gigabytes of weights that may be on the device; empty: what a run leaves of its free memory",
    )
    deadline_seconds: float = Field(
        default=600.0, gt=0, description="A run that takes longer than this many seconds is ended"
    )
    unwatched_seconds: float = Field(
        default=120.0,
        gt=0,
        description="On a page that strangers may open, a run that nobody looks at for this many seconds is ended",
    )
    exact_savings: bool = Field(
        default=True, description="Skip work that cannot change the picture; off only for comparisons"
    )
    compile: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="Steps that torch compiles: on, off, or auto, which makes them on CUDA after a first picture",
    )
    previews: bool = Field(default=True, description="Show the picture as it forms, at every step")
    filter: Literal["on", "off"] = Field(
        default="on",
        description="The content filter; off leaves the embedded checkpoints' pictures alone, others are always judged",
    )
    filter_model: str | None = Field(
        default=None,
        pattern=r"^(([\w.-]+/)[\w.-]+@[0-9a-f]{40}|[/.~].*)$",
        description="give OWNER/NAME@COMMIT, a model for image classification on the Hugging Face Hub with the 40 "
        "digits of a commit, or a folder, which begins with / or . or ~",
    )
    filter_rules: Folder | None = Field(
        default=None, description="A file of rules for prompts beside the studio's own, written as these are"
    )
    accept_licence: bool = Field(
        default=False,
        description="Whoever sets it has read the licence of Krea 2's published weights and accepts it, as on a Space, "
        "where nobody is asked",
    )
    sign_in: Literal["none", "accounts", "huggingface"] = Field(
        default="none",
        description="Who may use the page: everybody who reaches it, who signs in to an account, or on a Space who "
        "signs in by Hugging Face",
    )
    sign_in_days: float = Field(default=7.0, gt=0, le=3650, description="Days for which a browser stays signed in")
    admins: str = Field(
        default="",
        pattern=rf"^({_HUB_NAME}(, ?{_HUB_NAME})*)?$",
        description="give the Hugging Face user names of those who are admins where people sign in by Hugging Face, "
        "with commas between them",
    )
    host: str = Field(default="127.0.0.1", min_length=1, max_length=255, description="Address that the page listens on")
    port: int = Field(default=7860, ge=1, le=65535, description="Port that the page listens on")
    hosts: str = Field(
        default="",
        pattern=rf"^({_HOST_NAME}(, ?{_HOST_NAME})*)?$",
        description="give the names under which a proxy shows the page, such as studio.example.com, with commas "
        "between them; one with other letters as browsers send it, xn--…",
    )
    person_runs: int | None = Field(
        default=8, ge=1, description="Runs that one person may have waiting or going on, on a page that others use too"
    )
    person_pictures_an_hour: int | None = Field(
        default=None, ge=1, description="Pictures that one person may have drawn within an hour, on such a page"
    )
    person_uploads_a_day: int = Field(
        default=1_000, ge=1, description="Files that one person may upload within 24 hours, on such a page"
    )
    person_upload_mb_a_day: int = Field(
        default=2_000, ge=1, description="Megabytes of these files together, begun uploads among them"
    )
    person_references_a_day: int = Field(
        default=500, ge=1, description="Style references that one person may bring in within 24 hours, on such a page"
    )
    person_boards_a_day: int = Field(
        default=50, ge=1, description="Moodboards that one person may make or import within 24 hours, on such a page"
    )
    person_exports_a_day: int = Field(
        default=200,
        ge=1,
        description="Zips and sheets that one person may have written within 24 hours, on such a page",
    )
    person_export_mb_a_day: int = Field(default=4_000, ge=1, description="Megabytes of these zips and sheets together")
    metrics: Literal["loopback", "everybody"] = Field(
        default="loopback", description="Who may read /metrics: who asks on this machine itself, or everybody"
    )
    log: Literal["text", "json"] = Field(default="text", description="How the server's log is written")
    queue_size: int = Field(default=32, ge=1, le=10_000, description="Runs that may wait before new ones are refused")

    @property
    def host_names(self) -> list[str]:
        """The names in `hosts`."""
        return _names(self.hosts)

    @property
    def admin_names(self) -> list[str]:
        """The names in `admins`."""
        return _names(self.admins)

    def checkpoint_for(self, variant: str) -> str:
        """Name, folder or repository id of the checkpoint that runs `variant` ("medium", "large" or "turbo")."""
        return {
            "medium": self.checkpoint_medium,
            "large": self.checkpoint_large,
            "turbo": self.checkpoint_turbo,
        }[variant]


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def environment_variable(field: str) -> str:
    """The environment variable of an option: `port` → `KREA_STUDIO_PORT`."""
    return PREFIX + field.upper()


def is_loopback(host: str) -> bool:
    """Whether `host`, a name or an address, is this machine's own, which no other one can reach."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost" or host.lower().endswith(".localhost")


def load_settings(
    chosen: Mapping[str, object] = MappingProxyType({}), name: Callable[[str], str] = environment_variable
) -> Settings:
    """Settings from the environment, with `chosen` values in front of it.

    Raises InvalidRequest, one line, for a value that an option does not take and for a variable with the studio's
    prefix that no option has: a misspelt name would otherwise be ignored without a word. `name` turns an option into
    the words for it in that line.
    """
    known = {environment_variable(field) for field in Settings.model_fields}
    for variable in sorted(os.environ):
        if variable.upper().startswith(PREFIX) and variable.upper() not in known:
            raise InvalidRequest(f"{variable} is not an option of the studio — use {', '.join(sorted(known))}")
    try:
        return Settings(**dict[str, Any](chosen))
    except ValidationError as error:
        raise refusal(error, Settings, name, "the settings") from None
