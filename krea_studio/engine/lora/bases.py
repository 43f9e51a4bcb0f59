"""Which checkpoint's weights a file was trained on, where its change is only known with them.

The checkpoint that the file names, otherwise the one whose weights are most like what the file tells of them: a DoRA's
magnitudes start as their norms, and a PiSSA's or OLoRA's matrices as parts of them. Other kinds tell nothing.
"""

from collections.abc import Sequence

import torch

from krea_studio.engine.lora import factors
from krea_studio.engine.lora.factors import Misfit
from krea_studio.engine.lora.layers import Architecture
from krea_studio.engine.lora.reading import LoraReading
from krea_studio.engine.lora.report import Stated

# DoRA magnitudes that are further away from the norms, as a root mean square of logarithms, belong to other weights.
_MOST_MAGNITUDE_RATIO = 0.3
# A beginning that is taken off other weights than its own leaves about √2 of its norm.
_MOST_BEGINNING_LEFT = 1.0
# So many layers are enough to tell.
_COMPARED_LAYERS = 16


def base_of(reading: LoraReading, fits: Sequence[Architecture], stated: Stated) -> tuple[Architecture | None, str]:
    """The checkpoint, with a note on what it is used for, or none with the reason; none and no reason where no layer
    needs it.
    """
    bound = [layer for layer in reading.shapes if reading.needs_weights(layer)]
    if not bound:
        return None, ""
    decomposed = [layer for layer in bound if reading.decomposed(layer)]
    kind = "DoRA" if decomposed else reading.begun(bound[0]) or reading.kind(bound[0])
    what = f"a{'n' if kind.startswith('O') else ''} {kind}"
    here = [architecture for architecture in fits if architecture.has_weights]
    if not here:
        labels = " or ".join(architecture.label for architecture in fits)
        return None, (
            f"it is {what}, which only works with the weights that it was trained on, and those of {labels} are not on "
            "this machine — download that checkpoint, or ask for a plain LoRA"
        )
    named = [architecture for architecture in here if architecture.names(stated.base_model)]
    compared = (decomposed or bound)[:_COMPARED_LAYERS]
    try:
        apart = {a.name: _apart(reading, compared, a) for a in named or here}
    except Misfit as error:
        return None, f"it is {what} that cannot be used: {error} — get it again"
    nearest = min(named or here, key=lambda architecture: apart[architecture.name][0])
    if not apart[nearest.name][1]:
        return None, (
            f"it is {what} of other weights than those of {nearest.label}, to which it is not near enough — "
            "use it with the checkpoint that it was trained on"
        )
    exact = "; exact at weight 1" if decomposed or kind == "OFT or BOFT" else ""
    return nearest, f"{what}, worked out with the weights of {nearest.label}{exact}"


def _apart(reading: LoraReading, layers: Sequence[str], architecture: Architecture) -> tuple[float, bool]:
    """How little the file's layers look trained on a checkpoint, and whether they can have been."""
    if reading.decomposed(layers[0]):
        # All magnitudes of a layer may have grown; how they differ from one another tells the weights apart.
        ratios = [
            factors.magnitude_ratios(reading.read(layer, "magnitude"), reading.weight(layer, architecture.weight))
            for layer in layers
        ]
        spread = torch.cat([ratio - ratio.mean() for ratio in ratios]).square().mean()
        return float(spread), float(torch.cat(ratios).square().mean().sqrt()) <= _MOST_MAGNITUDE_RATIO
    if reading.begun(layers[0]):
        left = sum(reading.factors(layer, architecture.weight).norm ** 2 for layer in layers)
        begun = sum(reading.beginning(layer, architecture.weight).norm ** 2 for layer in layers)
        return left / begun, left <= _MOST_BEGINNING_LEFT**2 * begun
    return 0.0, True
