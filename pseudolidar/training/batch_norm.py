"""Batch normalisation where a step's batch is on several processes, or goes through a layer twice (recomputation)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.autograd.function import FunctionCtx
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


class FusedBatchNorm(nn.Module):
    """A layer that computes its batch norm together with more, and also one after the other, calling the norm itself.

    Attributes:
        layer_by_layer: whether it does the latter: a norm that is synchronised must be called.
    """

    layer_by_layer = False


@contextmanager
def synchronised_batch_norm(model: nn.Module) -> Iterator[None]:
    """Inside, every batch norm of `model` takes its statistics in training from the shards of all processes.

    The modules stay the ones they are, with their names and state. On a GPU PyTorch's own `SyncBatchNorm` computes,
    which has nothing for processors.
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    fused = [module for module in model.modules() if isinstance(module, FusedBatchNorm)]
    try:
        for norm in norms:
            norm.forward = _synchronised(norm)  # type: ignore[assignment,method-assign]
        for layer in fused:
            layer.layer_by_layer = True
        yield
    finally:
        for norm in norms:
            norm.__dict__.pop("forward", None)
        for layer in fused:
            layer.layer_by_layer = False


def _synchronised(norm: _BatchNorm) -> Callable[[Tensor], Tensor]:
    own = norm.forward
    of_torch = nn.SyncBatchNorm.convert_sync_batchnorm(norm)

    def forward(values: Tensor) -> Tensor:
        if not norm.training:
            return own(values)
        if values.device.type == "cpu":
            return _normalised(norm, values)
        # Gradient checkpointing puts other buffers in the norm's place for a while.
        for name, buffer in norm.named_buffers(recurse=False):
            setattr(of_torch, name, buffer)
        normalised: Tensor = of_torch.train()(values)
        return normalised

    return forward


def _normalised(norm: _BatchNorm, values: Tensor) -> Tensor:
    """`values` (N, C, ...) with the statistics of all processes' values; running statistics are updated."""
    over = [0, *range(2, values.ndim)]
    shape = [1, -1, *[1] * (values.ndim - 2)]
    exact = values.float()
    own_count = exact.numel() // exact.shape[1]
    own_sum = exact.sum(over, dtype=torch.float64)
    own_mean = own_sum / own_count
    # Around the own mean first: the squares themselves would lose digits where the mean is large.
    own_squares = (exact - own_mean.float().view(shape)).square().sum(over, dtype=torch.float64)
    own = torch.cat([own_sum, own_squares + own_count * own_mean.square(), own_sum.new_tensor([own_count])])
    total, squares, (count,) = sum_over_processes(own).split([len(own_sum), len(own_sum), 1])
    exact_mean = total / count
    mean = exact_mean.float()
    variance = (squares / count - exact_mean.square()).clamp(min=0).float()
    centred = exact - mean.view(shape)
    if norm.running_mean is not None and norm.running_var is not None and norm.num_batches_tracked is not None:
        with torch.no_grad():
            norm.num_batches_tracked.add_(1)
            momentum = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
            norm.running_mean.lerp_(mean, momentum)
            norm.running_var.lerp_(variance * (count / (count - 1)).float(), momentum)
    scale = torch.rsqrt(variance + norm.eps)
    if norm.affine:
        return (centred * (scale * norm.weight).view(shape) + norm.bias.view(shape)).to(values.dtype)
    return (centred * scale.view(shape)).to(values.dtype)


def sum_over_processes(values: Tensor) -> Tensor:
    """The sum of `values` over all processes, which gradients go through to each of them."""
    total: Tensor = _Sum.apply(values)
    return total


class _Sum(torch.autograd.Function):
    """Every process's loss depends on the sum, so its gradient is summed as well."""

    @staticmethod
    def forward(ctx: FunctionCtx, values: Tensor) -> Tensor:
        return _summed(values)

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Any) -> Tensor:
        return _summed(gradients[0])


def _summed(values: Tensor) -> Tensor:
    total = values.detach().clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(total)
    return total


def recomputed(model: nn.Module, part: Callable[..., Any], *inputs: Any) -> Any:
    """`part(*inputs)` by gradient checkpointing: computed a second time in the backward pass instead of being kept.

    Loss, gradients and running statistics are the same as without. Source: Chen et al., Training Deep Nets with
    Sublinear Memory Cost, 2016.

    Args:
        model: the network that `part` belongs to; its buffers are left alone by the second computation.
        part: draws no random numbers (no dropout).
        inputs: tensors, or None.
    """
    return checkpoint(
        part, *inputs, use_reentrant=False, preserve_rng_state=False, context_fn=lambda: (nullcontext(), _spared(model))
    )


@contextmanager
def _spared(model: nn.Module) -> Iterator[None]:
    # Batch normalisation would count the same batch twice in its running statistics. Copies take the second count; the
    # buffers themselves aren't written back to, since that would invalidate what the backward pass still needs of them.
    kept = [
        (module, name, buffer) for module in model.modules() for name, buffer in module.named_buffers(recurse=False)
    ]
    try:
        for module, name, buffer in kept:
            setattr(module, name, buffer.clone())
        yield
    finally:
        for module, name, buffer in kept:
            setattr(module, name, buffer)
