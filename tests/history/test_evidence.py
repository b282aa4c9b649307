"""The aggregated reports of a trial, against numpy's mean and last row."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpt_core import Report
from hpt_core.history.evidence import estimate

REPORTS = st.lists(st.tuples(st.floats(-10, 10), st.none() | st.floats(-10, 10)), max_size=4)


@given(REPORTS, st.sampled_from(["curve", "folds"]))
def test_the_estimate_is_the_last_report_or_the_mean(given: list[tuple[float, float | None]], kind: str) -> None:
    reports = [Report(i, a, {} if b is None else {"b": b}) for i, (a, b) in enumerate(given, start=1)]
    found = estimate(kind, reports, ["b"])
    if not given or any(b is None for _, b in given):
        assert found is None
        return
    table = np.array(given, dtype=float)
    expected = table[-1] if kind == "curve" else table.mean(axis=0)
    assert found == pytest.approx(tuple(expected))
