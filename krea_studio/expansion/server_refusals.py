"""What a chat server says is wrong, and a request without what it refuses.

OpenAI-compatible servers differ in the fields that they take: newer models want another name for the limit, refuse to
be sampled or take no system message, strict servers refuse what they do not know, and say so in half a dozen places.
A refusal is a few words; `fitted` makes a request without all that was refused so far.
"""

import json
import re
from collections.abc import Collection
from typing import Any

# Thoughts cost time and room, and no expansion needs them. By which of these a server switches them off, nobody knows.
NO_THINKING = {
    "chat_template_kwargs": {"enable_thinking": False, "thinking": False},
    "enable_thinking": False,
    "think": False,
}
EFFORTS = ("none", "minimal", "low")  # of reasoning; the least that a server knows is asked for
SYSTEM = "system message"
EVERYTHING = "everything that may be left out"

_LIMIT, _NEWER_LIMIT, _EFFORT = "max_tokens", "max_completion_tokens", "reasoning_effort"
# What is left out first where a server names several.
_FIELDS = (*NO_THINKING, _EFFORT, "seed", "top_p", "temperature", _LIMIT, _NEWER_LIMIT)
_PLACES = (
    "error",
    "message",
    "detail",
    "details",
    "errors",
    "msg",
    "reason",
    "description",
    "title",
    "metadata",
    "raw",
)
_GENERAL = ("provider returned error", "bad request", "error")
_NO_SYSTEM = re.compile(
    r"\bsystem\b.{0,60}\b(?:role|message|prompt|instruction)|\brole\b.{0,80}\bsystem\b|developer instruction"
    r"|roles must alternate",
    re.IGNORECASE | re.DOTALL,
)
_UNKNOWN = re.compile(r"\bextra\b|unrecogni[sz]ed|unknown|unexpected|not permitted|not allowed", re.IGNORECASE)
_DEPTH = 6


def fitted(request: dict[str, Any], refused: Collection[str]) -> dict[str, Any]:
    """A request with all fields that a server may take, as one that refused these takes it."""
    if EVERYTHING in refused:
        kept = {field: value for field, value in request.items() if field not in _FIELDS}
    else:
        kept = {field: value for field, value in request.items() if field not in refused}
        if _LIMIT in refused and _NEWER_LIMIT not in refused:
            kept[_NEWER_LIMIT] = request[_LIMIT]
        efforts = [each for each in EFFORTS if not {_EFFORT, f"{_EFFORT} {each}"} & set(refused)]
        if efforts:
            kept[_EFFORT] = efforts[0]
    if SYSTEM in refused:
        said = "\n\n".join(message["content"] for message in request["messages"])
        kept["messages"] = [{"role": "user", "content": said}]
    return kept


def refusals(status: int, body: bytes, sent: dict[str, Any]) -> frozenset[str]:
    """What a server refuses of the request that it was sent; empty where leaving something out cannot help."""
    if status not in (400, 413, 415, 422, 500, 501):
        return frozenset()
    said = reason_of(body)
    named = [field for field in _FIELDS if field in sent and re.search(rf"\b{_known_as(field)}\b", said)]
    parameter = _parameter(body)
    if parameter in _FIELDS and parameter in sent:
        named = [parameter]
    if named and _UNKNOWN.search(said):
        return frozenset(named)
    if named:
        return frozenset({f"{_EFFORT} {sent[_EFFORT]}" if named[0] == _EFFORT else named[0]})
    if len(sent["messages"]) > 1 and _NO_SYSTEM.search(said):
        return frozenset({SYSTEM})
    left = status < 500 and any(field in sent for field in _FIELDS)
    return frozenset({EVERYTHING} if left else ())


def _known_as(field: str) -> str:
    return "max_(?:completion_)?tokens" if field == _NEWER_LIMIT else field


def reason_of(body: bytes) -> str:
    """What a server says is wrong, as one line; empty where it says nothing, or shows a page."""
    try:
        return " ".join(_said(json.loads(body), _DEPTH).split())
    except (ValueError, RecursionError):
        text = body.decode("utf-8", "replace").strip()
        return "" if text.startswith("<") else " ".join(text.split())


def _said(found: Any, depth: int) -> str:
    """The text in an answer's first place that has some; of several faults, each with the place that it names."""
    if isinstance(found, str):
        return found
    if not depth:
        return ""
    if isinstance(found, list):
        return "; ".join(filter(None, (_said(each, depth - 1) for each in found)))
    if not isinstance(found, dict):
        return ""
    said = [text for place in _PLACES if place in found and (text := _said(found[place], depth - 1))]
    # A server that passes requests on says first that something is wrong, then what.
    text = next((each for each in said if each.strip(". ").lower() not in _GENERAL), next(iter(said), ""))
    place = found.get("loc")
    return f"{'.'.join(map(str, place))}: {text}" if text and isinstance(place, list) else text


def _parameter(body: bytes) -> str | None:
    """The field that an answer names as OpenAI's do."""
    try:
        named = json.loads(body)["error"]["param"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return None
    return named if isinstance(named, str) else None
