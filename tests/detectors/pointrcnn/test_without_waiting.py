"""PointRCNN on a GPU never waits for it between its operators: shown where there is none, on tensors without data."""

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from pseudolidar.detectors.pointnet2 import fold_batch_norm
from pseudolidar.detectors.pointrcnn import PointRCNN, PointRCNNDetector
from tests.kernels.waiting import WithoutWaiting


def test_both_stages_and_what_chooses_among_their_boxes() -> None:
    model = PointRCNN()
    fold_batch_norm(model)
    with FakeTensorMode(allow_non_fake_inputs=True), torch.inference_mode():
        model.to_empty(device="cuda")
        detector = PointRCNNDetector(model, ("Car",), 16384, 0.3, 0.1, None)
        with WithoutWaiting():
            found = detector._find.function(torch.zeros(1, 16384, 3, device="cuda"))
    assert found.shape == (100, 8) and found.device.type == "cuda"
