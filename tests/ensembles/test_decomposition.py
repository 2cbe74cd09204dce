"""Individual loss - diversity = ensemble loss, for either loss and for numbers that are hard on sums."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy, nll_loss

from pseudolidar.ensembles import (
    DiversityDecomposition,
    augmented_loss,
    cross_entropy_decomposition,
    squared_error_decomposition,
)

CASES = st.tuples(st.integers(1, 6), st.integers(1, 20), st.integers(2, 5), st.integers(0, 2**31))
SCALES = st.sampled_from([1e-3, 1.0, 30.0, 1e4])


def assert_adds_up(found: DiversityDecomposition) -> None:
    scale = max(1.0, abs(found.individual))
    assert abs(found.individual - found.diversity - found.ensemble) <= 1e-6 * scale
    assert found.diversity >= 0


@given(CASES, SCALES, SCALES)
@settings(deadline=None, max_examples=60)
def test_squared_error_against_its_definition(case: tuple[int, int, int, int], spread: float, offset: float) -> None:
    members, height, width, seed = case
    random = torch.Generator().manual_seed(seed)
    # A large offset common to all members drowns their variance where sums are done badly.
    predictions = offset + spread * torch.randn(members, height, width, generator=random)
    target = torch.randn(height, width, generator=random)
    found = squared_error_decomposition(predictions, target)
    assert_adds_up(found)
    exact, wanted = predictions.double(), target.double()
    assert found.individual == pytest.approx(float(sum(((one - wanted) ** 2).mean() for one in exact)) / members)
    assert found.ensemble == pytest.approx(float(((exact.mean(0) - wanted) ** 2).mean()))
    assert found.diversity == pytest.approx(float(exact.var(0, correction=0).mean()), rel=1e-6, abs=1e-12 * offset**2)


@given(CASES, SCALES)
@settings(deadline=None, max_examples=60)
def test_cross_entropy_against_pytorchs(case: tuple[int, int, int, int], spread: float) -> None:
    members, items, classes, seed = case
    random = torch.Generator().manual_seed(seed)
    logits = spread * torch.randn(members, items, classes, generator=random)
    labels = torch.randint(classes, (items,), generator=random)
    found = cross_entropy_decomposition(logits, labels)
    assert_adds_up(found)
    exact = logits.double()
    by_member = [float(cross_entropy(one, labels)) for one in exact]
    assert found.individual == pytest.approx(sum(by_member) / members)
    if spread <= 30:
        assert found.ensemble == pytest.approx(float(nll_loss(exact.softmax(-1).mean(0).log(), labels)))


def test_members_that_are_surely_wrong_or_alike() -> None:
    labels = torch.zeros(4, dtype=torch.int64)
    sure = torch.tensor([1e4, -1e4]).expand(4, 2)
    opposed = cross_entropy_decomposition(torch.stack([sure, sure.flip(-1)]), labels)
    assert_adds_up(opposed)
    # One of the two knows the label: half the probability, a bit of loss.
    assert opposed.ensemble == pytest.approx(float(torch.log(torch.tensor(2.0))))
    alike = cross_entropy_decomposition(torch.randn(1, 4, 3).expand(5, 4, 3), labels)
    assert_adds_up(alike)
    assert alike.diversity == pytest.approx(0, abs=1e-12)
    cancel = squared_error_decomposition(torch.tensor([[1e6, -1e6], [-1e6, 1e6]]), torch.zeros(2))
    assert (cancel.individual, cancel.diversity, cancel.ensemble) == (1e12, 1e12, 0)


def test_augmented_loss_runs_from_the_members_to_the_ensemble() -> None:
    individual, ensemble = torch.tensor([1.0, 3.0], requires_grad=True), torch.tensor(0.5, requires_grad=True)
    assert [augmented_loss(individual, ensemble, beta).item() for beta in (0, 0.5, 1)] == [2, 1.25, 0.5]
    augmented_loss(individual, ensemble, 0.25).backward()
    assert individual.grad is not None and individual.grad.tolist() == [0.375, 0.375]
    assert ensemble.grad is not None and float(ensemble.grad) == 0.25


@pytest.mark.parametrize("beta", [-0.1, 1.1, float("nan")])
def test_a_beta_outside_its_range(beta: float) -> None:
    with pytest.raises(ValueError, match=r"beta: found .*, expected 0 to 1"):
        augmented_loss(torch.ones(2), torch.ones(()), beta)


def test_losses_of_other_shapes() -> None:
    with pytest.raises(ValueError, match="individual"):
        augmented_loss(torch.ones(()), torch.ones(()), 0.5)
    with pytest.raises(ValueError, match="ensemble"):
        augmented_loss(torch.ones(2), torch.ones(2), 0.5)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match=r"predictions: found shape \(2, 3\), expected \(M, 4\)"):
        squared_error_decomposition(torch.zeros(2, 3), torch.zeros(4))
    with pytest.raises(ValueError, match="predictions"):
        squared_error_decomposition(torch.zeros(0, 3), torch.zeros(3))
    with pytest.raises(ValueError, match="logits"):
        cross_entropy_decomposition(torch.zeros(3, 2), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match="labels: found shape"):
        cross_entropy_decomposition(torch.zeros(2, 3, 4), torch.zeros(2, dtype=torch.int64))
    for label in (-1, 4):
        with pytest.raises(ValueError, match=f"labels: found {label}, expected 0 to 3"):
            cross_entropy_decomposition(torch.zeros(2, 3, 4), torch.tensor([0, label, 1]))
