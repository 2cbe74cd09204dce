"""Several networks as one module, their outputs stacked."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Ensemble(nn.Module):
    """M networks that take the same inputs, e.g. PSMNets or Frustum PointNets; ValueError for none.

    The caller averages the outputs that have a meaningful mean: disparities, probabilities, residuals of one anchor.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        if not members:
            raise ValueError("members: found none, expected one or more")
        self.members = nn.ModuleList(members)

    def forward(self, *inputs: Any) -> Any:
        """A member's output (a tensor, a tuple or a dataclass of them), each tensor (M, ...)."""
        return stacked([member(*inputs) for member in self.members])


def stacked(outputs: Sequence[Any]) -> Any:
    """Outputs of M networks as one: tensors stacked to (M, ...), tuples and dataclasses by parts; else TypeError."""
    first = outputs[0]
    if isinstance(first, Tensor):
        return torch.stack(list(outputs))
    if isinstance(first, tuple):
        return tuple(stacked(parts) for parts in zip(*outputs, strict=True))
    if dataclasses.is_dataclass(first) and not isinstance(first, type):
        names = [field.name for field in dataclasses.fields(first)]
        return type(first)(**{name: stacked([getattr(output, name) for output in outputs]) for name in names})
    raise TypeError(f"outputs: found {type(first).__name__}, expected tensors, or tuples or dataclasses of them")
