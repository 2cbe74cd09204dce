"""One training loop for every model: resumable to the byte, precision, devices, schedules."""

from pseudolidar.training.checkpoints import load_checkpoint, load_plain, save_checkpoint
from pseudolidar.training.loop import Batch, fit
from pseudolidar.training.precision import Arithmetic, Precision, arithmetic_of, arithmetic_threads, require_device
from pseudolidar.training.recomputation import recomputed
from pseudolidar.training.schedules import constant, one_cycle, step_decay

__all__ = [
    "Arithmetic",
    "Batch",
    "Precision",
    "arithmetic_of",
    "arithmetic_threads",
    "constant",
    "fit",
    "load_checkpoint",
    "load_plain",
    "one_cycle",
    "recomputed",
    "require_device",
    "save_checkpoint",
    "step_decay",
]
