"""The four systems as tables, as one report, and as plain data."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from pseudolidar.illustrations.mismatches.figures import level
from pseudolidar.illustrations.mismatches.remedies import PLAIN, REMEDIES, RemediedUpdate, null_advice
from pseudolidar.illustrations.mismatches.results import Finished, FlippedImages, Update
from pseudolidar.illustrations.mismatches.series import DOWNSTREAM
from pseudolidar.statistics import CONFIDENCE, Estimate
from pseudolidar.systems import Change
from pseudolidar.systems.remedies import corrected_words
from pseudolidar.tables import Heading, Row, Table, Value
from pseudolidar.viewing import Block, Picture, Report, Section, changes_figure

_ESTIMATED = (
    "Estimates: the upstream error (behind two upstream models all of it compatibility error) is the loss of nearest "
    "neighbours among all images, the approximation error what a model of w's kind loses beyond them that is trained "
    "on all images but a held-out half of the test images, the estimation error what w itself loses beyond that. They "
    "may be negative. The Bayes-optimal loss is taken for 0."
)


def mismatches_report(
    results: Sequence[Finished],
    curves: Mapping[str, Figure],
    flipped: Mapping[str, tuple[FlippedImages, Figure | None]],
    remedied: Sequence[RemediedUpdate],
    data: str,
    configuration: str,
) -> Report:
    """What was found; every system's story, curves, verdicts, error terms, flipped images; remedies; null control.

    `curves` are of `draw_series`, `flipped` of the pair of the series that `shown_update` names; both by its name.
    """
    return Report(
        title="Four small systems in which a fix fails",
        lead=_lead(results),
        facts=(("data", data), ("seeds", str(results[0].seeds))),
        sections=(
            Section("What was found", (overview_table(results),)),
            *(_section(each, curves[each.series.name], *flipped[each.series.name]) for each in results),
            _remedies(remedied),
            Section("Other seeds as the update", (_CONTROL, control_table(results))),
        ),
        configuration=configuration,
    )


def _remedies(remedied: Sequence[RemediedUpdate]) -> Section:
    over = "test images and training seeds"
    from_old = {
        _short_name(found): {name: estimate(one.from_old) for name, one in found.tried.items() if name != "keep"}
        for found in remedied
    }
    tried = dict.fromkeys(name for found in remedied for name in found.tried if name != PLAIN)
    meanings = "; ".join(what for name, what in REMEDIES.items() if name in tried)
    blocks: list[Block] = [_REMEDIES, f"{meanings}.", advice_table(remedied)]
    figure = changes_figure(from_old, "change of w's test loss (points of % wrong)")
    blocks.append(
        Picture(figure, f"Change against the old system: {100 * CONFIDENCE:g} % intervals over {over}; keep is at 0.")
    )
    for found in remedied:
        advice = found.recommendation
        blocks += [f"{_title(found)}. {advice.sentence()} {advice.basis()}", remedies_table(found)]
    return Section("Remedies", tuple(blocks))


_REMEDIES = (
    "What to do about an update that harms w? For each system the update of one upstream model from one end of its "
    "series to the other, with remedies. A remedy is recommended where w is shown to be better with it than after the "
    "plain update. Hard answers are not calibrated: another name for each of two answers changes nothing for w."
)


def advice_table(remedied: Sequence[RemediedUpdate]) -> Table:
    """Of every update: w's change, the remedy that is recommended, and w's change by that."""
    rows = []
    for found in remedied:
        (advice,) = found.recommendation.advice.values()
        shown = (advice.chosen, estimate(advice.change)) if advice.is_shown and advice.change else ("none", None)
        kind = f", {found.pair.kind}" if found.pair.kind else ""
        rows.append(Row((f"{found.series.title}{kind}", estimate(found.tried[PLAIN].from_old), *shown)))
    return Table(
        "What to do",
        (("", "w's change", "recommended", "changes that by"),),
        tuple(rows),
        ("Points of % wrong. A remedy is chosen on one half of the test images; what it changes is from the other.",),
        digits=1,
    )


def _short_name(found: RemediedUpdate) -> str:
    kind = f", {found.pair.kind}" if found.pair.kind else ""
    return f"{found.series.name}{kind}"


def _title(found: RemediedUpdate) -> str:
    before, after = (found.series.versions[end].label for end in (found.pair.before, found.pair.after))
    return f"{found.series.title}, {before} → {after}"


def remedies_table(found: RemediedUpdate) -> Table:
    """w with every remedy: test loss and flips against the old system and the plain update, and the cost."""
    # The old system against itself is no try.
    from_old = corrected_words({name: one.from_old for name, one in found.tried.items() if name not in (PLAIN, "keep")})
    from_update = corrected_words({n: one.from_update for n, one in found.tried.items() if one.from_update is not None})
    rows = []
    for name, one in found.tried.items():
        is_old = name == "keep"
        cells = (
            "plain update" if name == PLAIN else name,
            None if is_old else estimate(one.from_old),
            one.from_old.word if name == PLAIN else from_old.get(name, "as it was"),
            None if is_old else one.negative,
            None if is_old else one.positive,
            None if one.from_update is None else estimate(one.from_update),
            from_update.get(name, ""),
            None if one.negative_from_update is None else estimate(one.negative_from_update),
            one.networks,
        )
        rows.append(Row(cells, rule_above=name == "keep"))
    header = ("", "w's test loss", "", "negative flips (%)", "positive flips (%)")
    return Table(
        f"{_title(found)}: remedies",
        (
            ("", Heading("against the old system", 4), Heading("against the plain update", 3), "cost"),
            (*header, "w's test loss", "", "negative flips (%)", "networks"),
        ),
        tuple(rows),
        (
            f"Points of % wrong; {100 * CONFIDENCE:g} % intervals over test images and "
            f"{found.tried[PLAIN].from_old.seeds} seeds, each by itself. Words are corrected for the number of "
            "remedies (Holm). Flips: right with the old system and not here (negative), or the reverse. Networks: "
            "how many run before w.",
        ),
        digits=1,
    )


_CONTROL = (
    "Nothing changes but the seeds: half of them stand for before, the other half for after. A verdict that calls this "
    "self-defeating is wrong, and so is the advice to keep the old system."
)


def _lead(results: Sequence[Finished]) -> str:
    found = sum(any(update.holds for update in each.updates) for each in results)
    return (
        f"A better upstream model makes w, trained anew on it, worse in {found} of {len(results)} series. Each is told "
        "from chance by its interval over test items and seeds, after a correction for the number of updates tried."
    )


def overview_table(results: Sequence[Finished]) -> Table:
    """Of every series the clearest update, or that from end to end where none is self-defeating."""
    rows = []
    for finished in results:
        best, held = shown_update(finished), sum(update.holds for update in finished.updates)
        upstream = "; ".join(f"{one.vertex} {_levels(one)}" for one in best.own.values())
        name = best.pair.kind or update_name(finished, best)
        cells = (name, upstream, _levels(best.downstream), f"{held} of {len(finished.updates)}")
        rows.append(Row((finished.series.title, *cells)))
    return Table(
        "Self-defeating updates",
        (("", "the clearest", "upstream", "w (% wrong)", "how many"),),
        tuple(rows),
        ("Test losses before and after. Where none is self-defeating: the update from one end to the other.",),
    )


def _levels(found: Change) -> str:
    return f"{found.before:.1f} → {found.after:.1f}{found.unit and ' '}{found.unit}".removesuffix(" % wrong")


_BANDS = (
    "They are of each version by itself and may overlap where a change is clear: it compares the same items and seeds."
)


def _section(finished: Finished, curves: Figure, flipped: FlippedImages, images: Figure | None) -> Section:
    interval = f"{100 * CONFIDENCE:g} % intervals over test items and {finished.seeds} seeds"
    shown = shown_update(finished)
    counts = flipped.flips.counts()
    caption = (
        f"w's answers, {update_name(finished, shown)}: {counts['negative flip']} negative and "
        f"{counts['positive flip']} positive flips on {len(flipped.images)} test images with {finished.seeds} seeds. "
        "The images that are right before and wrong after with most seeds."
    )
    pictures = (Picture(images, caption),) if images else (caption,)
    return Section(
        finished.series.title,
        (
            finished.series.story,
            sentence(finished),
            Picture(curves, f"Test losses along the series; {interval}. {_BANDS}"),
            losses_table(finished),
            verdicts_table(finished),
            terms_table(finished),
            *pictures,
        ),
    )


def shown_update(finished: Finished) -> Update:
    """The update that is self-defeating with the smallest p-value, or else the first."""
    return min(finished.updates, key=lambda update: (not update.holds, update.p_value))


def update_name(finished: Finished, update: Update) -> str:
    """Which version becomes which."""
    before, after = (finished.series.versions[number].label for number in (update.pair.before, update.pair.after))
    kind = f"{update.pair.kind}: " if update.pair.kind else ""
    return f"{kind}{before} → {after}"


def sentence(finished: Finished) -> str:
    """Whether a self-defeating improvement is found, and the clearest one."""
    title, count = finished.series.title, len(finished.updates)
    held = [update for update in finished.updates if update.holds]
    if not held:
        alone = sum(update.self_defeating for update in finished.updates)
        besides = f" ({alone} would be by itself)" if alone else ""
        return f"{title}: none of {count} updates is self-defeating after Holm's correction for their number{besides}."
    best = shown_update(finished)
    changes = "; ".join(
        f"{one.vertex} from {one.before:.3g} to {one.after:.3g}{one.unit and ' '}{one.unit}"
        for one in (*best.own.values(), best.downstream)
    )
    return (
        f"{title}: {len(held)} of {count} updates are self-defeating after Holm's correction for their number, most "
        f"clearly {update_name(finished, best)}: {changes}."
    )


def losses_table(finished: Finished) -> Table:
    """Test losses of every version."""
    series = finished.series
    names = (*series.upstream, DOWNSTREAM)
    units = [finished.losses[0][name][0].unit or "squared error" for name in names]
    rows = [
        Row((version.label, *(level(losses[name]) for name in names)))
        for version, losses in zip(series.versions, finished.losses, strict=True)
    ]
    axis = series.axis[0] if len(series.axis) == 1 else "hardest images with the other's label"
    header = (axis, *(f"{name} ({unit})" for name, unit in zip(names, units, strict=True)))
    return Table("Test losses", (header,), tuple(rows))


def verdicts_table(finished: Finished) -> Table:
    """Every judged update: changes, and whether it is self-defeating."""
    names = finished.series.upstream
    rows = []
    for update in finished.updates:
        own = [estimate(update.own[name]) if name in update.own else None for name in names]
        verdict = "self-defeating" if update.holds else "only by itself" if update.self_defeating else "no"
        rows.append(
            Row((update_name(finished, update), *own, estimate(update.downstream), f"{update.p_value:.2g}", verdict))
        )
    return Table(
        "Updates",
        (
            ("", Heading("change of the test loss", len(names) + 1), Heading("self-defeating?", 2)),
            ("", *names, DOWNSTREAM, "p", "corrected (Holm)"),
        ),
        tuple(rows),
        (
            f"Changes with {100 * CONFIDENCE:g} % intervals over test items and seeds. p is the largest of "
            "theirs, 1 where one goes the other way; corrected for the number of updates in this table.",
        ),
    )


def terms_table(finished: Finished) -> Table:
    """The estimated error terms of w before and after the updates whose ends have them."""
    rows = []
    for update in (each for each in finished.updates if each.terms):
        for term, found in update.terms.items():
            first = term == next(iter(update.terms))
            cells: tuple[Value, ...] = (term, found.before, found.after, estimate(found), found.word)
            rows.append(Row((update_name(finished, update) if first else "", *cells), rule_above=first))
    header = ("update", "term", "before", "after", "change", "it is")
    return Table("Where w's errors come from (% wrong)", (header,), tuple(rows), (_ESTIMATED,))


def control_table(results: Sequence[Finished]) -> Table:
    """How often an update by other seeds alone is called something."""
    rows = []
    for finished in results:
        controls = finished.controls
        words = [sum(one.downstream.word == word for one in controls) for word in ("improved", "worse")]
        defeating = sum(one.self_defeating for one in controls)
        held, kept = sum(one.holds for one in controls), sum(bool(one.taken) for one in null_advice(finished))
        rows.append(Row((finished.series.title, len(controls), *words, defeating, held, kept)))
    total = [sum(int(str(row.cells[column])) for row in rows) for column in range(1, 7)]
    rows.append(Row(("all", *total), rule_above=True))
    header = ("", "controls", "w improved", "w worse", "self-defeating", "after correction", "advised to keep")
    return Table("Called so", (header,), tuple(rows))


def estimate(found: Change) -> Estimate:
    """A change with its interval."""
    return Estimate(found.difference, found.interval, signed=True)


def mismatches_data(results: Sequence[Finished], remedied: Sequence[RemediedUpdate]) -> dict[str, Any]:
    """The numbers of all systems for JSON."""
    remedies: dict[str, list[dict[str, Any]]] = {finished.series.name: [] for finished in results}
    for found in remedied:
        remedies[found.series.name].append(_remedies_data(found))
    return {
        finished.series.name: {
            "seeds": finished.seeds,
            "versions": [
                {
                    "label": version.label,
                    "test_loss_by_seed": {name: [one.value() for one in of] for name, of in losses.items()},
                }
                for version, losses in zip(finished.series.versions, finished.losses, strict=True)
            ],
            "updates": [_update_data(finished, update) for update in finished.updates],
            "remedies": remedies[finished.series.name],
            "controls": [_update_data(finished, update) for update in finished.controls],
        }
        for finished in results
    }


def _update_data(finished: Finished, update: Update) -> dict[str, Any]:
    changes = {**update.own, DOWNSTREAM: update.downstream, **update.terms}
    return {
        "update": update_name(finished, update),
        "changes": {name: _change_data(one) for name, one in changes.items()},
        "p_value": update.p_value,
        "self_defeating": update.self_defeating,
        "self_defeating_after_correction": update.holds,
    }


def _change_data(one: Change) -> dict[str, Any]:
    return {
        "before": one.before,
        "after": one.after,
        "low": one.interval.low,
        "high": one.interval.high,
        "p_value": one.p_value,
        "word": one.word,
    }


def _remedies_data(found: RemediedUpdate) -> dict[str, Any]:
    tried = {
        name: {
            "from_old": _change_data(one.from_old),
            "negative_flips_percent": one.negative.value,
            "positive_flips_percent": one.positive.value,
            "from_update": None if one.from_update is None else _change_data(one.from_update),
            "negative_flips_from_update": (
                None if one.negative_from_update is None else _change_data(one.negative_from_update)
            ),
            "networks": one.networks,
        }
        for name, one in found.tried.items()
    }
    return {
        "update": _title(found),
        "tried": tried,
        "recommended": found.recommendation.taken.get(DOWNSTREAM),
        "recommendation": found.recommendation.sentence(),
    }
