"""Settings of a training without anything special."""

from pseudolidar.training import TrainingSettings

PLAIN = TrainingSettings(
    precision="float32", checkpoint_every=100, device="cpu", threads=None, workers=0, accumulate=1,
    synchronised_batch_norm=True,
)  # fmt: skip
