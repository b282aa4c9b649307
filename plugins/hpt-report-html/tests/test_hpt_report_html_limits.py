"""An infeasible trial is never shown as the best, and neither an outlier nor a long curve spoils a figure."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpt_core import Categorical, Float, History, Stop, Study, Suggestion, load_history
from hpt_core.testing import make_history
from hpt_report_html import figures, report
from hpt_report_html.limits import is_feasible, span

CUBE = {"x": Float(0, 1), "y": Float(0, 1)}


def constrained(bound: str = ">= 30", count: int = 40) -> History:
    """A study whose lowest values violate the constraint."""
    points = np.random.default_rng(0).random((count, 2))
    return make_history(
        CUBE, [({"x": x, "y": y}, {"value": x, "ms": 100 * x}) for x, y in points], constraints={"ms": bound}
    )


def rows(page: str) -> list[list[str]]:
    return [re.findall("<td>(.*?)</td>", row) for row in re.findall("<tr>(<td>.*?)</tr>", page)]


def test_the_table_begins_with_the_best_feasible_trial() -> None:
    history = constrained()
    shown = rows(report(history))
    broken = [trial for trial in history.trials if trial.params["x"] < 0.3]
    assert broken
    assert [row[1] for row in shown] == ["complete"] * (40 - len(broken)) + ["violates a constraint"] * len(broken)
    assert history.best is not None
    assert shown[0][0] == str(history.best.number)


def test_without_a_feasible_trial_the_nearest_one_is_shown() -> None:
    history = constrained(">= 300")
    page = report(history)
    assert "<h2>Nearest to the constraints</h2>" in page
    assert "No trial has succeeded" not in page
    nearest = max(history.trials, key=lambda trial: trial.params["x"])
    assert f"<dt>trial</dt><dd>{nearest.number}</dd>" in page
    assert "<dt>constraints</dt><dd>ms &gt;= 300</dd>" in page


def test_the_best_lines_are_of_feasible_trials() -> None:
    history = constrained()
    traces = {trace.name: trace for trace in figures(history)["Parallel coordinates"].data}
    for name in ("best half", "best tenth"):
        lines = [float(y) for y in traces[name].y[::3]]  # x is the first column, None ends a line
        assert lines
        assert min(lines) >= 0.3
    unfit = figures(constrained(">= 300"))["Parallel coordinates"].data
    assert [len(trace.x) for trace in unfit] == [3 * 40, 0, 0]


@pytest.mark.parametrize("title", ["Each parameter", "Two most important parameters"])
def test_trials_that_violate_a_constraint_are_grey(title: str) -> None:
    history = constrained()
    grey, coloured = figures(history)[title].data[:2]
    assert grey.marker.color == "#999999"
    assert len(grey.x) == sum(trial.params["x"] < 0.3 for trial in history.trials)
    assert len(grey.x) + len(coloured.x) == 40


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_a_diverged_value_is_cut_and_all_others_are_shown(direction: str) -> None:
    sign = 1.0 if direction == "minimize" else -1.0
    values = [*np.random.default_rng(0).random(40), sign * 1e9]
    history = make_history({"x": Float(0, 1)}, [({"x": 0.5}, y) for y in values], directions=(direction,))
    low, high = figures(history)["Optimisation history"].layout.yaxis.range
    assert low <= min(values[:40])
    assert max(values[:40]) <= high
    assert high - low < 2
    assert "cut" in figures(history)["Optimisation history"].layout.yaxis.title.text


def test_stopped_trials_do_not_flatten_the_complete_ones() -> None:
    rng = np.random.default_rng(0)
    complete = [({"x": x}, x) for x in rng.uniform(0.1, 0.2, 20)]
    stopped = [({"x": x}, Stop("hopeless", {}, 5 + x)) for x in rng.random(30)]
    low, high = figures(make_history({"x": Float(0, 1)}, [*complete, *stopped]))[
        "Optimisation history"
    ].layout.yaxis.range
    assert 0.0 < low < 0.11
    assert 0.19 < high < 0.3


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_a_diverged_curve_does_not_flatten_the_best_ones(direction: str) -> None:
    sign = 1.0 if direction == "minimize" else -1.0
    curves = [[sign * (2 - 0.1 * step + x) for step in range(10)] for x in (0.1, 0.2, 0.3)]
    diverged = [sign * 10.0**step for step in range(10)]
    trials: list[tuple[Any, object]] = [({"x": 0.5}, curve[-1]) for curve in curves]
    trials.append(({"x": 0.9}, Stop("hopeless", {}, diverged[-1])))
    reports = dict(enumerate([*curves, diverged]))
    axis = figures(make_history({"x": Float(0, 1)}, trials, reports=reports, directions=(direction,)))[
        "Learning curves"
    ].layout.yaxis
    low, high = axis.range
    assert low <= min(map(min, curves))
    assert max(map(max, curves)) <= high
    assert high - low < 20
    assert "cut" in axis.title.text
    del trials[-1], reports[3]
    axis = figures(make_history({"x": Float(0, 1)}, trials, reports=reports, directions=(direction,)))[
        "Learning curves"
    ].layout.yaxis
    assert (axis.range, axis.title.text) == (None, "value")


@pytest.mark.parametrize("count", [1, 4])
def test_the_beginning_of_a_curve_that_levels_off_is_drawn(count: int) -> None:
    """It is all that stopped trials have."""
    accuracy = [1 - 0.9 / step for step in range(1, 82)]
    trials: list[tuple[Any, object]] = [({"x": 0.5}, accuracy[-1])] * count
    trials += [({"x": 0.5}, Stop("slow", {}, 0.5 * accuracy[2]))] * count
    reports = {number: accuracy if number < count else [0.5 * v for v in accuracy[:3]] for number in range(2 * count)}
    history = make_history({"x": Float(0, 1)}, trials, reports=reports, directions=("maximize",))
    assert figures(history)["Learning curves"].layout.yaxis.range is None


@pytest.mark.parametrize("complete", [0, 5])
def test_a_peak_of_a_curve_is_cut(complete: int) -> None:
    curves = [[1 / step for step in range(1, 10)] for _ in range(5)]
    curves[2][4] = 1e6
    trials = [({"x": 0.5}, c[-1] if i < complete else Stop("slow", {}, c[-1])) for i, c in enumerate(curves)]
    history = make_history({"x": Float(0, 1)}, trials, reports=dict(enumerate(curves)))
    low, high = figures(history)["Learning curves"].layout.yaxis.range
    assert low < 1 / 9
    assert 1 < high < 1.1


def test_curves_are_not_cut_without_a_complete_one_if_all_are_alike() -> None:
    trials = [({"x": 0.5}, Stop("hopeless", {}, 1e9))] * 3
    reports = {number: [1e9 + step for step in range(9)] for number in range(3)}
    history = make_history({"x": Float(0, 1)}, trials, reports=reports)
    assert figures(history)["Learning curves"].layout.yaxis.range is None


def test_predictions_are_shown_although_a_trial_diverged() -> None:
    study = Study({"x": Float(0, 1)}, seed=0)
    for i in range(20):
        study.add_trial(Suggestion({"x": i / 20}, {"mean": i / 20, "sd": 0.1}), 1e9 if i == 7 else i / 20)
    axis = figures(study.history)["Predicted and observed"].layout.yaxis
    assert max(axis.range) < 2
    assert "cut" in axis.title.text


@pytest.mark.parametrize("values", [[], [1.0], [0.0, 0.1, 0.2, 1.0], [*np.linspace(0, 1, 40), -1e9], [1.0] * 9 + [2.0]])
def test_values_that_have_not_diverged_are_not_cut(values: list[float]) -> None:
    history = make_history({"x": Float(0, 1)}, [({"x": 0.5}, y) for y in values])
    assert span(history, history.trials) is None


def test_without_constraints_every_trial_is_feasible() -> None:
    assert is_feasible(make_history({"x": Float(0, 1)}, [({"x": 0.5}, 1.0)])).tolist() == [True]


def test_a_long_curve_is_thinned_and_keeps_its_last_report() -> None:
    reports = [float(step % 7) for step in range(5001)]
    history = make_history({"x": Float(0, 1)}, [({"x": 0.5}, 1.0)], reports={0: reports})
    (curve,) = figures(history)["Learning curves"].data
    assert len(curve.x) <= 200
    assert curve.x[-1] == 5001
    assert [reports[step - 1] for step in curve.x] == list(curve.y)


def test_the_best_curves_are_of_feasible_trials() -> None:
    trials = [({"x": x}, {"value": x, "ms": 100 * x}) for x in (0.1, 0.9)]
    reports = {0: [5.0, 0.1], 1: [6.0, 0.9]}
    history = make_history({"x": Float(0, 1)}, trials, reports=reports, constraints={"ms": ">= 30"})
    assert [list(curve.y) for curve in figures(history)["Learning curves"].data] == [[6.0, 0.9]]


def test_there_is_no_figure_of_curves_if_all_trials_are_running() -> None:
    history = make_history({"x": Float(0, 1)}, reports={0: [3.0, 2.0]}, running=[{"x": 0.5}])
    assert "Learning curves" not in figures(history)


def test_twenty_trials_of_a_long_front_are_listed() -> None:
    points = [({"x": x}, (x, 1 - x)) for x in np.linspace(0, 1, 50)]
    page = report(make_history({"x": Float(0, 1)}, points[::-1], directions=("minimize", "minimize")))
    written = [float(row[1]) for row in rows(page.partition("<h2>Front</h2>")[2].partition("<h2>")[0])]
    assert len(written) == 20
    assert written == sorted(written)  # from end to end of the front, not the first twenty of it
    assert (written[0], written[-1]) == (0.0, 1.0)
    assert "30 more trials are on the front" in page


def test_long_choices_have_short_labels_at_distinct_positions() -> None:
    choices = ["a" * 60 + "1", "a" * 60 + "2"]
    history = make_history({"c": Categorical(*choices)}, [({"c": c}, 1.0) for c in choices])
    axis = figures(history)["Each parameter"].layout.xaxis
    assert list(axis.tickvals) == choices
    assert max(map(len, axis.ticktext)) == 24


def test_long_choices_are_shortened_in_the_texts_of_trials() -> None:
    history = make_history({"prompt": Categorical("<b>" + "a" * 5000, "b")}, [({"prompt": "<b>" + "a" * 5000}, 1.0)])
    trial, value, prompt = figures(history)["Optimisation history"].data[0].text[0].split("<br>")
    assert (trial, value) == ("trial 0: complete", "value = 1")
    assert prompt.startswith("prompt = &lt;b&gt;aaa")
    assert len(prompt.replace("&lt;", "<").replace("&gt;", ">")) == 80


def test_a_trial_outside_an_amended_space_violates_no_constraint_and_can_be_the_best(tmp_path: Path) -> None:
    place = f"sqlite:///{tmp_path / 'hpt.db'}"
    for low, trials in ((0.0, 10), (0.5, 20)):
        study = Study({"x": Float(low, 1)}, sampler="random", seed=0, name="one", store=place, amend=low > 0)
        study.run(lambda params: params["x"], trials=trials)
        study.close()
    history = load_history(place)
    traces = {trace.name: trace for trace in figures(history)["Optimisation history"].data}
    assert list(traces) == ["complete", "best so far"]
    assert history.best is not None
    assert history.best.params["x"] < 0.5
    assert traces["best so far"].y[-1] == history.best.value
    assert {row[1] for row in rows(report(history))} == {"complete"}
