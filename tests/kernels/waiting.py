"""What the host may not do while kernels are recorded: wait for the GPU, or copy from or to it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from typing_extensions import override

_WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "item", "is_nonzero", "equal", "unique", "_unique2"}


class WithoutWaiting(TorchDispatchMode):
    """Within it, an operator that waits for the GPU fails, also where tensors are on a processor or fake."""

    @override
    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = func.overloadpacket.__name__
        masks = name == "index" and any(index is not None and index.dtype == torch.bool for index in args[1])
        assert name not in _WAITING and not masks, f"{name} waits for the GPU"
        call: Callable[..., Any] = func
        result = call(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            # Numbers alone travel with a kernel's arguments.
            sources = [value for value in args if isinstance(value, torch.Tensor) and value.ndim > 0]
            assert all(value.device == result.device for value in sources), f"{name} copies between devices"
        return result
