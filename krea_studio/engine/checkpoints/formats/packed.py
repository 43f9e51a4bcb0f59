"""A linear layer that keeps its weight as it is stored and unpacks it whenever it computes.

For everything around it, it is an `nn.Linear`: adapters hang beside it and are never merged into stored bytes. Its
`weight` holds no numbers, only the precision and the device, which is what peft asks a layer for.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from krea_studio.engine.checkpoints.formats.unpacking import unpack


class PackedLinear(nn.Linear):
    """`linear` with its weight from `parts` (`unpacking.row_parts` of the format `form`); computes in `precision`."""

    def __init__(
        self, linear: nn.Linear, form: str, group: int, parts: Mapping[str, torch.Tensor], precision: torch.dtype
    ) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.form, self.group = form, group
        self.weight = nn.Parameter(torch.empty(0, dtype=precision), requires_grad=False)
        self.bias = linear.bias
        for name, part in parts.items():
            self.register_buffer(name, part)

    def unpacked(self, most_rows: int | None = None) -> torch.Tensor:
        """(out, in) the weight in float32, or its first rows."""
        parts = {name: part if len(part) == 1 else part[:most_rows] for name, part in self.named_buffers(recurse=False)}
        return unpack(self.form, self.in_features, self.group, parts)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.unpacked().to(x.dtype), self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, {self.form}"
