"""A ComfyUI graph as data: nodes by id, and inputs that are values or links to other nodes.

`prompt` is the graph as it ran, and is read first. `workflow` is what the editor shows: the same nodes with their
values in an order that only they know, muted and bypassed ones, and some that exist on the screen alone. It becomes
such a graph here as far as it says enough. Sources: ComfyUI's `execution.py`, and `graphToPrompt` of its frontend.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_NODES = 10_000
DEPTH = 60
"""Of nodes that are on the screen alone, one behind the other."""
NEVER, BYPASSED = 2, 4
"""Modes of nodes in the editor."""
SEEDS = ("seed", "noise_seed")
OLDER_WIDGETS = {
    "KSampler": ("seed", "", "steps", "cfg", "sampler_name", "scheduler", "denoise"),
    "KSamplerAdvanced": (
        *("add_noise", "noise_seed", "", "steps", "cfg", "sampler_name", "scheduler"),
        *("start_at_step", "end_at_step", "return_with_leftover_noise"),
    ),
    "CLIPTextEncode": ("text",),
    "EmptyLatentImage": ("width", "height", "batch_size"),
    "EmptySD3LatentImage": ("width", "height", "batch_size"),
    "CheckpointLoaderSimple": ("ckpt_name",),
    "UNETLoader": ("unet_name", "weight_dtype"),
    "LoraLoader": ("lora_name", "strength_model", "strength_clip"),
    "LoraLoaderModelOnly": ("lora_name", "strength_model"),
    "RandomNoise": ("noise_seed", ""),
    "KSamplerSelect": ("sampler_name",),
    "BasicScheduler": ("scheduler", "steps", "denoise"),
    "CFGGuider": ("cfg",),
    "FluxGuidance": ("guidance",),
}
"""The order of values in workflows of before 2025, which do not name them; one that is no input is empty."""


@dataclass(frozen=True)
class Link:
    """An input that comes out of another node."""

    node: str
    slot: int = 0


@dataclass(frozen=True)
class Node:
    """A node: its class, and its inputs by name, each a value or a Link."""

    id: str
    kind: str
    inputs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def links(self) -> Iterator[tuple[str, Link]]:
        """The inputs that come out of other nodes."""
        return ((name, value) for name, value in self.inputs.items() if isinstance(value, Link))

    def __str__(self) -> str:
        return f"{ascii(self.kind)[1:-1]:.60} (node {ascii(self.id)[1:-1]:.20})"


Graph = Mapping[str, Node]


def graph_of_prompt(data: Mapping[str, Any]) -> dict[str, Node] | None:
    """The graph in a `prompt`; None where there is none, or one of more than MAX_NODES."""
    nodes = {
        key: value
        for key, value in data.items()
        if isinstance(value, dict)
        and isinstance(value.get("class_type"), str)
        and isinstance(value.get("inputs"), dict)
    }
    if not nodes or len(nodes) > MAX_NODES:
        return None
    return {
        key: Node(key, value["class_type"], {name: _linked(each) for name, each in value["inputs"].items()})
        for key, value in nodes.items()
    }


def _linked(value: object) -> object:
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str | int) and type(value[1]) is int:
        return Link(str(value[0]), value[1])
    return value


def graph_of_workflow(data: Mapping[str, Any]) -> dict[str, Node] | None:
    """The graph in a `workflow`; None where there is none, or one of more than MAX_NODES."""
    listed = data.get("nodes")
    if not isinstance(listed, list) or not 0 < len(listed) <= MAX_NODES:
        return None
    nodes = {
        str(node["id"]): node
        for node in listed
        if isinstance(node, dict) and isinstance(node.get("id"), str | int) and isinstance(node.get("type"), str)
    }
    return _Workflow(nodes, data.get("links")).graph() or None


class _Workflow:
    def __init__(self, nodes: dict[str, dict[str, Any]], links: object) -> None:
        self.nodes = nodes
        self.links: dict[object, Link] = {}
        for link in links if isinstance(links, list) else []:
            if isinstance(link, list) and len(link) >= 3 and all(isinstance(part, str | int) for part in link[:3]):
                self.links[link[0]] = Link(str(link[1]), link[2] if isinstance(link[2], int) else 0)
        self.set_nodes = {
            name: _listed(node, "inputs")
            for node in nodes.values()
            if node["type"] == "SetNode" and isinstance(name := _first(node), str)
        }

    def graph(self) -> dict[str, Node]:
        return {
            key: Node(key, node["type"], self.inputs(node))
            for key, node in self.nodes.items()
            if node.get("mode") not in (NEVER, BYPASSED)
        }

    def inputs(self, node: dict[str, Any]) -> dict[str, Any]:
        inputs = dict(_widgets(node))
        for each in _listed(node, "inputs"):
            name = each.get("name")
            link = self.links.get(each.get("link")) if isinstance(each.get("link"), str | int) else None
            if isinstance(name, str) and link:
                inputs[name] = self.source(link)
        return inputs

    def source(self, link: Link) -> object:
        """Where a link comes from behind what is on the screen alone: the value of a primitive, or a node that runs."""
        seen = set[Link]()
        while link not in seen and len(seen) < DEPTH:
            seen.add(link)
            node = self.nodes.get(link.node)
            if node is None:
                return link
            outputs = _listed(node, "outputs")
            kind = outputs[link.slot].get("type") if 0 <= link.slot < len(outputs) else None
            if node["type"] == "PrimitiveNode":
                return _first(node)
            if node["type"] == "GetNode":
                inputs = self.set_nodes.get(str(_first(node)), [])
            elif node["type"] in ("Reroute", "SetNode"):
                inputs = _listed(node, "inputs")
            elif node.get("mode") == BYPASSED:
                inputs = [each for each in _listed(node, "inputs") if each.get("type") == kind]
            else:
                return link
            place = inputs[0].get("link") if inputs else None
            before = self.links.get(place) if isinstance(place, str | int) else None
            if before is None:
                return link
            link = before
        return link


def _widgets(node: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Names and values of what is set on a node itself."""
    values, named = node.get("widgets_values"), node.get("widgets_values_named")
    for each in (named, values):
        if isinstance(each, dict):
            yield from ((name, value) for name, value in each.items() if isinstance(name, str))
            return
    if not isinstance(values, list):
        return
    names: list[str] = []
    for each in _listed(node, "inputs"):
        widget = each.get("widget")
        if isinstance(widget, dict) and isinstance(widget.get("name"), str):
            # Behind a seed stands whether it changes after a run, which is no input.
            names += [widget["name"], ""] if widget["name"] in SEEDS else [widget["name"]]
    if len(names) < len(values):
        names = list(OLDER_WIDGETS.get(node["type"], names))
    yield from ((name, value) for name, value in zip(names, values, strict=False) if name)


def _listed(node: dict[str, Any], key: str) -> list[dict[str, Any]]:
    value = node.get(key)
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _first(node: dict[str, Any]) -> object:
    values = node.get("widgets_values")
    return values[0] if isinstance(values, list) and values else None
