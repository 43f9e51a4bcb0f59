"""The shapes of models without their weights: the published Krea 2's configs, which ship, and a checkpoint's own.

A single file of weights does not say what a model is like. The published one's parts are described in
`assets/configs/krea-2` as `Krea2Pipeline.save_pretrained` would, without weights; a file of another shape takes the
config of the checkpoint that is its base.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

PUBLISHED = Path(__file__).resolve().parents[4] / "assets" / "configs" / "krea-2"
Shapes = dict[str, tuple[int, ...]]


def published_config() -> dict[str, Any]:
    """The config of the published transformer, which is also what diffusers has for defaults of the class."""
    return json.loads((PUBLISHED / "transformer" / "config.json").read_text("utf-8"))


@cache
def published_shapes() -> Shapes:
    """Of every parameter of the published transformer."""
    return transformer_shapes(published_config())


def transformer_shapes(config: dict[str, Any]) -> Shapes:
    """The shape of every parameter of a `Krea2Transformer2DModel` of this config, under diffusers' names.

    Raises KeyError or TypeError for a config of something else.
    """
    head, wide = config["attention_head_dim"], config["attention_head_dim"] * config["num_attention_heads"]
    text, inputs, times = config["text_hidden_dim"], config["in_channels"], config["timestep_embed_dim"]
    shapes: Shapes = {
        **_linear("img_in", wide, inputs),
        **_linear("time_embed.linear_1", wide, times),
        **_linear("time_embed.linear_2", wide, wide),
        **_linear("time_mod_proj", 6 * wide, wide),
        "text_fusion.projector.weight": (1, config["num_text_layers"]),
        "txt_in.norm.weight": (text,),
        **_linear("txt_in.linear_1", wide, text),
        **_linear("txt_in.linear_2", wide, wide),
        "final_layer.scale_shift_table": (2, wide),
        "final_layer.norm.weight": (wide,),
        **_linear("final_layer.linear", inputs, wide),
    }
    for number in range(config["num_layers"]):
        name = f"transformer_blocks.{number}"
        shapes[f"{name}.scale_shift_table"] = (6, wide)
        shapes |= _block(name, wide, head, config["num_key_value_heads"], config["intermediate_size"])
    text_head = text // config["text_num_attention_heads"]
    for kind, count in (("layerwise", "num_layerwise_text_blocks"), ("refiner", "num_refiner_text_blocks")):
        for number in range(config[count]):
            shapes |= _block(
                f"text_fusion.{kind}_blocks.{number}",
                text,
                text_head,
                config["text_num_key_value_heads"],
                config["text_intermediate_size"],
            )
    return shapes


def _linear(name: str, outputs: int, inputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _block(name: str, wide: int, head: int, key_heads: int, hidden: int) -> Shapes:
    return {
        f"{name}.norm1.weight": (wide,),
        f"{name}.norm2.weight": (wide,),
        f"{name}.attn.norm_q.weight": (head,),
        f"{name}.attn.norm_k.weight": (head,),
        f"{name}.attn.to_q.weight": (wide, wide),
        f"{name}.attn.to_k.weight": (head * key_heads, wide),
        f"{name}.attn.to_v.weight": (head * key_heads, wide),
        f"{name}.attn.to_gate.weight": (wide, wide),
        f"{name}.attn.to_out.0.weight": (wide, wide),
        f"{name}.ff.gate.weight": (hidden, wide),
        f"{name}.ff.up.weight": (hidden, wide),
        f"{name}.ff.down.weight": (wide, hidden),
    }
