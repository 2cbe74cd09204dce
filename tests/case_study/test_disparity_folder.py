"""A folder of disparity maps as a vertex: known by its content, copied, checked."""

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from pseudolidar.case_study.disparity import DisparityFolder
from pseudolidar.files import FormatError
from pseudolidar.kitti import ObjectDataset, read_disparity, write_disparity
from pseudolidar.systems import ArtifactStore, System, Vertex, make_stages
from tests.systems.avenue import data, data_stage, failure, make, write_maps

__all__ = ["data"]


def test_a_folder_is_known_by_what_is_in_it(data: ObjectDataset, tmp_path: Path) -> None:
    maps = write_maps(data, tmp_path / "maps")
    known = DisparityFolder(maps).settings("predict")
    assert known == DisparityFolder(shutil.copytree(maps, tmp_path / "copy")).settings("predict")
    changed = maps / "000002.npy"
    write_disparity(changed, read_disparity(changed) + np.float32(1e-3))
    assert known != DisparityFolder(maps).settings("predict")
    renamed = tmp_path / "copy" / "000002.npy"
    renamed.rename(renamed.with_name("000009.npy"))
    assert known != DisparityFolder(tmp_path / "copy").settings("predict")
    # What was read once goes along to another process.
    folder = DisparityFolder(maps)
    known = folder.settings("predict")
    shutil.rmtree(maps)
    assert pickle.loads(pickle.dumps(folder)).settings("predict") == known


@pytest.mark.parametrize("suffix", [".npy", ".png"])
def test_maps_are_copied_and_checked(data: ObjectDataset, tmp_path: Path, suffix: str) -> None:
    maps, store = write_maps(data, tmp_path / "maps", suffix=suffix), ArtifactStore(tmp_path / "store")

    def made() -> System:
        return System(data_stage(data), [Vertex("u", DisparityFolder(maps))])

    first = made()
    assert not make(store, first).failed
    shutil.rmtree(maps)
    copied = store.folder(first.stages(0)["u", "predict"]) / f"000003{suffix}"
    np.testing.assert_array_equal(read_disparity(copied), data.frame("000003").disparity())
    write_maps(data, maps, suffix=suffix)
    (maps / f"000006{suffix}").unlink()
    message = "000006.npy: file: found nothing there (1 of 7 frames have no map)"
    assert message in failure(make(store, made()))
    write_disparity(maps / f"000006{suffix}", np.ones((128, 400), np.float32))
    assert "size: found 400 x 128 px, expected 416 x 128 px" in failure(make(store, made()))
    write_disparity(maps / f"000006{suffix}", data.frame("000006").disparity() + np.float32(1.0))
    late = made()
    stages = list(late.stages(0).values())
    assert all(stage.fingerprint for stage in stages)
    write_disparity(maps / f"000000{suffix}", np.ones((128, 416), np.float32))
    assert "another content than when the study started" in failure(make_stages(store, stages))


def test_folders_without_maps(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="nowhere: folder: found nothing there"):
        DisparityFolder(tmp_path / "nowhere")
    with pytest.raises(FormatError, match=r"folder: found none, expected disparity maps: \.npy, \.png, \.pfm"):
        DisparityFolder(tmp_path)
