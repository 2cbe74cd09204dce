"""The processes that train one model together: one alone, or all that torchrun started, through Lightning Fabric."""

import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, distributed

from pseudolidar.files import InputError, end_with
from pseudolidar.training.settings import require_device

if TYPE_CHECKING:
    from lightning_fabric import Fabric

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """This process, number `rank` of the `count` that train one model, on its `device`."""

    fabric: "Fabric"

    @property
    def device(self) -> torch.device:
        """The device that this process computes on."""
        return self.fabric.device

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""
        return self.fabric.global_rank

    @property
    def count(self) -> int:
        """How many processes train the model together."""
        return self.fabric.world_size

    def backward(self, term: Tensor) -> None:
        """Backward pass from this process's term of a loss: the terms add up to the loss."""
        # DistributedDataParallel divides the sum of the gradients by the number of processes.
        self.fabric.backward(term * self.count if self.count > 1 else term)

    def sum(self, values: Tensor) -> list[float]:
        """The sums of numbers (N,) over all processes, the same in each."""
        totals = values.detach().double()
        if self.count > 1:
            distributed.all_reduce(totals)
        return [float(total) for total in totals.tolist()]

    def gathered(self, value: T) -> list[T]:
        """The values of all processes, by rank; plain data."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        distributed.all_gather_object(values, value)
        return values


def process_count() -> int:
    """How many processes train one model together: those that torchrun started, 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1")) if distributed.is_torchelastic_launched() else 1


def processes_on(device: str | torch.device) -> Processes:
    """The processes that torchrun started, each on its own device of the kind asked for; alone also `cuda:1`.

    Raises:
        InputError: no such device; under torchrun one by number, or fewer devices than processes on this machine.
    """
    count = process_count()
    if count > 1:
        # When torchrun is killed its processes stay: they would go on writing beside those of the next run.
        end_with(os.getppid())
    # Only here: it takes a second to import.
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments import LightningEnvironment, TorchElasticEnvironment
    from lightning_fabric.strategies import SingleDeviceStrategy

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    if count == 1:
        found = require_device(device)
        return Processes(Fabric(strategy=SingleDeviceStrategy(found), plugins=[LightningEnvironment()]))
    found = torch.device(device)
    if found.index is not None:
        raise InputError(f"device: found {str(device)!r} under torchrun, expected 'cpu' or 'cuda': each takes its own")
    here, local_rank = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["LOCAL_RANK"])
    require_device(found if found.type == "cpu" else f"{found.type}:{local_rank}")
    fabric = Fabric(
        accelerator=found.type, strategy="ddp", devices=here, num_nodes=count // here,
        plugins=[TorchElasticEnvironment()],
    )  # fmt: skip
    fabric.launch()
    return Processes(fabric)


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
