"""The page agrees with the history, a real browser draws it, and all names are escaped."""

from __future__ import annotations

import html
import json
import platform
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpt_core import Categorical, Failure, Float, History, Int, Stop, Study
from hpt_core.testing import make_history
from hpt_core.testing.strategies import histories
from hpt_report_html import figures, importances, report
from hpt_report_html.downsample import thinned

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
EVIL = "</script><script>document.title = 'taken over'</script><img src=x onerror=\"document.title='taken over'\">"
SPACE = {"lr": Float(1e-5, 1e-1, log=True), "act": Categorical("relu", EVIL), "units": Int(1, 9, when={"act": "relu"})}


def mixed(count: int = 30) -> History:
    """A study with every kind of trial: complete, failed, stopped, running; with curves."""
    rng = np.random.default_rng(0)
    points = [make_history(SPACE).space.sample(rng) for _ in range(count)]
    trials: list[tuple[Any, object]] = [(point, abs(np.log10(point["lr"]) + 3)) for point in points]
    trials[3] = (points[3], Failure("error", EVIL))
    trials[4] = (points[4], Stop("hopeless", {}, 4.5))
    reports = {n: [5.0, 4.0 + n] for n in range(count) if n != 3}
    return make_history(SPACE, trials, reports=reports, running=[{"lr": 1e-4, "act": EVIL}])


class Page(HTMLParser):
    """The texts of a page by element."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.path: list[str] = []
        self.found: dict[str, list[str]] = {}
        self.rows: list[list[str]] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag == "tr":
            self.rows.append([])
        if tag == "td":
            self.rows[-1].append("")
        self.path.append(dict(attrs).get("id") or tag)

    def handle_endtag(self, tag: str) -> None:
        self.path.pop()

    def handle_data(self, data: str) -> None:
        self.found.setdefault(self.path[-1] if self.path else "", []).append(data)
        if self.path and self.path[-1] == "td":
            self.rows[-1][-1] += data


def drawn(source: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads("".join(Page(source).found["figures"]))
    return found


def below(heading: str, page: str) -> str:
    """The part of a page from a heading to the next one."""
    return page.partition(f"<h2>{heading}</h2>")[2].partition("<h2>")[0].removesuffix("<section>\n")


def test_the_page_contains_the_figures_of_figures() -> None:
    history = mixed()
    page = report(history, "study")
    assert [figure["layout"] for figure in drawn(page).values()] == [
        json.loads(figure.to_json())["layout"] for figure in figures(history).values()
    ]
    titles = [html.escape(title) for title in figures(history)]
    assert re.findall(r'aria-label="([^"]+)"', page) == titles
    assert "Learning curves" in titles
    assert "Pareto front" not in titles


def test_the_best_so_far_is_the_running_minimum() -> None:
    history = mixed()
    trace = {trace.name: trace for trace in figures(history)["Optimisation history"].data}["best so far"]
    values = [trial.value if trial.state == "complete" else None for trial in history.trials]
    for x, y in zip(trace.x, trace.y, strict=True):
        assert y == min(value for value in values[: x + 1] if value is not None)
    assert trace.y[-1] == history.best.value if history.best else False


def test_the_best_so_far_of_a_maximised_objective_rises() -> None:
    history = make_history({"x": Float(0, 1)}, [({"x": x}, x) for x in (0.2, 0.1, 0.7, 0.4)], directions=("maximize",))
    trace = {trace.name: trace for trace in figures(history)["Optimisation history"].data}["best so far"]
    assert list(zip(trace.x, trace.y, strict=True)) == [(0, 0.2), (2, 0.7), (3, 0.7)]


def test_the_best_so_far_of_huge_values() -> None:
    values = [1.7e308, -1.7e308, 1.0, -1.75e308]
    history = make_history({"x": Float(0, 1)}, [({"x": i / 4}, value) for i, value in enumerate(values)])
    trace = {trace.name: trace for trace in figures(history)["Optimisation history"].data}["best so far"]
    assert list(zip(trace.x, trace.y, strict=True)) == [(0, 1.7e308), (1, -1.7e308), (3, -1.75e308), (3, -1.75e308)]


def test_failed_trials_are_crosses_at_the_edge_whatever_the_values() -> None:
    outcomes = [0.5, Failure("error", EVIL), 0.25, Failure("timeout", "late")]
    history = make_history({"x": Float(0, 1)}, [({"x": 0.5}, outcome) for outcome in outcomes])
    figure = figures(history)["Optimisation history"]
    crosses = {trace.name: trace for trace in figure.data}["failed"]
    assert (list(crosses.x), list(crosses.text)) == ([1, 3], ["trial 1: error", "trial 3: timeout"])
    assert crosses.yaxis == "y2"
    assert list(crosses.y) == [0, 0]
    low, high = figure.layout.yaxis2.range
    assert 0.02 < -low / (high - low) < 0.05
    assert "trials that failed" in below("Optimisation history", report(history))
    del outcomes[1::2]
    history = make_history({"x": Float(0, 1)}, [({"x": 0.5}, outcome) for outcome in outcomes])
    assert "trials that failed" not in report(history)


def test_of_many_failed_trials_at_most_800_are_crosses() -> None:
    history = make_history({"x": Float(0, 1)}, [({"x": 0.5}, 1.0), *[({"x": 0.5}, Failure("error", "no"))] * 900])
    crosses = {trace.name: trace for trace in figures(history)["Optimisation history"].data}["failed"]
    assert 400 < len(crosses.x) == len(crosses.y) == len(crosses.text) <= 800
    assert crosses.x[-1] > 890


@pytest.mark.parametrize(("trials", "text"), [(10, "20.0 s"), (2000, "1:06:40")])
def test_the_duration_is_readable(trials: int, text: str) -> None:
    history = make_history({"x": Float(0, 1)}, [({"x": 0.5}, 1.0)] * trials)  # each takes two seconds
    assert f"<dt>duration</dt><dd>{text}; processes: 1</dd>" in report(history)


def test_a_timeline_that_is_cut_says_so() -> None:
    history = make_history({"x": Float(0, 1)}, [({"x": 0.5}, float(n)) for n in range(2001)])
    (bars,) = figures(history)["Timeline"].data
    assert len(bars.y) == 2000
    assert "Only the last 2000 bars are drawn." in below("Timeline", report(history))


def test_each_parameter_has_its_own_scale_and_only_the_trials_where_it_is_active() -> None:
    history = mixed()
    figure = figures(history)["Each parameter"]
    axes = [figure.layout.xaxis.type, figure.layout.xaxis2.type, figure.layout.xaxis3.type]
    assert dict(zip(history.space.columns, axes, strict=True)) == {"lr": "log", "act": "category", "units": "linear"}
    with_units = [history.trials[n] for n in history.complete if "units" in history.trials[n].params]
    place = list(history.space.columns).index("units")
    assert list(figure.data[place].x) == [trial.params["units"] for trial in with_units]
    assert list(figure.data[place].y) == [trial.value for trial in with_units]


def test_reports_of_folds_are_not_called_a_learning_curve() -> None:
    trials = [({"x": x}, x) for x in (0.1, 0.9)]
    history = make_history({"x": Float(0, 1)}, trials, reports={0: [0.0, 0.2], 1: [1.0, 0.8]}, evidence="folds")
    assert "Learning curves" not in figures(history)
    worse, best = figures(history)["Folds"].data
    assert (list(best.x), list(best.y), list(worse.y)) == ([1, 2], [0.0, 0.2], [1.0, 0.8])


def test_the_front_of_two_objectives_is_shown() -> None:
    points = [({"x": x}, (x, (x - 0.5) ** 2)) for x in (0.1, 0.3, 0.5, 0.7, 0.9)]
    history = make_history({"x": Float(0, 1)}, points, directions=("minimize", "minimize"))
    traces = {trace.name: trace for trace in figures(history)["Pareto front"].data}
    assert list(traces["front"].x) == [0.1, 0.3, 0.5]  # those beyond 0.5 are dominated
    assert "<h2>Front</h2>" in report(history)


def test_trials_that_violate_a_constraint_are_distinguished() -> None:
    points = [({"x": x}, {"value": x, "ms": 100 * x}) for x in (0.2, 0.4, 0.9)]
    history = make_history({"x": Float(0, 1)}, points, constraints={"ms": ">= 30"})
    traces = {trace.name: trace for trace in figures(history)["Optimisation history"].data}
    assert list(traces["violates a constraint"].x) == [0]
    assert list(traces["best so far"].y) == [0.4, 0.4]


def test_predictions_are_drawn_against_results() -> None:
    study = Study({"x": Float(0, 1)}, sampler="bayes", seed=0)
    study.run(lambda params: params["x"] ** 2, trials=8)
    trace = figures(study.history)["Predicted and observed"].data[0]
    predicted = [trial for trial in study.trials if "mean" in trial.info]
    assert list(trace.x) == [trial.info["mean"] for trial in predicted]
    assert list(trace.y) == [trial.value for trial in predicted]


def test_importances_are_also_listed_as_text() -> None:
    points = [({"x": x, "y": y}, (x, y)) for x in np.linspace(0, 1, 6) for y in np.linspace(0, 1, 6)]
    history = make_history({"x": Float(0, 1), "y": Float(0, 1)}, points, directions=("minimize", "maximize"))
    texts = " ".join(Page(report(history)).found["dd"])
    for objective in history.objectives:
        for share in importances(history, objective).values():
            assert f"{objective}: {share.mean:.1%} \u00b1 {share.sd:.1%}" in texts


def test_the_page_has_the_definition_of_the_study_and_the_software_of_the_run() -> None:
    study = Study({"x": Float(0, 1)}, sampler={"use": "random", "method": "sobol"}, seed=7)
    study.run(lambda params: params["x"], trials=2)
    provenance = report(study.history).partition("<h2>Provenance</h2>")[2]
    found = {term: html.unescape(text) for term, text in re.findall("<dt>(.*?)</dt><dd>(.*?)</dd>", provenance)}
    assert json.loads(found["space"]) == {"x": {"type": "float", "low": 0.0, "high": 1.0}}
    assert found["seed"] == "7"
    assert json.loads(found["sampler"]).items() >= {"use": "random", "method": "sobol"}.items()
    assert json.loads(found["evaluator"])["use"] == "function"
    assert "stop" not in found
    assert f"numpy {np.__version__}" in found["software"].split(", ")
    assert found["Python"] == f"{platform.python_version()} on {platform.platform()}"


def test_a_study_has_not_ended_while_a_trial_runs_that_was_started_later() -> None:
    study = Study({"x": Float(0, 1)}, sampler="random", seed=7)
    study.run(lambda params: params["x"], trials=2)
    assert "all 2 trials were started" in report(study.history)
    study.ask()
    assert "all 2 trials were started" not in report(study.history)


def failed_with(*failures: Failure, more: int = 0) -> str:
    """The part of a page about these failures and that many others, all of different kinds."""
    others = [Failure("error", "x" * (i + 1)) for i in range(more)]
    trials = [({"x": 0.5}, failure) for failure in [*failures, *others]]
    return below("Failures", report(make_history({"x": Float(0, 1)}, trials)))


def test_failures_are_counted_by_kind_and_message_whatever_the_numbers_in_it() -> None:
    memory = [Failure("out-of-memory", f"The trial used {mb} MB.") for mb in (812.5, 1024)]
    asked = [Failure("error", f"OutOfMemoryError: tried to allocate {mb} MiB") for mb in (20, 44, 7)]
    late = Failure("timeout", "The trial used 3 MB.")
    odd = [Failure("error", f"<Model at {at}>: log of {x}") for at, x in (("0x7f1A", "-1.5E-07"), ("0xff", "0"))]
    header, *rows = Page(failed_with(memory[0], *asked, memory[1], late, *odd)).rows
    assert not header
    assert rows == [
        ["3", "error", "OutOfMemoryError: tried to allocate 7 MiB", "3"],
        ["2", "out-of-memory", "The trial used 1024 MB.", "4"],
        ["2", "error", "<Model at 0xff>: log of 0", "7"],
        ["1", "timeout", "The trial used 3 MB.", "5"],
    ]


def test_failures_of_invalid_trials_are_left_out() -> None:
    study = Study({"x": Float(0, 1)}, sampler="random", seed=0)
    for number in range(2):
        study.tell(study.ask(), Failure("error", f"of trial {number + 1}"))
    study.invalidate(0, "a wrong data set")
    assert "<td>1</td><td>error</td><td>of trial 2</td><td>1</td>" in report(study.history)


def test_many_failures_and_long_messages_are_cut() -> None:
    part = failed_with(*[Failure("error", "m" * 1999)] * 2, more=30)
    _, first, *others = Page(part).rows
    assert first == ["2", "error", "m" * 300 + "\u2026", "1"]
    assert len(others) == 19
    assert "11 more kinds of failure are not listed." in part
    assert "more kinds" not in failed_with(more=20)


def test_without_failures_the_page_does_not_mention_any() -> None:
    assert "<h2>Failures</h2>" not in report(make_history({"x": Float(0, 1)}, [({"x": 0.5}, 1.0)]))


def test_a_message_that_is_not_unicode_can_be_written() -> None:
    assert "No file &#39;a?b&#39;" in failed_with(Failure("error", "No file 'a\udcffb'")).encode().decode()


def test_the_table_lists_the_best_trials_first() -> None:
    history = mixed()
    header, *rows = Page(below("Trials", report(history))).rows
    assert not header
    assert len(rows) == len(history.trials)
    values = [float(row[2]) for row in rows if row[1] == "complete"]
    assert values == sorted(values)
    assert {row[3 + list(history.space.columns).index("act")] for row in rows} == {"relu", EVIL}


def test_the_best_of_a_maximised_objective_come_first_and_an_invalid_trial_is_no_result() -> None:
    study = Study({"x": Float(0, 1)}, objective={"score": "maximize", "size": "minimize"}, sampler="random")
    for values in ((0.5, 5.0), (0.9, 1.0), (0.7, 7.0), (0.6, 6.0)):  # all but the second are on the front
        study.add_trial({"x": values[0]}, values)
    study.add_trial({"x": 0.1}, Failure("error", ""))
    study.invalidate(1, "a bug")
    page, shown = report(study.history), figures(study.history)
    assert [row[0] for row in Page(below("Front", page)).rows[1:]] == ["2", "3", "0"]
    states = [("2", "complete"), ("3", "complete"), ("0", "complete"), ("1", "invalid"), ("4", "failed")]
    assert [tuple(row[:2]) for row in Page(below("Trials", page)).rows[1:]] == states
    traces = {trace.name: trace for trace in shown["Optimisation history"].data}
    assert list(traces["complete"].x) == list(shown["Hypervolume"].data[0].x) == [0, 2, 3]
    assert list(zip(traces["best so far"].x, traces["best so far"].y, strict=True)) == [(0, 0.5), (2, 0.7), (3, 0.7)]


def test_a_choice_none_differs_from_an_inactive_parameter() -> None:
    space = {"a": Categorical(None, "some"), "b": Float(0, 1, when={"a": "some"})}
    _, row = Page(report(make_history(space, [({"a": None}, 1.5)]))).rows
    assert row == ["0", "complete", "1.5", "None", ""]


@st.composite
def studies(draw: st.DrawFn) -> History:
    """Studies in any state, on any space, with one to four objectives."""
    ways = draw(st.sampled_from([("maximize",), ("minimize",), ("minimize", "maximize", "minimize", "minimize")]))
    directions = ways[: draw(st.integers(1, len(ways)))]
    evidence, bounds = draw(st.sampled_from(["curve", "folds"])), draw(st.sampled_from([None, {"ms": "<= 0"}]))
    return draw(histories(directions=directions, evidence=evidence, constraints=bounds, max_trials=25))


@settings(max_examples=30)
@given(studies())
def test_every_study_has_a_page_with_all_its_trials(history: History) -> None:
    rows = Page(below("Trials", report(history))).rows[1:]
    assert sorted(int(row[0]) for row in rows) == [trial.number for trial in history.trials]


def test_an_empty_study_has_a_page() -> None:
    page = report(make_history({"x": Float(0, 1)}))
    assert drawn(page) == {}
    assert "No trial has succeeded." in page


def test_thinning_keeps_the_best_points() -> None:
    losses = np.random.default_rng(0).random(5000)
    kept = thinned(range(5000), losses)
    assert len(kept) == 800
    assert kept == sorted(set(kept))
    assert set(np.argsort(losses)[:200].tolist()) <= set(kept)
    assert thinned(range(5), losses[:5]) == [0, 1, 2, 3, 4]


def test_names_are_escaped() -> None:
    page = report(mixed(), EVIL)
    own = page.index('<script type="application/json"')
    assert "<script" not in page[:own]
    assert "<img" not in page[:own]
    data = page[own:].partition("</script>")[0]
    assert "<" not in data.removeprefix("<script")
    assert "taken over" in data


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
def test_a_browser_draws_all_figures_and_runs_no_other_script(tmp_path: Path) -> None:
    history = mixed()
    page = tmp_path / "report.html"
    page.write_text(report(history, "a study"), encoding="utf-8")
    flags = ["headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking"]
    flags += ["disable-component-update", "disable-sync", f"user-data-dir={tmp_path / 'profile'}", "dump-dom"]
    command = [str(CHROMIUM), *(f"--{flag}" for flag in flags), "--virtual-time-budget=10000", page.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert "<title>a study</title>" in dom
    for index in range(1, len(figures(history)) + 1):
        place = dom.split(f'id="figure-{index}"')[1].partition("</figure>")[0]
        assert 'class="main-svg"' in place
