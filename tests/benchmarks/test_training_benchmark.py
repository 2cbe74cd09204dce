"""The benchmark training: real trainings from disk and on a resident batch; what a step holds in each."""

from pathlib import Path
from typing import Any

import pytest
import torch

from pseudolidar.benchmarks.training import (
    Trained,
    main,
    making_table,
    pointrcnn_training,
    resident_task,
    step_table,
    stereo_training,
)
from pseudolidar.kitti import ObjectDataset
from pseudolidar.training import BatchShard
from tests.conftest import settings_of
from tests.detectors.pointrcnn.tiny import BRIEF
from tests.detectors.street_of_boxes import write_street
from tests.stereo.conftest import write_scene


@pytest.fixture
def stereo(tmp_path: Path) -> Trained:
    write_scene(tmp_path / "scene", 4)
    settings = settings_of(
        "stereo/slim", loss="disparity", batch_size=2, crop=(32, 64), max_disparity=16, width=8, pool_sizes=(4, 2),
        blocks=(1, 1, 1, 1), precision="float32",
    )  # fmt: skip
    return stereo_training(settings, ObjectDataset(tmp_path / "scene"))


def test_batches_alone(stereo: Trained) -> None:
    table = making_table(stereo, workers=[0, 1], repetitions=1)
    assert table.header[0][2] == "over workers: 1"
    rows = {str(row.cells[0]): row.cells[1:] for row in table.rows}
    assert list(rows) == ["workers: 0", "workers: 1"] and rows["workers: 1"][1] == 1.0
    (none, ratio), (one, _) = rows["workers: 0"], rows["workers: 1"]
    assert isinstance(none, float) and isinstance(one, float) and ratio == pytest.approx(none / one)


@pytest.mark.parametrize("which", ["stereo", "pointrcnn"])
def test_steps_from_disk_stand_beside_those_on_a_resident_batch(which: str, stereo: Trained, tmp_path: Path) -> None:
    trained = stereo
    if which == "pointrcnn":
        trained = pointrcnn_training(BRIEF, write_street(tmp_path, frames=3, seed=0), tmp_path / "clouds")
    table = step_table(trained, workers=[0], steps=2, repetitions=2, folder=tmp_path / "runs")
    rows = {str(row.cells[0]): row.cells[1:] for row in table.rows}
    assert list(rows) == ["a batch in memory", "from disk, workers: 0"]
    for milliseconds, _, waiting, rate in rows.values():
        assert isinstance(milliseconds, float) and rate == pytest.approx(1e3 * trained.batch_size / milliseconds)
        assert isinstance(waiting, float) and 0 <= waiting <= 100
    assert rows["a batch in memory"][1] == 1.0


def test_the_resident_batch_is_the_first_one_from_disk(stereo: Trained) -> None:
    resident = resident_task(stereo.task, torch.device("cpu"))
    shard = BatchShard()
    first, named = stereo.task.batches(0, shard), resident.batches(7, shard)
    assert named.frame_ids == first.frame_ids and set(vars(named)) == {"frame_ids"}
    terms = [task.compute_loss(task.model, batch) for task, batch in ((stereo.task, first), (resident, named))]
    assert torch.equal(terms[0]["output 1"], terms[1]["output 1"])


@pytest.mark.parametrize(
    "settings", [{"preset": "large"}, {"frames": 0}, {"repetitions": 0}, {"steps": -1}, {"workers": []}]
)
def test_bad_settings(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="settings: found preset="):
        main(**settings)
