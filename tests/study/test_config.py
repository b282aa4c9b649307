"""Study files: what they say, all mistakes at once, and nothing but usage errors whatever is in them."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpt_core import Constant, Mistake, Space, StoppingRule, Study, UsageError, option
from hpt_core.builtin.function import FunctionEvaluator
from hpt_core.builtin.memory import MemoryStore
from hpt_core.study.config import make_study, put_over, read_study_file
from hpt_core.study.settings import RunSettings

WHOLE = """
    name = "digits"
    objective = { accuracy = "maximize" }
    seed = 3
    trials = 7
    workers = 2
    duplicates = "allow"
    reproducible = true
    retries = 0
    max_failures = 5
    trial_timeout = 10

    [space]
    model = ["svm", "forest"]
    C = { low = 1e-3, high = 1e3, log = true, when = { model = "svm" } }
    depth = { low = 2, high = 30, when = { model = "forest" } }

    [evaluator]
    use = "function"
    call = "math:fsum"

    [store]
    use = "memory"
"""


@pytest.fixture(autouse=True)
def same_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))


def written(folder: Path, text: str, name: str = "study.toml") -> Path:
    path = folder / name
    path.write_text(textwrap.dedent(text))
    return path


def made(data: Mapping[str, Any], folder: Path) -> tuple[Study, RunSettings]:
    return make_study(data, folder=folder)


def mistakes_of(data: Mapping[str, Any]) -> list[str]:
    with pytest.raises(UsageError) as refused:
        made(data, Path())
    return [str(mistake) for mistake in refused.value.mistakes]


def minimal(**more: Any) -> dict[str, Any]:
    return {"space": {"x": [1, 2]}, "evaluator": {"use": "function", "call": "math:fsum"}, "name": "m"} | more


# --- what it says ---------------------------------------------------------------------------------


def test_a_setting_of_the_study_below_space_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    space = {"x": [1, 2], "trials": 5, "objective": "maximize", "workers": 2, "seed": [1, 2], "store": {"value": 1}}
    study, settings = made(minimal(space=space, workers=1), tmp_path)
    assert settings.trials is None
    assert study.space.parameters["trials"] == Constant(5)
    remedy = "was meant, set it above the first [table] of the file."
    assert [record.getMessage() for record in caplog.records] == [
        f"space.trials is a parameter that is always 5. If the study's `trials` {remedy}",
        f"space.objective is a parameter that is always 'maximize'. If the study's `objective` {remedy}",
    ]


def test_a_range_that_a_step_leaves_with_one_value_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    space = {
        "x": {"low": -5.0, "high": 5.0, "step": 20},
        "n": {"low": 1, "high": 4, "step": 9},
        "reached": {"low": 0, "high": 4, "step": 4},
        "meant": {"low": 3, "high": 3, "step": 2},
        "one": [3],
        "c": {"choices": [1, 2]},
    }
    study, _ = made(minimal(space=space), tmp_path)
    told = [
        "Float(-5.0, 5.0, step=20.0) is always -5.0: its step is larger than high - low.",
        "Int(1, 4, step=9) is always 1: its step is larger than high - low.",
    ]
    assert [record.getMessage() for record in caplog.records] == told
    assert Space.from_json(study.space.to_json()) == study.space  # as a resumed study reads it
    assert [record.getMessage() for record in caplog.records] == told


def test_a_study_file_becomes_a_study(tmp_path: Path) -> None:
    study, run = made(read_study_file(written(tmp_path, WHOLE)), tmp_path)
    assert run == RunSettings(trials=7, workers=2)
    assert (study.name, study.objectives) == ("digits", {"accuracy": "maximize"})
    assert study.space.names == ("model", "C", "depth")
    assert study.evaluator == FunctionEvaluator(call="math:fsum")
    assert isinstance(study.store, MemoryStore)
    kept = study.settings
    assert (kept.seed, kept.duplicates, kept.reproducible, kept.retries) == (3, "allow", True, 0)
    assert (kept.max_failures, kept.trial_timeout) == (5, 10.0)


def test_little_is_needed(tmp_path: Path) -> None:
    text = '[space]\nx = { low = 0.0, high = 1.0 }\n[evaluator]\nuse = "function"\ncall = "own_loss:loss"\n'
    (tmp_path / "own_loss.py").write_text("def loss(params):\n    return params['x']\n")
    study, run = made(read_study_file(written(tmp_path, text, "my-study.toml")), tmp_path)
    assert study.name == "my-study"
    assert run == RunSettings(None, 1)
    study.run(trials=2)  # the module lies beside the file
    assert [t.value for t in study.trials] == [t.params["x"] for t in study.trials]


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("seed=9", ("seed",), 9),
        ("trials = 12", ("trials",), 12),
        ("name=other", ("name",), "other"),
        ('name="3"', ("name",), "3"),
        ("space.C.high=10.0", ("space", "C", "high"), 10.0),
        ("space.model=['svm', 'knn']", ("space", "model"), ["svm", "knn"]),
        ("space.new={low = 0, high = 4}", ("space", "new"), {"low": 0, "high": 4}),
        ("sampler.use=grid", ("sampler", "use"), "grid"),
        ('space."svc.C".high=10.0', ("space", "svc.C", "high"), 10.0),
        ("space.'a b'=5", ("space", "a b"), 5),
        ("space.a b=5", ("space", "a b"), 5),
        ("evaluator.call=my.module:f=g", ("evaluator", "call"), "my.module:f=g"),
        ("reproducible=false", ("reproducible",), False),
        ("note=", ("note",), ""),
        ("note='[['", ("note",), "[["),
        ("seed=" + "1" * 5000, ("seed",), "1" * 5000),
    ],
)
def test_an_override_is_put_over_the_file(tmp_path: Path, override: str, path: tuple[str, ...], value: Any) -> None:
    found: Any = read_study_file(written(tmp_path, WHOLE), [override])
    for step in path:
        found = found[step]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("override", ["", "seed", "=3", ".=3", "a..b=3", "seed.x=3", "name.x.y=3"])
def test_an_override_that_fits_nowhere_is_refused(tmp_path: Path, override: str) -> None:
    with pytest.raises(UsageError):
        read_study_file(written(tmp_path, WHOLE), [override])


@pytest.mark.parametrize(
    "value",
    [
        *("{values=[1, 2}", "[0.1, x]", "{ low = 0, high = 1, log = yes }", "{low:1,high:2}", '{"low": 1, "high": 2}'),
        *(
            "{low=1, high=2",
            "{low=1 high=2}",
            "{low=1,}",
            "{",
            "[1,2",
            "[",
            "[True, False]",
            "[x] --lr={lr}",
            "[" * 199,
        ),
    ],
)
def test_an_override_that_is_almost_toml_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(UsageError, match=r"The value of the override space\.q looks like TOML but is not: ") as refused:
        read_study_file(written(tmp_path, WHOLE), [f"space.q={value}"])
    assert str(refused.value).endswith(f". Quote a text that begins with {value[0]!r}. Got {value}.")
    assert "column" not in str(refused.value)  # it would not be a column of the value


def test_an_override_of_thousands_of_brackets_is_refused_in_short() -> None:
    with pytest.raises(UsageError, match=r"looks like TOML but is not") as refused:
        put_over({}, "note=" + "[" * 5000)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("value", ["{program} --lr={lr}", "{low}={high}", "{svc.C} {a b}", "run {lr:.3}"])
def test_an_override_with_the_placeholders_of_a_command_is_a_text(tmp_path: Path, value: str) -> None:
    assert read_study_file(written(tmp_path, WHOLE), [f"evaluator.command={value}"])["evaluator"]["command"] == value


def test_what_is_no_table_is_set_as_a_whole() -> None:
    with pytest.raises(UsageError, match=r"stop is not a table. It is a list; set it as a whole: stop=\[...\]"):
        put_over({"stop": [{"use": "time"}]}, "stop.use=trials")
    with pytest.raises(UsageError, match=r"sampler is not a table. It is 'bayes'; set it as a whole: sampler=\{...\}"):
        put_over({"sampler": "bayes"}, "sampler.n_initial=3")


def test_a_key_without_a_name_is_shown() -> None:
    assert mistakes_of(minimal(**{"": 1}))[0].startswith('"": A study file has no such key.')


# --- files that are none --------------------------------------------------------------------------


def test_there_must_be_a_file(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.toml", tmp_path):
        with pytest.raises(UsageError, match="Cannot read the study file"):
            read_study_file(path)


@pytest.mark.parametrize("name", ["churn", "chrun.toml", "churn.tml"])
def test_a_misspelt_study_file_is_suggested(tmp_path: Path, name: str) -> None:
    (tmp_path / "churn.toml").touch()
    with pytest.raises(UsageError, match=r"No such file or directory\. Did you mean 'churn.toml'\?$"):
        read_study_file(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("churn", r"Is a directory\. Did you mean 'churn.toml'\?"),
        ("folder.toml", r"Is a directory\."),
        ("folders.toml", r"Is a directory\."),
        (f"{'c' * 300}/churn", r"File name too long\."),
    ],
)
def test_a_study_file_is_suggested_only_if_it_is_another_file(tmp_path: Path, name: str, said: str) -> None:
    for folder in ("churn", "folder.toml", "folders.toml"):
        (tmp_path / folder).mkdir()
    for file in ("churn.toml", "folds.toml"):
        (tmp_path / file).touch()
    with pytest.raises(UsageError, match=rf": {said}$"):
        read_study_file(tmp_path / name)


@pytest.mark.parametrize(
    "content",
    [
        *(
            b"x = ",
            b"[a\n",
            b"a = 1\na = 2\n",
            b"\xff\xfe",
            b"a = \x00",
            b"a.b = 1\na = 2\n",
            "ä = 1".encode("latin-1"),
        ),
        *(b"x = " + b"[" * 100_000, b"x = " + b"{a=" * 50_000, b"x = " + b"1" * 5000),
    ],
    ids=range(10),
)
def test_what_is_no_toml_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "study.toml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="is not valid TOML"):
        read_study_file(path)


@pytest.mark.parametrize(
    ("content", "hinted"),
    [
        ("x = { low = 0, high = 1,\n  log = true }", True),
        ("\r\nx = { low = 0,\r\n  high = 1 }", True),
        ("x = {\n  low = 0,\n  high = 1\n}", True),
        ("x = { low = 0, high = 1\n}", True),
        ("x = { low = 0, high = 1, }", True),
        ("a = { b = 1 }\n= 3", False),
        ("x = { low = 0 high = 1 }", False),
        ("x = { low = 0, = 1 }", False),
        ("x = { low = 0,  # the least\n high = 1 }", True),
        ("x = {\n", True),
        ("x = { low = 0", False),
    ],
)
def test_a_table_in_braces_over_several_lines_is_told(tmp_path: Path, content: str, hinted: bool) -> None:
    with pytest.raises(UsageError, match="is not valid TOML") as refused:
        read_study_file(written(tmp_path, content))
    hint = " A table in braces { ... } must be in one line, without a comma after its last value."
    assert str(refused.value).endswith(hint) == hinted


@pytest.mark.parametrize("content", [b"\xef\xbb\xbfseed = 1\n", b"seed = 1\r\n", b"\xef\xbb\xbfseed = 1\r\n# \xc3\xa4"])
def test_a_file_from_an_editor_on_windows_is_read(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "study.toml"
    path.write_bytes(content)
    assert read_study_file(path) == {"name": "study", "seed": 1}


def test_text_in_another_encoding_is_distinguished_from_bad_toml(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_bytes("seed = 1".encode("utf-16"))  # as the shell of Windows writes it
    with pytest.raises(UsageError, match="must be UTF-8 text, but byte 0 is not"):
        read_study_file(path)


def test_a_file_of_many_megabytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_bytes(b"#" * (1 << 20))
    assert read_study_file(path) == {"name": "study"}
    path.write_bytes(b"#" * ((1 << 20) + 1))
    with pytest.raises(UsageError, match="too large: the limit is 1,048,576 bytes"):
        read_study_file(path)


# --- mistakes -------------------------------------------------------------------------------------


def test_all_mistakes_are_told_at_once_with_their_place() -> None:
    data = {
        "sede": 3,
        "seed": -1,
        "trials": 0,
        "workers": "2",
        "duplicates": "never",
        "objective": {"accuracy": "max"},
        "space": {"x": {"low": 2, "high": 1}, "y": {"low": 1, "hgih": 2}, "z": []},
        "evaluator": {"use": "function", "steps": "3", "evidence": "fold"},
        "sampler": {"use": "no-such-sampler"},
        "store": {"use": "memory", "path": "x"},
        "stop": [{"use": "no-such-rule"}, {"uses": "x"}],
        "executor": {"use": "local", "hosts": 3},
    }
    paths = {mistake.partition(":")[0] for mistake in mistakes_of(data)}
    assert {"sede", "seed", "trials", "workers", "duplicates", "objective.accuracy"} <= paths
    assert {"evaluator.call", "evaluator.steps", "evaluator.evidence", "sampler.use", "store.path"} <= paths
    assert {"stop[0].use", "stop[1].use", "executor.hosts"} <= paths
    assert any(path.startswith("space.x") for path in paths)
    assert any(path.startswith("space.y") for path in paths)
    assert any(path.startswith("space.z") for path in paths)


@attrs.define
class Unfolded:
    """An evaluator whose data cannot be split, so that both its check and its steps fail."""

    @property
    def steps(self) -> int:
        raise UsageError(Mistake("evaluator.cv", "Cannot be split."))

    def check(self, space: Any, objectives: Any) -> None:
        assert self.steps

    def evaluate(self, trial: Any) -> float:
        return float(trial.params["x"])


def test_a_mistake_that_is_found_twice_is_told_once() -> None:
    assert mistakes_of(minimal(evaluator={"use": f"{__name__}:Unfolded"})) == ["evaluator.cv: Cannot be split."]


@attrs.define
class Particular:
    """An evaluator that knows one objective only."""

    def check(self, space: Any, objectives: Any) -> None:
        if set(objectives) != {"accuracy"}:
            raise UsageError(*(Mistake(f"objective.{name}", "There is no such score.") for name in objectives))

    def evaluate(self, trial: Any) -> float:
        return float(trial.params["x"])


@attrs.define
class Seeded:
    """A rule with an option that is also a key of a study."""

    seed: int = option(0, help="A seed.")

    def judge_study(self, history: Any) -> None:
        """Judge nothing."""


@attrs.define(kw_only=True)
class Choosy:
    """A rule that refuses every study."""

    inner: StoppingRule | None = option(None, help="Another rule.")

    def judge_study(self, history: Any) -> None:
        """Judge nothing."""

    def check(self, space: Any, objectives: Any) -> None:
        raise UsageError(Mistake("inner", f"Fits none of {[*space.names]}."), Mistake("", f"Not for {[*objectives]}."))


def test_mistakes_that_a_rule_finds_have_its_key_path() -> None:
    use = f"{__name__}:Choosy"
    rules = [{"use": "time", "limit": 9}, {"use": "after", "rule": {"use": use, "inner": {"use": use}}}]
    told = [
        f"stop[1].{path}: {message}"
        for rule in ("rule", "rule.inner")
        for path, message in ((f"{rule}.inner", "Fits none of ['x']."), (rule, "Not for ['value']."))
    ]
    data = minimal(stop=rules)
    assert mistakes_of(data) == told
    study = Study(data["space"], stop=rules)
    with pytest.raises(UsageError) as refused:
        study.run(lambda params: params["x"], trials=1)
    assert [str(mistake) for mistake in refused.value.mistakes] == told


def test_an_invalid_objective_has_no_further_mistakes() -> None:
    """The check would be about an objective that the user has not written."""
    data = minimal(evaluator={"use": f"{__name__}:Particular"})
    (told,) = mistakes_of(data | {"objective": "accuracy"})
    assert told.startswith("objective: Must be 'minimize', 'maximize' or a table")
    assert mistakes_of(data | {"objective": "minimize"}) == ["objective.value: There is no such score."]


LATE = {"use": f"{__name__}:Choosy", "trials": 5}


@pytest.mark.parametrize(
    ("table", "place"),
    [
        ({"stop": [LATE]}, "stop[0]"),
        ({"stop": {"use": f"{__name__}:Choosy", "inner": LATE}}, "stop.inner"),
        ({"store": {"use": "memory", "trials": 5}}, "store"),
        ({"evaluator": {"use": "function", "call": "math:fsum", "trials": 5}}, "evaluator"),
        ({"executor": {"use": "local", "trials": 5}}, "executor"),
    ],
)
def test_a_key_of_the_study_below_a_table_is_told_its_place(table: dict[str, Any], place: str) -> None:
    told = "There is no such option. If the study's `trials` was meant, set it above the first [table] of the file."
    mistakes = mistakes_of(minimal(seed="x", **table))
    assert f"{place}.trials: {told}" in mistakes
    assert len(mistakes) == 2


def test_an_option_with_the_name_of_a_key_of_the_study_is_an_option() -> None:
    assert mistakes_of(minimal(stop=[{"use": f"{__name__}:Seeded", "seed": "x"}])) == [
        "stop[0].seed: Must be an int. Got str 'x'."
    ]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"evaluator": {"use": "function", "call": "math:fsum"}}, "space: A study needs a [space] table"),
        ({"space": {"x": [1, 2]}}, "evaluator: A study needs an [evaluator] table"),
        (minimal(tirals=3), "tirals: A study file has no such key. Did you mean 'trials'?"),
        (minimal(seed="3"), "seed: Must be an int >= 0"),
        (minimal(seed=True), "seed: Must be an int >= 0"),
        (minimal(evaluator={"use": "function", "call": "no_such_mod:f"}), "evaluator.call: Cannot import"),
        (minimal(evaluator="math:fsum"), "evaluator.use: 'math:fsum' is not a class"),
        (minimal(evaluator=3), "evaluator: Must be an evaluator"),
        (minimal(stop={"use": "no-such"}), "stop.use: There is no stopping rule 'no-such'"),
        (minimal(space=3), "space"),
        (minimal(store="x.nothing-keeps-this"), "store: No store handles"),
        (
            minimal(objective="accuracy"),
            "objective: Must be 'minimize', 'maximize' or a table like { accuracy = \"maximize\" }. Got 'accuracy'.",
        ),
        (minimal(objective="min"), "objective: Must be 'minimize', 'maximize' or a table like"),
        (minimal(objective={"params.x": "minimize"}), "objective.params.x: An objective cannot be named 'params.x'"),
    ],
)
def test_one_mistake_is_told_well(data: dict[str, Any], said: str) -> None:
    assert any(mistake.startswith(said) for mistake in mistakes_of(data)), mistakes_of(data)


# --- anything at all ------------------------------------------------------------------------------

WORDS = st.sampled_from(
    [
        *("x", "use", "low", "high", "log", "step", "when", "choices", "value", "type", "default", "ordered"),
        *("function", "call", "memory", "local", "grid", "random", "bayes", "sqlite", "csv", "sklearn", "command"),
        *("minimize", "maximize", "math:fsum", "path", "n", "method", "float", "int", "categorical", "points", ""),
        *("plateau", "median", "any", "all", "after", "rules", "rule", "trials", "target", "time", "threshold", "\0"),
    ]
)
SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | WORDS | st.text(max_size=3)
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4), max_leaves=10
)
KEYS = (
    *("name", "seed", "duplicates", "reproducible", "retries", "max_failures", "trial_timeout", "space", "objective"),
    *("evaluator", "sampler", "store", "stop", "executor", "trials", "workers", "unknown"),
)
USES = st.fixed_dictionaries({"use": WORDS}, optional={"call": WORDS, "path": WORDS, "n": ANYTHING, "value": ANYTHING})
LIKELY = {
    **dict.fromkeys(("evaluator", "sampler", "store", "executor"), USES | ANYTHING),
    "stop": st.lists(USES | ANYTHING, max_size=2) | ANYTHING,
    "space": st.dictionaries(WORDS, ANYTHING, min_size=1, max_size=4) | ANYTHING,
}
FILES = st.fixed_dictionaries({}, optional={key: LIKELY.get(key, ANYTHING) for key in KEYS})


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(FILES, st.booleans())
def test_whatever_is_in_a_file_is_a_study_or_a_usage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: dict[str, Any], complete: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    found: object
    try:
        found = made(minimal() | data if complete else data, tmp_path)
    except UsageError as err:
        found = err
    if isinstance(found, UsageError):
        assert all(mistake.message for mistake in found.mistakes)
        assert found.mistakes
    else:
        assert isinstance(found, tuple)
        assert [type(part) for part in found] == [Study, RunSettings]
    assert not list(tmp_path.iterdir())  # making a study writes nothing


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=40) | st.text(max_size=60).map(str.encode),
    st.integers(0, len(WHOLE)),
    st.lists(st.text(max_size=9)),
)
def test_whatever_bytes_a_file_has_it_is_read_or_refused(
    tmp_path: Path, piece: bytes, place: int, overrides: list[str]
) -> None:
    whole = textwrap.dedent(WHOLE).encode()
    path = tmp_path / "study.toml"
    path.write_bytes(whole[:place] + piece + whole[place:])
    try:
        data = read_study_file(path, overrides)
    except UsageError:
        return
    assert isinstance(data["name"], object)
