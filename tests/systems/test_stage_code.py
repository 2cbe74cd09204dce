"""A version that is not raised is noticed: the code that every stage stands on is what it was, or was looked at."""

import ast
import json

import pytest

from pseudolidar.case_study.disparity import TrainedDisparity
from tests.systems import stage_code
from tests.systems.stage_code import LISTING, complaints, listing, module_digest, stage_classes


def test_no_code_changed_under_a_version_that_did_not() -> None:
    assert not complaints(), "\n".join(complaints()) + "\n(python tests/systems/stage_code.py [unchanged])"
    assert json.loads(LISTING.read_text()) == listing(), "write it anew: python tests/systems/stage_code.py"


def test_every_kind_of_stage_is_there_with_the_code_that_it_stands_on() -> None:
    classes = {one.name.rpartition(".")[2]: one for one in stage_classes()}
    assert {"TrainedDisparity", "TrainedDetector", "PointCloudGenerator", "TownTask", "TrainEnsemble"} <= set(classes)
    detector = classes["TrainedDetector"]
    assert detector.versions["_POINTRCNN_VERSION"] > 0
    for module in ("detectors.pointrcnn.model", "ops.point_sets", "training.loop", "kitti.calibration"):
        assert f"pseudolidar.{module}" in detector.modules
    for one in classes.values():
        assert not any(".viewing" in module or module.endswith(".tables") for module in one.modules)
        assert one.versions


@pytest.mark.parametrize(
    ("changed", "differs"),
    [
        ('def f(x):\n    """Another text."""\n    # Another comment.\n    return x + 1\n', False),
        ("def f(x):\n    return (x +\n            1)\n", False),
        ("def f(x):\n    return x + 2\n", True),
        ("def f(x, y=None):\n    return x + 1\n", True),
    ],
)
def test_a_digest_sees_code_and_no_words(monkeypatch: pytest.MonkeyPatch, changed: str, differs: bool) -> None:
    trees = {"before": ast.parse('def f(x):\n    """A text."""\n    return x + 1\n'), "after": ast.parse(changed)}
    monkeypatch.setattr(stage_code, "_tree", trees.__getitem__)
    assert (module_digest("before") != module_digest("after")) == differs


def test_changed_code_is_complained_of_until_the_version_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "pseudolidar.stereo.psmnet"
    real = stage_code.module_digest
    monkeypatch.setattr(stage_code, "module_digest", lambda module: "another" if module == name else real(module))
    lines = complaints()
    assert any("raise the version of pseudolidar.case_study.disparity.TrainedDisparity, or say" in line
               and name in line for line in lines)  # fmt: skip
    monkeypatch.setattr(TrainedDisparity, "versions", {**TrainedDisparity.versions, "train": 10_000})
    assert not any("TrainedDisparity," in line for line in complaints())
