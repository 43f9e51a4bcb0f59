"""A graph of ComfyUI is followed to what drew the picture, and what cannot be known is named."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from krea_studio.library.foreign import comfyui
from krea_studio.library.foreign.comfyui import settings_of
from krea_studio.library.foreign.comfyui_graph import graph_of_prompt
from krea_studio.library.foreign.comfyui_nodes import JOINED, SAMPLERS, TEXTS, VALUES
from krea_studio.library.foreign.settings import Lora, Settings
from krea_studio.library.foreign.translation import translated
from tests.library.foreign.builders import graph, node

SAMPLER = graph()["7"]["inputs"]


def read(nodes: dict[str, Any]) -> Settings:
    found = comfyui.read({"prompt": json.dumps(nodes)})
    assert found and found[0] == "ComfyUI"
    return found[1]


def core(settings: Settings) -> tuple[object, ...]:
    return settings.prompt, settings.negative_prompt, settings.seed, settings.steps, settings.cfg, settings.width


def test_the_template_of_krea_2_is_read_whole() -> None:
    settings = read(graph())
    assert core(settings) == ("a fox in the snow", "", 42, 8, 1.0, 1376)
    assert (settings.height, settings.model) == (768, "krea2_turbo_fp8_scaled")
    assert settings.left == (("Sampler", "euler"), ("Scheduler", "simple"))
    assert settings.notes == () and settings.loras == ()


def test_nan_in_what_nobody_reads_is_no_harm() -> None:
    text = json.dumps(graph()).replace('"class_type": "VAEDecode"', '"class_type": "VAEDecode", "is_changed": [NaN]')
    found = comfyui.read({"prompt": text})
    assert "NaN" in text and found and core(found[1]) == core(read(graph()))


def advanced(**changed: Any) -> dict[str, Any]:
    """The template as a SamplerCustomAdvanced draws it."""
    nodes = graph(
        n7=node(
            "SamplerCustomAdvanced",
            noise=["20", 0],
            guider=["21", 0],
            sampler=["22", 0],
            sigmas=["23", 0],
            latent_image=["6", 0],
        ),
        n20=node("RandomNoise", noise_seed=42),
        n21=node("CFGGuider", cfg=5.5, model=["1", 0], positive=["4", 0], negative=["24", 0]),
        n22=node("KSamplerSelect", sampler_name="res_multistep"),
        n23=node("BasicScheduler", scheduler="beta", steps=28, denoise=1.0, model=["1", 0]),
        n24=node("CLIPTextEncode", text="rain", clip=["2", 0]),
    )
    return nodes | changed


def test_samplers_of_other_kinds_are_read() -> None:
    settings = read(advanced())
    assert core(settings) == ("a fox in the snow", "rain", 42, 28, 5.5, 1376)
    assert settings.left == (("Sampler", "res_multistep"), ("Scheduler", "beta")) and settings.notes == ()
    assert settings.model == "krea2_turbo_fp8_scaled"
    basic = read(advanced(**{"21": node("BasicGuider", model=["1", 0], conditioning=["4", 0])}))
    assert core(basic) == ("a fox in the snow", "", 42, 28, 1.0, 1376)
    custom = {**SAMPLER, "noise_seed": 3, "sampler": ["22", 0], "sigmas": ["23", 0]}
    settings = read(
        advanced(**{"7": node("SamplerCustom", **{k: v for k, v in custom.items() if k not in ("seed", "steps")})})
    )
    assert core(settings) == ("a fox in the snow", "", 3, 28, 1.0, 1376)
    step = {**SAMPLER, "noise_seed": 5, "start_at_step": 0, "end_at_step": 10_000, "add_noise": "enable"}
    settings = read(
        graph(n7=node("KSamplerAdvanced", **{k: v for k, v in step.items() if k not in ("seed", "denoise")}))
    )
    assert core(settings)[2:4] == (5, 8)


def test_sigmas_that_are_changed_are_told() -> None:
    settings = read(advanced(**{"7": {**advanced()["7"]}, "23": node("SplitSigmas", sigmas=["25", 0], step=4),
                                "25": node("BasicScheduler", scheduler="beta", steps=28, denoise=1.0)}))  # fmt: skip
    assert settings.steps == 28 and ("Changed sigmas", "SplitSigmas (node 23)") in settings.left
    settings = read(advanced(**{"23": node("ManualSigmas", sigmas="1, 0.5")}))
    assert settings.steps is None
    assert "The number of steps comes out of ManualSigmas (node 23), which is not known here" in settings.notes


@pytest.mark.parametrize("kind", [kind for kind, name in VALUES.items() if name])
def test_values_are_followed_through_nodes_that_hand_them_on(kind: str) -> None:
    settings = read(
        graph(
            n7=node("KSampler", **{**SAMPLER, "steps": ["30", 0], "seed": ["31", 0]}),
            n30=node(kind, **{VALUES[kind]: ["32", 0]}),
            n31=node("Reroute", **{"": ["30", 0]}),
            n32=node("PrimitiveInt", value=12),
        )
    )
    assert (settings.steps, settings.seed, settings.notes) == (12, 12, ())


@pytest.mark.parametrize("field", ["steps", "seed", "cfg"])
def test_a_value_out_of_an_unknown_node_is_named_and_not_guessed(field: str) -> None:
    settings = read(graph(n7=node("KSampler", **{**SAMPLER, field: ["30", 0]}), n30=node("MathExpression", a=1, b=2)))
    assert getattr(settings, field) is None
    assert settings.notes[0].endswith("comes out of MathExpression (node 30), which is not known here")
    assert core(read(graph()))[0] == settings.prompt


@pytest.mark.parametrize("kind", JOINED)
def test_texts_that_are_joined_are_read(kind: str) -> None:
    (first, second), between = JOINED[kind]
    settings = read(
        graph(
            n4=node("CLIPTextEncode", text=["30", 0], clip=["2", 0]),
            n30=node(kind, **{first: "a fox", second: ["31", 0], between: " and "}),
            n31=node("PrimitiveStringMultiline", value="a whale"),
        )
    )
    assert settings.prompt == "a fox and a whale"


def test_the_texts_of_was_node_suite_are_joined_as_it_does() -> None:
    parts = node(
        "Text Concatenate", delimiter="\\n", clean_whitespace="true", text_b=" snow ", text_a="a fox", text_c=""
    )
    assert read(graph(n4=node("CLIPTextEncode", text=["30", 0]), n30=parts)).prompt == "a fox\nsnow"


def test_comments_of_was_node_suite_are_no_prompt() -> None:
    lines = node("Text Multiline", text="# idea\na fox\n  #2\nin snow #1")
    assert read(graph(n4=node("CLIPTextEncode", text=["30", 0]), n30=lines)).prompt == "a fox\nin snow #1"


@pytest.mark.parametrize("kind", TEXTS)
def test_every_encoder_gives_its_first_text_and_tells_another(kind: str) -> None:
    first, *others = TEXTS[kind]
    same = read(graph(n4=node(kind, **dict.fromkeys(TEXTS[kind], "a fox"))))
    assert same.prompt == "a fox" and not any("Prompt for" in name for name, _ in same.left)
    settings = read(graph(n4=node(kind, **{first: "a fox", **dict.fromkeys(others, "a whale")})))
    assert settings.prompt == "a fox"
    assert {name for name, _ in settings.left if "Prompt for" in name} == {f"Prompt for {name}" for name in others}


def test_nodes_between_prompt_and_sampler_are_told() -> None:
    settings = read(
        graph(
            n7=node("KSampler", **{**SAMPLER, "positive": ["30", 0], "negative": ["30", 1]}),
            n30=node("ControlNetApplyAdvanced", positive=["31", 0], negative=["32", 0], strength=0.7, image=["40", 0]),
            n31=node("FluxGuidance", conditioning=["4", 0], guidance=3.5),
            n32=node("CLIPTextEncode", text="rain"),
        )
    )
    assert (settings.prompt, settings.negative_prompt) == ("a fox in the snow", "rain")
    assert ("Node", "ControlNetApplyAdvanced (node 30), strength 0.7") in settings.left
    assert ("Node", "FluxGuidance (node 31), guidance 3.5") in settings.left


@pytest.mark.parametrize(
    ("made_by", "why"),
    [
        (node("Writer", prompt="x"), "The prompt comes out of Writer (node 30), which is not known here"),
        (node("ConditioningCombine", conditioning_1=["4", 0], conditioning_2=["4", 0]), "The prompt is made of"),
        (node("Efficient Loader", positive="a", negative="b"), "The prompt comes out of Efficient Loader (node 30)"),
        (node("FluxGuidance", conditioning=["30", 0]), "The prompt goes round in a circle"),
        (node("FluxGuidance", conditioning=["99", 0]), "The prompt comes from nowhere in the graph"),
        (node("CLIPTextEncode", text=["99", 0]), "The prompt comes from nowhere in the graph"),
        (node("CLIPTextEncode", text=7), "The prompt is no text"),
        (node("CLIPTextEncode", text=["30", 0]), "The prompt comes out of CLIPTextEncode (node 30)"),
    ],
)  # fmt: skip
def test_a_prompt_that_cannot_be_known_is_named(made_by: dict[str, Any], why: str) -> None:
    settings = read(graph(n7=node("KSampler", **{**SAMPLER, "positive": ["30", 0]}), n30=made_by))
    assert settings.prompt is None and any(note.startswith(why) for note in settings.notes), settings.notes
    assert (settings.seed, settings.steps) == (42, 8)


def test_loras_and_what_changes_the_model_are_told() -> None:
    settings = read(
        graph(
            n7=node("KSampler", **{**SAMPLER, "model": ["30", 0]}),
            n30=node("ModelSamplingAuraFlow", model=["31", 0], shift=3.1),
            n31=node("LoraLoader", model=["32", 0], lora_name="style\\ink.safetensors", strength_model=0.8),
            n32=node("LoraLoaderModelOnly", model=["33", 0], lora_name="off.safetensors", strength_model=0),
            n33=node("Lora Loader Stack (rgthree)", model=["34", 0], lora_01="a", strength_01=0.3, lora_02="None"),
            n34=node(
                "Power Lora Loader (rgthree)",
                model=["1", 0],
                lora_1={"on": True, "lora": "b.safetensors", "strength": -1},
                lora_2={"on": False, "lora": "c.safetensors", "strength": 1},
            ),
        )
    )  # fmt: skip
    assert settings.loras == (Lora("ink", 0.8), Lora("a", 0.3), Lora("b", -1))
    assert ("Node", "ModelSamplingAuraFlow (node 30), shift 3.1") in settings.left
    assert settings.model == "krea2_turbo_fp8_scaled" and settings.notes == ()


def test_a_lora_by_values_out_of_other_nodes_is_told() -> None:
    lora = {"model": ["1", 0], "lora_name": ["31", 0], "strength_model": ["32", 0]}
    nodes = graph(
        n7=node("KSampler", **{**SAMPLER, "model": ["30", 0]}),
        n30=node("LoraLoaderModelOnly", **lora),
        n31=node("String Literal", string="ink.safetensors"),
        n32=node("PrimitiveFloat", value=0.4),
    )
    assert read(nodes).loras == (Lora("ink", 0.4),)
    assert read(nodes | {"32": node("Random")}).loras == (Lora("ink", None),)
    unknown = read(nodes | {"31": node("Picker")})
    assert unknown.loras == () and ("Node", "LoraLoaderModelOnly (node 30)") in unknown.left


@pytest.mark.parametrize(
    ("loader", "name"),
    [
        (node("CheckpointLoaderSimple", ckpt_name="sd/xl.safetensors"), "xl"),
        (node("UnetLoaderGGUF", unet_name="krea2-Q4_K_M.gguf"), "krea2-Q4_K_M"),
        (node("UNETLoader", unet_name=["50", 0]), ""),
        (node("Something"), ""),
    ],
)
def test_the_model_is_told_by_its_file_or_a_note(loader: dict[str, Any], name: str) -> None:
    settings = read(graph(n1=loader))
    assert settings.model == name and bool(name) != any("model" in note for note in settings.notes)


def test_of_several_passes_the_first_one_counts_and_the_others_are_told() -> None:
    later = {**SAMPLER, "seed": 99, "steps": 4, "denoise": 0.5, "latent_image": ["31", 0]}
    settings = read(
        graph(
            n8=node("VAEDecode", samples=["30", 0]),
            n30=node("KSampler", **later),
            n31=node("LatentUpscaleBy", samples=["7", 0], scale_by=1.5),
        )
    )
    assert core(settings) == core(read(graph()))
    assert ("Later pass", "KSampler (node 30), steps 4, denoise 0.5") in settings.left


def test_what_works_on_the_picture_behind_the_sampler_is_told() -> None:
    settings = read(
        graph(n9=node("SaveImage", images=["30", 0]), n30=node("FaceDetailer", image=["8", 0], model=["1", 0]))
    )
    assert core(settings) == core(read(graph()))
    assert ("Step after the sampler", "FaceDetailer (node 30)") in settings.left


def test_the_sampler_that_feeds_the_saved_picture_is_chosen() -> None:
    other = node("KSampler", **{**SAMPLER, "seed": 1})
    aside = graph(n20=other, n21=node("VAEDecode", samples=["20", 0]), n22=node("PreviewImage", images=["21", 0]))
    assert read(aside).seed == 42 and read(aside).notes == ()
    shown = {key: value for key, value in aside.items() if key not in ("9", "8", "7")}
    assert read(shown).seed == 1
    both = graph(n20=other, n21=node("VAEDecode", samples=["20", 0]), n22=node("SaveImage", images=["21", 0]))
    assert read(both).notes == ("The graph saves several pictures; the settings are those of SaveImage (node 22)",)
    assert read(both).seed == 1


def test_a_node_like_a_sampler_is_read_as_one_and_that_is_told() -> None:
    settings = read(graph(n7=node("KSampler (my pack)", **SAMPLER)))
    assert core(settings) == core(read(graph()))
    assert settings.notes == ("KSampler (my pack) (node 7) is read as a sampler, by the names of its inputs",)


@pytest.mark.parametrize(
    ("latent", "size", "note"),
    [
        (node("EmptyLatentImage", width=512, height=["50", 0], batch_size=4), (512, 640), ""),
        (node("EmptyFlux2LatentImage", width=512, height=640), (512, 640), ""),
        (node("LatentFromPicker", samples=["51", 0]), (64, 64), ""),
        (node("VAEEncode", pixels=["60", 0]), (None, None), "The size comes out of VAEEncode (node 6)"),
        (node("EmptyLatentImage", width=["60", 0], height=640), (None, 640), "The width comes out of Picker (node 60)"),
    ],
)
def test_the_size_is_that_of_the_latents(latent: dict[str, Any], size: tuple[Any, Any], note: str) -> None:
    settings = read(
        graph(
            n6=latent,
            n50=node("PrimitiveInt", value=640),
            n51=node("EmptyLatentImage", width=64, height=64),
            n60=node("Picker", image="a.png"),
        )
    )
    assert (settings.width, settings.height) == size
    assert any(each.startswith(note) for each in settings.notes) if note else settings.notes == ()
    assert (("Batch size", 4) in settings.left) == ("batch_size" in latent["inputs"])


@pytest.mark.parametrize("nodes", [graph(n7=None), {"1": node("Unknown")}, graph(n8=node("X"), n7=node("Y"))])
def test_a_graph_without_a_sampler_says_so(nodes: dict[str, Any]) -> None:
    settings = read(nodes)
    assert not settings.known and settings.notes == ("No sampler that is known leads to its picture",)


def test_where_nothing_is_saved_the_sampler_is_the_end() -> None:
    settings = read(graph(n8=None, n9=None))
    assert core(settings) == core(read(graph())) and settings.notes == ()


def chain(length: int, kind: str, name: str) -> dict[str, Any]:
    """Nodes from `c0` to the first without an input, each of which takes the next."""
    return {f"c{n}": node(kind, **{name: [f"c{n + 1}", 0]}) for n in range(length)}


def hostile() -> dict[str, dict[str, Any]]:
    doubled = {
        f"c{n}": node("StringConcatenate", string_a=[f"c{n + 1}", 0], string_b=[f"c{n + 1}", 0], delimiter=", ")
        for n in range(50)
    }
    wide = {f"s{n}": node("SaveImage", images=["c0", 0]) for n in range(4000)}
    samplers = {f"c{n}": node("KSampler", **{**SAMPLER, "latent_image": [f"c{n + 1}", 0]}) for n in range(4000)}
    return {
        "doubled texts": graph(n4=node("CLIPTextEncode", text=["c0", 0]))
        | doubled
        | {"c50": node("String Literal", string="x" * 90)},
        "deep texts": graph(n4=node("CLIPTextEncode", text=["c0", 0])) | chain(5000, "ShowText|pysssss", "text"),
        "deep conditionings": graph(n7=node("KSampler", **{**SAMPLER, "positive": ["c0", 0]}))
        | chain(9000, "FluxGuidance", "conditioning"),
        "deep models": graph(n7=node("KSampler", **{**SAMPLER, "model": ["c0", 0]}))
        | chain(9000, "LoraLoader", "model"),
        "deep strengths": graph(n7=node("KSampler", **{**SAMPLER, "model": ["l0", 0]}))
        | {f"l{n}": node("LoraLoader", model=[f"l{n + 1}", 0], strength_model=["c0", 0]) for n in range(4000)}
        | chain(4000, "PrimitiveInt", "value"),
        "deep values": graph(n7=node("KSampler", **{**SAMPLER, "steps": ["c0", 0]}))
        | chain(9000, "PrimitiveInt", "value"),
        "many savers": wide | chain(4000, "ImageScale", "image"),
        "many samplers": samplers | {"9": node("SaveImage", images=["c0", 0])},
    }


@pytest.mark.parametrize("name", hostile())
def test_hostile_graphs_take_no_time(name: str) -> None:
    nodes = graph_of_prompt(hostile()[name])
    assert nodes
    begun = time.thread_time()
    found = translated(settings_of(nodes))
    assert time.thread_time() - begun < 5
    assert all(len(line) < 400 for line in found.lines)


def test_circles_end() -> None:
    nodes = graph(
        n1=node("LoraLoader", model=["1", 0], lora_name="a"),
        n4=node("CLIPTextEncode", text=["30", 0]),
        n6=node("LatentUpscale", samples=["7", 0], width=8, height=8),
        n30=node("StringConcatenate", string_a=["30", 0], string_b=["30", 0]),
        n31=node("Reroute", **{"": ["31", 0]}),
        n7=node("KSampler", **{**SAMPLER, "seed": ["31", 0]}),
    )
    settings = read(nodes)
    assert settings.prompt is None and settings.seed is None and settings.steps == 8


kinds = st.sampled_from([*TEXTS, *JOINED, *list(VALUES)[:6], *SAMPLERS, "SaveImage", "LoraLoader", "X"])
names = st.sampled_from(
    ["text", "value", "positive", "negative", "model", "latent_image", "steps", "cfg", "seed", "images"]
)
ids = st.integers(1, 9).map(str)
some_values = st.lists(ids | st.integers(-1, 2), min_size=2, max_size=2) | st.text(max_size=8) | st.floats() | st.none()


@given(
    st.dictionaries(
        ids, st.tuples(kinds, st.dictionaries(names | st.text(max_size=4), some_values, max_size=5)), max_size=5
    )
)
def test_any_graph_ends_in_lines(changed: dict[str, tuple[str, dict[str, Any]]]) -> None:
    nodes = graph() | {key: node(kind, **{"class": None} | inputs) for key, (kind, inputs) in changed.items()}
    for line in translated(read(nodes)).lines:
        assert len(line.splitlines()) == 1 and all(c.isprintable() for c in line)
