"""Disparity maps of a data set by any model, and the script that makes them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pseudolidar.files import FormatError
from pseudolidar.kitti import ObjectDataset, read_disparity, read_image, write_image
from pseudolidar.stereo import PSMNet, SemiGlobalMatching, TrainedPSMNet, predict_disparities, save_psmnet
from pseudolidar.stereo.data import normalised
from tests.conftest import RunHere


class Brightness:
    """A model that answers a pixel's red value, and counts how often it is asked."""

    def __init__(self) -> None:
        self.pairs = 0

    def predict(self, left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.pairs += 1
        return left[..., 0].astype(np.float32)


def test_any_model_fills_a_folder_and_files_that_are_there_are_kept(scene: ObjectDataset, tmp_path: Path) -> None:
    model, folder = Brightness(), tmp_path / "maps"
    predict_disparities(model, scene, folder, "brightness")
    assert model.pairs == 4
    assert sorted(path.name for path in folder.iterdir()) == [f"{frame_id}.npy" for frame_id in scene.frame_ids]
    for frame in scene:
        np.testing.assert_array_equal(read_disparity(folder / f"{frame.frame_id}.npy"), frame.left_image()[..., 0])
    (folder / "000002.npy").unlink()
    np.save(folder / "000001.npy", np.ones((40, 72), np.float32))
    predict_disparities(model, scene, folder, "brightness")
    assert model.pairs == 5
    assert read_disparity(folder / "000001.npy").max() == 1


def test_a_network_is_loaded_for_the_first_pair_alone(scene: ObjectDataset, tmp_path: Path) -> None:
    predict_disparities(Brightness(), scene, tmp_path / "maps", "brightness")
    missing = TrainedPSMNet(tmp_path / "missing.pt")
    predict_disparities(missing, scene, tmp_path / "maps", "nothing to do")
    with pytest.raises(FormatError, match=r"missing\.pt"):
        predict_disparities(missing, scene, tmp_path / "others", "no weights")


def test_a_saved_network_predicts_as_it_did(scene: ObjectDataset, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = PSMNet(16, width=8, pool_sizes=(4, 2), hourglasses=1, blocks=(1, 1, 1, 1)).eval()
    save_psmnet(tmp_path / "u.pt", network)
    pair = scene[0].stereo_pair()
    model = TrainedPSMNet(tmp_path / "u.pt", threads=1)
    with torch.inference_mode():
        expected = network(*(torch.from_numpy(normalised(image))[None] for image in pair))[0]
    np.testing.assert_allclose(model.predict(*pair), expected, atol=1e-3)
    # The search range is the user's to choose: the weights don't depend on it.
    assert model.predict(*pair).max() <= 15 < TrainedPSMNet(tmp_path / "u.pt", max_disparity=32).predict(*pair).max()
    with pytest.raises(ValueError, match=r"left image: found float32"):
        model.predict(pair[0].astype(np.float32), pair[1])
    with pytest.raises(ValueError, match="device: found 'gpu', expected 'cpu'"):
        TrainedPSMNet(tmp_path / "u.pt", device="gpu").predict(*pair)
    with pytest.raises(ValueError, match="precision: found 'half'"):
        TrainedPSMNet(tmp_path / "u.pt", precision="half").predict(*pair)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="precision: found 'float16' on a processor"):
        TrainedPSMNet(tmp_path / "u.pt", precision="float16").predict(*pair)


def test_the_script_matches_without_training(scene: ObjectDataset, run_here: RunHere, tmp_path: Path) -> None:
    settings = ("model=sgm", f"data={scene.root}", "split=train", f"output={tmp_path / 'maps'}", "max_disparity=16")
    done = run_here("predict_disparity", *settings)
    assert done.status == 0, done.err
    expected = SemiGlobalMatching(16).predict(*scene[3].stereo_pair())
    np.testing.assert_array_equal(read_disparity(tmp_path / "maps" / "000003.npy"), expected)


def test_the_script_takes_one_pair_and_names_what_is_wrong_with_it(
    scene: ObjectDataset, run_here: RunHere, tmp_path: Path
) -> None:
    left, right = scene[0].path("image_2"), scene[0].path("image_3")
    pair = [f"left={left}", f"right={right}", f"output={tmp_path / 'map.png'}", "max_disparity=16"]
    assert run_here("predict_disparity", "model=sgm", *pair).status == 0
    expected = SemiGlobalMatching(16).predict(*scene[0].stereo_pair())
    np.testing.assert_allclose(read_disparity(tmp_path / "map.png"), expected, atol=1 / 256)
    write_image(right, read_image(right)[:, 1:])
    done = run_here("predict_disparity", "model=sgm", *pair)
    assert done.status == 2
    assert done.err == "error: right image: found shape (40, 71, 3), expected the left's, (40, 72, 3)\n"
