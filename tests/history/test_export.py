"""Rows and summaries of a history, against its trials."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from hpt_core import Categorical, Failure, Float, Report, Space, UsageError
from hpt_core.history import events
from hpt_core.history.definition import parse_objectives
from hpt_core.history.export import default_trial, row, rows, summary, to_dataframe
from hpt_core.testing import make_history

if TYPE_CHECKING:
    from hpt_core.history.history import History

SPACE = Space({"x": Float(0, 1, default=0.25), "c": Categorical("a", "b"), "d": Float(0, 1, when={"c": "b"})})
TRIALS: list[tuple[dict[str, Any], Any]] = [
    ({"x": 0.25, "c": "a"}, 3.0),
    ({"x": 0.5, "c": "b", "d": 0.75}, 1.0),
    ({"x": 0.75, "c": "a"}, Failure("timeout", "too long", "stderr")),
    ({"x": 0.125, "c": "a"}, None),
]


def history_of(**more: Any) -> History:
    return make_history(SPACE, TRIALS, reports={1: [Report(1, 2.0), Report(4, 1.0)]}, **more)


def test_a_row_is_flat_and_complete() -> None:
    history = history_of()
    found = row(history, history.trials[1])
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    expected = {"number": 1, "state": "complete", "value": 1.0, "params.x": 0.5, "params.c": "b", "params.d": 0.75}
    expected |= {"partial": False, "reason": "", "rule": "", "failure_kind": "", "failure_message": "", "invalid": None}
    expected |= {"started": 3.0, "ended": 6.0, "duration": 3.0, "steps": 4, "source": "sampler", "attempt": 1}
    assert found == expected | {"worker": "worker"}


def test_no_objective_may_have_the_name_of_a_column() -> None:
    history = history_of(constraints={"value": "<= 9"})
    for column in row(history, history.trials[0]).keys() - set(history.objectives):
        if not column.startswith("params."):
            with pytest.raises(UsageError, match="every trial has that column"):
                parse_objectives({column: "minimize"})


def test_every_trial_has_a_row_with_the_same_columns() -> None:
    found = rows(history_of())
    assert [r["number"] for r in found] == [0, 1, 2, 3]
    assert [r["value"] for r in found] == [3.0, 1.0, None, None]
    assert [r["params.d"] for r in found] == [None, 0.75, None, None]
    assert [r["failure_kind"] for r in found] == ["", "", "timeout", ""]
    assert len({tuple(r) for r in found}) == 1


def test_metrics_and_parameters_of_an_earlier_space_have_columns() -> None:
    history = history_of()
    history.apply(events.complete(9.0, 3, 1, [2.0], {"f1": 0.5}))
    narrow = dict(history.definition) | {"space": Space({"x": Float(0, 1)}).to_json()}
    history.apply(events.amended(9.0, narrow, []))
    found = row(history, history.trials[3])
    assert (found["metrics.f1"], found["params.c"]) == (0.5, "a")


def test_the_summary_counts_and_names_the_best() -> None:
    history = history_of()
    history.apply(events.study_stopped(9.0, 8, "target", "reached", {}))
    history.apply(events.note(9.0, "conclusion", {"trial": 1}))
    found = summary(history)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["states"] == {"complete": 2, "failed": 1, "running": 1}
    assert found["failures"] == {"timeout": 1}
    assert (found["trials"], found["invalid"], found["stopped"]) == (4, 0, "reached")
    assert found["best"]["number"] == 1
    assert found["default"]["number"] == 0
    assert found["notes"] == {"conclusion": {"trial": 1}}
    assert found["front"] is None


def test_a_study_in_which_a_trial_was_started_since_has_not_ended_whatever_the_clocks_say() -> None:
    history = history_of()
    history.apply(events.study_stopped(9.0, 8, "budget", "all 4 trials were started", {}))
    history.apply(events.joined(5.0, "behind:1:1", {}))  # on a machine whose clock is behind
    assert summary(history)["stopped"] == "all 4 trials were started"
    history.apply(events.started(6.0, 4, TRIALS[0][0], "behind:1:1/1", 1, history.position))
    assert summary(history)["stopped"] is None
    history.apply(events.complete(7.0, 4, 1, [2.0], {}))  # and then its process was killed
    assert summary(history)["stopped"] is None
    history.apply(events.study_stopped(8.0, history.position, "budget", "all 5 trials were started", {}))
    assert summary(history)["stopped"] == "all 5 trials were started"


def test_several_objectives_have_a_front_and_no_best() -> None:
    history = make_history(
        SPACE, [(TRIALS[0][0], (1.0, 2.0)), (TRIALS[1][0], (2.0, 1.0))], directions=("minimize",) * 2
    )
    found = summary(history)
    assert found["best"] is None
    assert [r["number"] for r in found["front"]] == [0, 1]


def test_an_empty_study_has_a_summary() -> None:
    found = summary(make_history(SPACE))
    assert (found["trials"], found["best"], found["default"], found["stopped"]) == (0, None, None, None)


def test_the_default_counts_only_once_it_is_complete() -> None:
    assert default_trial(make_history(SPACE, running=[TRIALS[0][0]])) is None
    assert default_trial(make_history(SPACE, [(TRIALS[0][0], Failure("error", "no"))])) is None


def test_a_data_frame_has_the_rows_and_times_in_utc() -> None:
    frame = to_dataframe(history_of())
    assert frame["params.x"].tolist() == [0.25, 0.5, 0.75, 0.125]
    assert str(frame["started"].dt.tz) == "UTC"
    assert frame["ended"].isna().tolist() == [False, False, False, True]


@pytest.mark.parametrize("bounds", [{}, {"value": "<= 9"}])
def test_the_columns_of_a_study_without_trials_are_those_of_its_first_row(bounds: dict[str, str]) -> None:
    frame = to_dataframe(make_history(SPACE, constraints=bounds))
    assert len(frame) == 0
    assert [*frame] == [*to_dataframe(history_of(constraints=bounds))]
    assert str(frame["started"].dt.tz) == "UTC"


def test_a_data_frame_can_hold_a_message_with_a_file_name_that_is_not_unicode() -> None:
    failure = Failure("error", "cannot read \udcff.csv")  # as `os.fsdecode` gives a byte that is not UTF-8
    history = make_history(
        SPACE, [({"x": 0.5, "c": "a"}, failure), ({"x": 0.25, "c": "a"}, {"value": 1.0, "\udcff": 2.0})]
    )
    frame = to_dataframe(history)
    assert frame["failure_message"].tolist() == [r"cannot read \udcff.csv", ""]
    assert frame[r"metrics.\udcff"].tolist()[1] == 2.0


def test_without_pandas_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError, match="needs pandas: pip install pandas"):
        to_dataframe(history_of())
