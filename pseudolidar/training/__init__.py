"""One training loop for every model: resumable to the byte, on one device or many; precision, schedules."""

from pseudolidar.training.batch_norm import recomputed
from pseudolidar.training.checkpoints import (
    CHECKPOINT_SUFFIXES,
    load_checkpoint,
    load_plain,
    require_checkpoint_path,
    save_checkpoint,
)
from pseudolidar.training.loop import Batch, fit, is_finished, partial_path, snapshot_path
from pseudolidar.training.processes import WHOLE_BATCH, BatchShard, process_count, shard_weight
from pseudolidar.training.settings import (
    Arithmetic,
    Precision,
    TrainingSettings,
    arithmetic_of,
    arithmetic_threads,
    one_cycle,
    recorded_settings,
    require_device,
    step_decay,
    training_record,
)

__all__ = [
    "CHECKPOINT_SUFFIXES",
    "WHOLE_BATCH",
    "Arithmetic",
    "Batch",
    "BatchShard",
    "Precision",
    "TrainingSettings",
    "arithmetic_of",
    "arithmetic_threads",
    "fit",
    "is_finished",
    "load_checkpoint",
    "load_plain",
    "one_cycle",
    "partial_path",
    "process_count",
    "recomputed",
    "recorded_settings",
    "require_checkpoint_path",
    "require_device",
    "save_checkpoint",
    "shard_weight",
    "snapshot_path",
    "step_decay",
    "training_record",
]
