"""The benchmark of prediction updates: every step stands beside the bytes alone, and settings are checked."""

import math
from pathlib import Path
from typing import Any

import pytest

from pseudolidar.benchmarks.updates import main, updates_table


def test_steps_stand_beside_the_bytes_alone(tmp_path: Path) -> None:
    table = updates_table(tmp_path, items=2_000, classes=3, budget=200, repetitions=1)
    rows = {str(row.cells[0]): [float(str(cell)) for cell in row.cells[1:]] for row in table.rows}
    assert list(rows)[-2:] == ["bytes alone, one after the other", "bytes alone, where the items are"]
    bytes_alone = rows["bytes alone, one after the other"]
    assert math.isnan(bytes_alone[0]) and bytes_alone[3] == 1
    for name, (select, update, whole, ratio, peak_mib) in rows.items():
        if "bytes" not in name:
            assert whole == pytest.approx(select + update)
            assert ratio == pytest.approx(whole / bytes_alone[2])
            assert 1 < peak_mib < 100_000
    # 4 entropy bytes an item; 12 + 4 + 2 + 2 + 4 bytes of an evaluated one, read and written.
    assert "24 bytes" in table.notes[0] and "200 of 2,000 items, 3 classes" in table.caption


@pytest.mark.parametrize("settings", [{"items": 0}, {"classes": 1}, {"budget": 0}, {"budget": 1.1}, {"repetitions": 0}])
def test_bad_settings(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="settings: found items="):
        main(**settings)
