"""The case study end to end on a few frames with a few steps: stages, tables, report; kills and changes of settings."""

import dataclasses
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pseudolidar.detectors.boxes2d import Detector2dTraining
from pseudolidar.detectors.frustum_pointnet import FrustumTraining
from pseudolidar.detectors.pointrcnn import PointRCNNTraining
from pseudolidar.kitti import FormatError
from pseudolidar.pipeline import Models
from pseudolidar.stereo import StereoTraining
from pseudolidar.study import (
    ArtifactStore,
    CaseStudy,
    CaseStudySettings,
    DetectionsFile,
    FolderData,
    SemiGlobalMatchingRow,
    TownData,
    parents_first,
)
from pseudolidar.study.paper import AP, AP_NEAR_ONLY, DISPARITY_MAE_PX

REPOSITORY = Path(__file__).parents[2]

# The smallest networks and the fewest steps that go through every line.
NETWORK = "width: 8, max_disparity: 32, pool_sizes: [8, 4], blocks: [1, 1, 1, 1], crop: [64, 64]"
NETWORK += ", precision: float32, checkpoint_every: 2"
FRUSTUM = "{steps: 5, batch_size: 4, points: 64, object_points: 32, precision: float32, checkpoint_every: 2}"
POINTRCNN = "{rpn_steps: 3, rcnn_steps: 3, points: 256, rpn_batch_size: 2, rcnn_batch_size: 2, score_threshold: 0.0"
POINTRCNN += ", precision: float32, checkpoint_every: 2, backbone: {centres: [64, 32, 16]}, region: {points: 32}}"
TINY = f"""
# @package _global_
defaults:
  - override /boxes2d@study.boxes2d: detector

study:
  name: tiny
  data: {{train: 4, val: 3}}
  pretraining: {{steps: 5, {NETWORK}}}
  depth_mae: {{steps: 3, {NETWORK}}}
  disparity_mae: {{steps: 3, {NETWORK}}}
  semi_global_matching: {{max_disparity: 32, detectors: true}}
  pointrcnn:
    Car: {POINTRCNN}
    Pedestrian: {POINTRCNN}
  frustum_pointnet:
    Car: {FRUSTUM}
    Pedestrian: {FRUSTUM}
  boxes2d: {{steps: 3, image_height: 128, crop: [64, 64], batch_size: 2, precision: float32, checkpoint_every: 2}}
"""


@pytest.fixture(scope="module")
def configs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to search for configurations, with `experiment=tiny` in it."""
    folder = tmp_path_factory.mktemp("configs")
    (folder / "experiment").mkdir()
    (folder / "experiment" / "tiny.yaml").write_text(TINY.lstrip())
    return folder


def command(configs: Path, output: Path) -> list[str]:
    script = str(REPOSITORY / "scripts" / "study.py")
    search = f"hydra.searchpath=[file://{configs}]"
    return [sys.executable, script, "experiment=tiny", search, f"output={output}"]


@pytest.fixture(scope="module")
def finished(configs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The output of an undisturbed run of the script, and what it printed."""
    output = tmp_path_factory.mktemp("study") / "tiny"
    run = subprocess.run(command(configs, output), capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return output, run.stdout


def test_the_script_prints_the_three_tables_beside_the_papers_figures(finished: tuple[Path, str]) -> None:
    _, printed = finished
    assert re.findall(r"^Table (\d)\.", printed, re.MULTILINE) == ["2", "1", "3"]
    for cells in [*AP.values(), *AP_NEAR_ONLY.values()]:
        for value in cells.values():
            assert f"{value:.2f}" in printed
    assert all(f"{value:.3f}" in printed for values in DISPARITY_MAE_PX.values() for value in values)


def test_semi_global_matching_is_a_row_of_every_table(finished: tuple[Path, str]) -> None:
    output, printed = finished
    tables = re.split(r"^(?=Table \d\.|Depth MAE and D1)", printed, flags=re.MULTILINE)[1:]
    rows = [[line.split() for line in table.splitlines() if re.search(r"\bSGM\b", line)] for table in tables]
    # Three regions; depth and D1; AP3D and APBEV of two tables. Notes name it too.
    in_body = [[cells for cells in found if cells[0] != "SGM:"] for found in rows]
    assert [len(found) for found in in_body] == [3, 1, 2, 2]
    errors = json.loads((output / "results.json").read_text())["disparity"]["SGM"]["all"]
    assert f"{errors['0-max']['disparity_mae_px']:.3f}" in in_body[0][0]
    assert f"{errors['0-max']['depth_mae_m']:.2f}" in in_body[1][0]
    assert f"{errors['0-max']['d1_percent']:.2f}" in in_body[1][0]
    assert "Semi-global matching, which is not trained, has" in (output / "report.html").read_text()


def test_the_report_is_one_file_with_all_tables_and_pictures(finished: tuple[Path, str]) -> None:
    html = (finished[0] / "report.html").read_text()
    assert html.count("<table") == 4
    assert html.count("<figure") >= 12, (
        "errors by range, three disparity maps, three clouds for each kind of detector, two of precision and recall"
    )
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", html)
    assert "steps: 5" in html, "the configuration"


def test_results_hold_every_number(finished: tuple[Path, str]) -> None:
    results = json.loads((finished[0] / "results.json").read_text())
    assert set(results["disparity"]) == {"u", "u'", "SGM"}
    errors = results["disparity"]["u"]["all"]["0-max"]
    assert errors["pixels"] > 50_000
    assert math.isfinite(errors["disparity_mae_px"])
    assert len(results["average_precision"]) == 24
    for detector in results["average_precision"].values():
        for overlap in ("official", "loose"):
            for views in detector[overlap].values():
                assert all(len(views[view]["AP40"]) == 4 for view in ("bbox", "bev", "3d"))


def test_killed_at_random_moments_it_ends_with_the_same_result(configs: Path, finished: tuple[Path, str]) -> None:
    output = finished[0].parent / "killed"
    # Late enough for the imports to be done, each in another stage.
    for seconds in (9.0, 13.0):
        process = subprocess.Popen(command(configs, output), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(seconds)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    run = subprocess.run(command(configs, output), capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert (output / "results.json").read_bytes() == (finished[0] / "results.json").read_bytes()
    for checkpoint in sorted((finished[0] / "artifacts").glob("*/model.pt")):
        again = output / checkpoint.relative_to(finished[0])
        assert again.read_bytes() == checkpoint.read_bytes(), checkpoint.parent.name


def settings(
    pedestrian_steps: int = 5,
    depth_steps: int = 3,
    seed: int = 0,
    matching: SemiGlobalMatchingRow | None = None,
    boxes2d: DetectionsFile | Detector2dTraining | None = None,
) -> CaseStudySettings:
    stereo = StereoTraining("disparity", 5, 1, (64, 64))
    detector = FrustumTraining(5)
    return CaseStudySettings(
        "tiny",
        TownData("mini", 4, 3),
        stereo,
        dataclasses.replace(stereo, loss="depth", steps=depth_steps),
        stereo,
        matching,
        {"Car": PointRCNNTraining(1, 1)},
        {"Car": detector, "Pedestrian": dataclasses.replace(detector, steps=pedestrian_steps)},
        1.0,
        20.0,
        seed,
        boxes2d,
    )


def changed(before: CaseStudySettings, after: CaseStudySettings, tmp_path: Path) -> set[str]:
    """Names of the stages of `after` that `before` doesn't have."""
    store = ArtifactStore(tmp_path)
    kept = {stage.fingerprint for stage in parents_first(CaseStudy(before, store).stages())}
    return {s.name for s in parents_first(CaseStudy(after, store).stages()) if s.fingerprint not in kept}


def test_a_change_of_one_detector_changes_that_detector_alone(tmp_path: Path) -> None:
    names = changed(settings(), settings(pedestrian_steps=6), tmp_path)
    assert len(names) == 12
    assert all(name.startswith(("frustum-pedestrian", "detections-frustum-pedestrian")) for name in names)


def test_a_change_of_u_changes_all_behind_it_and_nothing_beside_it(tmp_path: Path) -> None:
    names = changed(settings(), settings(depth_steps=4), tmp_path)
    assert all(name.endswith("u-depth-mae") for name in names)
    assert names >= {"stereo-u-depth-mae", "disparity-u-depth-mae", "cloud-near-u-depth-mae", "frustum-car-u-depth-mae"}


def test_semi_global_matching_changes_nothing_but_what_it_adds(tmp_path: Path) -> None:
    errors_alone = settings(matching=SemiGlobalMatchingRow(32, detectors=False))
    name = "semi-global-matching"
    assert changed(settings(), errors_alone, tmp_path) == {f"disparity-{name}", f"error-{name}"}
    assert changed(errors_alone, settings(), tmp_path) == set()
    with_detectors = changed(settings(), settings(matching=SemiGlobalMatchingRow(32, detectors=True)), tmp_path)
    assert all(stage.endswith(name) for stage in with_detectors)
    assert with_detectors >= {f"cloud-near-{name}", f"detections-frustum-pedestrian-near-{name}", f"frustum-car-{name}"}
    wider = changed(errors_alone, settings(matching=SemiGlobalMatchingRow(48, detectors=False)), tmp_path)
    assert wider == {f"disparity-{name}", f"error-{name}"}


def test_another_source_of_2d_boxes_changes_what_starts_from_them(tmp_path: Path) -> None:
    file = tmp_path / "boxes.txt"
    file.write_text("000004.png 2 0.9 10 20 30 40\n")
    expected = {f"detections-frustum-{name}" for name in ("car", "pedestrian", "pedestrian-near")}
    for boxes2d in (DetectionsFile(file), Detector2dTraining("fcos_resnet18", 1, 128, (64, 64))):
        names = changed(settings(), settings(boxes2d=boxes2d), tmp_path) - {"boxes2d", "boxes2d-detector"}
        assert {name.rsplit("-", 2)[0].removesuffix("-u") for name in names} <= expected | {"detections-frustum-car-y"}
        assert len(names) == 9


def test_models_lie_ready_for_detection(finished: tuple[Path, str]) -> None:
    models = Models.from_folder(finished[0] / "models" / "u-depth-mae", "frustum")
    assert models.boxes2d is not None
    assert sorted(models.detectors) == ["frustum_car.pt", "frustum_pedestrian.pt"]
    assert {path.name for path in (finished[0] / "models" / "y-oracle").iterdir()} == {
        "boxes2d.pt",
        *(f"{kind}_{name}.pt" for kind in ("frustum", "pointrcnn") for name in ("car", "pedestrian")),
    }


def test_the_tables_say_where_2d_boxes_come_from(finished: tuple[Path, str]) -> None:
    notes = " ".join(finished[1].split())
    assert "P-RCNN: PointRCNN on sparse clouds." in notes
    assert "F-PTNET: Frustum PointNet v2, 2D boxes from a 2D detector (fcos_resnet18)" in notes


def test_another_seed_changes_everything(tmp_path: Path) -> None:
    every = {stage.name for stage in parents_first(CaseStudy(settings(), ArtifactStore(tmp_path)).stages())}
    assert changed(settings(), settings(seed=1), tmp_path) == every


def test_a_folder_of_ones_own_is_studied_in_place(finished: tuple[Path, str], tmp_path: Path) -> None:
    town = next((finished[0] / "artifacts").glob("town-mini-*"))
    study = CaseStudy(dataclasses.replace(settings(), data=FolderData(town)), ArtifactStore(tmp_path))
    assert len(study.frames("val")) == 3
    assert study.data_root == town
    with pytest.raises(FormatError, match="KITTI's object layout"):
        CaseStudy(dataclasses.replace(settings(), data=FolderData(tmp_path / "empty")), ArtifactStore(tmp_path))


def test_a_mistake_ends_in_one_line(configs: Path, tmp_path: Path) -> None:
    wrong = [*command(configs, tmp_path / "out"), "study.data.preset=huge"]
    run = subprocess.run(wrong, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "huge" in run.stderr
    assert "mini" in run.stderr
    assert "Traceback" not in run.stderr
