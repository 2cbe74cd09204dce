"""The benchmark pipeline: parts and the whole over the same frames; the limit is the slowest part's."""

from pathlib import Path
from typing import Any

import pytest
import torch

from pseudolidar.benchmarks.pipeline import main, pipeline_table, random_models
from pseudolidar.kitti import ObjectDataset
from pseudolidar.training import arithmetic_threads
from tests.stereo.conftest import write_scene


def test_every_part_stands_beside_the_whole(tmp_path: Path) -> None:
    write_scene(tmp_path / "scene", 6)
    frames = list(ObjectDataset(tmp_path / "scene"))
    models = random_models(tmp_path, "slim", "pointrcnn_slim", "cpu", "float32")
    with arithmetic_threads(2):
        table = pipeline_table(tmp_path, models, frames, "cpu", "float32", repetitions=1)
    rows = {str(row.cells[0]): row.cells[1:] for row in table.rows}
    assert next(name for name in rows if name.startswith("decoding")) == "decoding, threads: 1"
    assert list(rows)[-6:-4] == ["PSMNet alone", "PointRCNN alone"]
    for milliseconds, rate, _ in rows.values():
        assert isinstance(milliseconds, float) and rate == pytest.approx(1e3 / milliseconds)
    for what in ("results", "results and pictures"):
        assert rows[f"{what}, one frame after the other"][2] == 1.0
        slow, fast = (rows[f"{what}, {how}"][0] for how in ("one frame after the other", "overlapped"))
        assert isinstance(slow, float) and isinstance(fast, float)
        assert rows[f"{what}, overlapped"][2] == pytest.approx(slow / fast)
    both = sum(float(str(rows[f"{name} alone"][0])) for name in ("PSMNet", "PointRCNN"))
    assert f"the networks {1e3 / both:.1f}" in table.notes[0]
    assert not torch.is_inference_mode_enabled()
    # Each run over all frames: two with pictures, two without, each once before it is timed.
    written = [sorted(path.name for path in folder.iterdir()) for folder in (tmp_path / "results").iterdir()]
    assert sorted(written) == 4 * [["pictures", "results"]] + 4 * [["results"]]
    assert all(len(list(folder.glob("results/*.txt"))) == 6 for folder in (tmp_path / "results").iterdir())


@pytest.mark.parametrize("settings", [{"preset": "large"}, {"frames": 5}, {"repetitions": 0}])
def test_bad_settings(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="settings: found preset="):
        main(**settings)
