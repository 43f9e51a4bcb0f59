"""What ComfyUI's editor keeps becomes the graph that ran, as far as it says enough."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from krea_studio.library.foreign import comfyui
from krea_studio.library.foreign.comfyui_graph import MAX_NODES, Link, graph_of_prompt, graph_of_workflow
from tests.library.foreign.builders import graph, node


def workflow(*changed: dict[str, Any], links: list[list[Any]] | None = None) -> dict[str, Any]:
    """The template as the editor keeps it; nodes of `changed` take the place of those with their id."""
    nodes = {
        each["id"]: each
        for each in (
            shown(1, "UNETLoader", ["krea2_turbo.safetensors", "default"], []),
            shown(4, "CLIPTextEncode", ["a fox"], [("clip", None)], ["CONDITIONING"]),
            shown(5, "CLIPTextEncode", ["rain"], [("clip", None)], ["CONDITIONING"]),
            shown(6, "EmptySD3LatentImage", [1024, 1024, 1], [], ["LATENT"]),
            shown(
                7,
                "KSampler",
                [42, "randomize", 8, 5.5, "euler", "simple", 1],
                [("model", 11), ("positive", 12), ("negative", 13), ("latent_image", 14)],
                ["LATENT"],
            ),
            shown(8, "VAEDecode", [], [("samples", 15)], ["IMAGE"]),
            shown(9, "SaveImage", ["krea2"], [("images", 16)]),
            *changed,
        )
    }
    usual = [
        [11, 1, 0, 7, 0, "MODEL"], [12, 4, 0, 7, 1, "CONDITIONING"], [13, 5, 0, 7, 2, "CONDITIONING"],
        [14, 6, 0, 7, 3, "LATENT"], [15, 7, 0, 8, 0, "LATENT"], [16, 8, 0, 9, 0, "IMAGE"],
    ]  # fmt: skip
    return {"nodes": list(nodes.values()), "links": links or usual, "version": 0.4}


def shown(
    number: int, kind: str, values: Any, inputs: list[tuple[str, int | None]], outputs: Any = ("MODEL",), mode: int = 0
) -> dict[str, Any]:
    kinds = {"model": "MODEL", "positive": "CONDITIONING", "samples": "LATENT", "": "*"}
    return {
        **{"id": number, "type": kind, "mode": mode, "widgets_values": values},
        "inputs": [{"name": name, "type": kinds.get(name, name), "link": link} for name, link in inputs],
        "outputs": [{"name": each, "type": each, "links": []} for each in outputs],
    }


def read(data: dict[str, Any]) -> Any:
    found = comfyui.read({"workflow": json.dumps(data)})
    assert found
    return found[1]


def core(settings: Any) -> tuple[Any, ...]:
    return settings.prompt, settings.negative_prompt, settings.seed, settings.steps, settings.cfg, settings.width


def test_a_workflow_of_known_nodes_is_read() -> None:
    settings = read(workflow())
    assert core(settings) == ("a fox", "rain", 42, 8, 5.5, 1024) and settings.model == "krea2_turbo"
    assert settings.notes == ()


def test_the_graph_that_ran_comes_before_the_workflow() -> None:
    found = comfyui.read({"prompt": json.dumps(graph()), "workflow": json.dumps(workflow())})
    assert found and found[1].prompt == "a fox in the snow"
    found = comfyui.read({"prompt": "a text of another tool", "workflow": json.dumps(workflow())})
    assert found and found[1].prompt == "a fox"


@pytest.mark.parametrize("written", ["inputs", "named", "object"])
def test_newer_workflows_name_their_values(written: str) -> None:
    names = ["seed", "steps", "cfg", "sampler_name", "scheduler", "denoise"]
    sampler = shown(7, "MySampler", [42, "fixed", 9, 3, "euler", "simple", 1], [("model", 11), ("positive", 12), ("negative", 13), ("latent_image", 14)], ["LATENT"])  # fmt: skip  # noqa: E501
    if written == "inputs":
        sampler["inputs"] += [{"name": name, "type": "INT", "widget": {"name": name}, "link": None} for name in names]
    else:
        values = dict(zip(names, [42, 9, 3, "euler", "simple", 1], strict=True))
        sampler["widgets_values_named" if written == "named" else "widgets_values"] = values
    assert core(read(workflow(sampler))) == ("a fox", "rain", 42, 9, 3, 1024)


def test_what_is_on_the_screen_alone_is_looked_through() -> None:
    links = [
        [11, 1, 0, 20, 0, "MODEL"], [12, 4, 0, 21, 0, "*"], [13, 22, 0, 7, 2, "*"], [14, 6, 0, 7, 3, "LATENT"],
        [15, 7, 0, 8, 0, "LATENT"], [16, 8, 0, 9, 0, "IMAGE"], [17, 21, 0, 7, 1, "*"], [18, 20, 0, 7, 0, "MODEL"],
        [19, 5, 0, 23, 0, "*"], [30, 24, 0, 7, 4, "INT"],
    ]  # fmt: skip
    sampler = shown(7, "KSampler", [42, "fixed", 8, 5.5, "euler", "simple", 1], [("model", 18), ("positive", 17), ("negative", 13), ("latent_image", 14), ("seed", 30)], ["LATENT"])  # fmt: skip  # noqa: E501
    settings = read(
        workflow(
            sampler,
            shown(20, "LoraLoaderModelOnly", ["off.safetensors", 1], [("model", 11)], ["MODEL"], mode=4),
            shown(21, "Reroute", None, [("", 12)], ["*"]),
            shown(22, "GetNode", ["negative"], [], ["*"]),
            shown(23, "SetNode", ["negative"], [("CONDITIONING", 19)], ["*"]),
            shown(24, "PrimitiveNode", [77, "fixed"], [], ["INT"]),
            shown(25, "Note", ["hello"], []),
            links=links,
        )
    )
    assert core(settings) == ("a fox", "rain", 77, 8, 5.5, 1024)
    assert settings.loras == () and settings.model == "krea2_turbo"


def test_a_muted_node_is_not_there() -> None:
    muted = shown(5, "CLIPTextEncode", ["rain"], [], ["CONDITIONING"], mode=2)
    settings = read(workflow(muted))
    assert settings.negative_prompt == "" and settings.prompt == "a fox"
    assert settings.notes == ("The negative prompt comes from nowhere in the graph",)


def test_groups_of_nodes_are_not_looked_into_and_named() -> None:
    group = shown(4, "b7f2c6de-1d2a-4a5c-9f32-3a1d8e7c0001", ["a fox"], [], ["CONDITIONING"])
    settings = read(workflow(group))
    assert settings.prompt is None
    assert settings.notes[0].startswith("The prompt comes out of b7f2c6de-1d2a-4a5c-9f32-3a1d8e7c0001 (node 4)")


def test_links_round_in_a_circle_end() -> None:
    data = workflow(shown(21, "Reroute", None, [("", 12)], ["*"]), links=[[12, 21, 0, 7, 1, "*"]])
    nodes = graph_of_workflow(data)
    assert nodes and nodes["7"].inputs["positive"] == Link("21", 0)


def test_a_long_way_on_the_screen_takes_no_time() -> None:
    nodes = [shown(n, "Reroute", None, [("", n + 1)], ["*"]) for n in range(9000)]
    begun = time.thread_time()
    assert graph_of_workflow({"nodes": nodes, "links": [[n, n, 0, n - 1, 0, "*"] for n in range(9001)]})
    assert time.thread_time() - begun < 5


@pytest.mark.parametrize("read_graph", [graph_of_prompt, graph_of_workflow])
def test_what_is_no_graph_or_too_large_is_none(read_graph: Any) -> None:
    for data in ({}, {"nodes": 3}, {"nodes": []}, {"nodes": [3, {"id": []}]}, {"1": 3, "2": {"class_type": 4}}):
        assert read_graph(data) is None
    many = {str(n): node("X") for n in range(MAX_NODES + 1)}
    assert read_graph({**many, "nodes": [{"id": n, "type": "X"} for n in range(MAX_NODES + 1)]}) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 30) | st.floats() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["name", "link", "type"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(
    st.dictionaries(st.sampled_from(["id", "type", "inputs", "outputs", "widgets_values", "mode"]), json_values),
    json_values,
)
def test_any_workflow_is_a_graph_or_none(broken: dict[str, Any], links: Any) -> None:
    data = workflow()
    data["nodes"] += [{**shown(7, "KSampler", [1, "x", 2], [("model", 11)]), **broken}]
    if links is not None:
        data["links"] = links
    found = graph_of_workflow(data)
    assert found is None or all(isinstance(key, str) for key in found)
    comfyui.read({"workflow": json.dumps(data)})
