"""Gradient checkpointing: parts of a network are computed a second time in the backward pass instead of being kept."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint


def recomputed(model: nn.Module, part: Callable[..., Any], *inputs: Any) -> Any:
    """`part(*inputs)`, of which only the inputs and outputs are kept until the backward pass.

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
