"""Side-by-side measurements: order, ratios, memory, the table."""

import math
import subprocess
import sys
import time

import pytest

from pseudolidar.benchmarks.measure import Measured, benchmark_table, side_by_side


def test_contenders_take_turns() -> None:
    calls: list[str] = []
    measured = side_by_side({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, repetitions=3, warm_up=2)
    # Warm-up, the timed turns, one call each for the memory.
    assert "".join(calls) == "aabb" + "ababab" + "ab"
    assert [row.name for row in measured] == ["a", "b"]


def test_ratios_are_to_the_first() -> None:
    slow, fast = side_by_side({"slow": lambda: time.sleep(0.02), "fast": lambda: time.sleep(0.004)}, repetitions=5)
    assert slow.ratio == 1
    assert slow.seconds >= 0.02
    assert 0.15 < fast.ratio < 0.6
    assert fast.ratio == pytest.approx(fast.seconds / slow.seconds, rel=0.5)


def test_nothing_to_measure() -> None:
    with pytest.raises(ValueError, match="0 repetitions"):
        side_by_side({"a": lambda: None}, repetitions=0)
    with pytest.raises(ValueError, match="0 contenders"):
        side_by_side({}, repetitions=1)


def test_memory_of_a_call_even_when_it_is_given_back() -> None:
    # In a process of its own: in this one the system may take back what earlier tests have left, in the same moment.
    program = (
        "import numpy as np\n"
        "from pseudolidar.benchmarks.measure import peak_rise_mib\n"
        "print(peak_rise_mib(lambda: np.ones(40 * 2**17).sum()), peak_rise_mib(lambda: None))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    rise, nothing = map(float, done.stdout.split())
    if math.isnan(rise):
        pytest.skip("the system does not tell the peak of the resident memory")
    assert 35 < rise < 60
    assert nothing < 5


def test_a_table_in_the_unit_that_fits() -> None:
    rows = [Measured("plain", 0.03, 1.0, 12.0), Measured("ours", 0.0024, 0.08, math.nan)]
    table = benchmark_table("Dense cloud", "375 x 1242 px", 2, rows, ["a limit"])
    assert "375 x 1242 px, 2 threads, PyTorch" in table.caption
    assert table.header[0][1] == "ms"
    assert table.rows[1].cells[:4] == ("ours", pytest.approx(2.4), 0.08, pytest.approx(12.5))
    assert table.notes == ("a limit",)
    assert benchmark_table("", "", 1, [Measured("plain", 3.0, 1.0, 12.0)]).header[0][1] == "s"
