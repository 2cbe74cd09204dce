"""The benchmark inference: rates of the frames beyond the start; settings that compare nothing are refused."""

import pytest

from pseudolidar.benchmarks.inference import main, row_of


def test_the_start_is_no_part_of_the_rate() -> None:
    # Two frames, then all twelve; by contender.
    one, both = "1 process", "2 workers"
    times = {(2, one): [3.0, 3.0], (12, one): [13.0, 13.0], (2, both): [9.0, 8.0], (12, both): [14.0, 13.0]}
    alone, two = (row_of(f"maps: {name}", times, name, workers=2, frames=12) for name in (one, both))
    assert alone.cells == ("maps: 1 process", 13.0, 1.0, 1.0, 3.0)
    assert two.cells == ("maps: 2 workers", 13.5, 2.0, 2.0, 8.5)


@pytest.mark.parametrize("settings", [{"frames": 1}, {"workers": 1}, {"repetitions": 0}, {"frames": 2, "workers": 2}])
def test_settings_that_compare_nothing_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="frames, workers and repetitions: found"):
        main(**settings)
