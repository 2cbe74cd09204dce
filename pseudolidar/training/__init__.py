"""One training loop for every model: resumable to the byte, on one device or many; precision, schedules."""

from pseudolidar.training.checkpoints import (
    CHECKPOINT_SUFFIXES,
    load_checkpoint,
    load_plain,
    require_checkpoint_path,
    save_checkpoint,
)
from pseudolidar.training.loop import Batch, fit, is_finished, partial_path, snapshot_path
from pseudolidar.training.precision import Arithmetic, Precision, arithmetic_of, arithmetic_threads, require_device
from pseudolidar.training.processes import (
    WHOLE_BATCH,
    BatchShard,
    is_first_process,
    process_count,
    quiet_other_processes,
    shard_weight,
    track_once,
)
from pseudolidar.training.recomputation import recomputed
from pseudolidar.training.records import TrainingSettings, recorded_settings, training_record
from pseudolidar.training.schedules import constant, one_cycle, step_decay

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
    "constant",
    "fit",
    "is_finished",
    "is_first_process",
    "load_checkpoint",
    "load_plain",
    "one_cycle",
    "partial_path",
    "process_count",
    "quiet_other_processes",
    "recomputed",
    "recorded_settings",
    "require_checkpoint_path",
    "require_device",
    "save_checkpoint",
    "shard_weight",
    "snapshot_path",
    "step_decay",
    "track_once",
    "training_record",
]
