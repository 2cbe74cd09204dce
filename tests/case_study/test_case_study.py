"""The case study end to end on a few frames with a few steps: stages, tables, report; kills and changes of settings."""

import dataclasses
import json
import math
import os
import re
import subprocess
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest
from rich.cells import cell_len

from pseudolidar.case_study import (
    CaseStudy,
    CaseStudySettings,
    DetectionsFile,
    DiagnosisChoice,
    FolderData,
    MatchingDisparity,
    Reference,
    what_decides,
)
from pseudolidar.case_study.paper import AP, AP_NEAR_ONLY, DISPARITY_MAE_PX
from pseudolidar.detectors.boxes2d import Detector2dTraining
from pseudolidar.detectors.frustum_pointnet import FrustumTraining
from pseudolidar.files import FormatError, InputError
from pseudolidar.kitti import ObjectDataset
from pseudolidar.pipeline import Models
from pseudolidar.stereo import StereoTraining
from pseudolidar.synthetic import TownData
from pseudolidar.systems import ArtifactStore, UpdateVerdict, look_confidence, make_stages, parents_first
from tests.case_study.bare_study import bare_study
from tests.conftest import RunHere, settings_of
from tests.forked import SCRIPTS, start_script
from tests.systems.test_verdicts import told

# The smallest networks and the fewest steps that go through every line.
NETWORK = "width: 8, max_disparity: 32, pool_sizes: [8, 4], blocks: [1, 1, 1, 1], crop: [64, 64]"
NETWORK += ", precision: float32, checkpoint_every: 2"
FRUSTUM = "{steps: 5, batch_size: 4, points: 64, object_points: 32, precision: float32, checkpoint_every: 2}"
POINTRCNN = "{rpn_steps: 3, rcnn_steps: 3, points: 256, rpn_batch_size: 2, rcnn_batch_size: 2, score_threshold: 0.0"
POINTRCNN += ", precision: float32, checkpoint_every: 2, backbone: {centres: [64, 32, 16]}, rcnn: {points: 32}}"
TINY = f"""
# @package _global_
defaults:
  - override /stereo@study.pretraining: demo/weights
  - override /stereo@study.u: demo/u
  - override /stereo@study.u_prime: demo/u_prime
  - override /boxes2d@study.boxes2d: detector

study:
  name: tiny
  data: {{train: 4, val: 5}}
  pretraining: {{steps: 5, {NETWORK}}}
  u: {{steps: 3, {NETWORK}}}
  u_prime: {{steps: 3, {NETWORK}}}
  references: {{SGM: {{model: {{max_disparity: 32}}, detectors: true}}}}
  pointrcnn:
    Car: {POINTRCNN}
    Pedestrian: {POINTRCNN}
  frustum_pointnet:
    Car: {FRUSTUM}
    Pedestrian: {FRUSTUM}
  diagnosis: {{kinds: [F-PTNET], data_fractions: [0.5], widths: [2]}}
  boxes2d: {{steps: 3, image_height: 128, crop: [64, 64], batch_size: 2, precision: float32, checkpoint_every: 2}}
"""


@pytest.fixture(scope="module")
def configs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to search for configurations, with `experiment=tiny` in it."""
    folder = tmp_path_factory.mktemp("configs")
    (folder / "experiment").mkdir()
    (folder / "experiment" / "tiny.yaml").write_text(TINY.lstrip())
    return folder


def arguments(configs: Path, *more: str) -> list[str]:
    return ["experiment=tiny", f"hydra.searchpath=[file://{configs}]", *more]


def start(configs: Path, log: Path, *more: str) -> BaseProcess:
    return start_script("study.py", arguments(configs, *more), printed=log, errors=log)


@pytest.fixture(scope="module")
def finished(configs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The output of an undisturbed run of the script, in one process, and what it printed."""
    output = tmp_path_factory.mktemp("study") / "tiny"
    # Of an earlier study in the same place: it finds what none of today's models does.
    (output / "models" / "u").mkdir(parents=True)
    (output / "models" / "u" / "pointrcnn_cyclist.pt").touch()
    settings = arguments(configs, f"output={output}", "workers=1", "tables=all")
    command = [sys.executable, str(SCRIPTS / "study.py"), *settings]
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert run.returncode == 0, run.stderr
    return output, run.stdout


def body(printed: str, caption: str) -> list[list[str]]:
    """The words of each line of a printed table."""
    start = printed.index(caption)
    return [line.split() for line in printed[start : printed.index("\n\n", start)].splitlines()]


def test_the_script_prints_the_verdict_then_the_three_tables(finished: tuple[Path, str]) -> None:
    _, printed = finished
    assert re.findall(r"^(Verdict|Table \d)\.", printed, re.MULTILINE) == ["Verdict", "Table 2", "Table 1", "Table 3"]
    for cells in [*AP.values(), *AP_NEAR_ONLY.values()]:
        for value in cells.values():
            assert f"{value:.1f}" in printed
    assert all(f"{value:.2f}" in printed for values in DISPARITY_MAE_PX.values() for value in values)


@pytest.mark.parametrize("columns", [60, None])
def test_what_it_prints_at_its_end_is_short_and_narrow(
    finished: tuple[Path, str], configs: Path, columns: int | None, run_here: RunHere, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, whole = finished
    if columns is None:
        said = whole[whole.rindex("Not found to be self-defeating.") :]
    else:
        monkeypatch.setenv("COLUMNS", str(columns))
        said = run_here("study", *arguments(configs, f"output={output}", "workers=1")).out
    *lines, models, report, decides = said.splitlines()
    assert (models, report) == (f"models: {output / 'models'}", f"report: {output / 'report.html'}")
    assert re.fullmatch(r"To decide: pseudolidar study .* seeds=3 \(about \d+ minutes more\)\.", decides)
    assert lines[0].startswith("Not found to be self-defeating.") and len(lines) < 35
    assert 50 < max(map(cell_len, lines)) <= (columns or 100)
    words, printed = ("\n".join([*lines, models, report])).split(), whole.partition("To decide: ")[0]
    assert printed.split()[-len(words) :] == words and len(printed) > 3 * len(said), "tables=all prints more before it"
    rows = [re.split(r"\s{2,}", line)[:3] for line in lines]
    verdict = json.loads((output / "results.json").read_text())["verdict"]
    assert ["0-max", *(f"{verdict['own'][when]:.2f}" for when in ("before", "after"))] in rows
    for name, change in verdict["descendants"].items():
        cells = ("–" if change[when] is None else f"{100 - change[when]:.1f}" for when in ("before", "after"))
        assert [name.removesuffix(" only"), *cells] in rows


def test_one_seed_decides_nothing_and_the_report_says_so(finished: tuple[Path, str]) -> None:
    output, printed = finished
    words = [line[-1] for line in body(printed, "Verdict.") if line[-1] in ("improved", "worse", "undecided")]
    assert words == ["undecided"] * 7, "u and six detectors"
    html = (output / "report.html").read_text()
    assert "One training seed decides nothing" in html
    assert html.index("Verdict.") < html.index("Table 2.")


def test_the_diagnosis_has_every_term_of_a_detector_that_was_trained_more_often(finished: tuple[Path, str]) -> None:
    lines = body(finished[1], "Which term of the error grew")
    table = [" ".join(line) for line in lines]
    start = next(number for number, line in enumerate(table) if line.startswith("Pedestrian, F-PTNET"))
    terms = ["upstream", "downstream", "estimation", "approximation", "upstream, in all"]
    for term, line in zip(terms, table[start:], strict=False):
        assert term in line
        assert line.endswith(("open", "undecided")), "one seed decides nothing"


def test_semi_global_matching_is_a_row_of_every_table(finished: tuple[Path, str]) -> None:
    output, printed = finished
    rows = {
        caption: [line for line in body(printed, caption) if "SGM" in line[:6]]
        for caption in ("Table 2.", "Depth MAE and D1", "Table 1.", "Table 3.")
    }
    # Three regions; depth and D1; four detectors; two of them near only.
    assert [len(found) for found in rows.values()] == [3, 1, 4, 2]
    errors = json.loads((output / "results.json").read_text())["disparity"]["SGM"]["0"]["all"]
    assert f"{errors['0-max']['disparity_mae_px']:.2f}" in rows["Table 2."][0]
    assert f"{errors['0-max']['depth_mae_m']:.2f}" in rows["Depth MAE and D1"][0]
    assert f"{errors['0-max']['d1_percent']:.2f}" in rows["Depth MAE and D1"][0]


def test_the_report_is_one_file_with_all_tables_and_pictures(finished: tuple[Path, str]) -> None:
    html = (finished[0] / "report.html").read_text()
    assert html.count("<table") == 8, "verdict, power, Table 2, depth error, Tables 1 and 3, diagnosis, flips"
    assert html.count("<figure") >= 13, (
        "errors by range, by depth, recall, three disparity maps, three clouds for each kind of detector, two curves"
    )
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", html)
    assert "steps: 5" in html, "the configuration"
    scenes = [json.loads(text) for text in re.findall(r'<script type="application/json">(.*?)</script>', html)]
    assert len(scenes) == 3
    for scene in scenes:
        assert set(scene["clouds"]) == {"u", "u'", "SGM", "y"}
        assert {boxes["detector"] for boxes in scene["boxes"]} == {None, "P-RCNN", "F-PTNET"}


def test_results_hold_every_number(finished: tuple[Path, str]) -> None:
    results = json.loads((finished[0] / "results.json").read_text())
    assert set(results["disparity"]) == {"u", "u'", "SGM"}
    errors = results["disparity"]["u"]["0"]["all"]["0-max"]
    assert errors["pixels"] > 50_000
    assert math.isfinite(errors["disparity_mae_px"])
    assert len(results["average_precision"]) == 6 + 4
    for name, detector in results["average_precision"].items():
        of_diagnosis = "fraction" in name or "width" in name
        assert set(detector) == ({"u", "u'"} if of_diagnosis else {"u", "u'", "SGM", "y"})
        for by_seed in detector.values():
            for overlap in ("official", "loose"):
                for views in by_seed["0"][overlap].values():
                    assert all(len(views[view]["AP40"]) == 4 for view in ("bbox", "bev", "3d"))
    assert results["verdict"]["self_defeating"] is False
    assert len(results["verdict"]["descendants"]) == 6
    assert results["failed"] == {}


def test_killed_at_random_moments_it_ends_with_the_same_result(
    configs: Path, finished: tuple[Path, str], tmp_path: Path
) -> None:
    whole, output = finished[0] / "artifacts", tmp_path / "killed"
    # Of its work, in files: from the town's first frames on, each time in other stages.
    moments = len(files(whole)) * np.sort(np.random.default_rng(0).uniform(0.01, 0.99, 4))
    for number, moment in enumerate(moments):
        # One of them in processes of their own, which take long to start.
        process = start(configs, tmp_path / "log.txt", f"output={output}", f"workers={2 if number == 3 else 1}")
        while process.is_alive() and len(files(output / "artifacts")) < moment:
            time.sleep(0.02)
        assert process.is_alive(), (tmp_path / "log.txt").read_text()
        process.kill()
        process.join()
    process = start(configs, tmp_path / "log.txt", f"output={output}", "workers=1")
    process.join()
    assert process.exitcode == 0, (tmp_path / "log.txt").read_text()
    assert (output / "results.json").read_bytes() == (finished[0] / "results.json").read_bytes()
    checkpoints = sorted(whole.glob("*/model.pt"))
    assert len(checkpoints) == 36, (
        "weights, 2D detector, u, u', six detectors on four sources, diagnosis: four on u and u'"
    )
    for checkpoint in checkpoints:
        again = output / checkpoint.relative_to(finished[0])
        assert again.read_bytes() == checkpoint.read_bytes(), checkpoint.parent.name


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def settings(
    pedestrian_steps: int = 5,
    depth_steps: int = 3,
    seed: int = 0,
    matching: Reference | None = None,
    boxes2d: DetectionsFile | Detector2dTraining | None = None,
    seeds: int = 1,
) -> CaseStudySettings:
    stereo: StereoTraining = settings_of("stereo/psmnet", loss="disparity", steps=5, batch_size=1, crop=(64, 64))
    detector: FrustumTraining = settings_of("detector/frustum_pointnet_v1", steps=5)
    return bare_study(
        name="tiny",
        data=TownData("mini", 4, 3),
        pretraining=stereo,
        u=dataclasses.replace(stereo, loss="depth", steps=depth_steps),
        u_prime=stereo,
        references={} if matching is None else {"SGM": matching},
        pointrcnn={"Car": settings_of("detector/pointrcnn", rpn_steps=1, rcnn_steps=1)},
        frustum_pointnet={"Car": detector, "Pedestrian": dataclasses.replace(detector, steps=pedestrian_steps)},
        seed=seed,
        seeds=seeds,
        boxes2d=boxes2d,
    )


def changed(before: CaseStudySettings, after: CaseStudySettings, tmp_path: Path) -> list[str]:
    """Names of the stages of `after` that `before` doesn't have."""
    store = ArtifactStore(tmp_path)
    kept = {stage.fingerprint for stage in parents_first(CaseStudy(before, store).wanted())}
    stages = parents_first(CaseStudy(after, store).wanted())
    return sorted(stage.name for stage in stages if stage.fingerprint not in kept)


STEPS = ("train", "predict", "test")


def test_a_change_of_one_detector_changes_that_detector_alone(tmp_path: Path) -> None:
    names = changed(settings(), settings(pedestrian_steps=6), tmp_path)
    # On u, u' and y each: trained, predicting, tested; so do the near-only ones, trained with the same settings.
    detectors = ("pedestrian-f-ptnet", "pedestrian-f-ptnet-near")
    assert names == sorted(f"{step}-{name}" for step in STEPS for name in detectors for _ in range(3))


def test_a_change_of_u_changes_all_behind_it_and_nothing_beside_it(tmp_path: Path) -> None:
    names = changed(settings(), settings(depth_steps=4), tmp_path)
    detectors = ("car-p-rcnn", "car-f-ptnet", "pedestrian-f-ptnet", "pedestrian-f-ptnet-near")
    behind = [f"{step}-{name}" for step in STEPS for name in ("u", *detectors)]
    clouds = [f"predict-cloud{kind}" for kind in ("", "-near", "-sparse")]
    assert names == sorted([*behind, *clouds]), "once each: neither u' nor y nor the weights that u starts from"


def test_what_has_no_test_loss_is_not_asked_for_one(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    study = CaseStudy(settings(), store)
    for source, vertex in (("y", "u"), ("u", "cloud"), ("u", "weights")):
        with pytest.raises(ValueError, match=f"found a vertex without one, '{vertex}'"):
            study.systems[source].test_loss(store, vertex, 0)


def test_seeds_come_one_by_one_until_all_is_decided(tmp_path: Path) -> None:
    auto = dataclasses.replace(settings(), seeds="auto", max_seeds=4)
    study = CaseStudy(auto, ArtifactStore(tmp_path))
    assert (study.seeds, study.confidence) == ((0, 1), look_confidence(2, 4))
    assert study.with_another_seed() is None, "nothing is there to be decided"
    study.verdict = UpdateVerdict(told("u", "improved"), {"v": told("v", "undecided")})
    further = study.with_another_seed()
    assert further is not None
    assert (further.seeds, further.confidence) == ((0, 1, 2), look_confidence(3, 4))
    assert {stage.fingerprint for stage in study.wanted()} < {stage.fingerprint for stage in further.wanted()}
    study.verdict = UpdateVerdict(told("u", "improved"), {"v": told("v", "worse")})
    assert study.with_another_seed() is None
    last = CaseStudy(auto, ArtifactStore(tmp_path), 4)
    last.verdict = UpdateVerdict(told("u", "undecided"), {})
    assert last.with_another_seed() is None
    assert "a study of its own" in what_decides(last, "pseudolidar study", 1)


def test_no_fewer_seeds_than_there_are_are_said_to_decide(tmp_path: Path) -> None:
    six = CaseStudy(dataclasses.replace(settings(), seeds=6, max_seeds=4), ArtifactStore(tmp_path))
    six.verdict = UpdateVerdict(told("u", "undecided"), {})
    assert "a study of its own" in what_decides(six, "pseudolidar study", 1)


def test_power_reads_a_finished_study(finished: tuple[Path, str]) -> None:
    command = [sys.executable, str(SCRIPTS / "power.py"), f"study={finished[0]}", "seed_deviation=2", "seeds=[5]"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = [re.split(r"\s{2,}", line) for line in run.stdout.splitlines()]
    own = [row for row in rows if row[0] == "the disparity model"]
    assert [row[1:3] for row in own] == [["0.05 px", "0.01"]]
    assert "State what you know: seed_deviation" in " ".join(run.stdout.split())
    missing = subprocess.run([*command[:2], "study=/nowhere"], capture_output=True, text=True, check=False)
    assert (missing.returncode, "found no /nowhere/config.yaml" in missing.stderr) == (2, True)


def test_more_seeds_leave_what_is_there(tmp_path: Path) -> None:
    names = changed(settings(), settings(seeds=2), tmp_path)
    assert "predict-weights" not in names
    assert names.count("train-u") == 2, "u and u' of the second seed"
    assert names.count("predict-cloud") == 2, "of u and u': the oracle's cloud knows no seed"
    assert names.count("train-car-f-ptnet") == 2, "on u and u': on the oracle's there is one training"


def test_semi_global_matching_changes_nothing_but_what_it_adds(tmp_path: Path) -> None:
    errors_alone = settings(matching=Reference(MatchingDisparity(32), detectors=False))
    assert changed(settings(), errors_alone, tmp_path) == ["predict-u", "test-u"]
    assert changed(errors_alone, settings(), tmp_path) == []
    with_detectors = changed(settings(), settings(matching=Reference(MatchingDisparity(32), detectors=True)), tmp_path)
    assert len(with_detectors) == len(set(with_detectors)) == 2 + 3 + 4 * 3, "matching, clouds, detectors, once each"
    wider = changed(errors_alone, settings(matching=Reference(MatchingDisparity(48), detectors=False)), tmp_path)
    assert wider == ["predict-u", "test-u"]


def test_another_source_of_2d_boxes_changes_what_starts_from_them(tmp_path: Path) -> None:
    file = tmp_path / "boxes.txt"
    file.write_text("000004.png 2 0.9 10 20 30 40\n")
    names = ("car-f-ptnet", "pedestrian-f-ptnet", "pedestrian-f-ptnet-near")
    found = changed(settings(), settings(boxes2d=DetectionsFile(file)), tmp_path)
    # A file is looked at in testing alone; on u, u' and y.
    assert found == sorted(f"{step}-{name}" for step in ("predict", "test") for name in names for _ in range(3))
    detector: Detector2dTraining = settings_of("detector2d/fcos_town", steps=1, image_height=128, crop=(64, 64))
    found = changed(settings(), settings(boxes2d=detector), tmp_path)
    # A model of the system is a parent: what stands on it is retrained when it changes (the paper, section 2).
    assert found == sorted(
        ["predict-boxes2d", *(f"{step}-{name}" for step in STEPS for name in names for _ in range(3))]
    )


def test_the_diagnosis_trains_more_of_one_kind_on_u_and_on_its_update(tmp_path: Path) -> None:
    diagnosis = DiagnosisChoice(("F-PTNET",), (0.5,), (0.5, 2.0))
    names = changed(settings(), dataclasses.replace(settings(), diagnosis=diagnosis), tmp_path)
    places = [
        f"{name}-f-ptnet-{kind}" for name in ("car", "pedestrian") for kind in ("fraction-0.5", "width-0.5", "width-2")
    ]
    assert names == sorted(f"{step}-{place}" for step in STEPS for place in places for _ in range(2))


def test_an_ensemble_in_the_place_of_the_update_changes_all_behind_it(tmp_path: Path) -> None:
    names = changed(settings(), dataclasses.replace(settings(), remedies=("ensemble",)), tmp_path)
    detectors = ("car-p-rcnn", "car-f-ptnet", "pedestrian-f-ptnet", "pedestrian-f-ptnet-near")
    behind = [f"{step}-{name}" for step in STEPS for name in ("u", *detectors)]
    assert names == sorted([*behind, *(f"predict-cloud{kind}" for kind in ("", "-near", "-sparse"))])
    with pytest.raises(InputError, match="MatchingDisparity as u'"):
        dataclasses.replace(settings(), u_prime=MatchingDisparity(32), remedies=("ensemble",))


def test_models_lie_ready_for_detection(finished: tuple[Path, str]) -> None:
    models = Models.from_folder(finished[0] / "models" / "u", "frustum")
    assert not (finished[0] / "models" / "u" / "pointrcnn_cyclist.pt").exists()
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
    every = sorted(stage.name for stage in parents_first(CaseStudy(settings(), ArtifactStore(tmp_path)).wanted()))
    assert changed(settings(), settings(seed=1), tmp_path) == every


def test_a_folder_of_ones_own_is_studied_in_place(finished: tuple[Path, str], tmp_path: Path) -> None:
    town = next((finished[0] / "artifacts").glob("town-mini-*"))
    study = CaseStudy(dataclasses.replace(settings(), data=FolderData(town)), ArtifactStore(tmp_path))
    assert len(study.frames("val")) == 5
    assert study.data_root == town
    make_stages(study.store, [study.data])
    assert ObjectDataset(study.store.folder(study.data), "val").frame_ids == study.frames("val").frame_ids
    with pytest.raises(FormatError, match="KITTI's object layout"):
        CaseStudy(dataclasses.replace(settings(), data=FolderData(tmp_path / "empty")), ArtifactStore(tmp_path))


def test_a_mistake_ends_in_one_line(configs: Path, tmp_path: Path) -> None:
    process = start(configs, tmp_path / "log.txt", f"output={tmp_path / 'out'}", "study.data.preset=huge")
    process.join()
    said = (tmp_path / "log.txt").read_text()
    assert process.exitcode == 2
    assert "huge" in said
    assert "mini" in said
    assert "Traceback" not in said
