"""Figures of studies with several objectives, conditional spaces, short trials and unusual names."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

import attrs
import numpy as np
import pytest

from hpt_core import Categorical, Float, History, Int, Report, Study, Suggestion, TrialContext, UsageError
from hpt_core.history import events
from hpt_core.testing import make_history
from hpt_report_html import figures, importances, report


def three_objectives(count: int = 60) -> History:
    """No two of the three objectives determine the front; some trials violate a constraint."""
    points = np.random.default_rng(1).random((count, 3))
    trials = [
        ({"x": x, "y": y, "z": z}, {"value0": x, "value1": (1 - x) * (1 + y), "value2": abs(z - 0.5) + y, "mem": x})
        for x, y, z in points
    ]
    space = {name: Float(0, 1) for name in "xyz"}
    directions = ("maximize", "minimize", "minimize")
    return make_history(space, trials, directions=directions, constraints={"mem": "<= 0.7"})


def test_each_pair_of_three_objectives_is_drawn_with_the_front_of_all_three() -> None:
    history = three_objectives()
    figure = figures(history)["Pareto front"]
    signs = np.array([-1, 1, 1])
    losses = np.array([trial.values for trial in history.trials]) * signs
    kept = [n for n in range(60) if history.trials[n].metrics["mem"] <= 0.7]
    on_front = [
        n for n in kept if not any((losses[m] <= losses[n]).all() and (losses[m] < losses[n]).any() for m in kept)
    ]
    assert 3 < len(on_front) < len(kept) < 60
    for place, (one, other) in enumerate(combinations(range(3), 2)):
        traces = {trace.name: trace for trace in figure.data[3 * place : 3 * place + 3]}
        for name, numbers in {"front": on_front, "trials": kept}.items():
            expected = sorted((losses[n] * signs)[[one, other]].tolist() for n in numbers)
            assert sorted(map(list, zip(traces[name].x, traces[name].y, strict=True))) == expected
        assert len(traces["violates a constraint"].x) == 60 - len(kept)
        axes = (
            figure.layout[f"xaxis{place + 1 or ''}".replace("axis1", "axis")],
            figure.layout[f"yaxis{place + 1}".replace("axis1", "axis")],
        )
        assert [axis.title.text for axis in axes] == [history.objectives[one], history.objectives[other]]


def test_metrics_that_have_constraints_are_listed_with_the_trials() -> None:
    page = report(three_objectives())
    header = re.findall("<th scope=.col.>(.*?)</th>", page.partition("<h2>Trials</h2>")[2])
    assert header == ["trial", "state", "value0", "value1", "value2", "mem", "x", "y", "z"]
    trials = [({"x": x}, {"value": x, "ms": 100 * x, "rows": 7.0}) for x in (0.2, 0.4)]
    page = report(make_history({"x": Float(0, 1)}, trials, constraints={"ms": ">= 30"}))
    assert "<dt>ms</dt><dd>40 (&gt;= 30)</dd>" in page
    assert "<dt>rows</dt><dd>7</dd>" in page


def test_a_study_is_drawn_as_its_history_is() -> None:
    study = Study({"x": Float(0, 1)}, sampler="random", seed=0)
    study.run(lambda params: params["x"], trials=12)
    assert report(study) == report(study.history)
    assert figures(study) == figures(study.history)
    assert importances(study) == importances(study.history)


@pytest.mark.parametrize("function", [report, figures, importances])
def test_what_is_not_a_study_is_refused(function: Callable[[Any], object]) -> None:
    with pytest.raises(UsageError, match=r"must be a Study, or a history from load_history\(\). Got 'hpt.db'"):
        function("hpt.db")


def test_the_two_most_important_parameters_are_two_that_vary_together() -> None:
    space = {
        "model": Categorical("svm", "forest"),
        "C": Float(0, 1, when={"model": "svm"}),
        "noise": Float(0, 1),
    }
    rng = np.random.default_rng(0)
    points = [make_history(space).space.sample(rng) for _ in range(80)]
    trials = [(p, 10 * (p["model"] == "svm") + 3 * p.get("C", 0) + p["noise"] / 10) for p in points]
    history = make_history(space, trials)
    figure = figures(history)["Two most important parameters"]
    assert [figure.layout.xaxis.title.text, figure.layout.yaxis.title.text] == ["model", "noise"]
    assert sum(len(trace.x) for trace in figure.data) == 80


def test_an_axis_with_many_choices_labels_some_and_draws_all() -> None:
    choices = [f"number {i}" for i in range(60)]
    history = make_history({"c": Categorical(*choices)}, [({"c": c}, float(i)) for i, c in enumerate(choices)])
    figure = figures(history)["Each parameter"]
    assert list(figure.layout.xaxis.tickvals) == choices[::5]
    assert list(figure.layout.xaxis.categoryarray) == list(figure.data[0].x) == choices


def test_choices_of_the_same_text_have_positions_of_their_own() -> None:
    choices = [1, "1", "one"]
    history = make_history({"c": Categorical(*choices)}, [({"c": c}, float(i)) for i, c in enumerate(choices)])
    figure = figures(history)["Each parameter"]
    assert list(figure.layout.xaxis.ticktext) == list(figure.data[0].x) == ["1", "'1'", "'one'"]


def test_parallel_lines_pass_below_the_axes_of_inactive_parameters() -> None:
    space = {"a": Categorical("on", "off"), "b": Float(0, 1, when={"a": "on"}), "c": Float(0, 1)}
    points = [{"a": "on", "b": 0.25, "c": 0.5}, {"a": "off", "c": 0.75}]
    figure = figures(make_history(space, [(point, i) for i, point in enumerate(points)]))["Parallel coordinates"]
    lines = {trace.name: list(trace.y) for trace in figure.data}
    below = figure.layout.yaxis.tickvals[list(figure.layout.yaxis.ticktext).index("inactive")]
    assert below < 0
    assert lines["best tenth"] == [0.25, 0.25, 0.5, None]
    assert lines["others"] == [0.75, below, 0.75, None]
    whole = figures(make_history({"b": Float(0, 1), "c": Float(0, 1)}, [({"b": x, "c": x}, x) for x in (0.1, 0.2)]))
    assert list(whole["Parallel coordinates"].layout.yaxis.ticktext) == ["low", "high"]


def test_the_axes_of_parallel_lines_show_both_ends_and_those_of_choices_all_choices() -> None:
    space = {"b": Float(0, 1), "c": Categorical(*"pqr")}
    drawn = figures(make_history(space, [({"b": x, "c": "q"}, x) for x in (0.4, 0.5, 0.6)]))
    axis = drawn["Parallel coordinates"].layout.yaxis
    low, high = axis.range
    assert low < min(axis.tickvals) < max(axis.tickvals) < high
    assert drawn["Parallel coordinates"].layout.xaxis.ticklabeloverflow == "allow"  # plotly hides the last name else
    assert list(drawn["Each parameter"].layout.xaxis2.range) == [-0.5, 2.5]  # plotly gives choices the places 0, 1, 2


def test_a_long_name_of_an_objective_is_shortened_beside_every_axis() -> None:
    names = ["validation_accuracy_of_the_first_task", "validation_accuracy_of_the_second_task"]
    study = Study(
        {"x": Float(0, 1), "y": Float(0, 1)}, objective=dict.fromkeys(names, "maximize"), sampler="random", seed=0
    )
    study.run(lambda params: {names[0]: params["x"], names[1]: params["y"] - params["x"]}, trials=20)
    drawn = figures(study.history)
    shown = "validation_\u2026e_first_task"
    assert [drawn[title].layout.yaxis.title.text for title in ("Optimisation history", "Each parameter")] == [shown] * 2
    axes = drawn["Pareto front"].layout
    assert [axes.xaxis.title.text, axes.yaxis.title.text] == [shown, "validation_\u2026_second_task"]
    assert drawn["Two most important parameters"].data[0].marker.colorbar.title.text == shown


def test_axes_of_few_whole_numbers_have_no_ticks_between_them() -> None:
    space = {"n": Int(1, 5), "many": Int(1, 500)}
    points = [({"n": n, "many": 100 * n}, float(n)) for n in range(1, 6)]
    drawn = figures(make_history(space, points, reports={0: [1.0, 2.0, 3.0]}))
    axes = [drawn[title].layout.xaxis for title in ("Optimisation history", "Each parameter", "Learning curves")]
    assert [axis.dtick for axis in axes] == [1, 1, 1]
    assert drawn["Each parameter"].layout.xaxis2.dtick is None
    assert figures(three_objectives())["Optimisation history"].layout.xaxis.dtick is None


def test_all_parameters_are_drawn_on_one_scale_of_the_objective() -> None:
    space = {"m": Categorical("a", "b"), **{name: Float(0, 1) for name in "xyz"}, "u": Float(0, 1, when={"m": "b"})}
    rng = np.random.default_rng(0)
    points = [make_history(space).space.sample(rng) for _ in range(30)]
    figure = figures(make_history(space, [(p, p["x"] + 9 * (p["m"] == "a")) for p in points]))["Each parameter"]
    axes = [figure.layout[f"yaxis{n}".removesuffix("1")] for n in range(1, 7)]
    assert [axis.matches for axis in axes].count(None) == 1
    assert {axis.matches for axis in axes} == {None, "y4"}  # all take the range of one


def test_importances_of_all_objectives_are_drawn() -> None:
    points = np.random.default_rng(0).random((20, 6))
    trials = [({"x": float(point[0])}, tuple(point.tolist())) for point in points]
    history = make_history({"x": Float(0, 1)}, trials, directions=("minimize",) * 6)
    assert [bars.name for bars in figures(history)["Parameter importances"].data] == list(history.objectives)


def test_the_error_bars_of_importances_end_at_zero() -> None:
    rows = np.random.default_rng(0).random((12, 3))
    trials = [({"x": x, "y": y}, y + 0.3 * noise) for x, y, noise in rows]
    (bars,) = figures(make_history({"x": Float(0, 1), "y": Float(0, 1)}, trials))["Parameter importances"].data
    assert max(np.array(bars.error_x.array) - bars.x) > 0  # some deviation is larger than its share
    assert np.allclose(bars.error_x.arrayminus, np.minimum(bars.x, bars.error_x.array))


def test_short_trials_in_the_timeline_have_no_white_edge() -> None:
    study = Study({"x": Float(0, 1)}, sampler="random", seed=0)
    study.run(lambda params: params["x"], trials=20)
    history = study.history
    history.trials[0].ended = (history.trials[0].started or 0.0) + 1000.0
    (bars,) = figures(history)["Timeline"].data
    edges = list(bars.marker.line.color)
    assert edges == ["white"] + [bars.marker.color] * 19


def test_the_timeline_has_the_work_since_the_last_start_without_a_pause() -> None:
    history = make_history({"x": Float(0, 1)}, resumable=True)
    for record in (
        events.started(10.0, 0, {"x": 0.5}, "w", 1, 0),
        events.paused(13.0, 0, 1, 0, "rule", "later", {}),
        events.started(20.0, 0, {"x": 0.5}, "w", 2, 0),
        events.paused(24.0, 0, 2, 0, "rule", "later", {}),
        events.started(24.0, 1, {"x": 0.6}, "w", 1, 0),
        events.complete(29.0, 1, 1, [0.2], {}),
        events.stopped_early(30.0, 0, 2, [0.1], 0, "rule", "too slow", {}),
    ):
        history.apply(record)
    bars = {bar.name: list(zip(bar.base, bar.x, strict=True)) for bar in figures(history)["Timeline"].data}
    assert bars == {"stopped": [(0.0, 3.0), (10.0, 4.0)], "complete": [(14.0, 5.0)]}


def test_the_timeline_has_the_work_of_paused_trials() -> None:
    history = make_history({"x": Float(0, 1)}, resumable=True)
    for record in (
        events.started(10.0, 0, {"x": 0.5}, "w", 1, 0),
        events.paused(13.0, 0, 1, 0, "rule", "later", {}),
        events.started(20.0, 1, {"x": 0.6}, "w", 1, 0),
    ):
        history.apply(record)
    figure = figures(history)["Timeline"]
    (bar,) = figure.data
    assert (bar.name, bar.base[0], bar.x[0]) == ("paused", 0.0, 3.0)
    assert figure.layout.showlegend  # plotly names a single colour only if told to
    history.apply(events.started(22.0, 0, {"x": 0.5}, "v", 2, 0))
    (bar,) = figures(history)["Timeline"].data
    assert (bar.name, list(bar.base), list(bar.x)) == ("running", [0.0], [3.0])
    history.apply(events.released(23.0, 0, 2, "interrupted"))
    assert [bar.name for bar in figures(history)["Timeline"].data] == ["waiting"]
    history.apply(events.started(24.0, 0, {"x": 0.5}, "v", 3, 0))
    history.apply(events.paused(26.0, 0, 3, 0, "rule", "later", {}))
    (bar,) = figures(history)["Timeline"].data
    drawn = list(zip(bar.y, bar.base, bar.x, strict=True))
    assert drawn == [("worker 0", 0.0, 3.0), ("worker 1", 14.0, 2.0)]


def test_a_quotation_mark_in_a_name_is_kept() -> None:
    name = 'the "rate" <b>'
    history = make_history({name: Float(0, 1)}, [({name: x}, x) for x in (0.1, 0.2)])
    assert figures(history)["Each parameter"].layout.xaxis.title.text == 'the "rate" &lt;b&gt;'


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_the_caption_counts_predictions_within_one_and_two_deviations(direction: str) -> None:
    study = Study({"x": Float(0, 1)}, objective=direction, seed=0)
    offs = [0.5, -0.5, 1.0, 1.5, -1.5, 3.0]
    for i, off in enumerate(offs):
        study.add_trial(Suggestion({"x": i / 10}, {"mean": 5.0, "sd": 2.0}), 5.0 + 2.0 * off)
    study.add_trial(Suggestion({"x": 0.9}, {"mean": [1.0, 2.0], "sd": 0.0}), 5.0)  # another form
    page = html.unescape(report(study.history))
    assert "3 of 6 lie within one standard deviation (68 % if calibrated), 5 within two (95 %)." in page


def test_each_figure_has_a_caption() -> None:
    page = report(three_objectives())
    sections = page.split("<section>")[1:]
    assert len(sections) == len(figures(three_objectives()))
    said = {re.findall("<h2>(.*?)</h2>", part)[0]: re.findall("</h2>\n<p>(.*?)</p>", part) for part in sections}
    assert [title for title, words in said.items() if not words] == ["Parameter importances"]  # its text is below
    expected = "The value is that of the first objective, value0. Trials that violate a constraint are grey."
    assert expected in said["Each parameter"][0]


def test_invalid_trials_are_counted() -> None:
    study = Study({"x": Float(0, 1)}, sampler="random", seed=0)
    study.run(lambda params: params["x"], trials=3)
    assert "<dt>invalid</dt>" not in report(study.history)
    study.invalidate(1, "a bug")
    assert "<dt>invalid</dt><dd>1 of them, marked by the user</dd>" in report(study.history)


def test_the_page_states_if_the_figures_show_only_some_of_the_trials() -> None:
    said = "<dt>in the figures</dt><dd>at most 800, including the 200 best</dd>"
    for count in (800, 801):
        history = make_history({"x": Float(0, 1)}, [({"x": x}, x) for x in np.linspace(0, 1, count).tolist()])
        assert (said in report(history)) == (count > 800)


@attrs.define
class Descent:
    """Reports a falling curve, and can resume."""

    evidence = "curve"
    resumable = True
    steps = 27

    def evaluate(self, trial: TrialContext) -> Iterator[Report]:
        for step in range(trial.resume_step + 1, self.steps + 1):
            yield Report(step, trial.params["x"] + 1 / step)


def test_paused_trials_are_drawn_with_their_reported_values() -> None:
    rule = {"use": "asha", "mode": "promote"}
    study = Study({"x": Float(0, 1)}, sampler="random", seed=0, stop=rule)
    study.run(Descent(), trials=12)
    paused = [trial for trial in study.trials if trial.state == "paused"]
    assert len(paused) > 5
    shown = figures(study.history)
    trace = {trace.name: trace for trace in shown["Optimisation history"].data}["paused"]
    assert list(zip(trace.x, trace.y, strict=True)) == [(t.number, t.reports[-1].value) for t in paused]
    curves = [trace for trace in shown["Learning curves"].data if trace.name == "stopped or paused"]
    assert [list(trace.y) for trace in curves] == [[r.value for r in t.reports] for t in paused if len(t.reports) > 1]


def test_the_page_sets_both_text_and_background_colour() -> None:
    style = report(three_objectives()).partition("<style>")[2].partition("</style>")[0]
    assert "color: #222; background: #fff;" in style  # a reader's own colours may be light words on a dark ground


def wide_study(count: int) -> History:
    """Of 40 parameters only the last one, `p39`, matters."""
    names = [f"p{i}" for i in range(40)]
    points = np.random.default_rng(2).random((count, 40)).tolist()
    trials = [(dict(zip(names, point, strict=True)), point[-1]) for point in points]
    return make_history({name: Float(0, 1) for name in names}, trials)


def test_of_many_parameters_the_30_most_important_ones_are_drawn() -> None:
    history = wide_study(60)
    drawn, most = figures(history), list(importances(history))[:30]
    assert most[0] == "p39"
    expected = sorted(most, key=lambda name: int(name[1:]))
    slices, parallel = drawn["Each parameter"].layout, drawn["Parallel coordinates"]
    titles = [slices[f"xaxis{i or ''}"].title.text for i in (0, *range(2, 31))]
    assert titles == expected
    assert [text.partition("</b>")[0].removeprefix("<b>") for text in parallel.layout.xaxis.ticktext] == expected
    last = [y for trace in parallel.data for x, y in zip(trace.x, trace.y, strict=True) if x == len(expected) - 1]
    assert sorted(last) == sorted(round(trial.params["p39"], 4) for trial in history.trials)
    assert list(drawn["Parameter importances"].data[0].y) == most[::-1]
    texts = drawn["Optimisation history"].data[0].text
    assert all(text.count("<br>p") == 30 and text.endswith("and 10 more parameters") for text in texts)
    page = report(history)
    assert page.count("Only 30 of 40 parameters are drawn") == 3
    assert all(f"<dt>{name}</dt>" in page for name in history.space.columns)


def test_without_importances_the_first_30_of_many_parameters_are_drawn() -> None:
    texts = figures(wide_study(5))["Parallel coordinates"].layout.xaxis.ticktext
    assert [text.partition("</b>")[0] for text in texts] == [f"<b>p{i}" for i in range(30)]
