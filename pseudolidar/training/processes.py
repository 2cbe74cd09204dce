"""The processes that train one model together: one alone, or all that torchrun started, through Lightning Fabric."""

import logging
import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, distributed, nn

from pseudolidar.files import InputError, end_with
from pseudolidar.training.settings import require_device

if TYPE_CHECKING:
    from lightning_fabric import Fabric

T = TypeVar("T")


@dataclass(frozen=True)
class BatchShard:
    """One of `count` parts of a step's batch: places from `index` / `count` to (`index` + 1) / `count` of it."""

    index: int = 0
    count: int = 1

    def of(self, batch_size: int) -> range:
        """The places of a batch of `batch_size` of this shard.

        Raises:
            InputError: fewer places than shards.
        """
        if batch_size < self.count:
            expected = f"at least {self.count}: one for each shard of a step (processes x accumulate)"
            raise InputError(f"batch_size: found {batch_size}, expected {expected}")
        return range(self.index * batch_size // self.count, (self.index + 1) * batch_size // self.count)


WHOLE_BATCH = BatchShard()


@dataclass(frozen=True)
class Processes:
    """This process, number `rank` of the `count` that train one model, on its `device`."""

    device: torch.device
    rank: int = 0
    count: int = 1
    _fabric: "Fabric | None" = None

    def prepared(self, objective: nn.Module) -> nn.Module:
        """The module, its gradients summed over all processes as they come; parameters become those of rank 0."""
        return objective if self._fabric is None else self._fabric.setup_module(objective)

    def summing_gradients(self, objective: nn.Module, now: bool) -> AbstractContextManager[Any]:
        """A context for a prepared module's forward and backward pass: sum gradients `now`, or only keep them."""
        prepared: Any = objective
        return nullcontext() if self._fabric is None else self._fabric.no_backward_sync(prepared, enabled=not now)

    def backward(self, term: Tensor) -> None:
        """Backward pass from this process's term of a loss: the terms add up to the loss."""
        if self._fabric is None:
            term.backward()
        else:
            # DistributedDataParallel divides the sum of the gradients by the number of processes.
            self._fabric.backward(term * self.count)

    def sum(self, value: Tensor) -> float:
        """The sum of a number over all processes, the same in each."""
        total = value.detach().double()
        if self.count > 1:
            distributed.all_reduce(total)
        return float(total)

    def gathered(self, value: T) -> list[T]:
        """The values of all processes, by rank; plain data."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        distributed.all_gather_object(values, value)
        return values

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self._fabric is not None:
            self._fabric.barrier()


def process_count() -> int:
    """How many processes train one model together: those that torchrun started, 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1")) if distributed.is_torchelastic_launched() else 1


def processes_on(device: str | torch.device) -> Processes:
    """The processes that torchrun started, each on its own device of the kind asked for; alone also `cuda:1`.

    Raises:
        InputError: no such device; under torchrun one by number, or fewer devices than processes on this machine.
    """
    count = process_count()
    if count == 1:
        return Processes(require_device(device))
    found = torch.device(device)
    if found.index is not None:
        raise InputError(f"device: found {str(device)!r} under torchrun, expected 'cpu' or 'cuda': each takes its own")
    # When torchrun is killed its processes stay: they would go on writing beside those of the next run.
    end_with(os.getppid())
    here, local_rank = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["LOCAL_RANK"])
    require_device(found if found.type == "cpu" else f"{found.type}:{local_rank}")
    # Only here: it takes a second to import.
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments import TorchElasticEnvironment

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    fabric = Fabric(
        accelerator=found.type, strategy="ddp", devices=here, num_nodes=count // here,
        plugins=[TorchElasticEnvironment()],
    )  # fmt: skip
    fabric.launch()
    return Processes(fabric.device, fabric.global_rank, fabric.world_size, fabric)


def shard_weight(elements: Tensor) -> Tensor:
    """The weight () of this process's mean over some elements in the mean over those of all processes; alone 1.

    A loss that is a mean over valid pixels, say, is weighted by it: the weighted losses of all processes add up to the
    mean over the pixels of all of them. A mean over no element is taken for 0. `elements` (): how many there are here.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return torch.ones_like(elements, dtype=torch.float32)
    own = elements.double()
    whole = own.clone()
    distributed.all_reduce(whole)
    return (own.clamp(min=1) / whole.clamp(min=1)).float()
