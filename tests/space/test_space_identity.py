"""What a space is: JSON form, hash, equality, pickling, repr, import cost."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import pickle
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given

from hpt_core.space.space import Categorical, Constant, Float, Int, Ordinal, Parameter, Space
from hpt_core.testing.strategies import parameters, spaces

EXAMPLE: dict[str, Any] = {
    "model": ["svm", "forest"],
    "C": {"low": 1e-3, "high": 1e3, "log": True, "when": {"model": "svm"}},
    "depth": {"low": 2, "high": 30, "step": 2, "default": 8, "when": {"model": ["forest"]}},
    "layers": {"choices": [[64], [64, 64]], "ordered": True},
    "seed": 0,
    "lr": {"type": "float", "low": 0, "high": 1},
}


def typed(value: Any) -> str:
    """A text that tells 1, 1.0 and True apart."""
    return json.dumps(value)


@given(spaces())
def test_json_there_and_back(space: Space) -> None:
    text = json.dumps(space.to_json(), allow_nan=False)
    back = Space.from_json(json.loads(text))
    assert back == space
    assert back.hash == space.hash
    assert hash(back) == hash(space)
    assert (back.names, back.order, back.columns) == (space.names, space.order, space.columns)
    assert typed(back.to_json()) == typed(space.to_json())
    assert typed(back.default()) == typed(space.default())


@given(spaces())
def test_pickle_and_copy_keep_everything(space: Space) -> None:
    for back in (pickle.loads(pickle.dumps(space)), copy.deepcopy(space), copy.copy(space)):
        assert back == space
        assert typed(back.to_json()) == typed(space.to_json())


@given(parameters())
def test_parameters_pickle_compare_and_hash(p: Parameter) -> None:
    back = pickle.loads(pickle.dumps(p))
    assert back == p
    assert hash(back) == hash(p)
    assert typed(back.to_json()) == typed(p.to_json())


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (Float(0, 1), "Float(0.0, 1.0)"),
        (Float(1, 2, log=True, step=0.5, default=1.5), "Float(1.0, 2.0, log=True, step=0.5, default=1.5)"),
        (Int(1, 9, step=3, log=True), "Int(1, 7, log=True, step=3)"),
        (Categorical("a", None, [1, 2], when={"b": True}), "Categorical('a', None, [1, 2], when={'b': [True]})"),
        (Ordinal(1, 2, default=2), "Ordinal(1, 2, default=2)"),
        (Constant([1, "x"]), "Constant([1, 'x'])"),
    ],
)
def test_the_repr_of_a_parameter_is_its_call(p: Parameter, text: str) -> None:
    assert repr(p) == text


def test_the_tables_name_their_type_and_leave_out_what_is_usual() -> None:
    assert Space(EXAMPLE).to_json() == {
        "model": {"type": "categorical", "choices": ["svm", "forest"]},
        "C": {"type": "float", "low": 1e-3, "high": 1e3, "log": True, "when": {"model": ["svm"]}},
        "depth": {"type": "int", "low": 2, "high": 30, "step": 2, "default": 8, "when": {"model": ["forest"]}},
        "layers": {"type": "ordinal", "choices": [[64], [64, 64]]},
        "seed": {"type": "constant", "value": 0},
        "lr": {"type": "float", "low": 0.0, "high": 1.0},
    }


def test_python_and_tables_say_the_same() -> None:
    written = {
        "model": Categorical("svm", "forest"),
        "C": Float(1e-3, 1e3, log=True, when={"model": "svm"}),
        "depth": Int(2, 31, step=2, default=8, when={"model": ["forest"]}),
        "layers": Ordinal([64], (64, 64)),
        "seed": Constant(0),
        "lr": Float(0, 1),
    }
    assert Space(written) == Space(EXAMPLE)


def test_order_type_and_content_count() -> None:
    space = Space(EXAMPLE)
    assert space != Space(dict(reversed(EXAMPLE.items())))
    assert space != EXAMPLE
    assert Categorical(0, 2) != Ordinal(0, 2)
    assert Categorical(0, 2) != Categorical(False, 2)
    assert Categorical(1, 2) != Categorical(1.0, 2.0)
    assert Constant(1) != Constant(True)
    assert Float(0, 1) != Int(0, 1)
    assert Float(0, 1) == Float(0.0, True * 1.0)
    assert Float(0, 1, step=0.3) == Float(0, 0.9, step=0.3)
    assert Float(0, 1) != Float(0, 1, default=0.5)
    assert Float(0, 1) != 3


def test_the_hash_is_the_same_in_every_process() -> None:
    code = "import json, sys; from hpt_core.space.space import Space; print(Space(json.loads(sys.argv[1])).hash)"
    found = set()
    for seed in ("0", "1", "4242"):
        env = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", code, json.dumps(EXAMPLE)], env=env, capture_output=True, text=True, check=True
        )
        found.add(done.stdout.strip())
    assert found == {Space(EXAMPLE).hash}


def test_the_hash_is_pinned() -> None:
    """SHA-256 of the canonical JSON; a change of it breaks resuming every stored study."""
    tables = Space(EXAMPLE).to_json()
    text = json.dumps({"names": list(tables), "parameters": tables}, sort_keys=True, separators=(",", ":"))
    assert Space(EXAMPLE).hash == hashlib.sha256(text.encode("ascii")).hexdigest()
    assert Space(EXAMPLE).hash == "16e3dc14fe2577fb1100b4f055a21de37c8980b95ecd3c8d45dc9e064b2ef17c"


def test_a_space_is_immutable() -> None:
    space = Space(EXAMPLE)
    with pytest.raises(TypeError):
        space.parameters["model"] = Int(1, 2)  # type: ignore[index]
    with pytest.raises(AttributeError):
        space.names = ("a",)  # type: ignore[misc]
    with pytest.raises(AttributeError):
        space["C"].low = 3.0  # type: ignore[attr-defined]
    with pytest.raises(TypeError):
        space["C"].when["model"] = ("forest",)  # type: ignore[index]
    declared = dict(EXAMPLE)
    other = Space(declared)
    declared["more"] = 3
    assert other == space


def test_it_reads_like_a_mapping() -> None:
    space = Space(EXAMPLE)
    assert len(space) == 6
    assert list(space) == list(EXAMPLE) == list(space.names)
    assert "C" in space
    assert "D" not in space
    assert space["C"].when == {"model": ("svm",)}
    assert space["model"].when == {}
    assert repr(Space({"a": [1, "x"], "b": Int(1, 9, log=True, when={"a": 1})})) == (
        "Space({'a': Categorical(1, 'x'), 'b': Int(1, 9, log=True, when={'a': [1]})})"
    )


def test_importing_it_loads_nothing_heavy() -> None:
    heavy = ("numpy", "scipy", "hashlib", "difflib", "hypothesis")
    code = f"import sys, hpt_core.space.space; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
