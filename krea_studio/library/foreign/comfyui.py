"""The settings in a ComfyUI graph: found from the picture that is saved back to the noise that it began with.

What comes out of a node that is in no table of `comfyui_nodes` is not guessed: a note names the node. Where several
samplers follow one another, the settings are those of the first, which draws from noise; the others refine its picture,
and are told.
"""

from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field, replace

from krea_studio.library.foreign.comfyui_graph import Graph, Link, Node, graph_of_prompt, graph_of_workflow
from krea_studio.library.foreign.comfyui_nodes import (
    CONDITIONINGS,
    DECODERS,
    EFFICIENT,
    JOINED,
    LATENTS,
    LIKE_A_SAMPLER,
    LORA_INPUTS,
    MODEL_NAMES,
    SAMPLERS,
    SIDED,
    SIDES,
    TEXTS,
    VALUES,
    loras_of,
)
from krea_studio.library.foreign.settings import Lora, Settings, file_stem, read_object, real, value_text
from krea_studio.library.foreign.texts import Texts

MOST_LORAS = 100
MOST_CHARACTERS = 100_000
"""Of a text that nodes join, of which each may take that of another twice."""
MOST_SAVERS, MOST_PASSES = 50, 20
DEPTH = 60
"""Of nodes that hand a value on, or join texts."""
TOO_DEEP = "goes through too many nodes, or round in a circle"


class Unknown(Exception):
    """What an input is cannot be told; the text says why."""


@dataclass
class Found:
    """What was found on the way."""

    notes: list[str] = field(default_factory=list)
    left: list[tuple[str, object]] = field(default_factory=list)
    loras: list[Lora] = field(default_factory=list)
    model: str = ""


def read(texts: Texts) -> tuple[str, Settings] | None:
    """ComfyUI's settings; None where there is no graph."""
    for key, graph_of in (("prompt", graph_of_prompt), ("workflow", graph_of_workflow)):
        data = read_object(texts.get(key, ""))
        graph = graph_of(data) if data else None
        if graph:
            return "ComfyUI", settings_of(graph)
    return None


def settings_of(graph: Graph) -> Settings:
    """The settings of the picture that a graph saves."""
    reader = _Reader(graph)
    sampler = reader.sampler()
    if sampler is None:
        return Settings(notes=tuple(reader.found.notes), left=tuple(reader.found.left))
    return reader.settings(sampler)


class _Reader:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.found = Found()
        self.texts: dict[Link, str] = {}

    def settings(self, sampler: Node) -> Settings:
        if sampler.kind not in (*SAMPLERS, *EFFICIENT):
            self.note(f"{sampler} is read as a sampler, by the names of its inputs")
        guider = self.node(sampler, "guider") if "guider" in sampler.inputs else sampler
        noise = self.node(sampler, "noise") if "noise" in sampler.inputs else sampler
        if guider and guider.kind not in (sampler.kind, "CFGGuider", "BasicGuider"):
            self.changed(guider)
        schedule = self.schedule(sampler)
        prompt = self.prompt(guider, ("positive", "cond1", "conditioning"), "prompt") if guider else None
        negative = self.prompt(guider, ("negative",), "negative prompt") if guider else None
        seed = self.number(noise, ("noise_seed", "seed"), "seed") if noise and noise.kind != "DisableNoise" else None
        steps = self.number(schedule, ("steps",), "number of steps") if schedule else None
        basic = guider is not None and guider.kind == "BasicGuider"
        cfg = 1.0 if basic else self.number(guider, ("cfg", "cfg_conds"), "CFG scale") if guider else None
        self.sampler_words(sampler, schedule)
        self.model(guider or sampler)
        width, height = self.size(sampler)
        found = self.found
        return Settings(
            prompt=prompt,
            negative_prompt=negative or "",
            seed=seed,
            steps=steps,
            cfg=cfg,
            width=width,
            height=height,
            model=found.model,
            loras=tuple(found.loras[:MOST_LORAS]),
            left=tuple(dict.fromkeys(found.left)),
            notes=tuple(dict.fromkeys(found.notes)),
        )

    def note(self, text: str) -> None:
        self.found.notes.append(text)

    def sampler(self) -> Node | None:
        """The sampler whose settings count, or None, with a note why."""
        ends = [found for saver in self.savers() if (found := self.upstream(saver))]
        if not ends:
            self.note("No sampler that is known leads to its picture")
            return None
        last, path = ends[-1]
        if len({end.id for end, _ in ends}) > 1:
            self.note(f"The graph saves several pictures; the settings are those of {(*path, last)[0]}")
        for node in path[1:]:
            if node.kind not in DECODERS and not node.kind.startswith("Reroute"):
                self.found.left.append(("Step after the sampler", str(node)))
        seen = {last.id}
        while len(seen) <= MOST_PASSES and (before := self.upstream(last, LATENTS)) and before[0].id not in seen:
            self.found.left.append(("Later pass", self.pass_words(last)))
            last = before[0]
            seen.add(last.id)
        return last

    def savers(self) -> list[Node]:
        """The nodes that save a picture, those that only show one where there are no others."""
        used = {link.node for node in self.graph.values() for _, link in node.links}
        ends = [node for node in self.graph.values() if node.id not in used]
        savers = [node for node in ends if "save" in node.kind.lower()]
        return (savers or [node for node in ends if "preview" in node.kind.lower()] or ends)[-MOST_SAVERS:]

    def upstream(self, start: Node, names: tuple[str, ...] = ()) -> tuple[Node, list[Node]] | None:
        """The sampler nearest before a node, by its inputs of these names or by all, and the nodes up to it."""
        before: dict[str, Node | None] = {start.id: None}
        queue = deque([start])
        while queue:
            node = queue.popleft()
            # What nothing saves may be the end of its graph; else a sampler is asked for the one before it.
            if self.samples(node) and (node is not start or not names):
                path: list[Node] = []
                step = before[node.id]
                while step is not None:
                    path.append(step)
                    step = before[step.id]
                return node, path[::-1]
            for name, link in node.links:
                source = self.graph.get(link.node)
                if source and source.id not in before and (node is not start or not names or name in names):
                    before[source.id] = node
                    queue.append(source)
        return None

    @staticmethod
    def samples(node: Node) -> bool:
        return node.kind in (*SAMPLERS, *EFFICIENT) or node.inputs.keys() >= LIKE_A_SAMPLER

    def pass_words(self, sampler: Node) -> str:
        schedule = self.schedule(sampler, quietly=True) or sampler
        words = [str(sampler)]
        for name, value in (("steps", schedule.inputs.get("steps")), ("denoise", schedule.inputs.get("denoise"))):
            if real(value) is not None:
                words.append(f"{name} {value_text(value)}")
        return ", ".join(words)

    def node(self, node: Node, name: str) -> Node | None:
        """The node that an input comes from, None where it is not there; then a note says so."""
        link = node.inputs.get(name)
        source = self.graph.get(link.node) if isinstance(link, Link) else None
        if source is None:
            self.note(f"What {name} {node} gets is not in the graph")
        return source

    def schedule(self, sampler: Node, quietly: bool = False) -> Node | None:
        """The node that has the number of steps: the sampler itself, or what its sigmas come from."""
        node, seen = sampler, set[str]()
        while "steps" not in node.inputs and node.id not in seen:
            seen.add(node.id)
            link = node.inputs.get("sigmas")
            source = self.graph.get(link.node) if isinstance(link, Link) else None
            if source is None:
                if not quietly:
                    self.note(f"The number of steps comes out of {node}, which is not known here")
                return None
            if node is not sampler and not quietly:
                self.found.left.append(("Changed sigmas", str(node)))
            node = source
        return node if "steps" in node.inputs else None

    def number(self, node: Node, names: tuple[str, ...], what: str) -> object:
        name = next((each for each in names if each in node.inputs), None)
        if name is None:
            self.note(f"The {what} comes out of {node}, which is not known here")
            return None
        try:
            return self.value(node.inputs[name])
        except Unknown as unknown:
            self.note(f"The {what} {unknown}")
            return None

    def value(self, value: object) -> object:
        """A value, followed through the nodes that hand it on. Raises Unknown."""
        seen = set[Link]()
        while isinstance(value, Link):
            node = self.graph.get(value.node)
            if node is None or value in seen:
                raise Unknown("comes from nowhere in the graph" if node is None else "goes round in a circle")
            seen.add(value)
            if len(seen) > DEPTH:
                raise Unknown(TOO_DEEP)
            name = VALUES.get(node.kind)
            if name == "":
                name = next(iter(node.inputs), None)
            if name is None or name not in node.inputs:
                raise Unknown(f"comes out of {node}, which is not known here")
            value = node.inputs[name]
        return value

    def with_values(self, node: Node, beginnings: tuple[str, ...]) -> Node:
        """A node with the values of its inputs whose names begin so, as far as they can be known."""
        inputs = dict(node.inputs)
        for name, link in node.links:
            if name.startswith(beginnings):
                with suppress(Unknown):
                    inputs[name] = self.value(link)
        return replace(node, inputs=inputs)

    def text(self, value: object, depth: int = 0) -> str:
        """A text, also one that nodes join. Raises Unknown."""
        if not isinstance(value, Link):
            if not isinstance(value, str):
                raise Unknown("is no text")
            return value
        if value in self.texts:
            return self.texts[value]
        node = self.graph.get(value.node)
        if node is None:
            raise Unknown("comes from nowhere in the graph")
        if depth > DEPTH:
            raise Unknown(TOO_DEEP)
        if node.kind in JOINED:
            names, between = JOINED[node.kind]
            parts = [self.text(node.inputs.get(name, ""), depth + 1) for name in names]
            joined = self.text(node.inputs.get(between, ""), depth + 1).join(parts)
        elif node.kind == "Text Concatenate":
            joined = self.concatenated(node, depth)
        elif node.kind == "Text Multiline":
            # WAS Node Suite's: lines that begin so are comments.
            lines = self.text(node.inputs.get("text"), depth + 1).split("\n")
            joined = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
        elif node.kind in VALUES:
            name = VALUES[node.kind] or next(iter(node.inputs), "")
            joined = self.text(node.inputs.get(name), depth + 1)
        else:
            raise Unknown(f"comes out of {node}, which is not known here")
        if len(joined) > MOST_CHARACTERS:
            raise Unknown(f"has more than {MOST_CHARACTERS:,} characters")
        self.texts[value] = joined
        return joined

    def concatenated(self, node: Node, depth: int) -> str:
        """WAS Node Suite's Text Concatenate: its texts in the order of their names, without empty ones."""
        names = sorted(name for name in node.inputs if name.startswith("text_"))
        parts = [self.text(node.inputs[name], depth + 1) for name in names]
        if str(node.inputs.get("clean_whitespace", "true")).lower() == "true":
            parts = [part.strip() for part in parts]
        between = self.text(node.inputs.get("delimiter", ", "), depth + 1).replace("\\n", "\n")
        return between.join(part for part in parts if part)

    def prompt(self, node: Node, names: tuple[str, ...], what: str) -> str | None:
        name = next((each for each in names if each in node.inputs), None)
        if name is None:
            if what == "prompt":
                self.note(f"The prompt comes out of {node}, which is not known here")
            return None
        try:
            return self.encoded(node.inputs[name], what)
        except Unknown as unknown:
            self.note(f"The {what} {unknown}")
            return None

    def encoded(self, link: object, what: str) -> str:
        """The text that a conditioning is of. Raises Unknown."""
        seen = set[Link]()
        while isinstance(link, Link):
            node = self.graph.get(link.node)
            if node is None or link in seen:
                raise Unknown("comes from nowhere in the graph" if node is None else "goes round in a circle")
            seen.add(link)
            if node.kind in TEXTS:
                return self.encoder_text(node, what)
            if node.kind == "ConditioningZeroOut":
                return ""
            names = SIDES[link.slot : link.slot + 1] if node.kind in SIDED else CONDITIONINGS
            through = [each for each in names if isinstance(node.inputs.get(each), Link)]
            if len(through) > 1:
                raise Unknown(f"is made of several by {node}")
            if not through:
                raise Unknown(f"comes out of {node}, which is not known here")
            if not node.kind.startswith("Reroute"):
                self.changed(node)
            link = node.inputs[through[0]]
        raise Unknown("comes from nowhere in the graph")

    def encoder_text(self, node: Node, what: str) -> str:
        first, *others = TEXTS[node.kind]
        if node.kind == "CLIPTextEncodeFlux":
            self.changed(node)
        text = self.text(node.inputs.get(first, ""))
        for name in others:
            try:
                other = self.text(node.inputs.get(name, ""))
            except Unknown as unknown:
                self.note(f"The {what} for {name} {unknown}")
                continue
            if other.strip() and other.strip() != text.strip():
                self.found.left.append((f"{what.capitalize()} for {name}", other))
        return text

    def changed(self, node: Node) -> None:
        """Tell a node that does something beside the prompt or the model, with its values."""
        values = [f"{name} {value_text(value)}" for name, value in node.inputs.items() if real(value) is not None]
        self.found.left.append(("Node", ", ".join((str(node), *values[:4]))))

    def sampler_words(self, sampler: Node, schedule: Node | None) -> None:
        select = sampler.inputs.get("sampler")
        named = self.graph.get(select.node) if isinstance(select, Link) else sampler
        name = named.inputs.get("sampler_name") if named else None
        if isinstance(name, str):
            self.found.left.append(("Sampler", name))
        elif named and named is not sampler:
            self.found.left.append(("Sampler", str(named)))
        for each in ("scheduler", "denoise", "start_at_step"):
            value = schedule.inputs.get(each) if schedule else None
            neutral = {"denoise": 1, "start_at_step": 0}.get(each)
            if isinstance(value, str | int | float) and value != neutral:
                self.found.left.append((each.replace("_", " ").capitalize(), value))

    def model(self, node: Node) -> None:
        """Follow the model through LoRAs and whatever changes it to its file."""
        seen = set[str]()
        while node.id not in seen:
            seen.add(node.id)
            link = node.inputs.get("model") or node.inputs.get("MODEL")
            source = self.graph.get(link.node) if isinstance(link, Link) else None
            if source is None:
                break
            loras = list(loras_of(self.with_values(source, LORA_INPUTS)))
            self.found.loras += loras
            if not loras and isinstance(source.inputs.get("model"), Link):
                self.changed(source)
            node = source
        name = next((each for each in MODEL_NAMES if each in node.inputs), None)
        try:
            self.found.model = file_stem(self.value(node.inputs[name])) if name else ""
        except Unknown as unknown:
            self.note(f"The model {unknown}")
            return
        if not self.found.model:
            self.note(f"The model comes out of {node}, which is not known here")

    def size(self, sampler: Node) -> tuple[object, object]:
        """Width and height of the latents that the sampler begins with."""
        node, seen = sampler, set[str]()
        while node.id not in seen:
            seen.add(node.id)
            name = next((each for each in LATENTS if isinstance(node.inputs.get(each), Link)), None)
            source = self.graph.get(node.inputs[name].node) if name else None
            if source is None:
                break
            node = source
            if {"width", "height"} <= node.inputs.keys() and not node.kind.startswith("LatentUpscale"):
                count = node.inputs.get("batch_size")
                if isinstance(count, int) and count > 1:
                    self.found.left.append(("Batch size", count))
                return self.number(node, ("width",), "width"), self.number(node, ("height",), "height")
            if not any(each in node.inputs for each in LATENTS):
                break
            self.changed(node)
        self.note(f"The size comes out of {node}, which is not known here")
        return None, None
