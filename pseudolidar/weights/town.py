"""The package's weights: what each is, what it was trained on by which command, how good it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


@dataclass(frozen=True)
class Provenance:
    """What is known of a file of weights.

    Attributes:
        what: the network and what it does.
        command: that trained it, from random weights but for `init`, on the synthetic town alone: no real frame.
        seed: of the training; scripts/town_weights.sh has the town's.
        scores: figures by what was measured: on the town's validation split and, without training on them, on KITTI's
            frames.
        size: of the file, bytes.
        sha256: of the file, hex.
        shortest_focal_px, max_disparity: of a disparity network: the shortest focal length and the largest disparity of
            its training, px; None for others.
    """

    what: str
    command: str
    seed: int
    scores: Mapping[str, float] = field(hash=False)
    size: int
    sha256: str
    shortest_focal_px: float | None = None
    max_disparity: int | None = None


class Weights(Enum):
    """Weights in the package; a command takes them by their name in small letters, such as `psmnet_town`."""

    PSMNET_TOWN = Provenance(
        what="PSMNet, slim: the disparity of a pair",
        command="python scripts/train_stereo.py experiment=town_weights/psmnet",
        seed=0,
        scores={
            "town, 30 validation frames: disparity MAE, px": 1.75,
            "KITTI, 58 training frames with ground truth: D1, %": 5.29,
            "KITTI, 58 training frames with ground truth: end-point error, px": 1.28,
            "KITTI, 4 of them: D1, %": 11.74,
            "KITTI, 4 of them: median error, px": 0.8,
        },
        size=976_455,
        sha256="72087ef5cf101bffbdfb6aad8f1ac87798a904d563697654de018adc6a327d5f",
        shortest_focal_px=361,
        max_disparity=192,
    )
