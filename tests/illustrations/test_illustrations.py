"""Illustrations: optimal models are optimal, terms add up, each figure's term grows, the improvement defeats itself."""

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.optimize import linprog

from pseudolidar.illustrations import draw_illustration, illustrations, run_illustrations, run_remedies
from pseudolidar.illustrations.cases import Result
from pseudolidar.illustrations.decomposition import (
    APPROXIMATION,
    COMPATIBILITY,
    ESTIMATION,
    EXCESS,
    UPSTREAM,
    ErrorDecomposition,
    decompose,
)
from pseudolidar.illustrations.distributions import Examples
from pseudolidar.illustrations.learners import Calibration, PolynomialClassifier, TableClassifier, Whitening
from pseudolidar.illustrations.optimal import (
    best_boolean_function,
    best_function,
    best_half_plane,
    best_partner,
    best_polynomial,
    polynomial_features,
)
from pseudolidar.illustrations.remedies import OUTCOMES, Remedied, remedied_systems
from pseudolidar.kitti import read_image
from pseudolidar.systems import ArtifactStore
from tests.forked import start_script

SETTINGS = settings(deadline=None, max_examples=15)


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What the script prints, and the folder that it fills."""
    output, said = tmp_path_factory.mktemp("illustrations"), tmp_path_factory.mktemp("said")
    process = start_script("illustrations.py", [f"output={output}"], said / "printed.txt", said / "errors.txt")
    process.join(300)
    assert process.exitcode == 0, (said / "errors.txt").read_text()
    return (said / "printed.txt").read_text(), output


@pytest.fixture(scope="module")
def results(printed: tuple[str, Path]) -> dict[str, Result]:
    store = ArtifactStore(printed[1] / "artifacts")
    return {result.illustration.name: result for result in run_illustrations(store, illustrations())}


NAMES = [case.name for case in illustrations()]


@pytest.mark.parametrize("name", NAMES)
def test_terms_add_up_to_the_total(results: dict[str, Result], name: str) -> None:
    for state in (results[name].before, results[name].after):
        assert abs(state.decomposition.remainder) < 1e-6
        assert abs(state.losses["w"] - state.bayes - state.decomposition.total) < 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_the_update_is_better_and_w_is_worse(results: dict[str, Result], name: str) -> None:
    before, after = results[name].before.losses, results[name].after.losses
    updated = results[name].illustration.update.name
    assert after[updated] < 0.9 * before[updated]
    assert after["w"] > before["w"] + 5
    others = set(before) - {updated, "w"}
    assert all(after[other] == before[other] for other in others)


@pytest.mark.parametrize(
    ("name", "grown"),
    [("figure-2", APPROXIMATION), ("figure-3", ESTIMATION), ("figure-4a", COMPATIBILITY), ("figure-4b", COMPATIBILITY)],
)
def test_the_term_that_the_figure_is_about_grew_and_no_other(results: dict[str, Result], name: str, grown: str) -> None:
    before, after = results[name].before.decomposition.terms, results[name].after.decomposition.terms
    growth = {term: after[term] - before[term] for term in before}
    assert growth.pop(grown) > 5
    assert max(growth.values()) < 1e-9


@pytest.mark.parametrize("name", NAMES)
def test_only_the_update_and_what_stands_behind_it_is_made_for_it(name: str) -> None:
    case = next(case for case in illustrations() if case.name == name)
    before, after = case.before.stages(0), case.after.stages(0)
    fingerprints = {stage.fingerprint for stage in before.values()}
    changed = {vertex for (vertex, _), stage in after.items() if stage.fingerprint not in fingerprints}
    assert changed == {case.update.name, "w"}


def test_errors_of_u_and_v_are_anti_correlated_and_the_same_after_u_became_v(results: dict[str, Result]) -> None:
    for name in ("figure-4a", "figure-4b"):
        before, after = results[name].before.error_correlation, results[name].after.error_correlation
        assert before is not None and after is not None
        assert before < -0.2
        assert after > 0.1
    assert results["figure-4b"].after.error_correlation == pytest.approx(1)
    assert results["figure-4a"].before.losses["w"] == 0


def test_three_models_every_update_hurts_and_every_pair_helps(results: dict[str, Result]) -> None:
    loss = results["three-models"].choices
    assert len(loss) == 8
    for titles, found in loss.items():
        change = found - loss[()]
        assert {0: change == 0, 1: change > 5, 2: change < -5, 3: found == 0}[len(titles)]


def test_u_gets_fairer_w_less_fair_and_the_terms_of_the_gap_add_up(results: dict[str, Result]) -> None:
    result = results["fairness"]
    assert result.illustration.groups == ("on the right", "on the left")
    gaps = []
    for state in (result.before, result.after):
        right, left = state.losses_by_group
        gaps.append({name: abs(right[name] - left[name]) for name in right})
        terms = [right.terms[term] - left.terms[term] for right, left in [state.by_group] for term in right.terms]
        assert sum(terms) == pytest.approx(right["w"] - left["w"], abs=1e-9)
        for name, loss in state.losses.items():
            assert (right[name] + left[name]) / 2 == pytest.approx(loss)
    assert gaps[0]["u"] > 50 and gaps[1]["u"] == 0
    assert gaps[0]["w"] == 0 and gaps[1]["w"] > 6


@pytest.fixture(scope="module")
def remedied(printed: tuple[str, Path]) -> dict[str, Remedied]:
    store = ArtifactStore(printed[1] / "artifacts")
    return {found.illustration.name: found for found in run_remedies(store, illustrations())}


CURES, HELPS, NO_CHANGE, WORSE = OUTCOMES
OUTCOME = {
    "figure-2": {
        "keep": CURES, "calibrate": HELPS, "whiten": NO_CHANGE, "mixed": WORSE, "larger set": CURES,
    },
    "figure-3": {
        "keep": CURES, "calibrate": HELPS, "whiten": NO_CHANGE, "mixed": WORSE, "more data": CURES, "larger set": WORSE,
    },
    "figure-4a": {
        "keep": CURES, "calibrate": NO_CHANGE, "mixed": NO_CHANGE, "both": CURES, "partner": HELPS,
    },
    "figure-4b": {
        "keep": CURES, "calibrate": NO_CHANGE, "mixed": NO_CHANGE, "both": CURES, "partner": CURES,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", list(OUTCOME))
def test_which_remedy_cures_which_figure(remedied: dict[str, Remedied], name: str) -> None:
    found = remedied[name]
    assert {remedy: found.outcome(remedy) for remedy in found.remedies} == OUTCOME[name]
    assert set(remedied) == set(OUTCOME)


def test_a_remedy_changes_the_term_that_grew_and_mixed_training_adds_to_the_estimation_error(
    remedied: dict[str, Remedied],
) -> None:
    for found in remedied.values():
        for remedy, of in found.remedies.items():
            assert abs(of.remainder) < 1e-6
            changed = {term for term, value in of.terms.items() if abs(value - found.after.terms[term]) > 1e-9}
            also = {ESTIMATION} if remedy == "mixed" else set()
            assert changed <= {found.illustration.grown} | also, remedy


def test_mixed_training_sees_the_old_outputs_and_does_without_them_afterwards() -> None:
    case = illustrations()[0]
    mixed = dict(remedied_systems(case))["mixed"].stages(0)
    assert mixed["w", "train"].parents["v-before"].fingerprint == case.before.stages(0)["v", "predict"].fingerprint
    assert mixed["w", "train"].parents["v"].fingerprint == case.after.stages(0)["v", "predict"].fingerprint
    assert "v-before" not in mixed["w", "predict"].parents


def test_whitened_points_have_covariance_one_and_calibrated_classes_are_frequencies() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(50, 2)) @ np.array([[2.0, 1.0], [0.0, 0.3]]) + 5
    positive, none = rng.random(50) < 0.4, np.empty((50, 0))
    whitening, calibration = Whitening(), Calibration()
    white = whitening.predict(whitening.fit(points[None], Examples(points, positive, points)), points)
    np.testing.assert_allclose(np.cov(white, rowvar=False, bias=True), np.eye(2), atol=1e-12)
    answers = (positive ^ (rng.random(50) < 0.1))[:, None].astype(np.float64)
    said = calibration.predict(calibration.fit(answers[None], Examples(points, positive, none)), answers)
    for answer in (0, 1):
        assert said[answers == answer] == pytest.approx(positive[answers[:, 0] == answer].mean())


def points_and_classes(most: int) -> st.SearchStrategy[tuple[NDArray[np.float64], NDArray[np.bool_]]]:
    """Points on a small grid, so that some coincide and many stand in line."""
    return st.integers(1, most).flatmap(
        lambda count: st.tuples(
            arrays(np.float64, (count, 2), elements=st.integers(0, 3).map(float)), arrays(np.bool_, count)
        )
    )


def separable(signed_features: NDArray[np.float64]) -> bool:
    size = signed_features.shape[1]
    return bool(
        linprog(
            np.zeros(size), A_ub=-signed_features, b_ub=-np.ones(len(signed_features)), bounds=[(None, None)] * size
        ).success
    )


def fewest_errors(features: NDArray[np.float64], positive: NDArray[np.bool_]) -> int:
    """By trying every way to give classes to the points."""

    def possible() -> Iterator[int]:
        for labels in product([False, True], repeat=len(positive)):
            said = np.array(labels)
            if separable(np.where(said, 1.0, -1.0)[:, None] * features):
                yield int((said != positive).sum())

    return min(possible())


@settings(deadline=None, max_examples=30)
@given(points_and_classes(6))
def test_no_line_does_better_than_the_best(drawn: tuple[NDArray[np.float64], NDArray[np.bool_]]) -> None:
    points, positive = drawn
    errors = int((best_half_plane(points, positive).contains(points) != positive).sum())
    assert errors == fewest_errors(np.concatenate([np.ones((len(points), 1)), points], axis=1), positive)


@settings(deadline=None, max_examples=10)
@given(points_and_classes(7))
def test_no_conic_does_better_than_the_best(drawn: tuple[NDArray[np.float64], NDArray[np.bool_]]) -> None:
    points, positive = drawn
    features = polynomial_features(points - 1.5, 2)
    errors = int(((features @ best_polynomial(points - 1.5, positive, 2) > 0) != positive).sum())
    assert errors == fewest_errors(features, positive)


@settings(deadline=None, max_examples=20)
@given(points_and_classes(5), arrays(np.bool_, 5))
def test_no_line_is_a_better_partner(
    drawn: tuple[NDArray[np.float64], NDArray[np.bool_]], answers: NDArray[np.bool_]
) -> None:
    points, positive = drawn
    said = answers[: len(points)]
    features = np.concatenate([np.ones((len(points), 1)), points], axis=1)

    def errors(line: NDArray[np.bool_]) -> int:
        return int((best_function(np.stack([said, line], axis=1).astype(float), positive) != positive).sum())

    lines = (np.array(labels) for labels in product([False, True], repeat=len(points)))
    possible = [errors(line) for line in lines if separable(np.where(line, 1.0, -1.0)[:, None] * features)]
    assert errors(best_partner(points, said, positive).contains(points)) == min(possible)


def test_the_best_line_keeps_its_distance() -> None:
    line = best_half_plane(np.array([[0.0, 0.0], [0.0, 1.0], [2.0, 0.0]]), np.array([False, False, True]))
    assert line.normal == pytest.approx((1, 0))
    assert line.offset == pytest.approx(1)


@SETTINGS
@given(points_and_classes(12))
def test_a_table_learns_the_best_function_of_bits(drawn: tuple[NDArray[np.float64], NDArray[np.bool_]]) -> None:
    bits, positive = (drawn[0] > 1).astype(np.float64), drawn[1]
    examples = Examples(drawn[0], positive, np.empty((len(bits), 0)))
    learner = TableClassifier()
    said = learner.predict(learner.fit(bits[None], examples), bits)[:, 0]
    errors = {
        "table": (said != positive).sum(),
        "any function": (best_function(bits, positive) != positive).sum(),
        "16 functions": (best_boolean_function(bits > 0.5, positive) != positive).sum(),
    }
    assert len(set(errors.values())) == 1, errors


def test_an_expectation_over_draws_is_that_of_fits_one_by_one() -> None:
    rng = np.random.default_rng(0)
    points, positive = rng.normal(size=(7, 2)), np.array([True, True, True, False, False, False, False])
    learner, examples = PolynomialClassifier(), Examples(points, positive, points)
    share = learner.predict(learner.fit(points[None], examples), points)[:, 0]
    features = polynomial_features((points - points.mean(axis=0)) / points.std(axis=0), 2)
    root = np.sqrt(0.01) * np.eye(6)
    root[0] = 0
    says = []
    for left_out in range(7):
        kept = np.arange(7) != left_out
        # Ridge regression as least squares with more rows.
        rows = np.concatenate([features[kept], root])
        values = np.concatenate([np.where(positive[kept], 1.0, -1.0), np.zeros(6)])
        says.append(features @ np.linalg.lstsq(rows, values, rcond=None)[0] > 0)
    np.testing.assert_allclose(share, np.mean(says, axis=0), atol=1e-12)


@SETTINGS
@given(arrays(np.float64, (5, 4), elements=st.floats(0, 100)))
def test_terms_of_any_losses_add_up(losses: NDArray[np.float64]) -> None:
    bayes, partnered, optimal, in_set, fitted = losses
    one = decompose(bayes, optimal, in_set, fitted)
    two = decompose(bayes, optimal, in_set, fitted, partnered)
    for decomposition in (one, two):
        assert abs(decomposition.remainder) < 1e-9
        assert decomposition.total == pytest.approx(fitted.mean() - bayes.mean(), abs=1e-9)
    assert two.terms[EXCESS] + two.terms[COMPATIBILITY] == pytest.approx(one.terms[UPSTREAM], abs=1e-9)


def test_losses_of_other_examples_are_refused() -> None:
    with pytest.raises(ValueError, match=r"optimal: found shape \(2,\), expected \(3,\), the shape of bayes"):
        decompose(np.zeros(3), np.zeros(2), np.zeros(3), np.zeros(3))
    with pytest.raises(ValueError, match=r"bayes: found shape \(0,\), expected \(N,\) with one example or more"):
        decompose(*[np.zeros(0)] * 4)


def test_a_remainder_shows_a_wrong_term() -> None:
    assert ErrorDecomposition({UPSTREAM: 1.0, ESTIMATION: 2.0}, 3.5).remainder == pytest.approx(0.5)


def test_the_script_leaves_tables_figures_a_report_and_numbers(
    printed: tuple[str, Path], results: dict[str, Result]
) -> None:
    text, output = printed
    report, data = (output / "report.html").read_text(), json.loads((output / "results.json").read_text())
    assert report.count("<svg") == len(results)
    for name, result in results.items():
        assert text.count(result.illustration.title) == 1
        written = f"{result.after.decomposition.total:.4f}"
        assert written in text
        assert written in report
        assert data[name]["after"]["terms_percent"] == pytest.approx(dict(result.after.decomposition.terms))
        figure = read_image(output / f"{name}.png")
        assert figure.shape[1] > 1800
        assert figure[::8, ::8].std() > 20


def test_nothing_is_trained_again_by_the_next_run(printed: tuple[str, Path]) -> None:
    store = ArtifactStore(printed[1] / "artifacts")
    stages = [stage for case in illustrations() for stage in case.after.stages(0).values()]
    assert all(store.is_finished(stage) for stage in stages)


def test_a_figure_says_what_became_better_and_worse(results: dict[str, Result]) -> None:
    result = results["figure-2"]
    backwards = replace(result, before=result.after, after=result.before)
    for shown, verdicts in ((result, ["v′ is better", "w′ is worse"]), (backwards, ["v′ is worse", "w′ is better"])):
        texts = [text.get_text() for axes in draw_illustration(shown).axes for text in axes.texts]
        assert [text for text in texts if text.endswith(("better", "worse"))] == verdicts


def test_a_failed_stage_ends_the_run_with_its_message(tmp_path: Path) -> None:
    store, cases = ArtifactStore(tmp_path / "store"), illustrations()[:1]
    folder = store.folder(cases[0].before.stages(0)["v", "train"])
    folder.parent.mkdir()
    folder.write_text("a file where the folder should be")
    with pytest.raises(ValueError, match=r"^train v \[seed 0\]: .*store"):
        run_illustrations(store, cases)
