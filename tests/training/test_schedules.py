"""Learning rates as functions of the step."""

from itertools import pairwise

import pytest

from pseudolidar.training import one_cycle, step_decay


def test_step_decay_as_the_paper_has_it() -> None:
    at = step_decay(1e-3, [50, 80])
    assert [at(step) for step in (0, 49)] == [1e-3, 1e-3]
    assert [at(step) for step in (50, 79)] == pytest.approx([1e-4, 1e-4])
    assert at(80) == pytest.approx(1e-5)


@pytest.mark.parametrize("steps", [1, 2, 10, 333])
def test_one_cycle_rises_then_falls(steps: int) -> None:
    at = one_cycle(2.0, steps)
    rates = [at(step) for step in range(steps)]
    top = rates.index(max(rates))
    assert rates[0] == pytest.approx(0.2)
    assert all(a < b for a, b in pairwise(rates[: top + 1]))
    assert all(a > b for a, b in pairwise(rates[top:]))
    assert max(rates) <= 2.0
    if steps > 2:
        assert max(rates) == pytest.approx(2.0)
        assert top == max(1, round(0.1 * steps))
        assert rates[-1] == pytest.approx(0.02)
