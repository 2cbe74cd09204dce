"""An ensemble as u' of the case study: trained, predicting with its variance, in its own stages, by its name."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from pseudolidar.case_study import CaseStudy, CaseStudySettings
from pseudolidar.case_study.disparity import TrainedDisparity
from pseudolidar.case_study.tables import source_name
from pseudolidar.ensembles import EnsembleTraining
from pseudolidar.kitti import read_disparity
from pseudolidar.stereo import StereoTraining
from pseudolidar.synthetic import TownData
from pseudolidar.systems import ArtifactStore, Inputs, parents_first
from tests.case_study.bare_study import bare_study
from tests.conftest import settings_of
from tests.stereo.conftest import write_scene

TINY: dict[str, Any] = {
    "loss": "disparity", "steps": 2, "batch_size": 1, "crop": (32, 64), "width": 8, "max_disparity": 16,
    "pool_sizes": (4, 2), "hourglasses": 1, "blocks": (1, 1, 1, 1), "precision": "float32",
}  # fmt: skip
ALONE: StereoTraining = settings_of("stereo/slim", **TINY)
ENSEMBLE: EnsembleTraining = settings_of("stereo/ensemble", **TINY, members=2)


def settings(**changes: Any) -> CaseStudySettings:
    given: dict[str, Any] = {"u": ALONE, "u_prime": ENSEMBLE, **changes}
    return bare_study(
        name="ensemble",
        data=TownData("mini", 2, 2),
        frustum_pointnet={"Car": settings_of("detector/frustum_pointnet_v1", steps=5)},
        **given,
    )


def made_again(before: CaseStudySettings, after: CaseStudySettings, tmp_path: Path) -> list[str]:
    """Names of the stages of `after` that `before` doesn't have."""
    store = ArtifactStore(tmp_path)
    kept = {stage.fingerprint for stage in parents_first(CaseStudy(before, store).wanted())}
    stages = parents_first(CaseStudy(after, store).wanted())
    return sorted(stage.name for stage in stages if stage.fingerprint not in kept)


BEHIND_ONE = sorted(
    [*(f"{step}-{name}" for step in ("train", "predict", "test") for name in ("u", "car-f-ptnet")), "predict-cloud"]
)


@pytest.mark.parametrize("change", [{"members": 3}, {"beta": 0.5}, {"steps": 3}])
def test_a_change_of_the_ensemble_changes_it_and_all_behind_it(change: dict[str, Any], tmp_path: Path) -> None:
    after = settings(u_prime=dataclasses.replace(ENSEMBLE, **change))
    assert made_again(settings(), after, tmp_path) == BEHIND_ONE


def test_an_ensemble_is_not_the_network_that_its_members_are(tmp_path: Path) -> None:
    before = settings(u_prime=dataclasses.replace(ALONE, loss="depth"))
    assert made_again(before, settings(), tmp_path) == BEHIND_ONE
    assert made_again(settings(u=ENSEMBLE, u_prime=ALONE), settings(), tmp_path) == []


def test_tables_tell_ensembles_apart() -> None:
    jointly = dataclasses.replace(ENSEMBLE, members=4, beta=1.0)
    assert [source_name(settings(u_prime=one), "u'") for one in (ALONE, ENSEMBLE, jointly)] == [
        "u' (disparity MAE)", "u' (2 x disparity MAE)", "u' (4 x disparity MAE, beta 1)"
    ]  # fmt: skip


def test_an_ensemble_is_nothing_to_start_from() -> None:
    with pytest.raises(ValueError, match="pretraining: found an ensemble, expected the training of one network"):
        settings(pretraining=ENSEMBLE)


def test_it_is_trained_and_predicts_with_its_variance(tmp_path: Path) -> None:
    data = write_scene(tmp_path / "scene", 3).root
    (data / "ImageSets" / "train.txt").write_text("000000\n000001\n")
    (data / "ImageSets" / "val.txt").write_text("000002\n")
    for name in ("weights", "model", "maps"):
        (tmp_path / name).mkdir()
    TrainedDisparity(ALONE).run("train", Inputs(data, {}, 0), tmp_path / "weights")
    model = TrainedDisparity(ENSEMBLE)
    model.run("train", Inputs(data, {"weights": tmp_path / "weights"}, 0), tmp_path / "model")
    model.run("predict", Inputs(data, {}, 0, tmp_path / "model"), tmp_path / "maps")
    for frame in ("000000", "000001", "000002"):
        disparity, variance = (
            read_disparity(tmp_path / "maps" / place / f"{frame}.npy") for place in (".", "variance")
        )
        assert disparity.shape == variance.shape == (40, 72)
        assert 0 < variance.max() < disparity.max() ** 2
