"""A linear layer that keeps its weight as it is stored and unpacks it whenever it computes.

For everything around it, it is an `nn.Linear`: adapters hang beside it and are never merged into stored bytes. Its
`weight` holds no numbers, only the precision and the device, which is what peft asks a layer for.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from krea_studio.engine.checkpoints.activations import UNPACKED_AT_ONCE
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
        return self._rows(slice(most_rows))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self._in(x.dtype), self.bias)

    def _in(self, precision: torch.dtype) -> torch.Tensor:
        """(out, in) the weight; piece by piece, since unpacking takes several times what it results in."""
        step = max(1, UNPACKED_AT_ONCE // self.in_features)
        if step >= self.out_features:
            return self.unpacked().to(precision)
        whole = torch.empty(self.out_features, self.in_features, dtype=precision, device=self.weight.device)
        for start in range(0, self.out_features, step):
            whole[start : start + step] = self._rows(slice(start, start + step))
        return whole

    def _rows(self, rows: slice) -> torch.Tensor:
        parts = {name: part if len(part) == 1 else part[rows] for name, part in self.named_buffers(recurse=False)}
        return unpack(self.form, self.in_features, self.group, parts)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, {self.form}"
