"""The multi-task loss: published weights, and each term against a computation by hand."""

import math

import pytest
import torch

from pseudolidar.detectors.frustum_pointnet import box_coder, losses
from pseudolidar.detectors.frustum_pointnet.losses import FrustumTargets, frustum_loss, loss_terms
from pseudolidar.detectors.frustum_pointnet.model import FrustumOutput

MEAN_SIZES = torch.tensor(list(box_coder.MEAN_SIZES_M.values()))
SURE = 30.0  # a logit that leaves nothing to chance


def perfect(heading: float = 0.3, size: tuple[float, float, float] = (4.0, 1.7, 1.5)) -> tuple[dict, FrustumTargets]:
    """The fields of an output that is right in everything, and its targets: one car, four points."""
    targets = FrustumTargets(
        inside=torch.tensor([[True, False, True, True]]),
        centre=torch.tensor([[0.2, 0.9, 15.0]]),
        size=torch.tensor([size]),
        heading=torch.tensor([heading]),
        cluster=torch.tensor([0]),
    )
    heading_bin, heading_residual = box_coder.encode_heading(targets.heading)
    heading_scores = torch.zeros(1, 12)
    heading_scores[0, heading_bin] = SURE
    heading_residuals = torch.zeros(1, 12)
    heading_residuals[0, heading_bin] = heading_residual / (math.pi / 12)
    size_scores = torch.zeros(1, 8)
    size_scores[0, 0] = SURE
    size_residuals = torch.zeros(1, 8, 3)
    size_residuals[0, 0] = box_coder.encode_size(targets.size, targets.cluster, MEAN_SIZES)
    inside = targets.inside.float()
    fields = {
        "mask_logits": torch.stack([1 - inside, inside], dim=2) * SURE,
        "mask": targets.inside,
        "stage1_centre": targets.centre.clone(),
        "centre": targets.centre.clone(),
        "heading_scores": heading_scores,
        "heading_residuals": heading_residuals,
        "size_scores": size_scores,
        "size_residuals": size_residuals,
    }
    return fields, targets


def terms_of(fields: dict, targets: FrustumTargets) -> dict[str, float]:
    return {name: float(term) for name, term in loss_terms(FrustumOutput(**fields), targets, MEAN_SIZES).items()}


def test_published_weights() -> None:
    assert losses.WEIGHTS == {
        "segmentation": 1,
        "centre": 1,
        "stage1_centre": 1,
        "heading_class": 1,
        "size_class": 1,
        "heading_residual": 20,
        "size_residual": 20,
        "corners": 10,
    }


def test_what_is_right_costs_nothing() -> None:
    terms = terms_of(*perfect())
    assert set(terms) == set(losses.WEIGHTS)
    assert all(abs(term) < 1e-6 for term in terms.values())


def test_the_loss_is_the_weighted_sum() -> None:
    fields, targets = perfect()
    generator = torch.Generator().manual_seed(0)
    noisy = {
        name: value / 10 + torch.rand(value.shape, generator=generator) if value.is_floating_point() else value
        for name, value in fields.items()
    }
    terms = terms_of(noisy, targets)
    assert all(term > 1e-4 for term in terms.values())
    expected = sum(losses.WEIGHTS[name] * term for name, term in terms.items())
    assert float(frustum_loss(FrustumOutput(**noisy), targets, MEAN_SIZES)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("field", "error", "term", "expected"),
    [
        # Huber with delta 2 for the centre, 1 for the T-Net's: quadratic below, linear above.
        ("centre", 1.5, "centre", 1.5**2 / 2),
        ("centre", 3.0, "centre", 2 * 3 - 2),
        ("stage1_centre", 0.5, "stage1_centre", 0.5**2 / 2),
        ("stage1_centre", 3.0, "stage1_centre", 3 - 0.5),
    ],
)
def test_centre_terms(field: str, error: float, term: str, expected: float) -> None:
    fields, targets = perfect()
    fields[field] = fields[field] + torch.tensor([[0.6, 0.0, 0.8]]) * error
    assert terms_of(fields, targets)[term] == pytest.approx(expected, rel=1e-5)


def test_class_terms() -> None:
    fields, targets = perfect()
    fields["mask_logits"] = torch.zeros(1, 4, 2)
    fields["heading_scores"] = torch.zeros(1, 12)
    fields["size_scores"] = torch.zeros(1, 8)
    terms = terms_of(fields, targets)
    assert terms["segmentation"] == pytest.approx(math.log(2))
    assert terms["heading_class"] == pytest.approx(math.log(12))
    assert terms["size_class"] == pytest.approx(math.log(8))


def test_residual_terms_see_the_true_bin_and_cluster_only() -> None:
    fields, targets = perfect()
    fields["heading_residuals"] = fields["heading_residuals"] + 0.5
    fields["size_residuals"] = fields["size_residuals"] + torch.tensor([0.3, 0.0, 0.4])
    terms = terms_of(fields, targets)
    assert terms["heading_residual"] == pytest.approx(0.125, rel=1e-5)
    assert terms["size_residual"] == pytest.approx(0.125, rel=1e-5)
    fields, targets = perfect()
    fields["heading_residuals"][0, 5] = 100.0
    fields["size_residuals"][0, 3] = 100.0
    assert all(abs(term) < 1e-6 for term in terms_of(fields, targets).values())


def test_corner_loss_by_hand() -> None:
    # Moved by 0.3 m: every corner is 0.3 m off. Moved by 2 m sideways: linear, unless the turned box is nearer.
    fields, targets = perfect(heading=0.0)
    fields["centre"] = fields["centre"] + torch.tensor([[0.0, 0.3, 0.0]])
    assert terms_of(fields, targets)["corners"] == pytest.approx(0.3**2 / 2, rel=1e-4)
    fields, targets = perfect(heading=0.0)
    fields["centre"] = fields["centre"] + torch.tensor([[0.0, 2.0, 0.0]])
    assert terms_of(fields, targets)["corners"] == pytest.approx(2 - 0.5, rel=1e-4)


def test_corner_loss_grows_with_the_size() -> None:
    fields, targets = perfect(heading=0.0, size=(4.0, 1.6, 1.5))
    fields["size_residuals"][0, 0, 0] += 0.4 / MEAN_SIZES[0, 0]  # 0.4 m longer: each corner 0.2 m off
    assert terms_of(fields, targets)["corners"] == pytest.approx(0.2**2 / 2, rel=1e-4)


def test_corner_loss_forgives_half_a_turn() -> None:
    _, targets = perfect(heading=0.3)
    turned = FrustumTargets(targets.inside, targets.centre, targets.size, targets.heading + math.pi, targets.cluster)
    corners = box_coder.box_corners(targets.centre, targets.size, targets.heading)
    assert float(losses.corner_loss(corners, turned)) == pytest.approx(0, abs=1e-6)
    quarter = FrustumTargets(
        targets.inside, targets.centre, targets.size, targets.heading + math.pi / 2, targets.cluster
    )
    assert float(losses.corner_loss(corners, quarter)) > 0.5
