"""Training of u and u': one network, one schedule, two losses (Wu et al., Fixes That Fail, 2021, section 4)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pseudolidar.files import InputError, combined_digest
from pseudolidar.kitti import ObjectDataset
from pseudolidar.stereo.augmentation import Crops
from pseudolidar.stereo.checkpoints import PSMNetWeights, arguments_of
from pseudolidar.stereo.data import StereoBatch, StereoBatches
from pseudolidar.stereo.metrics import MIN_DISPARITY_PX
from pseudolidar.stereo.pairs import ObjectPairs, StereoPairs, digests_of
from pseudolidar.stereo.psmnet import PSMNet, channels_last, require_bfloat16, start_comparing
from pseudolidar.stereo.validation import disparity_losses, require_pairs_to_validate_on
from pseudolidar.training import (
    TrainingRun,
    TrainingSettings,
    TrainingTask,
    adam,
    arithmetic_of,
    fit,
    one_cycle,
    require_checkpoint_path,
    shard_weight,
    step_decay,
    training_record,
)
from pseudolidar.weights import weights_digest

Loss = Literal["disparity", "depth"]
Network = TypeVar("Network", bound=nn.Module)

# Weights of the outputs in training, the last hourglass's last (PSMNet, section 3.5).
OUTPUT_WEIGHTS = (0.5, 0.7, 1.0)


@dataclass(frozen=True)
class StereoTraining(TrainingSettings):
    """Settings of a training of PSMNet; configs/stereo/psmnet.yaml has the paper's values.

    Attributes:
        loss: `depth` (the paper's u) or `disparity` (the paper's u').
        crop: height and width, px.
        max_disparity, width, pool_sizes, hourglasses, blocks, checkpointing: of the network, see `PSMNet`.
        align_corners: of the network; None: as recorded by the weights that training starts from, False from random
            ones. Weights that record nothing, such as the published ones, demand a choice: see `load_psmnet`.
        initialisation: of random weights: `published` (He's), or `comparing`, which is not in the paper: see
            `start_comparing`.
        smooth: smooth L1 rather than L1.
        max_depth_m: pixels farther away are not trained on; None trains on every known pixel. KITTI's LiDAR sees about
            80 m, while a town's exact map reaches the horizon, where a depth loss would put nearly all its weight.
        object_probability, jitter, colour, erasing, blur, noise, scale: of the crops, see `Crops`.
        learning_rate: the highest.
        schedule: `one_cycle`, or `step`: a tenth from each of the `milestones` (steps) on.
        weight_decay: of AdamW.
        compile: the network by `torch.compile`, which takes minutes at the start.
        max_gradient_norm: gradients of a larger norm are scaled down to it; None leaves them alone.
    """

    loss: Loss
    steps: int
    batch_size: int
    crop: tuple[int, int]
    max_disparity: int
    align_corners: bool | None
    width: int
    pool_sizes: tuple[int, ...]
    hourglasses: int
    blocks: tuple[int, ...]
    initialisation: Literal["published", "comparing"]
    smooth: bool
    max_depth_m: float | None
    object_probability: float
    jitter: float
    colour: float
    erasing: float
    blur: float
    noise: float
    scale: tuple[float, float]
    optimizer: Literal["adam", "adamw"]
    learning_rate: float
    schedule: Literal["one_cycle", "step"]
    milestones: tuple[int, ...]
    weight_decay: float
    max_gradient_norm: float | None
    checkpointing: bool
    compile: bool

    def __post_init__(self) -> None:
        choices = {
            "initialisation": ("published", "comparing"),
            "optimizer": ("adam", "adamw"),
            "schedule": ("one_cycle", "step"),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise InputError(f"{name}: found {getattr(self, name)!r}, expected {known[0]!r} or {known[1]!r}")

    def network(self) -> dict[str, Any]:
        """The constructor arguments of the network, all but `align_corners`."""
        names = ("max_disparity", "width", "pool_sizes", "hourglasses", "blocks")
        return {name: getattr(self, name) for name in names}

    def crops(self) -> Crops:
        """How the training's crops are cut and changed."""
        names = ("object_probability", "jitter", "colour", "erasing", "blur", "noise", "scale")
        return Crops(*self.crop, **{name: getattr(self, name) for name in names})


def train_stereo(
    settings: StereoTraining,
    data: StereoPairs | ObjectDataset,
    run: TrainingRun,
    init: Path | None = None,
    validation_data: StereoPairs | ObjectDataset | None = None,
) -> None:
    """Train PSMNet on `data` and write the run's checkpoint at the end; a killed run goes on where it was.

    Args:
        init: weights of the same network to start from, of any kind that `load_psmnet` reads and for any
            `max_disparity`; None starts from random weights.
        validation_data: of the run's validation, see `disparity_losses`.

    Raises:
        InputError: settings that do not go together, or a pair of `validation_data` that is trained on.
        FormatError: a checkpoint or running state of another record, unless `run.overwrite`; unfit `init` or data.
        DivergenceError: the loss is not finite.
    """
    require_checkpoint_path(run.checkpoint)
    model = initial_network(settings, init, run.seed)

    def compute_loss(network: PSMNet, batch: StereoBatch) -> dict[str, Tensor]:
        return loss_terms(network, batch, settings.loss, settings.smooth)

    fit_stereo(settings, model, compute_loss, arguments_of(model), data, run, init, validation_data)


def fit_stereo(
    settings: StereoTraining,
    model: Network,
    compute_loss: Callable[[Network, StereoBatch], Mapping[str, Tensor]],
    arguments: Mapping[str, Any],
    data: StereoPairs | ObjectDataset,
    run: TrainingRun,
    init: Path | None,
    validation_data: StereoPairs | ObjectDataset | None,
) -> None:
    """Train a model of one or several PSMNets, in place, by the settings' schedule, whatever its loss.

    Like `train_stereo`; `compute_loss` is as in `TrainingTask`, and `arguments`, the model's constructor arguments, are
    kept in the checkpoint.
    """
    pairs, others = _as_pairs(data), None if validation_data is None else _as_pairs(validation_data)
    if others is not None:
        require_pairs_to_validate_on(others, pairs)
    inputs = {"data": combined_digest(digests_of(pairs))}
    if init is not None:
        inputs["init"] = weights_digest(init)
    if run.early_stopping and others is not None:
        inputs["validation"] = combined_digest(digests_of(others))
    record = training_record("a disparity model", settings, inputs, seed=run.seed, **run.early_stopping)
    batches = StereoBatches(
        pairs, settings.batch_size, settings.crops(), run.seed, settings.max_depth_m, metric=settings.loss == "depth"
    )
    learning_rate_at = step_decay(settings.learning_rate, settings.milestones)
    if settings.schedule == "one_cycle":
        learning_rate_at = one_cycle(settings.learning_rate, settings.steps)
    decay = settings.weight_decay if settings.optimizer == "adamw" else None
    arithmetic = arithmetic_of(settings.precision, settings.device)

    def test_losses(model: Network) -> dict[str, float]:
        assert others is not None
        networks = [module for module in model.modules() if isinstance(module, PSMNet)]
        return disparity_losses(networks, others, arithmetic)

    task = TrainingTask(
        model=model,
        batches=batches,
        compute_loss=compute_loss,
        steps=settings.steps,
        optimizer=adam(model.parameters(), settings.learning_rate, settings.device, decay),
        learning_rate_at=learning_rate_at,
        record=record,
        description=f"training {run.checkpoint.stem}",
        arguments=arguments,
        max_gradient_norm=settings.max_gradient_norm,
        test_losses=None if others is None else test_losses,
    )
    fit(task, settings, run)


def _as_pairs(data: StereoPairs | ObjectDataset) -> StereoPairs:
    return ObjectPairs(data) if isinstance(data, ObjectDataset) else data


def disparity_loss(
    predicted: Tensor,
    target: Tensor,
    loss: Loss,
    camera_constant: Tensor,
    smooth: bool = True,
    max_disparity: float | None = None,
) -> Tensor:
    """Mean error over the valid pixels: those with a target above 0 and, if given, below `max_disparity`.

    A scalar; 0, still with a gradient of 0, where no pixel is valid.

    Args:
        predicted, target: (B, H, W) disparity, px; the target is 0 where unknown.
        loss: `disparity` for the error in px, `depth` for the error of depth = C / disparity in metres.
        camera_constant: (B,) C = focal length x baseline, px m.
        smooth: smooth L1 (beta 1 px or 1 m), as the paper's runs; plain L1 otherwise.
        max_disparity: the most that the network can express, px.
    """
    if predicted.shape != target.shape or camera_constant.shape != predicted.shape[:1]:
        raise InputError(
            f"found predicted {tuple(predicted.shape)}, target {tuple(target.shape)}, camera constants "
            f"{tuple(camera_constant.shape)}, expected (B, H, W), (B, H, W) and (B,)"
        )
    valid = target > 0
    if max_disparity is not None:
        valid &= target < max_disparity
    if loss == "depth":
        constant = camera_constant[:, None, None].expand_as(target)[valid]
        found = constant / predicted[valid].clamp(min=MIN_DISPARITY_PX)
        wanted = constant / target[valid]
    elif loss == "disparity":
        found, wanted = predicted[valid], target[valid]
    else:
        raise InputError(f"loss: found {loss!r}, expected 'disparity' or 'depth'")
    error = (F.smooth_l1_loss if smooth else F.l1_loss)(found, wanted, reduction="sum")
    return error / valid.sum().clamp(min=1)


def loss_terms(model: PSMNet, batch: StereoBatch, loss: Loss, smooth: bool = True) -> dict[str, Tensor]:
    """The weighted losses of the outputs on a batch by name, or this process's parts of them: see `TrainingTask`."""
    outputs = model(*batch.images())
    weights = OUTPUT_WEIGHTS[-len(outputs) :]
    valid = (batch.target > 0) & (batch.target < model.max_disparity)
    part = shard_weight(valid.sum())
    return {
        f"output {number}": weight
        * disparity_loss(output, batch.target, loss, batch.camera_constant, smooth, model.max_disparity)
        * part
        for number, (weight, output) in enumerate(zip(weights, outputs, strict=True), start=1)
    }


def initial_network(settings: StereoTraining, init: Path | None, seed: int) -> PSMNet:
    """The network that a training starts from, with the weights of `init`, or random ones from `seed`.

    FormatError if `init` is of another network, InputError if this one can't be trained in the settings' precision.
    """
    if arithmetic_of(settings.precision, settings.device) == "bfloat16":
        require_bfloat16(settings.width, settings.max_disparity)
    if init is not None:
        model = PSMNetWeights.from_file(init).fill(settings.network(), settings.align_corners)
    else:
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            model = PSMNet(**settings.network(), align_corners=bool(settings.align_corners))
        if settings.initialisation == "comparing":
            start_comparing(model)
        channels_last(model)
    model.checkpointing = settings.checkpointing
    if settings.compile:
        model.compile()
    return model
