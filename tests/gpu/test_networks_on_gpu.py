"""The networks on the GPU: the published outputs, the processor's numbers, reduced precision, steps of training."""

import dataclasses
import importlib.util
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pseudolidar.benchmarks.point_sets import street_points
from pseudolidar.detectors.boxes2d import Detector2d, Detector2dTraining, train_detector2d
from pseudolidar.detectors.boxes2d.networks import Network
from pseudolidar.detectors.frustum_pointnet.box_coder import MEAN_SIZES_M
from pseudolidar.detectors.frustum_pointnet.model import FrustumPointNet, Version
from pseudolidar.detectors.pointrcnn import PointRCNN, PointRCNNDetector, ProposalSettings
from pseudolidar.kernels.triton import triton_kernels_run
from pseudolidar.kitti import read_image
from pseudolidar.stereo import FrozenPSMNet, PSMNet, volume_convolution
from pseudolidar.stereo.augmentation import add_noise, blur_image
from pseudolidar.stereo.data import normalised
from pseudolidar.stereo.regression import _in_bands, regress_disparity, soft_argmin
from pseudolidar.stereo.upsampling import Upsampling
from pseudolidar.training import TrainingRun
from tests.conftest import settings_of
from tests.detectors.painted_frames import HEIGHT, write_painted
from tests.stereo.test_frozen import slim


@pytest.fixture(scope="module")
def fill_weights(reference_dir: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("fill_weights", reference_dir / "fill_weights.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def without_tf32() -> Iterator[None]:
    """Convolutions in float32 proper; by default PyTorch takes cuDNN's TF32, with 10 bits of mantissa."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


def test_8_bit_images_are_normalised_to_the_same_bits() -> None:
    images = torch.arange(256, dtype=torch.uint8).repeat(3).reshape(1, 3, 16, 16)
    on_card = FrozenPSMNet(slim(0).cuda())._normalised(images.cuda())
    expected = torch.from_numpy(normalised(images[0].permute(1, 2, 0).numpy()))
    assert torch.equal(on_card[0].cpu(), expected)


def test_blur_and_noise() -> None:
    image = torch.rand(3, 64, 96, generator=torch.Generator().manual_seed(0)) * 255
    on_card = image.cuda()
    with torch.autocast("cuda", torch.bfloat16):
        blur_image(on_card, 0.4)
    blur_image(image, 0.4)
    assert torch.allclose(on_card.cpu(), image, atol=1e-3)
    noises = torch.zeros(2, 3, 64, 96, device="cuda")
    again = torch.zeros_like(noises)
    for pair in (noises, again):
        add_noise((pair[0], pair[1]), (1, 4.0, 8.0))
    assert torch.equal(noises, again)
    # 18432 values: the standard error of their deviation is half a percent.
    assert noises.std(dim=(1, 2, 3)).tolist() == pytest.approx([4.0, 8.0], rel=0.025)


@pytest.mark.usefixtures("without_tf32")
@pytest.mark.parametrize("align_corners", [False, True])
def test_psmnets_published_output(
    fill_weights: ModuleType, reference_dir: Path, kitti_sample: Path, align_corners: bool
) -> None:
    model = PSMNet(max_disparity=64, align_corners=align_corners).eval()
    fill_weights.fill_weights(model, 1.0)
    model.cuda()
    pair = [
        torch.from_numpy(normalised(read_image(kitti_sample / "stereo_demo" / name)[100:356, 300:620]))[None].cuda()
        for name in ("left.png", "right.png")
    ]
    published = np.load(reference_dir / f"psmnet_stackhourglass_align{int(align_corners)}_dev.npz")["disparity"]
    with torch.inference_mode():
        found = {"plain": model(*pair)}
        found |= {
            str(dtype): FrozenPSMNet(model, dtype)(*pair) for dtype in (torch.float32, torch.bfloat16, torch.half)
        }
    for name in ("plain", "torch.float32"):
        assert np.abs(found[name][0].cpu().numpy() - published).max() < 1e-3, name
    for name, bound in (("torch.bfloat16", 0.1), ("torch.float16", 0.02)):
        assert found[name].dtype == torch.float32
        assert np.median(np.abs(found[name][0].cpu().numpy() - published)) < bound, name


@pytest.mark.usefixtures("without_tf32")
@pytest.mark.parametrize("hourglasses", [1, 3])
@pytest.mark.parametrize("size", [(64, 112), (50, 75)])
def test_frozen_is_the_network(hourglasses: int, size: tuple[int, int]) -> None:
    model = slim(hourglasses, hourglasses=hourglasses)
    left, right = torch.randn(2, 2, 3, *size)
    with torch.inference_mode():
        expected = model(left, right)
        model.cuda()
        frozen = FrozenPSMNet(model)
        torch.testing.assert_close(model(left.cuda(), right.cuda()).cpu(), expected, rtol=0, atol=2e-3)
        torch.testing.assert_close(frozen(left.cuda(), right.cuda()).cpu(), expected, rtol=0, atol=2e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.half])
def test_recorded_is_the_frozen_network(dtype: torch.dtype) -> None:
    model = slim(0).cuda()
    recorded, frozen = FrozenPSMNet(model, dtype, record=True), FrozenPSMNet(model, dtype)
    # Each size is recorded once and replayed in turn.
    for size in ((64, 112), (50, 75), (64, 112), (60, 100)):
        pair = torch.randint(0, 256, (2, 1, 3, *size), dtype=torch.uint8, device="cuda")
        with torch.inference_mode():
            found = recorded(*pair)
            assert torch.equal(found, frozen(*pair)) and torch.equal(found, recorded(*pair))


@pytest.mark.usefixtures("without_tf32")
def test_frozen_and_compiled() -> None:
    model = slim(0).cuda()
    left, right = torch.randn(2, 1, 3, 64, 112, device="cuda")
    with torch.inference_mode():
        expected, found = FrozenPSMNet(model)(left, right), FrozenPSMNet(model, compile=True)(left, right)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-3)


def test_tritons_kernels_run() -> None:
    assert triton_kernels_run()


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("scale", [0.0, 3.0, 1e4])
@pytest.mark.parametrize("levels", [1, 12, 48])
def test_regression_and_its_gradient(levels: int, scale: float, align_corners: bool) -> None:
    random = torch.Generator().manual_seed(0)
    scores = (scale * torch.randn(2, levels, 37, 41, generator=random)).cuda().requires_grad_()
    exact = scores.detach().double().requires_grad_()
    found = regress_disparity(scores, 4 * levels, (148, 164), align_corners)
    expected = soft_argmin(exact, 4 * levels, (148, 164), align_corners)
    tolerance = 4 * levels * (1e-6 + 1e-6 * scale)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=tolerance)
    in_bands = _in_bands(scores.detach(), Upsampling((levels, 37, 41), (4 * levels, 148, 164), align_corners))
    torch.testing.assert_close(in_bands.double(), expected, rtol=0, atol=max(1e-3, 10 * tolerance))

    gradient = torch.randn(found.shape, generator=random).cuda()
    of_scores = [torch.autograd.grad(found, scores, gradient, retain_graph=True)[0] for _ in range(2)]
    (of_exact,) = torch.autograd.grad(expected, exact, gradient.double())
    assert torch.equal(*of_scores)
    torch.testing.assert_close(of_scores[0].double(), of_exact, rtol=0, atol=64 * levels * tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.half])
def test_assembled_volume(dtype: torch.dtype) -> None:
    random = torch.Generator().manual_seed(0)
    shifted, of_left = (torch.randn(2, count, 24, 40 + more, generator=random) for count, more in ((32, 11), (160, 0)))
    shifted, of_left = (features.to("cuda", dtype) for features in (shifted, of_left))
    volume_triton = pytest.importorskip("pseudolidar.stereo.volume_triton", reason="Triton comes with PyTorch on Linux")
    found = volume_triton.assembled(shifted, of_left, 12)[:, :, 1:-1]
    assert torch.equal(found, volume_convolution.assembled(shifted, of_left.chunk(5, dim=1), 12)[:, :, 1:-1])


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("autocast", [False, True])
def test_psmnet_learns_in_all_its_layers(checkpointing: bool, autocast: bool) -> None:
    torch.manual_seed(0)
    model = PSMNet(48, width=16, pool_sizes=(8, 4), blocks=(1, 1, 1, 1)).cuda()
    model.checkpointing = checkpointing
    left, right = torch.randn(2, 2, 3, 64, 96, device="cuda")
    with torch.autocast("cuda", torch.bfloat16, enabled=autocast):
        outputs = model(left, right)
        loss = torch.stack([output.float().square().mean() for output in outputs]).sum()
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    assert sum(int(parameter.grad.any()) for parameter in model.parameters() if parameter.grad is not None) > 50


def gradients(model: nn.Module, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: p.grad.detach().cpu() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.usefixtures("without_tf32")
def test_psmnets_gradients_are_the_processors() -> None:
    torch.manual_seed(0)
    model = PSMNet(48, width=8, pool_sizes=(8, 4), hourglasses=1, blocks=(1, 1, 1, 1)).double()
    left, right = torch.randn(2, 2, 3, 64, 96, dtype=torch.float64)
    expected = gradients(model, model(left, right)[-1].square().mean())
    model.cuda()
    found = gradients(model, model(left.cuda(), right.cuda())[-1].square().mean())
    for name, gradient in expected.items():
        scale = float(gradient.abs().max()) + 1e-12
        torch.testing.assert_close(found[name] / scale, gradient / scale, rtol=0, atol=1e-6, msg=name)


def test_pointrcnns_published_output(fill_weights: ModuleType, reference_dir: Path) -> None:
    model = PointRCNN()
    fill_weights.fill_weights(model, 2.0)
    model.eval().cuda()
    with np.load(reference_dir / "pointrcnn_dev.npz") as reference, torch.inference_mode():
        points = torch.from_numpy(reference["points"])[None].cuda()
        output = model(points)
        np.testing.assert_allclose(output.rpn_cls[0].cpu(), reference["rpn_cls"], atol=1e-3)
        np.testing.assert_allclose(output.rpn_reg[0, ::8].cpu(), reference["rpn_reg"], atol=1e-3)
        distance = np.abs(output.rois[0].cpu().numpy()[:, None] - reference["rois"]).max(axis=2)
        assert distance.min(axis=0).max() < 1e-2 and distance.min(axis=1).max() < 1e-2
        regions = torch.from_numpy(reference["rois"])[None].cuda()
        rcnn_cls, rcnn_reg = model.rcnn_net(points, model.rpn(points), regions)
        np.testing.assert_allclose(rcnn_cls[0].cpu(), reference["rcnn_cls"], atol=1e-2)
        np.testing.assert_allclose(rcnn_reg[0].cpu(), reference["rcnn_reg"], atol=1e-2)


def test_pointrcnns_kernels_are_recorded_and_replayed() -> None:
    torch.manual_seed(0)
    model = PointRCNN(proposals=ProposalSettings(900, 20, 0.8, False)).eval().cuda()
    detector = PointRCNNDetector(model, ("Car",), 2000, 0.0, 0.1, None)
    scenes = [street_points(count, seed=seed)[..., [1, 2, 0]] for seed, count in enumerate((2000, 2000, 500, 2000))]

    def find(number: int) -> Tensor:
        with torch.inference_mode():
            return detector._find(scenes[number], torch.device("cuda", 0)).cpu()

    with torch.inference_mode():
        expected = [detector._find.function(scene.cuda()).cpu() for scene in scenes]
    for number in (0, 1, 2, 3, 0):
        assert torch.equal(find(number).nan_to_num(), expected[number].nan_to_num())
    assert len(detector._find.recorded) == 2 and None not in detector._find.recorded.values()
    # From several threads, each in its turn.
    with ThreadPoolExecutor(4) as pool:
        for number, found in enumerate(pool.map(find, [0, 1, 2, 3] * 5)):
            assert torch.equal(found.nan_to_num(), expected[number % 4].nan_to_num())


@pytest.mark.parametrize("version", [1, 2])
def test_frustum_pointnet(version: Version) -> None:
    torch.manual_seed(0)
    model = FrustumPointNet(version, list(MEAN_SIZES_M.values()), 0.25, 0.25, object_points=64, dropout=0.0)
    points, one_hot, keys = torch.rand(4, 128, 4) / 2, torch.eye(3)[[0, 1, 2, 0]], torch.rand(4, 128)
    for training in (False, True):
        model.train(training)
        outputs = []
        for device in ("cpu", "cuda"):
            model.to(device)
            outputs.append(model(points.to(device), one_hot.to(device), keys.to(device)))
        expected, found = outputs
        torch.testing.assert_close(found.mask_logits.cpu(), expected.mask_logits, rtol=1e-3, atol=1e-3)
        if not training:
            torch.testing.assert_close(found.centre.cpu(), expected.centre, rtol=1e-3, atol=1e-3)
    with torch.autocast("cuda", torch.bfloat16):
        output = model(points.cuda(), one_hot.cuda(), keys.cuda())
    terms = [getattr(output, field.name) for field in dataclasses.fields(output)]
    floating = [term.float().square().sum() for term in terms if term.is_floating_point()]
    for name, gradient in gradients(model, torch.stack(floating).sum()).items():
        assert gradient.isfinite().all(), name


@pytest.mark.parametrize("network", ["fcos_resnet18", "faster_rcnn_resnet50"])
def test_the_2d_detector_is_trained_and_detects(network: Network, tmp_path: Path) -> None:
    painted = write_painted(tmp_path, frames=4, seed=0)
    settings: Detector2dTraining = settings_of(
        "detector2d/fcos_town",
        network=network,
        steps=3,
        image_height=HEIGHT,
        crop=(64, 128),
        classes=("Car", "Pedestrian"),
        batch_size=2,
    )
    train_detector2d(dataclasses.replace(settings, device="cuda"), painted, TrainingRun(tmp_path / "boxes2d.pt"))
    image = painted[0].left_image()
    boxes = {
        device: Detector2d.from_checkpoint(tmp_path / "boxes2d.pt", device).boxes(image) for device in ("cpu", "cuda")
    }
    assert abs(len(boxes["cpu"]) - len(boxes["cuda"])) <= 0.2 * len(boxes["cpu"]) + 3
