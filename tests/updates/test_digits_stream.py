"""The stream of digits against plain arithmetic: beliefs, rules, scores, claims; the script from end to end."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from pseudolidar.kitti import read_image
from pseudolidar.updates import CostRatio, MajorityVote, MaxBelief, MaxBeliefMinEntropy, Never, Replace, Rule
from pseudolidar.updates.digits_stream import (
    DIVERSE,
    Experiment,
    Policy,
    digits_stream,
    run_experiment,
    run_policy,
    stream_figures,
)
from pseudolidar.updates.digits_stream.claims import against_replace, entropy_against_random
from pseudolidar.updates.digits_stream.classifiers import DigitsStream, likeliest_smoothing
from pseudolidar.updates.digits_stream.experiment import ARRIVAL_STEP, Run, Scores, score
from tests.forked import start_script

RULES: tuple[Rule, ...] = (
    MaxBelief(),
    MaxBeliefMinEntropy(),
    CostRatio(2),
    CostRatio(10),
    Replace(),
    MajorityVote(),
    Never(),
)


@pytest.fixture(scope="module", params=[0, 1])
def seed(request: pytest.FixtureRequest) -> int:
    return request.param


@pytest.fixture(scope="module")
def stream(seed: int) -> DigitsStream:
    return digits_stream(DIVERSE, seed)


def entropy(belief: NDArray[np.float64]) -> float:
    return float(-(belief * np.log(belief)).sum())


def label_after(
    rule: Rule, stored: int, said: int, before: NDArray[np.float64], after: NDArray[np.float64], votes: Counter[int]
) -> int:
    """The stored label of one item after its evaluation, from the rules as they are defined."""
    if isinstance(rule, Replace) or stored < 0:
        return int(after.argmax()) if stored < 0 and not isinstance(rule, Replace | Never | MajorityVote) else said
    if isinstance(rule, Never):
        return stored
    if isinstance(rule, MajorityVote):
        most = max(votes.values())
        return stored if votes[stored] == most else min(k for k, count in votes.items() if count == most)
    best = int(after.argmax())
    if isinstance(rule, CostRatio) and after[best] / after[stored] <= rule.ratio:
        return stored
    if isinstance(rule, MaxBeliefMinEntropy) and entropy(after) >= entropy(before):
        return stored
    return best


def played(stream: DigitsStream, run: Run, rule: Rule) -> NDArray[np.int16]:
    """The labels (T, N), for the items that the run evaluated, item by item."""
    steps, items = run.labels.shape
    labels = np.full((steps, items), -1, np.int16)
    for item in range(items):
        belief, stored, votes = np.full(10, 0.1), -1, Counter[int]()
        for step in range(steps):
            if run.evaluated[step, item]:
                said = int(stream.predictions[step, item])
                votes[said] += 1
                after = stream.confusions[step].values[said] * belief
                after /= after.sum()
                stored = label_after(rule, stored, said, belief, after, votes)
                belief = after
            labels[step, item] = stored
    return labels


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("growing", [False, True])
def test_labels_are_those_of_plain_arithmetic(stream: DigitsStream, seed: int, rule: Rule, growing: bool) -> None:
    run = run_policy(stream, Policy(rule, "entropy", 0.3, growing), seed)
    np.testing.assert_array_equal(run.labels, played(stream, run, rule))


def test_a_budget_goes_to_the_highest_entropies(stream: DigitsStream, seed: int) -> None:
    run = run_policy(stream, Policy(MaxBelief(), "entropy", 0.3), seed)
    belief = np.full((len(stream.truth), 10), 0.1)
    for evaluated, said, confusion in zip(run.evaluated, stream.predictions, stream.confusions, strict=True):
        entropies = -(belief * np.log(belief)).sum(axis=1)
        if not evaluated.all():
            assert evaluated.sum() == round(0.3 * len(belief))
            assert entropies[evaluated].min() >= entropies[~evaluated].max() - 1e-5
        belief[evaluated] *= confusion.values[said[evaluated]]
        belief /= belief.sum(axis=1, keepdims=True)


def test_a_spread_budget_is_used_up_and_goes_to_better_classifiers(stream: DigitsStream, seed: int) -> None:
    run = run_policy(stream, Policy(MaxBelief(), "information", 0.1, evidence="discounted", spread=True), seed)
    evaluated = run.evaluated.sum(axis=1)[1:]
    assert evaluated.sum() == 4 * round(0.1 * len(stream.truth))
    assert evaluated[-1] > evaluated[0]


def test_what_arrives_later_is_evaluated_first(stream: DigitsStream, seed: int) -> None:
    run = run_policy(stream, Policy(MaxBelief(), "entropy", 0.3, growing=True), seed)
    first = len(stream.truth) // 2
    assert run.present.tolist() == [first] * ARRIVAL_STEP + [len(stream.truth)] * (5 - ARRIVAL_STEP)
    assert (run.labels[:ARRIVAL_STEP, first:] == -1).all()
    assert not run.evaluated[ARRIVAL_STEP, :first].any()
    np.testing.assert_array_equal(run.evaluated.sum(axis=1)[1:], np.round(0.3 * run.present[1:]))


def test_random_selection_is_drawn_anew_at_each_step_and_for_each_seed(stream: DigitsStream, seed: int) -> None:
    policy = Policy(MaxBelief(), "random", 0.1)
    run, other = run_policy(stream, policy, seed), run_policy(stream, policy, seed + 7)
    for masks in (run.evaluated[1:], np.stack([run.evaluated[1], other.evaluated[1]])):
        assert len(np.unique(masks, axis=0)) == len(masks)


def test_replacing_all_follows_the_newest_classifier(stream: DigitsStream, seed: int) -> None:
    run = run_policy(stream, Policy(Replace(), "entropy", 1.0), seed)
    np.testing.assert_array_equal(run.labels, stream.predictions)
    scores = score(run, stream.truth)
    right = stream.predictions == stream.truth
    assert scores.accuracy[0] == pytest.approx(100 * right.mean(axis=1))
    assert scores.negative[0].tolist() == [0, *(right[:-1] & ~right[1:]).sum(axis=1)]
    assert scores.positive[0].tolist() == [0, *(~right[:-1] & right[1:]).sum(axis=1)]


def test_first_labels_are_no_flips_and_missing_ones_are_wrong() -> None:
    labels = np.array([[0, 1, -1, -1], [0, 2, 3, -1]], np.int16)
    run = Run(labels, labels >= 0, np.array([2, 4]))
    scores = score(run, np.array([0, 1, 3, 4], np.int16))
    assert scores.accuracy.tolist() == [[100.0, 50.0]]
    assert (scores.negative.tolist(), scores.positive.tolist()) == ([[0, 1]], [[0, 0]])
    assert scores.neutral.tolist() == [[0, 0]]
    assert scores.unlabelled.tolist() == [[0, 1]]


def test_smoothing_is_the_likeliest_by_leaving_out_one_by_one() -> None:
    rng = np.random.default_rng(3)
    for flip in (0.02, 0.5):
        labels = rng.integers(0, 10, 120)
        predicted = np.where(rng.random(120) < flip, rng.integers(0, 10, 120), labels)

        def likelihood(
            smoothing: float, said: NDArray[np.int64] = predicted, true: NDArray[np.int64] = labels
        ) -> float:
            total = 0.0
            for left_out in range(len(true)):
                kept = (np.arange(len(true)) != left_out) & (true == true[left_out])
                same = (said[kept] == said[left_out]).sum()
                total += np.log((same + smoothing) / (kept.sum() + 10 * smoothing))
            return total

        candidates = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01)
        assert likeliest_smoothing(predicted, labels) == max(candidates, key=likelihood)


def test_the_same_seed_gives_the_same_stream_and_another_does_not(stream: DigitsStream, seed: int) -> None:
    again, other = digits_stream(DIVERSE, seed), digits_stream(DIVERSE, seed + 2)
    np.testing.assert_array_equal(again.predictions, stream.predictions)
    for one, two in zip(again.confusions, stream.confusions, strict=True):
        np.testing.assert_array_equal(one.values, two.values)
    assert (other.truth != stream.truth).any()
    assert np.bincount(stream.truth).min() >= len(stream.truth) // 10 - 3
    assert (np.diff((stream.predictions == stream.truth).mean(axis=1)[1:]) > 0).all()


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return run_experiment(DIVERSE, 3, (1.0, 0.3), (2,), 0.5)


def test_an_experiment_repeats_itself_and_its_claims_are_paired_by_seed(experiment: Experiment) -> None:
    replaced = experiment.of(Replace(), "random", 0.3)
    scores = [
        score(run_policy(stream, Policy(Replace(), "random", 0.3), seed), stream.truth)
        for seed, stream in enumerate(digits_stream(DIVERSE, seed) for seed in range(3))
    ]
    np.testing.assert_array_equal(replaced.negative, np.concatenate([each.negative for each in scores]))
    claim = next(
        each for each in against_replace(experiment) if (each.selection, each.rule) == ("random", CostRatio(2))
    )
    flips = experiment.of(CostRatio(2), "random", 0.3).negative.sum(axis=1)
    expected = stats.ttest_1samp(flips - replaced.negative.sum(axis=1) / 2, 0).confidence_interval()
    bounds = 0.5 + np.array([expected.low, expected.high]) / replaced.negative.sum(axis=1).mean()
    assert (claim.flips_fraction.interval.low, claim.flips_fraction.interval.high) == pytest.approx(tuple(bounds))
    assert claim.flips_fraction.value == pytest.approx(flips.sum() / replaced.negative.sum())
    gain = next(each for each in entropy_against_random(experiment) if each.rule == Replace())
    entropies = experiment.of(Replace(), "entropy", 0.3)
    paired = stats.ttest_rel(entropies.accuracy[:, -1], replaced.accuracy[:, -1]).confidence_interval()
    found = gain.accuracy_points.interval
    assert (found.low, found.high) == pytest.approx((paired.low, paired.high))


def test_full_budgets_are_played_once_and_drawn_once(experiment: Experiment) -> None:
    assert experiment.budgets == (0.3, 1.0)
    assert Policy(MaxBelief(), "random", 1.0) not in experiment.scores
    assert [len(figure.axes) for figure in stream_figures(experiment).values()] == [4, 2]


def made_up(flips: dict[Rule, list[int]], accuracy: dict[Rule, list[float]]) -> Experiment:
    """Two seeds, one step, the full budget."""
    scores = {
        Policy(rule, "entropy", 1.0): Scores(
            np.array(accuracy[rule])[:, None], np.array(count)[:, None], *[np.zeros((2, 1), int)] * 4
        )
        for rule, count in flips.items()
    }
    nothing = np.zeros((2, 1))
    return Experiment(DIVERSE[:1], 100, 2, (1.0,), None, tuple(flips), nothing, nothing, nothing[0], nothing, scores)


@pytest.mark.parametrize(
    ("flips", "accuracy", "verdicts"),
    [
        ([5, 10], [89.5, 79.5], ("holds", "holds")),
        ([6, 11], [89.4, 79.4], ("fails", "fails")),
        ([4, 11], [90.0, 79.0], ("undecided", "undecided")),
    ],
)
def test_a_claim_is_decided_where_the_interval_lies_on_one_side(
    flips: list[int], accuracy: list[float], verdicts: tuple[str, str]
) -> None:
    experiment = made_up({MaxBelief(): flips, Replace(): [10, 20]}, {MaxBelief(): accuracy, Replace(): [90.0, 80.0]})
    (claim,) = against_replace(experiment)
    assert (claim.flips_verdict, claim.accuracy_verdict) == verdicts
    assert entropy_against_random(experiment) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ((1, [0.3], [2], 0.5, 0.3), "seeds: found 1, expected two or more"),
        ((2, [], [2], 0.5, 0.3), r"budgets: found \[\], expected one or more, each once"),
        ((2, [0.3, 0.3], [2], 0.5, 0.3), r"budgets: found \[0.3, 0.3\]"),
        ((2, [0.0, 0.3], [2], 0.5, 0.3), "budget: found 0.0, expected a fraction of the items above 0"),
        ((2, [0.3], [2], 0.5, 1.5), "budget: found 1.5"),
        ((2, [0.3], [-2], 0.5, 0.3), "ratio: found -2"),
        ((2, [0.3], [2], -1, 0.3), "costs: found negative 2, neutral -1"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_played(
    settings: tuple[int, list[float], list[float], float, float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        run_experiment(DIVERSE, *settings)


def test_the_script_leaves_tables_figures_a_report_and_numbers(tmp_path: Path) -> None:
    output, errors = tmp_path / "stream", tmp_path / "errors.txt"
    settings = [f"output={output}", "seeds=2", "budgets=[0.3]", "cost_ratios=[3]"]
    process = start_script("update_stream.py", settings, tmp_path / "printed.txt", errors)
    process.join(300)
    assert process.exitcode == 0, errors.read_text()
    printed, report = (tmp_path / "printed.txt").read_text(), (output / "report.html").read_text()
    data = json.loads((output / "results.json").read_text())
    assert report.count("<svg") == 2
    for policy in data["diverse"]["policies"]:
        if policy["evidence"] == "independent" and policy["selection"] != "information" and not policy["growing"]:
            shown = f"{np.mean(policy['final_by_seed']['accuracy_percent']):.1f} ["
            assert shown in printed
            assert shown in report
    assert "CostRatio 3" in report
    for name in ("entropy", "random"):
        figure = read_image(output / f"{name}.png")
        assert figure.shape[1] > 1800
        assert figure[::8, ::8].std() > 20


def test_the_script_ends_with_one_line_for_a_bad_setting(tmp_path: Path) -> None:
    process = start_script("update_stream.py", ["seeds=1"], tmp_path / "printed.txt", tmp_path / "errors.txt")
    process.join(100)
    assert process.exitcode == 2
    assert (tmp_path / "errors.txt").read_text() == "error: seeds: found 1, expected two or more, for an interval\n"
