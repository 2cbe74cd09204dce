"""Validation on the way of a training on the GPU."""

import dataclasses
from pathlib import Path

import pytest

from pseudolidar.training import best_path, load_checkpoint, read_metrics, validation_path
from tests.training.test_validation_of_models import CASES


@pytest.mark.parametrize("name", CASES)
def test_every_model_is_measured_and_trained_as_without(name: str, tmp_path: Path) -> None:
    case = dataclasses.replace(CASES[name], settings=dataclasses.replace(CASES[name].settings, device="cuda"))
    alone = case(tmp_path / "data", "alone", validates=False)
    validated = case(tmp_path / "data", "validated")
    assert read_metrics(validation_path(validated))["step"] == [2, 4, 6]
    expected, losses = (load_checkpoint(path)["losses"] for path in (alone, validated))
    # Gradients are summed in an order of their own at each run.
    assert losses == pytest.approx(expected, rel=0.1)
    assert load_checkpoint(best_path(validated))["validation"]["step"] in (2, 4, 6)
