"""One style from a repository of the Hugging Face Hub: which file it is, and its download.

Only safetensors are fetched, one file of a size that the Hub states beforehand, at the commit that a name stood for
when it was asked: what is downloaded is what was looked at, and can be named ever after. Whether the file is a style
is the doctor's to say. Nothing is kept here, and no network is used unless somebody asks.
"""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from krea_studio.errors import InvalidRequest, Unavailable
from krea_studio.files import write_error
from krea_studio.validation import shown

MAX_BYTES = 2 * 10**9
TIMEOUT_SECONDS = 20.0
FILES_NAMED = 12
WEIGHTS_SUFFIX = ".safetensors"
PICKLE_SUFFIXES = (".bin", ".ckpt", ".pkl", ".pt", ".pth")

# peft states alpha in a file of its own.
PEFT_FILE, PEFT_CONFIG = "adapter_model.safetensors", "adapter_config.json"
MAX_CONFIG_BYTES = 10**6

_NAME = r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*"
REFERENCE = re.compile(rf"(?P<repository>{_NAME})(@(?P<revision>[^\s:@]+))?(:(?P<file>[^\s:][^:]*))?", re.ASCII)
ADDRESS = re.compile(
    rf"(https?://)?(huggingface\.co|hf\.co)/(?P<repository>{_NAME})"
    r"(/(tree|blob|resolve)/(?P<revision>[^/?#]+)(/(?P<file>[^?#]*))?)?/?([?#].*)?",
    re.ASCII,
)


@dataclass(frozen=True)
class HubFile:
    """A file of a repository at a commit (40 hexadecimal digits), and its size.

    `beside` are small files next to it that say how to read it.
    """

    repository: str
    revision: str
    file: str
    bytes: int
    beside: tuple[str, ...] = ()


class Hub:
    """The Hub at `endpoint`, or the one that huggingface_hub is set to."""

    def __init__(self, endpoint: str | None = None):
        self._endpoint = endpoint

    def find(self, text: str, preferred: str = "") -> HubFile:
        """The style that `owner/name`, `owner/name@revision`, `owner/name:file.safetensors` or an address names.

        Without a file there must be one only, or one called `preferred`. Raises InvalidRequest where the text, the
        repository, the revision or the file is none, where there are several, and for one of more than MAX_BYTES;
        Unavailable where the repository is gated or the Hub cannot be reached.
        """
        repository, revision, file = parse_reference(text)
        from huggingface_hub import HfApi

        with _told(repository, revision):
            info = HfApi(endpoint=self._endpoint).model_info(
                repository, revision=revision or None, files_metadata=True, timeout=TIMEOUT_SECONDS
            )
        # A name with dots would leave the folder that it is downloaded to.
        sizes = {
            each.rfilename: each.size
            for each in info.siblings or ()
            if ".." not in PurePosixPath(each.rfilename).parts and not each.rfilename.startswith("/")
        }
        file = file or _only(repository, sizes, preferred)
        if not file.endswith(WEIGHTS_SUFFIX):
            raise InvalidRequest(f"{shown(file)} is no safetensors file — {_advice(sizes)}")
        if file not in sizes:
            raise InvalidRequest(f"{repository} has no file {shown(file)} — {_advice(sizes)}")
        size_bytes = sizes[file]
        if type(size_bytes) is not int or not re.fullmatch(r"[0-9a-f]{40}", info.sha or ""):
            raise Unavailable(f"The Hub does not say how large {repository}:{file} is, or at which commit — try later")
        if size_bytes > MAX_BYTES:
            raise InvalidRequest(
                f"{repository}:{file} has {size_bytes:,} bytes, more than the {MAX_BYTES:,} that a style may have — "
                "give a smaller one; a whole model is no style"
            )
        config = str(PurePosixPath(file).with_name(PEFT_CONFIG))
        beside = (config,) if file.endswith(PEFT_FILE) and config in sizes else ()
        if beside and (sizes[config] or 0) > MAX_CONFIG_BYTES:
            raise InvalidRequest(
                f"{repository}:{config} has {sizes[config]:,} bytes, of at most {MAX_CONFIG_BYTES:,}, and without it "
                "nobody knows how strong the style is — choose another"
            )
        return HubFile(repository, info.sha, file, size_bytes, beside)

    def download(self, found: HubFile, folder: Path) -> Path:
        """Put a file that `find` found, and what is beside it, into `folder` and return its path there.

        Raises what `find` raises, and StorageError where it cannot be written.
        """
        from huggingface_hub import hf_hub_download

        with _told(found.repository, found.revision, folder):
            for file in (*found.beside, found.file):
                path = hf_hub_download(
                    found.repository, file, revision=found.revision, local_dir=folder, endpoint=self._endpoint
                )
        size_bytes = Path(path).stat().st_size
        if size_bytes != found.bytes:
            raise Unavailable(
                f"{found.repository}:{found.file} came with {size_bytes:,} of {found.bytes:,} bytes — try again"
            )
        return Path(path)


def parse_reference(text: str) -> tuple[str, str, str]:
    """Repository, revision and file of `owner/name[@revision][:file]` or of an address; empty where not named.

    Raises InvalidRequest for anything else.
    """
    parts = ADDRESS.fullmatch(text.strip()) or REFERENCE.fullmatch(text.strip())
    if not parts:
        raise InvalidRequest(
            f"{shown(text)} names no repository — give owner/name, owner/name@revision or owner/name:file.safetensors"
        )
    return parts["repository"], parts["revision"] or "", parts["file"] or ""


def _only(repository: str, sizes: dict[str, Any], preferred: str) -> str:
    files = [file for file in sizes if file.endswith(WEIGHTS_SUFFIX)]
    if preferred in files:
        return preferred
    if len(files) > 1:
        raise InvalidRequest(f"{repository} has {len(files)} safetensors files — {_advice(sizes)}")
    if not files:
        pickled = any(file.endswith(PICKLE_SUFFIXES) for file in sizes)
        reason = "; its weights are pickles, which are never opened because they can run code" if pickled else ""
        raise InvalidRequest(f"{repository} has no safetensors file{reason} — give another repository")
    return files[0]


def _advice(sizes: dict[str, Any]) -> str:
    files = sorted(file for file in sizes if file.endswith(WEIGHTS_SUFFIX))
    named = ", ".join(map(shown, files[:FILES_NAMED])) + (" …" if len(files) > FILES_NAMED else "")
    return f"add one of {named} after a colon" if files else "give another repository"


@contextmanager
def _told(repository: str, revision: str, folder: Path | None = None) -> Iterator[None]:
    """Turn what the Hub's client raises into one line; `folder` is where something is written."""
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        DisabledRepoError,
        GatedRepoError,
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        yield
    except GatedRepoError:
        raise Unavailable(
            f"{repository} is gated — accept its terms at https://huggingface.co/{repository}, then set HF_TOKEN to a "
            "token of that account"
        ) from None
    except RepositoryNotFoundError:
        raise InvalidRequest(
            f"There is no repository {shown(repository)} on the Hub for this account — check the name; for a private "
            "one set HF_TOKEN"
        ) from None
    except RevisionNotFoundError:
        raise InvalidRequest(
            f"{repository} has no revision {shown(revision)} — give a branch, a tag or a commit of it, or none"
        ) from None
    except RemoteEntryNotFoundError:
        raise Unavailable(f"{repository} changed while it was read — try again") from None
    except DisabledRepoError:
        raise Unavailable(f"{repository} was closed on the Hub — give another repository") from None
    except Exception as error:
        if folder and isinstance(error, OSError) and (error.filename or error.errno in (errno.ENOSPC, errno.EDQUOT)):
            raise write_error(error, folder, "The folder") from None
        # Failures of the network come as the classes of whatever HTTP library the installed client uses.
        if constants.HF_HUB_OFFLINE:
            reason, advice = "HF_HUB_OFFLINE is set", "unset it, or download the file elsewhere and give its path"
        else:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            advice = "check the network, or download the file elsewhere and give its path"
        raise Unavailable(f"{repository} cannot be downloaded ({reason}) — {advice}") from None
