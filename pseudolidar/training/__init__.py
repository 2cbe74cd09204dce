"""One training loop for every model: resumable to the byte, on one device or many; curves, validation, schedules."""

from pseudolidar.training.batch_norm import FusedBatchNorm, recomputed
from pseudolidar.training.batches import WHOLE_BATCH, Batch, BatchShard
from pseudolidar.training.checkpoints import (
    CHECKPOINT_SUFFIXES,
    load_checkpoint,
    load_plain,
    require_checkpoint_path,
    save_checkpoint,
)
from pseudolidar.training.loop import (
    TrainingRun,
    TrainingTask,
    Validation,
    best_path,
    fit,
    is_finished,
    partial_path,
    snapshot_path,
)
from pseudolidar.training.metrics import (
    CsvLogger,
    Logger,
    TensorBoardLogger,
    WandbLogger,
    metrics_path,
    read_metrics,
    validation_path,
)
from pseudolidar.training.processes import shard_weight
from pseudolidar.training.settings import (
    Arithmetic,
    Precision,
    TrainingSettings,
    adam,
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
    "CsvLogger",
    "FusedBatchNorm",
    "Logger",
    "Precision",
    "TensorBoardLogger",
    "TrainingRun",
    "TrainingSettings",
    "TrainingTask",
    "Validation",
    "WandbLogger",
    "adam",
    "arithmetic_of",
    "arithmetic_threads",
    "best_path",
    "fit",
    "is_finished",
    "load_checkpoint",
    "load_plain",
    "metrics_path",
    "one_cycle",
    "partial_path",
    "read_metrics",
    "recomputed",
    "recorded_settings",
    "require_checkpoint_path",
    "require_device",
    "save_checkpoint",
    "shard_weight",
    "snapshot_path",
    "step_decay",
    "training_record",
    "validation_path",
]
