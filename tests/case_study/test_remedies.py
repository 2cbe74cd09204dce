"""Remedies in a study: which stages they add, what calibration learns, what the table and the advice say."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pseudolidar.case_study import (
    CaseStudy,
    CaseStudySettings,
    CommandDetector,
    DisparityFolder,
    FolderData,
    MatchingDisparity,
    Reference,
)
from pseudolidar.case_study.calibration import DisparityCalibration, fit_calibration
from pseudolidar.case_study.disparity import DISPARITY
from pseudolidar.case_study.fusion import fused, score_odds
from pseudolidar.case_study.outputs import write_results
from pseudolidar.case_study.pictures import remedy_blocks
from pseudolidar.case_study.remedies import frame_parts, recommendation, remedies_summary, remedies_tables, tried
from pseudolidar.case_study.settings import DetectorPlace, Remedy
from pseudolidar.files import FormatError, InputError
from pseudolidar.kitti import ObjectDataset, Objects, disparity_path, read_disparity, write_disparity
from pseudolidar.systems import ArtifactStore, make_stages, parents_first
from tests.case_study.bare_study import bare_study
from tests.conftest import settings_of
from tests.systems.avenue import DETECTOR, data, write_maps

__all__ = ["data"]


@pytest.fixture(scope="module")
def with_remedies(data: ObjectDataset, tmp_path_factory: pytest.TempPathFactory) -> CaseStudySettings:
    """Exact maps, then maps that say too little; a car detector that is a command, and a tiny Frustum PointNet."""
    folder = tmp_path_factory.mktemp("tried")
    (folder / "detector.py").write_text(DETECTOR)
    words = "{data} {split} {clouds} {model} {output} {class_name}"
    train = "python detector.py train " + words.replace("{split}", "{train_split}").replace("{model}", "none")
    predict = "python detector.py predict " + words.replace("{split}", "{val_split}")
    mine: CommandDetector = settings_of(
        "detector/command", train=f"{train} {{seed}}", predict=predict, class_name="Car", files=["*.py"],
        directory=str(folder),
    )  # fmt: skip
    frustum = settings_of("detector/frustum_pointnet_v1", steps=2, batch_size=4, points=64, object_points=32)
    return bare_study(
        name="tried",
        data=FolderData(data.root),
        u=DisparityFolder(write_maps(data, folder / "u")),
        u_prime=DisparityFolder(write_maps(data, folder / "u_prime", 0.95)),
        commands={"mine": mine},
        frustum_pointnet={"Car": frustum},
        remedies=("keep", "calibrate", "mixed", "congruent", "near_only", "fuse"),
    )


@pytest.fixture(scope="module")
def study(with_remedies: CaseStudySettings, tmp_path_factory: pytest.TempPathFactory) -> CaseStudy:
    """The study, finished."""
    made = CaseStudy(with_remedies, ArtifactStore(tmp_path_factory.mktemp("store")))
    made.result = make_stages(made.store, made.wanted())
    assert not made.result.failed
    return made


def test_remedies_add_their_stages_and_change_none(with_remedies: CaseStudySettings, tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)

    def folders(*remedies: Remedy) -> set[str]:
        chosen = dataclasses.replace(with_remedies, seeds=1, remedies=remedies)
        return {stage.folder_name for stage in parents_first(CaseStudy(chosen, store).wanted())}

    plain = folders()
    assert folders("keep", "near_only") == plain, "cars have no near-only detector here"
    expected: tuple[tuple[Remedy, list[str]], ...] = (
        ("mixed", [f"{step}-car-f-ptnet" for step in ("train", "predict", "test")]),
        ("congruent", [f"{step}-car-f-ptnet" for step in ("train", "predict", "test")]),
        ("fuse", [f"{step}-car-{kind}" for step in ("predict", "test") for kind in ("f-ptnet", "mine")]),
        (
            "calibrate",
            ["predict-cloud", "predict-u", "test-u"]
            + [f"{step}-car-{kind}" for step in ("train", "predict", "test") for kind in ("f-ptnet", "mine")],
        ),
    )
    for remedy, added in expected:
        assert plain < folders(remedy)
        assert sorted(name.rpartition("-")[0] for name in folders(remedy) - plain) == sorted(added)


def test_a_mixed_detector_needs_the_old_clouds_in_training_alone(
    with_remedies: CaseStudySettings, tmp_path: Path
) -> None:
    study = CaseStudy(with_remedies, ArtifactStore(tmp_path))
    trained, predicted = (study.stage("mixed", "car-f-ptnet", step, 0) for step in ("train", "predict"))
    assert trained.parents["cloud"] is not trained.parents["cloud-before"]
    for source, role in (("u", "cloud-before"), ("u'", "cloud")):
        assert trained.parents[role].folder_name == study.stage(source, "cloud", "predict", 0).folder_name
    assert sorted(predicted.parents) == ["cloud", "data", "train"]


def test_calibration_makes_maps_right_that_say_too_little(study: CaseStudy) -> None:
    said, calibrated = (study.folder(source, DISPARITY, "predict") for source in ("u'", "calibrate"))
    for frame in study.frames("val"):
        truth = frame.disparity()
        known = truth > 0
        errors = [
            np.abs(read_disparity(disparity_path(maps, frame.frame_id)) - truth)[known].mean()
            for maps in (said, calibrated)
        ]
        assert errors[1] < 0.1 * errors[0]


MINE, FRUSTUM = DetectorPlace("mine", "Car"), DetectorPlace("F-PTNET", "Car")


def test_every_detector_has_the_remedies_that_fit_it(study: CaseStudy) -> None:
    assert list(tried(study, MINE)) == ["update", "keep", "calibrate", "fuse"]
    assert list(tried(study, FRUSTUM)) == ["update", "keep", "calibrate", "mixed", "congruent", "fuse"]
    for place in (MINE, FRUSTUM):
        found = tried(study, place)
        for remedy, one in found.items():
            after = np.mean([loss.value() for loss in study.losses(one.source, one.place.vertex)])
            old, new = (np.mean([loss.value() for loss in study.losses(s, place.vertex)]) for s in ("u", "u'"))
            assert one.from_old.difference == pytest.approx(after - old, abs=1e-9)
            if one.from_update is not None:
                assert one.from_update.difference == pytest.approx(after - new, abs=1e-9), remedy
        assert found["keep"].from_old.difference == found["keep"].negative.value == found["keep"].positive.value == 0
        assert found["calibrate"].source == "calibrate"


def test_time_counts_each_model_that_runs(study: CaseStudy) -> None:
    models = {
        source: {name.rpartition("-")[0] for name in frame_parts(study, source, FRUSTUM)}
        for source in ("u'", "calibrate", "mixed")
    }
    assert models["u'"] == models["mixed"] == {"predict-u", "predict-cloud", "predict-car-f-ptnet"}
    assert len(frame_parts(study, "calibrate", FRUSTUM)) == 4, "u' and its calibration"
    assert len(frame_parts(study, "fuse", FRUSTUM)) == 7, "both systems, and the fusion"
    plain, mixed = ({*frame_parts(study, source, FRUSTUM)} for source in ("u'", "mixed"))
    assert len(plain & mixed) == 2, "the same disparity and clouds"


def test_the_report_has_the_table_the_pictures_and_the_advice(study: CaseStudy, tmp_path: Path) -> None:
    said, basis, against_u, against_update, *pictures = remedy_blocks(study)
    assert isinstance(said, str) and isinstance(basis, str) and len(pictures) == 2
    assert "on 2 items, reported on the 2 others" in basis
    assert (against_u, against_update) == remedies_tables(study)
    (short,) = remedies_summary(study)
    assert [row.cells[0] for row in short.rows] == ["plain update", "calibrate", "mixed", "congruent", "fuse"]
    assert short.rows[2].cells[2] == "", "a command is not trained on two clouds"
    detectors = [[row.cells[0] for row in table.rows] for table in remedies_tables(study)]
    assert detectors[0] == ["Car, F-PTNET", *[""] * 4, "Car, mine", *[""] * 2], "without keep"
    assert detectors[1] == ["Car, F-PTNET", *[""] * 5, "Car, mine", *[""] * 3]
    write_results(study, tmp_path / "results.json")
    written = json.loads((tmp_path / "results.json").read_text())["remedies"]
    found = recommendation(study)
    assert found is not None and written["recommendation"] == said == found.sentence()
    assert set(written["versions"]) <= {str(MINE), str(FRUSTUM)}
    assert set(written["detectors"]["car-mine"]) == {"update", "keep", "calibrate", "fuse"}


def test_names_that_are_taken_and_too_small_budgets_are_refused(with_remedies: CaseStudySettings) -> None:
    with pytest.raises(InputError, match="time_budget: found 0"):
        dataclasses.replace(with_remedies, time_budget=0.0)
    reference = Reference(MatchingDisparity(16), detectors=False)
    with pytest.raises(InputError, match="references: found the name 'mixed'"):
        dataclasses.replace(with_remedies, references={"mixed": reference})


@given(st.integers(0, 2**32 - 1), st.integers(2, 30))
@settings(max_examples=60, deadline=None)
def test_a_calibration_rises_and_keeps_what_is_unknown(seed: int, knots: int) -> None:
    rng = np.random.default_rng(seed)
    said, true = np.cumsum(rng.uniform(0.01, 3, knots)), np.cumsum(rng.uniform(0, 3, knots)) + 0.1
    calibration = DisparityCalibration(said, true)
    np.testing.assert_allclose(calibration.of(said[None]), true[None].astype(np.float32))
    everywhere = np.sort(rng.uniform(0, 1.5 * said[-1], (1, 200)))
    everywhere[0, :5] = 0
    found = calibration.of(everywhere)
    assert (found[0, :5] == 0).all() and (found[everywhere > 0] > 0).all()
    assert (np.diff(found) >= 0).all()


def boxes(x: list[float], score: list[float], left: list[float] | None = None) -> Objects:
    """Cars of 2 m x 4 m ahead, each with a 2D box of its own unless `left` places it."""
    count = len(x)
    left_px = np.array(left if left is not None else [100.0 * one for one in x])
    box2d = np.stack([left_px, np.zeros(count), left_px + 50, np.full(count, 40.0)], axis=1)
    box3d = np.array([[one, 1.6, 20, 1.5, 2, 4, 0] for one in x], np.float64).reshape(-1, 7)
    names = np.full(count, "Car")
    return Objects(names, np.zeros(count), np.zeros(count, np.int64), np.zeros(count), box2d, box3d, np.array(score))


def test_of_one_object_the_better_detection_stays() -> None:
    older, newer = boxes([0, 10, 30], [3, 1, 0.5]), boxes([0.5, 10.2, 50, 51], [2, 4, -1, -2])
    found = fused(older, newer)
    assert found.score is not None
    assert found.score.tolist() == [4, 3, 0.5, -1, -2], "what one detector finds twice stays twice"
    apart = fused(boxes([0], [1.0], [0]), boxes([9], [2.0], [2]))
    assert apart.score is not None and apart.score.tolist() == [2.0], "of one 2D box"
    assert len(fused(boxes([], []), boxes([], []))) == 0


@given(st.integers(0, 2**32 - 1), st.integers(0, 40))
@settings(max_examples=40, deadline=None)
def test_odds_rise_with_the_score_and_are_finite(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    scores, is_right = 30 * rng.normal(size=count) - 50, rng.random(count) < rng.random()
    slope, offset = score_odds(scores, is_right)
    assert slope >= 0 and np.isfinite([slope, offset]).all()


def test_odds_are_those_that_made_the_data() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(-5, 2, 40_000)
    is_right = rng.random(40_000) < 1 / (1 + np.exp(-(0.8 * scores + 3)))
    assert score_odds(scores, is_right) == (pytest.approx(0.8, abs=0.03), pytest.approx(3, abs=0.15))


def test_a_fit_makes_the_error_small_and_does_not_mind_outliers(data: ObjectDataset, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)

    def bias(truth: NDArray[np.float32]) -> NDArray[np.float32]:
        return truth + np.float32(0.02) * truth**1.5

    for frame in data:
        truth = frame.disparity()
        noisy = bias(truth) + rng.normal(0, 0.2, truth.shape)
        # As far mountains do, of which anything is said: a mean would move all that is there with them.
        noisy = np.where((truth < 1) & (rng.random(truth.shape) < 0.3), rng.uniform(1, 20, truth.shape), noisy)
        said = np.where(truth > 0, np.maximum(noisy, 0.1), 0).astype(np.float32)
        write_disparity(tmp_path / "maps" / f"{frame.frame_id}.npy", said)
    calibration = fit_calibration(tmp_path / "maps", data)
    before, after, inlier = [], [], []
    for frame in data:
        truth, said = frame.disparity(), read_disparity(tmp_path / "maps" / f"{frame.frame_id}.npy")
        known = truth > 0
        before.append(np.abs(said - truth)[known])
        after.append(np.abs(calibration.of(said) - truth)[known])
        inlier.append((calibration.of(bias(truth)) - truth)[truth > 4])
    assert np.concatenate(after).mean() < 0.9 * np.concatenate(before).mean()
    assert np.abs(np.concatenate(inlier)).mean() < 0.1
    for frame in data:
        write_disparity(tmp_path / "zeros" / f"{frame.frame_id}.npy", np.zeros_like(frame.disparity()))
    with pytest.raises(FormatError, match="no pixel that has a true disparity"):
        fit_calibration(tmp_path / "zeros", data)
