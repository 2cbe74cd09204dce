"""Any of our networks as members: their outputs stacked, and losses of them decomposed."""

import pytest
import torch
from torch import Tensor, nn

from pseudolidar.detectors.frustum_pointnet import FrustumOutput, FrustumPointNet
from pseudolidar.ensembles import Ensemble, augmented_loss, cross_entropy_decomposition, squared_error_decomposition
from pseudolidar.ensembles.members import stacked

MEAN_SIZES_M = [[3.9, 1.6, 1.5], [0.8, 0.7, 1.8]]
MEMBERS, FRUSTA, POINTS = 3, 2, 24


@pytest.fixture
def ensemble() -> Ensemble:
    torch.manual_seed(0)
    return Ensemble([FrustumPointNet(1, MEAN_SIZES_M, width=0.125, object_points=16) for _ in range(MEMBERS)]).eval()


def inputs_of(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    points = torch.randn(FRUSTA, POINTS, 4, generator=generator)
    one_hot = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])
    return points, one_hot, torch.rand(FRUSTA, POINTS, generator=generator)


def test_frustum_pointnets_as_members(ensemble: Ensemble) -> None:
    inputs = inputs_of(torch.Generator().manual_seed(1))
    with torch.no_grad():
        together: FrustumOutput = ensemble(*inputs)
        apart = [member(*inputs) for member in ensemble.members]
    assert together.centre.shape == (MEMBERS, FRUSTA, 3)
    for number, output in enumerate(apart):
        assert torch.equal(together.mask_logits[number], output.mask_logits)
        assert torch.equal(together.size_residuals[number], output.size_residuals)


def test_their_segmentation_decomposes_and_trains_jointly(ensemble: Ensemble) -> None:
    generator = torch.Generator().manual_seed(2)
    output: FrustumOutput = ensemble(*inputs_of(generator))
    labels = torch.randint(0, 2, (FRUSTA * POINTS,), generator=generator)
    logits = output.mask_logits.reshape(MEMBERS, -1, 2)
    parts = cross_entropy_decomposition(logits, labels)
    assert parts.individual - parts.diversity == pytest.approx(parts.ensemble, abs=1e-6)
    assert parts.diversity > 0
    individual = torch.stack([nn.functional.cross_entropy(member, labels) for member in logits])
    mean = nn.functional.nll_loss(logits.softmax(-1).mean(0).log(), labels)
    objective = augmented_loss(individual, mean, 0.5)
    assert objective.item() == pytest.approx((parts.individual + parts.ensemble) / 2, rel=1e-5)
    objective.backward()
    gradients = [parameter.grad for member in ensemble.members for parameter in member.segmentation.parameters()]  # type: ignore[union-attr]
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients[-2:])
    centres = squared_error_decomposition(output.centre.detach(), torch.zeros(FRUSTA, 3))
    assert centres.individual - centres.diversity == pytest.approx(centres.ensemble, rel=1e-6)


def test_outputs_of_another_type_are_refused() -> None:
    with pytest.raises(TypeError, match="outputs: found list, expected tensors"):
        stacked([[torch.zeros(1)], [torch.zeros(1)]])
    with pytest.raises(ValueError, match="members: found none"):
        Ensemble([])
