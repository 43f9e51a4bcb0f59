"""Files of styles that tests make: small LoRAs for the embedded checkpoints, of random but seeded values."""

from pathlib import Path

LAYERS = 12


def style_file(path: Path, seed: int = 7, **metadata: str) -> Path:
    """Write a LoRA for mini-turbo with a visible effect, and what it says of itself; returns `path`."""
    from safetensors.torch import save_file
    from torch import Generator, randn

    from krea_studio.engine.checkpoints.table import CHECKPOINTS
    from krea_studio.engine.lora.layers import architectures

    (turbo,) = architectures([CHECKPOINTS["mini-turbo"]])
    noise, state = Generator().manual_seed(seed), {}
    layers = [layer for layer in turbo.layers if layer.startswith("transformer_blocks.")][-LAYERS:]
    for layer in layers:
        out, width = turbo.layers[layer]
        state[f"transformer.{layer}.lora_A.weight"] = randn(2, width, generator=noise) * width**-0.5
        state[f"transformer.{layer}.lora_B.weight"] = 0.1 * randn(out, 2, generator=noise)
    save_file(state, path, metadata)
    return path
