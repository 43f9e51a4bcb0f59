"""The shapes of the embedded checkpoints: stock Krea 2 classes, three orders of magnitude smaller.

As in the published model, the autoencoder's factor is 8. 4 × 4 of its cells make a token instead of 2 × 2, so a token
covers 32 × 32 pixels and a 1K picture has 1,024 of them, not 4,096. It has 6 latent channels instead of 16: a token is
then 96 numbers, and a transformer that predicts velocities must be well wider than its tokens, since it has to carry
their noise through (Li and He 2025, arXiv 2511.13720); this one is 256 wide.
"""

from __future__ import annotations

from diffusers import AutoencoderKLQwenImage, FlowMatchEulerDiscreteScheduler, Krea2Transformer2DModel
from transformers import Qwen3VLConfig, Qwen3VLModel

LATENT_CHANNELS = 6
PATCH_SIZE = 4
PIXELS_PER_CELL = 8
PIXELS_PER_TOKEN = PIXELS_PER_CELL * PATCH_SIZE
TEXT_WIDTH = 128
TEXT_TAPS = (1, 3, 5)  # indices into the encoder's hidden_states; the last of its six layers is not used
TRANSFORMER_LAYERS = {"mini-medium": 7, "mini-turbo": 7, "mini-large": 9}


def autoencoder() -> AutoencoderKLQwenImage:
    return AutoencoderKLQwenImage(
        base_dim=16,
        z_dim=LATENT_CHANNELS,
        dim_mult=[1, 2, 4, 4],
        num_res_blocks=1,
        temperal_downsample=[False] * 3,
        latents_mean=[0.0] * LATENT_CHANNELS,
        latents_std=[1.0] * LATENT_CHANNELS,
    )


def transformer(checkpoint: str = "mini-medium", layers: int | None = None) -> Krea2Transformer2DModel:
    """A checkpoint's transformer with random weights, with its own number of `layers` or another."""
    return Krea2Transformer2DModel(
        in_channels=LATENT_CHANNELS * PATCH_SIZE**2,
        num_layers=layers or TRANSFORMER_LAYERS[checkpoint],
        attention_head_dim=64,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=512,
        timestep_embed_dim=128,
        text_hidden_dim=TEXT_WIDTH,
        num_text_layers=len(TEXT_TAPS),
        text_num_attention_heads=4,
        text_num_key_value_heads=4,
        text_intermediate_size=256,
        num_layerwise_text_blocks=1,
        num_refiner_text_blocks=1,
        axes_dims_rope=(16, 24, 24),
        rope_theta=8.0,  # places go to 48 here; the waves of `readings` are sums of these, but not of the published ones
    )


def text_encoder(vocabulary_size: int) -> Qwen3VLModel:
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [6, 5, 5], "mrope_interleaved": True}
    text = {
        "vocab_size": vocabulary_size,
        "hidden_size": TEXT_WIDTH,
        "intermediate_size": 320,
        "num_hidden_layers": 6,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "max_position_embeddings": 1024,
        "tie_word_embeddings": True,
        "rope_parameters": rope,
        "pad_token_id": 0,
    }
    vision = {
        "depth": 1,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 2,
        "out_hidden_size": TEXT_WIDTH,
        "deepstack_visual_indexes": [0],
        "num_position_embeddings": 64,
    }
    return Qwen3VLModel(Qwen3VLConfig(text_config=text, vision_config=vision))


def scheduler() -> FlowMatchEulerDiscreteScheduler:
    """The published schedule: time shifted with the picture's size, exponentially."""
    return FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15, base_image_seq_len=256, max_image_seq_len=6400
    )
