"""Joint training: intervals and verdicts, either kind of measurements, the report, the script."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from pseudolidar.ensembles import DiversityDecomposition, SquaredErrorTally, bias_share
from pseudolidar.ensembles.joint_training import (
    Design,
    draw_experiment,
    joint_training_data,
    joint_training_report,
    run_experiments,
)
from pseudolidar.ensembles.joint_training.comparison import QUANTITIES, change, collusion_verdict, mean
from pseudolidar.ensembles.joint_training.digits import train_digits
from pseudolidar.ensembles.joint_training.experiments import (
    Experiment,
    Measurement,
    ObjectiveLosses,
    Snapshot,
    Training,
    measurement_of,
    read_training,
    write_training,
)
from pseudolidar.ensembles.joint_training.report import loss_table
from pseudolidar.files import FormatError
from pseudolidar.kitti import read_image
from pseudolidar.systems import ArtifactStore, Stage
from pseudolidar.viewing import tables_of
from pseudolidar.viewing.report import render_report
from tests.ensembles.test_joint_training_digits import SMALL
from tests.forked import start_script


@dataclass(frozen=True)
class WriteTallies:
    """Leaves measurements of squared errors, as an ensemble of disparity models does."""

    beta: float
    seed: int
    version: ClassVar[int] = 1

    def settings(self) -> Mapping[str, Any]:
        return {"beta": self.beta, "seed": self.seed}

    def run(self, folder: Path, parents: Mapping[str, Path]) -> None:
        random = torch.Generator().manual_seed(self.seed)
        snapshots = []
        for step in (100, 200):
            measured = []
            for _ in ("train", "test"):
                target = torch.randn(50, generator=random)
                tally = SquaredErrorTally(4)
                tally.add(target + (1 + self.beta) * torch.randn(4, 50, generator=random), target)
                measured.append(measurement_of(tally, ObjectiveLosses(2.0 + self.beta, 1.5)))
            snapshots.append(Snapshot(step, *measured))
        write_training(folder, Training("smooth L1", tuple(snapshots)))


def tallies_design(betas: tuple[float, ...] = (0.0, 1.0), seeds: int = 3) -> Design:
    stages = {
        (beta, seed): Stage(f"tallies-{beta}-{seed}", WriteTallies(beta, seed))
        for beta in betas
        for seed in range(seeds)
    }
    return Design("tallies", "Tallies", "Noise.", "squared error", "px²", "steps", stages)


def measurement(individual: float, diversity: float) -> Measurement:
    return Measurement(DiversityDecomposition(individual, diversity, individual - diversity), 0.5, (individual, 0.0))


def experiment_of(changes: Mapping[str, float], seeds: int = 5, noise: float = 0.01) -> Experiment:
    """Beta 1 changes the training diversity, the test diversity and the test individual loss by so much."""
    random = np.random.default_rng(0)
    trainings = {}
    for seed in range(seeds):
        for beta in (0.0, 1.0):
            moved = {name: beta * value + noise * random.normal() for name, value in changes.items()}
            train = measurement(1.0 + moved["train"], 0.5 + moved["train"])
            test = measurement(2.0 + moved["test_individual"], 0.5 + moved["test"])
            trainings[beta, seed] = Training("cross-entropy", (Snapshot(1, train, test),))
    return Experiment(tallies_design(seeds=seeds), trainings)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        # Diversity that is there on training data alone, and costs the test loss what it hides.
        ({"train": 0.3, "test": 0.1, "test_individual": 0.3}, "seen"),
        # As much diversity on test data: nothing is wrong with it.
        ({"train": 0.3, "test": 0.3, "test_individual": 0.3}, "undecided"),
        ({"train": 0.3, "test": 0.5, "test_individual": 0.5}, "not seen"),
        ({"train": -0.3, "test": -0.3, "test_individual": 0.0}, "not seen"),
        ({"train": 0.0, "test": 0.0, "test_individual": 0.0}, "undecided"),
    ],
)
def test_the_verdict_follows_the_intervals(changes: dict[str, float], word: str) -> None:
    found = collusion_verdict(experiment_of(changes))
    assert found.collusion == word
    assert found.headline.startswith(f"Tallies: learner collusion is {word}, ")


def test_sentences_say_which_way_things_went() -> None:
    worse = collusion_verdict(experiment_of({"train": 0.3, "test": 0.1, "test_individual": 0.3}))
    assert "the diversity on training data grows (+0.2" in worse.reasons
    assert "makes a worse ensemble: its test loss is 1.7" in worse.headline
    better = collusion_verdict(experiment_of({"train": -0.3, "test": 0.1, "test_individual": -0.3}))
    assert "the diversity on training data shrinks (−0.3" in better.reasons
    assert "makes a better ensemble: its test loss is 1.1" in better.headline
    same = collusion_verdict(experiment_of({"train": 0.0, "test": 0.0, "test_individual": 0.0}))
    assert "the diversity on training data is not shown to change" in same.reasons


def test_a_small_change_beside_a_large_one_is_written_out() -> None:
    table = loss_table(experiment_of({"train": 0.0, "test": 0.3, "test_individual": 0.3004}, noise=1e-6))
    assert [table.text(cell)[:7] for cell in table.rows[0].cells[1:3]] == ["+0.3004", "+0.0004"]


def test_one_seed_decides_nothing() -> None:
    found = collusion_verdict(experiment_of({"train": 0.3, "test": 0.1, "test_individual": 0.3}, seeds=1))
    assert found.collusion == "undecided"
    assert "One seed" in found.reasons


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=2, max_size=6))
@settings(deadline=None, max_examples=25)
def test_a_change_is_the_paired_t_interval(losses: list[tuple[float, float]]) -> None:
    trainings = {
        (beta, seed): Training("", (Snapshot(1, measurement(0, 0), measurement(pair[int(beta)], 0)),))
        for seed, pair in enumerate(losses)
        for beta in (0.0, 1.0)
    }
    found = change(Experiment(tallies_design(), trainings), 1.0, QUANTITIES["test_ensemble"])
    before, after = np.array(losses).T
    assert found.value == pytest.approx((after - before).mean(), abs=1e-12)
    if np.ptp(after - before) > 1e-6:
        wanted = ttest_rel(after, before).confidence_interval(0.95)
        ends = wanted.low, wanted.high
        assert (found.interval.low, found.interval.high) == pytest.approx(ends, rel=1e-6, abs=1e-9)


def test_the_loss_gap_is_that_of_the_members_and_that_of_diversity() -> None:
    training = train_digits(SMALL, 0.5, 0)
    end = training.end
    of_members = end.test.decomposition.individual - end.train.decomposition.individual
    assert QUANTITIES["loss_gap"](training) == pytest.approx(of_members + QUANTITIES["diversity_gap"](training))


@pytest.mark.parametrize("betas", [(0.0,), (0.5, 1.0)])
def test_betas_without_something_to_compare(betas: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"betas: found .*, expected 0 and others"):
        replace(SMALL, betas=betas).design()


def test_a_design_with_a_hole() -> None:
    stages = dict(tallies_design().stages)
    del stages[1.0, 2]
    with pytest.raises(ValueError, match="stages: found 5, expected each of 2 betas with each seed"):
        replace(tallies_design(), stages=stages)


def test_two_designs_of_one_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="designs: found the names tallies, tallies, expected each once"):
        run_experiments(ArtifactStore(tmp_path), [tallies_design(), tallies_design(seeds=2)])


@pytest.mark.parametrize("objective", [None, ObjectiveLosses(2.0, 1.5)])
def test_measurements_survive_the_file(tmp_path: Path, objective: ObjectiveLosses | None) -> None:
    first, last = (train_digits(SMALL, 0.5, 0).snapshots[i] for i in (0, -1))
    last = replace(last, **{name: replace(getattr(last, name), objective=objective) for name in ("train", "test")})
    training = Training("some loss", (first, last))
    write_training(tmp_path, training)
    assert read_training(tmp_path) == training


def test_what_follows_from_a_tally() -> None:
    random = torch.Generator().manual_seed(0)
    predictions, target = torch.randn(4, 50, generator=random), torch.randn(50, generator=random)
    tally = SquaredErrorTally(4)
    tally.add(predictions, target)
    found = measurement_of(tally)
    assert found.decomposition.ensemble == pytest.approx(float((predictions.mean(0) - target).square().mean()))
    assert found.bias_share == pytest.approx(bias_share(predictions), rel=1e-6)
    assert found.codependence[0] == pytest.approx(found.decomposition.individual)
    assert found.objective is None


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("{", "file"),
        ("[]", "file"),
        ('{"loss": "", "steps": []}', "steps"),
        ('{"loss": "", "steps": [{"step": 1, "train": {}}]}', "entry 1 of steps"),
        (
            '{"loss": "", "steps": [{"step": 1, "train": {"individual": 1, "diversity": 0, "ensemble": 1}}]}',
            "entry 1 of steps",
        ),
    ],
)
def test_a_file_of_something_else(tmp_path: Path, text: str, place: str) -> None:
    with pytest.raises(FormatError, match="measurements"):
        read_training(tmp_path)
    (tmp_path / "measurements.json").write_text(text)
    with pytest.raises(FormatError, match=rf"measurements\.json.*{place}"):
        read_training(tmp_path)


def test_digits_and_tallies_in_one_report(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    designs = [replace(SMALL, loss="squared error").design(), tallies_design()]
    experiments = run_experiments(store, designs)
    assert all(store.is_finished(stage) for design in designs for stage in design.stages.values())
    figures = {experiment.design.name: draw_experiment(experiment) for experiment in experiments}
    report = joint_training_report(experiments, figures, "seeds: 2")
    page = render_report(report)
    assert page.count("<svg") == 6
    assert report.lead == " ".join(collusion_verdict(experiment).headline for experiment in experiments)
    captions = [table.caption for table in tables_of(report)]
    # Only tallies come with another loss that was trained on.
    assert [caption.split(":")[0] for caption in captions if "smooth L1" in caption] == ["Tallies"]
    data = json.loads(json.dumps(joint_training_data(experiments), allow_nan=False))
    wanted = mean(experiments[1], 1.0, QUANTITIES["test_diversity"]).value
    assert data["tallies"]["betas"]["1"]["mean"]["test_diversity"]["value"] == pytest.approx(wanted)
    assert data["tallies"]["betas"]["1"]["objective"]["train_individual"]["value"] == 3.0
    assert data["digits-squared-error"]["betas"]["0"]["objective"]["train_individual"]["value"] is None


def test_shares_that_are_no_number_are_left_out_of_the_data() -> None:
    alike = Snapshot(
        1, *(Measurement(DiversityDecomposition(1.0, 0.0, 1.0), float("nan"), (1.0, 1.0)) for _ in range(2))
    )
    trainings = {key: Training("", (alike,)) for key in tallies_design().stages}
    data = joint_training_data([Experiment(tallies_design(), trainings)])
    stored = json.loads(json.dumps(data, allow_nan=False))["tallies"]
    assert stored["trainings"][0]["snapshots"][0]["train"]["bias_share"] is None
    assert stored["betas"]["0"]["mean"]["train_bias_share"]["value"] is None


def test_the_script_leaves_tables_figures_a_report_and_numbers(tmp_path: Path) -> None:
    output = tmp_path / "output"
    arguments = [
        f"output={output}",
        "digits.betas=[0, 1]",
        "digits_squared_error=null",
        "workers=1",
        *(f"digits.{name}={getattr(SMALL, name)}" for name in ("seeds", "members", "hidden", "epochs", "every")),
    ]
    process = start_script("joint_training.py", arguments, tmp_path / "printed.txt", tmp_path / "errors.txt")
    process.join(120)
    assert process.exitcode == 0, (tmp_path / "errors.txt").read_text()
    data = json.loads((output / "results.json").read_text())["digits-cross-entropy"]
    printed, page = (tmp_path / "printed.txt").read_text(), (output / "report.html").read_text()
    assert set(data["betas"]) == {"0", "1"}
    assert len(data["trainings"]) == 4
    assert data["headline"] in printed
    assert f"learner collusion is {data['verdict']}" in page
    assert f"{data['betas']['1']['mean']['test_ensemble']['value']:.2f}" in page
    for name in ("diversity", "losses", "codependence"):
        figure = read_image(output / f"digits-cross-entropy-{name}.png")
        assert figure.shape[1] > 1800
        assert figure[::8, ::8].std() > 10
