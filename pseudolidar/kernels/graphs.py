"""CUDA graphs: all kernels of a function, recorded once and then started together."""

import threading
import warnings
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

# Shapes whose kernels are recorded: each keeps the memory that its kernels work in.
_MOST_SHAPES = 8


class Recorded(NamedTuple):
    """A graph, where its argument and its result lie, and the end of what was last done with them."""

    graph: torch.cuda.CUDAGraph
    given: Tensor
    found: Tensor
    done: torch.cuda.Event


class RecordedKernels:
    """A function of one tensor, computed on a GPU.

    To start hundreds of kernels may take longer than to run them. So they are recorded at the first call for each shape
    (the first eight of them) and replayed from then on, in the memory where they were: callers take turns. The function
    must not wait for the GPU, and what it reads beside its argument, such as weights, must stay where it is. On a
    processor it is called as it is.
    """

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self.function = function
        self.recorded: dict[torch.Size, Recorded | None] = {}
        self._turn = threading.Lock()

    def __call__(self, values: Tensor, device: torch.device) -> Tensor:
        """The function of `values`, which may lie elsewhere, computed on `device`; the result stays there."""
        if device.type != "cuda":
            return self.function(values.to(device))
        with self._turn, torch.cuda.device(device):
            if values.shape not in self.recorded and len(self.recorded) < _MOST_SHAPES:
                # A copy: the caller's own tensor is not written to.
                self.recorded[values.shape] = self._record(values.to(device, copy=True))
            recorded = self.recorded.get(values.shape)
            if recorded is None:
                return self.function(values.to(device))
            # The caller before may have been on another stream.
            recorded.done.wait()
            recorded.given.copy_(values, non_blocking=True)
            recorded.graph.replay()
            found = recorded.found.clone()
            recorded.done.record()
            return found

    def _record(self, given: Tensor) -> Recorded | None:
        """None, and a warning, where nothing can be recorded."""
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
        return Recorded(graph, given, found, torch.cuda.Event())
