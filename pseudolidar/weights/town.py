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
        command="pseudolidar train_stereo experiment=town_weights/psmnet",
        seed=0,
        scores={
            "town, 60 validation frames: disparity MAE, px": 1.42,
            "KITTI, 58 training frames with ground truth: D1, %": 4.86,
            "KITTI, 58 training frames with ground truth: end-point error, px": 1.2,
            "KITTI, 73 frames with ground truth: D1, %": 4.75,
            "KITTI, 73 frames with ground truth: end-point error, px": 1.18,
            "KITTI, 4 of them: D1, %": 10.46,
            "KITTI, 4 of them: median error, px": 0.757,
        },
        size=976_519,
        sha256="832ffcfddb3a65966c0a67769e7e286b5314b053436cc49d5acad62c06d239c2",
        shortest_focal_px=361,
        max_disparity=192,
    )
    PSMNET_TOWN_DEPTH = Provenance(
        what="PSMNet, slim: psmnet_town, trained further on depth error",
        command="pseudolidar train_stereo experiment=town_weights/psmnet_depth",
        seed=0,
        scores={
            "KITTI, 58 training frames with ground truth: D1, %": 4.64,
            "KITTI, 58 training frames with ground truth: end-point error, px": 1.08,
        },
        size=976_519,
        sha256="0d1a0b9cca4aaac9dc05c08bcd1c6198d927ce213b1b40264e2f98980db7e448",
        shortest_focal_px=361,
        max_disparity=192,
    )
    POINTRCNN_CAR_TOWN = Provenance(
        what="PointRCNN, slim: cars in clouds of LiDAR or stereo, sparse",
        command="pseudolidar train_detector experiment=town_weights/pointrcnn_car",
        seed=0,
        scores={
            "town, 60 validation frames, psmnet_town's clouds: AP40 BEV 0.7, moderate, %": 39.3,
            "KITTI, 93 training frames, LiDAR: AP40 BEV 0.7, moderate, %": 54.5,
            "KITTI, 93 training frames, psmnet_town's clouds: AP40 BEV 0.7, moderate, %": 15.8,
            "KITTI, 28 validation frames, LiDAR: AP40 BEV 0.7, moderate, %": 41.1,
            "KITTI, 28 validation frames, psmnet_town's clouds: AP40 BEV 0.7, moderate, %": 7.8,
        },
        size=781_491,
        sha256="34d820d58966c9f2e4dcf51e1e58e488bfe3ac86ea5d272e1325812510084299",
    )
    POINTRCNN_PEDESTRIAN_TOWN = Provenance(
        what="PointRCNN, slim: pedestrians",
        command="pseudolidar train_detector experiment=town_weights/pointrcnn_pedestrian",
        seed=0,
        scores={"town, 60 validation frames, psmnet_town's clouds: AP40 BEV 0.5, moderate, %": 5.9},
        size=781_491,
        sha256="f74c012ec250617b1ef87633aae2ea28b800a17b62d5da302b2ede6632002ff4",
    )
    FRUSTUM_CAR_TOWN = Provenance(
        what="Frustum PointNet v2, slim: cars in clouds of LiDAR or stereo, within 2D boxes",
        command="pseudolidar train_detector experiment=town_weights/frustum_car",
        seed=0,
        scores={
            "town, 60 validation frames, psmnet_town's clouds, the labels' 2D boxes: AP40 BEV 0.7, moderate, %": 51.7,
            "KITTI, 93 training frames, LiDAR, the labels' 2D boxes: AP40 BEV 0.7, moderate, %": 63.0,
            "KITTI, 93 training frames, psmnet_town's clouds, the labels' 2D boxes: AP40 BEV 0.7, moderate, %": 19.5,
            "KITTI, 28 validation frames, LiDAR, the labels' 2D boxes: AP40 BEV 0.7, moderate, %": 54.5,
            "KITTI, 28 validation frames, psmnet_town's clouds, the labels' 2D boxes: AP40 BEV 0.7, moderate, %": 8.3,
        },
        size=363_041,
        sha256="a634945aa2c5beb1003920f1bfc5f4a5a8960d7054afba52da9e49e0fde70437",
    )
    FRUSTUM_PEDESTRIAN_TOWN = Provenance(
        what="Frustum PointNet v2, slim: pedestrians",
        command="pseudolidar train_detector experiment=town_weights/frustum_pedestrian",
        seed=0,
        scores={
            "town, 60 validation frames, psmnet_town's clouds, the labels' 2D boxes: AP40 BEV 0.5, moderate, %": 30.7
        },
        size=363_041,
        sha256="9b0a6396d61115b9b97d551b1e9fc0c1ce09be56912fc24b1b884640f52b160d",
    )
    BOXES2D_TOWN = Provenance(
        what="FCOS on a small ResNet-18: 2D boxes of cars, pedestrians and cyclists",
        command="pseudolidar train_detector2d experiment=town_weights/boxes2d",
        seed=0,
        scores={
            "town, 60 validation frames: AP40 2D of cars at 0.7, moderate, %": 79.1,
            "town, 60 validation frames: AP40 2D of pedestrians at 0.5, moderate, %": 48.5,
            "KITTI, 93 training frames: AP40 2D of cars at 0.7, moderate, %": 33.7,
        },
        size=6_380_943,
        sha256="9216525e9343cb9d8f60e0150a5da45162b8af8f41b5e280c5625e4e368e723d",
    )
