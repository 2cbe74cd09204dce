"""The test loss of PSMNets while they are trained: the error of their disparity, by range of depth."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from pseudolidar.files import overlapped
from pseudolidar.stereo.frozen import FrozenPSMNet
from pseudolidar.stereo.metrics import RANGES_M, StereoMetrics, map_metrics, range_name
from pseudolidar.stereo.pairs import StereoPair, StereoPairs
from pseudolidar.stereo.psmnet import PSMNet
from pseudolidar.training import Arithmetic, require_unseen


def disparity_losses(networks: Sequence[PSMNet], pairs: StereoPairs, arithmetic: Arithmetic) -> dict[str, float]:
    """The disparity MAE of the networks' mean on whole pairs, px, by name: of all pixels, then of those of each range.

    In the arithmetic of the training, in which a finished checkpoint predicts unless it is asked otherwise: the numbers
    are those of `predict_disparities` and `disparity_metrics`. The networks are frozen for it (`FrozenPSMNet`), and
    left as they are. Of pairs without a camera constant the depth is unknown, and so is the range.
    """
    frozen = [FrozenPSMNet(network, getattr(torch, arithmetic)) for network in networks]
    device = next(networks[0].parameters()).device
    metrics: dict[int, StereoMetrics] = {}

    @torch.inference_mode()
    def compute(index: int, pair: StereoPair) -> tuple[StereoPair, NDArray[np.float32]]:
        images = torch.from_numpy(np.stack([pair.left, pair.right])).to(device).permute(0, 3, 1, 2).split(1)
        maps = torch.cat([network(*images) for network in frozen]).cpu().numpy()
        return pair, maps.mean(axis=0, dtype=np.float32)

    def compare(index: int, found: tuple[StereoPair, NDArray[np.float32]]) -> None:
        pair, predicted = found
        metrics[index] = map_metrics(predicted, pair.disparity, pair.camera_constant_px_m, pairs.names[index])

    places = range(len(pairs.names))
    overlapped(places, None, pairs.read, compute, compare, torch.get_num_threads())
    of_all, *of_ranges = StereoMetrics.of_frames([metrics[place] for place in places]).disparity_mae()[0].tolist()
    named = {f"disparity_mae_px_{range_name(bounds)}": mae for bounds, mae in zip(RANGES_M[1:], of_ranges, strict=True)}
    return {"disparity_mae_px": of_all, **named}


def require_pairs_to_validate_on(pairs: StereoPairs, trained_on: StereoPairs) -> None:
    """See that pairs can be validated on before a training begins, as far as names and the first pair tell.

    Raises:
        FormatError: the first pair lacks a file, that of its truth say.
        InputError: a pair of that name and file is trained on.
    """
    place = {name: index for index, name in enumerate(trained_on.names)}
    require_unseen(
        [
            name
            for index, name in enumerate(pairs.names)
            if name in place and pairs.files(index)[0] == trained_on.files(place[name])[0]
        ]
    )
    pairs.read(0)
