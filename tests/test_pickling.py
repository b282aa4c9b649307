"""What is pickled by value is the same after it was unpickled, and keeps the file and the lines of its source."""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpt_core import pickle_by_value

pytest.importorskip("cloudpickle")


def nested(denominator: float) -> Callable[[], float]:
    def calls() -> float:
        return sum(1 / value for value in [denominator])

    return calls


def trace(function: Callable[[], Any]) -> str:
    with pytest.raises(ZeroDivisionError) as caught:
        function()
    return "".join(traceback.format_tb(caught.value.__traceback__))


def test_a_nested_function_has_the_result_traceback_and_source_of_the_original() -> None:
    good, bad = pickle.loads(pickle_by_value((nested(4.0), nested(0.0))))
    assert good() == 0.25
    assert trace(bad) == trace(nested(0.0))
    assert "return sum(1 / value for value in [denominator])" in trace(bad)
    assert inspect.getsource(bad) == inspect.getsource(nested(0.0))


SCRIPT = """
import subprocess, sys
from hpt_core import pickle_by_value

class Model:
    def train(self, x):
        return 1 / x  # a comment in the script

load = "import pickle, sys; pickle.loads(sys.stdin.buffer.read()).train(0)"
done = subprocess.run([sys.executable, "-c", load], input=pickle_by_value(Model()), capture_output=True)
print(done.stderr.decode())
"""


def test_another_process_shows_the_lines_of_a_script(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    shown = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True).stdout
    assert f'File "{script}", line 7, in train\n    return 1 / x  # a comment in the script' in shown


def test_what_a_module_has_is_pickled_by_name() -> None:
    assert pickle.loads(pickle_by_value([inspect.getsource, Path])) == [inspect.getsource, Path]


def test_what_cannot_be_pickled_raises() -> None:
    with pytest.raises(TypeError, match="generator"):
        pickle_by_value(x for x in range(1))
