"""CUDA graphs: all kernels of a function, recorded once and then started together."""

import threading
import warnings
from collections.abc import Callable

import torch
from torch import Tensor


class RecordedKernels:
    """A function of one tensor, computed on a GPU from a tensor on the host, to where its result comes back.

    To start hundreds of kernels may take longer than to run them. So they are recorded at the first call for each shape
    and replayed from then on, in the memory where they were: callers take turns. The function must not wait for the
    GPU, and what it reads beside its argument, such as weights, must stay where it is. On a processor it is called as
    it is.
    """

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self.function = function
        self.recorded: dict[torch.Size, tuple[torch.cuda.CUDAGraph, Tensor, Tensor] | None] = {}
        self._turn = threading.Lock()

    def __call__(self, values: Tensor, device: torch.device) -> Tensor:
        """The function of `values`, which lie on the host, computed on `device`."""
        if device.type != "cuda":
            return self.function(values.to(device)).cpu()
        with self._turn, torch.cuda.device(device):
            if values.shape not in self.recorded:
                self.recorded[values.shape] = self._record(values.to(device))
            recorded = self.recorded[values.shape]
            if recorded is None:
                return self.function(values.to(device)).cpu()
            graph, given, found = recorded
            given.copy_(values)
            graph.replay()
            return found.cpu()

    def _record(self, given: Tensor) -> tuple[torch.cuda.CUDAGraph, Tensor, Tensor] | None:
        """The graph, and where its argument and its result lie; None, and a warning, where nothing can be recorded."""
        # Once before, on a stream of its own as CUDA asks: kernels are compiled, libraries loaded.
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self.function(given)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        try:
            # What other threads do meanwhile, with other networks, is their own affair.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                found = self.function(given)
        except RuntimeError as error:
            warnings.warn(f"CUDA records no graph of the kernels, each is started alone: {error}", stacklevel=3)
            return None
        return graph, given, found
