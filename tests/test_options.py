"""Options: strict types, all mistakes with their path, objects in options, and what is recorded of them."""

from __future__ import annotations

import importlib
import math
import random
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpt_core import Mistake, PluginError, Sampler, UsageError, import_object, option
from hpt_core.errors import UnknownComponentError
from hpt_core.options import build, option_fields
from hpt_core.plugins.description import describe
from hpt_core.spelling import did_you_mean


@attrs.define(kw_only=True)
class Everything:
    """One option of each kind."""

    number: int = option(3, ge=1, le=9, help="A count.")
    share: float = option(0.5, gt=0, lt=1, help="A share.")
    text: str = option("t", help="Some text.")
    flag: bool = option(False, help="A switch.")
    maybe: int | None = option(None, ge=0, help="A count or nothing.")
    either: int | str = option(1, help="A count or a name.")
    word: Literal["red", "green"] = option("red", help="A colour.")
    level: Literal[1, 2] = option(1, help="A level.")
    items: list[float] = option(factory=list, help="Numbers.")
    pair: tuple[int, ...] = option((), help="Ints.")
    table: dict[str, list[int]] = option(factory=dict, help="Lists by name.")
    steps: int | list[int] | dict[str, int] = option(1, ge=1, help="A count, some, or some by name.")
    choice: Literal["red", "green"] | None = option(None, help="A colour or none.")
    path: Path = option(Path("here"), help="A file.")
    anything: Any = option(None, help="What you like.")
    call: str | Callable[..., Any] = option("math:sin", help="A function.")
    _cache: dict[str, int] = attrs.field(init=False, factory=dict, repr=False, eq=False)


@attrs.define(kw_only=True)
class Needy:
    """Has to be told something."""

    name: str = option(help="What it is called.")
    size: int = option(help="How large it is.")


def refusal(cls: type, given: Mapping[str, Any], path: str = "sampler") -> list[str]:
    with pytest.raises(UsageError) as refused:
        build(cls, given, path)
    return [str(mistake) for mistake in refused.value.mistakes]


# --- types ----------------------------------------------------------------------------------------


def is_int(value: object) -> bool:
    return type(value) is int


def is_number(value: object) -> bool:
    return is_int(value) or (type(value) is float and math.isfinite(value))


def leaves(value: Any) -> list[Any]:
    return value if type(value) is list else list(value.values()) if type(value) is dict else [value]


FITS: dict[str, Callable[[Any], bool]] = {
    "number": lambda v: is_int(v) and 1 <= v <= 9,
    "share": lambda v: is_number(v) and 0 < v < 1,
    "text": lambda v: type(v) is str,
    "flag": lambda v: type(v) is bool,
    "maybe": lambda v: v is None or (is_int(v) and v >= 0),
    "either": lambda v: is_int(v) or type(v) is str,
    "word": lambda v: type(v) is str and v in {"red", "green"},
    "level": lambda v: is_int(v) and v in {1, 2},
    "items": lambda v: type(v) is list and all(is_number(item) for item in v),
    "pair": lambda v: type(v) is list and all(is_int(item) for item in v),
    "table": lambda v: type(v) is dict and all(type(x) is list and all(is_int(i) for i in x) for x in v.values()),
    "steps": lambda v: all(is_int(i) and i >= 1 for i in leaves(v)),
    "choice": lambda v: v is None or (type(v) is str and v in {"red", "green"}),
    "path": lambda v: type(v) is str,
    "anything": lambda v: True,
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 12) | st.floats() | st.sampled_from(["red", "1", "5", "x", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
    max_leaves=4,
)


@given(st.sampled_from(sorted(FITS)), JSON)
def test_a_value_is_accepted_only_if_it_has_the_declared_type(name: str, value: Any) -> None:
    if FITS[name](value):
        built = getattr(build(Everything, {name: value}, "sampler"), name)
        kinds: dict[str, Callable[[Any], Any]] = {"pair": tuple, "path": Path}
        assert built == kinds.get(name, lambda v: v)(value) or value != value  # noqa: PLR0124 - NaN in `anything`
        if name == "share":
            assert type(built) is float
    else:
        (mistake, *_) = refusal(Everything, {name: value})
        assert mistake.startswith(f"sampler.{name}")
        assert "Got " in mistake


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"number": "5"}, "sampler.number: Must be an int >= 1 and <= 9. Got str '5'."),
        ({"number": True}, "sampler.number: Must be an int >= 1 and <= 9. Got bool True."),
        ({"number": 5.0}, "sampler.number: Must be an int >= 1 and <= 9. Got 5.0."),
        ({"number": 0}, "sampler.number: Must be an int >= 1 and <= 9. Got 0."),
        ({"share": 1}, "sampler.share: Must be a number > 0 and < 1. Got 1."),
        ({"share": True}, "sampler.share: Must be a number > 0 and < 1. Got bool True."),
        ({"flag": 1}, "sampler.flag: Must be true or false. Got 1."),
        ({"word": "rde"}, "sampler.word: Must be one of 'red', 'green'. Got str 'rde'. Did you mean 'red'?"),
        ({"items": [1, "x"]}, "sampler.items[1]: Must be a number. Got str 'x'."),
        ({"items": 3}, "sampler.items: Must be a list. Got 3."),
        ({"table": {"a": [1, 2.5]}}, "sampler.table.a[1]: Must be an int. Got 2.5."),
        ({"steps": -1}, "sampler.steps: Must be an int >= 1 or a list or a table. Got -1."),
        ({"steps": {"a": 1, "b": 0}}, "sampler.steps.b: Must be an int >= 1. Got 0."),
        ({"maybe": "1"}, "sampler.maybe: Must be an int >= 0. Got str '1'."),
        ({"either": None}, "sampler.either: Must be an int or a string. Got None."),
        ({"choice": "gren"}, "sampler.choice: Must be one of 'red', 'green'. Got str 'gren'. Did you mean 'green'?"),
        ({"items": [math.inf]}, "sampler.items[0]: Must be a finite number. Got inf."),
        ({"share": 10**400}, None),
        ({"items": [10**400]}, None),
    ],
)
def test_a_message_names_the_path_the_problem_and_what_is_right(given: dict[str, Any], said: str | None) -> None:
    mistakes = refusal(Everything, given)
    assert said is None or mistakes == [said]


@pytest.mark.parametrize(("name", "value"), [("number", np.int64(4)), ("share", np.float32(0.25)), ("flag", np.True_)])
def test_a_numpy_number_becomes_a_python_number(name: str, value: Any) -> None:
    made = getattr(build(Everything, {name: value}, "e"), name)
    assert (made, type(made)) == (value, type(value.item()))


@pytest.mark.parametrize("value", [np.float64(4.0), np.bool_(True), np.int64(10)])
def test_a_numpy_number_is_checked_as_strictly(value: Any) -> None:
    with pytest.raises(UsageError, match="Must be an int >= 1 and <= 9"):
        build(Everything, {"number": value}, "e")


def test_all_mistakes_are_reported_in_the_order_of_the_input() -> None:
    given = {"txet": "x", "flag": 3, "number": "1", "items": [True, "x"], "share": 2}
    assert [mistake.partition(":")[0] for mistake in refusal(Everything, given)] == [
        *("sampler.txet", "sampler.flag", "sampler.number", "sampler.items[0]", "sampler.items[1]", "sampler.share"),
    ]


def test_an_unknown_option_gets_a_hint() -> None:
    (mistake,) = refusal(Everything, {"txet": "x"})
    assert "Everything has no such option. Did you mean 'text'?" in mistake


@pytest.mark.parametrize("path", ["", "sampler"])
@pytest.mark.parametrize("key", [1, None, (1,)])
def test_a_key_that_is_no_string_is_an_unknown_option(key: Any, path: str) -> None:
    where = f"{path}.{key}" if path else str(key)
    (mistake,) = refusal(Everything, {key: 2}, path)
    assert mistake.startswith(f"{where}: Everything has no such option. Its options: ")
    assert "_cache" not in mistake
    assert refusal(Everything, {"_cache": {}, "cache": {}})


def test_an_option_without_a_default_is_required() -> None:
    assert refusal(Needy, {}) == [
        "sampler.name: This option is required. What it is called.",
        "sampler.size: This option is required. How large it is.",
    ]


@pytest.mark.parametrize(
    ("name", "given"),
    [
        *(("number", {"number": value}) for value in ("5", True, 0)),
        *(("share", {"share": value}) for value in (1.0, math.nan)),
        *((name, {name: value}) for name, value in (("text", 3), ("maybe", -1), ("flag", 0), ("word", "rde"))),
        (r"items\[1\]", {"items": [1, "x"]}),
        (r"table\.a\[0\]", {"table": {"a": [2.5]}}),
        (r"steps\[0\]", {"steps": [0]}),
    ],
)
def test_components_made_in_python_are_checked_too(name: str, given: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"The `{name}` option of Everything must be "):
        Everything(**given)


def test_a_module_without_postponed_annotations_is_checked_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = """
        import typing

        import attrs
        from hpt_core import option

        @attrs.define(kw_only=True)
        class Plain:
            n: int = option(1, ge=1, help="A count.")
            m: "int | None" = option(None, help="A count.")
            k: typing.Optional[int] = option(None, help="A count.")
    """
    (tmp_path / "plain_annotations.py").write_text(textwrap.dedent(source))
    monkeypatch.syspath_prepend(tmp_path)
    cls = importlib.import_module("plain_annotations").Plain
    for bad in ({"n": "5"}, {"n": True}, {"n": 0}, {"m": "5"}, {"k": "5"}):
        with pytest.raises(UsageError):
            cls(**bad)
        assert refusal(cls, bad)
    assert cls(n=5, m=3) == build(cls, {"n": 5, "m": 3}, "x")


@attrs.define(kw_only=True)
class Checked:
    """Checks across fields."""

    low: int = option(0, help="The lower bound.")
    high: int = option(1, help="The upper bound.")

    def __attrs_post_init__(self) -> None:
        if self.low > self.high:
            raise UsageError("`low` must not be above `high`.")
        if self.low == self.high:
            raise ValueError("empty")


class Broken:
    def __init__(self) -> None:
        raise LookupError("no GPU")


class WithoutOptions:
    """No attrs class: it has no options, and its annotations need not exist at runtime."""

    cache: NotImported  # type: ignore[name-defined] # noqa: F821 - as if it were imported for type checkers only


@attrs.define
class AttrsWithoutOptions:
    """An attrs class without a field."""


@attrs.define(kw_only=True)
class Converts:
    """Reads a number as text."""

    number: int = option(1, ge=1, converter=int, help="A count.")


class NeedsArguments:
    def __init__(self, a: int) -> None:
        self.a = a


def test_an_error_raised_by_the_class_gets_the_path() -> None:
    assert refusal(Checked, {"low": 3}) == ["sampler: `low` must not be above `high`."]
    assert refusal(Checked, {"low": 1}) == ["sampler: Checked cannot be created from these options: ValueError: empty"]
    assert "TypeError" in refusal(NeedsArguments, {})[0]


def test_a_class_that_misses_a_plugin_gives_the_exit_code_of_plugins() -> None:
    @attrs.define
    class Wrapper:
        def __attrs_post_init__(self) -> None:
            raise UsageError(Mistake("inner", "There is no sampler 'x'.", plugin=True))

    with pytest.raises(UsageError) as caught:
        build(Wrapper, {}, "sampler")
    assert caught.value.mistakes == (Mistake("sampler.inner", "There is no sampler 'x'.", plugin=True),)
    assert caught.value.exit_code == PluginError.exit_code


def test_an_error_that_is_not_about_options_is_that_of_the_plugin() -> None:
    with pytest.raises(PluginError, match="sampler: Broken failed while it was created: LookupError: no GPU") as raised:
        build(Broken, {}, "sampler")
    assert isinstance(raised.value.__cause__, LookupError)


def test_a_class_that_is_not_an_attrs_class_has_no_options() -> None:
    assert option_fields(WithoutOptions) == []
    assert isinstance(build(WithoutOptions, {}, "x"), WithoutOptions)
    (said,) = refusal(WithoutOptions, {"a": 1})
    assert said == "sampler.a: WithoutOptions has no such option. Its options: none, because it is not an attrs class."
    assert refusal(AttrsWithoutOptions, {"a": 1})[0].endswith("Its options: none.")


def test_a_converter_gets_what_the_user_gave_and_its_result_is_checked() -> None:
    assert build(Converts, {"number": "3"}, "sampler").number == 3
    with pytest.raises(UsageError, match=r"The `number` option of Converts must be an int >= 1\. Got 0\."):
        build(Converts, {"number": "0"}, "sampler")


def test_annotations_that_cannot_be_evaluated_are_a_plugin_error() -> None:
    cls = attrs.make_class("Absent", {"n": option(1, help="A count.")})
    cls.__annotations__ = {"n": "NoSuchType"}
    makers: Sequence[Callable[[], object]] = (cls, lambda: build(cls, {}, "x"))
    for make in makers:
        with pytest.raises(PluginError, match="options of Absent cannot be evaluated at runtime: "):
            make()


# --- what is recorded -----------------------------------------------------------------------------


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "number": st.integers(1, 9),
            "share": st.floats(0.01, 0.99),
            "text": st.text(max_size=5),
            "flag": st.booleans(),
            "maybe": st.none() | st.integers(0, 5),
            "either": st.integers() | st.text(max_size=3),
            "word": st.sampled_from(["red", "green"]),
            "items": st.lists(st.floats(-9, 9), max_size=3),
            "table": st.dictionaries(st.text(max_size=3), st.lists(st.integers(), max_size=2), max_size=2),
        },
    )
)
def test_a_recorded_component_can_be_rebuilt(given: dict[str, Any]) -> None:
    component = build(Everything, given, "x")
    recorded = describe(component, lambda cls: "everything")
    assert recorded.pop("use") == "everything"
    assert build(Everything, recorded, "x") == component


@attrs.define
class Squares:
    side: int
    area: int = attrs.field()

    @area.default
    def _area_of_the_side(self) -> int:
        return self.side**2


def test_objects_are_recorded_so_that_a_change_is_detected() -> None:
    def seen(value: Any) -> Any:
        return describe(Everything(anything=value))["anything"]

    assert describe(Everything())["use"] == f"{__name__}:Everything"
    assert seen(len) == "builtins:len"
    assert seen(WithoutOptions) == f"{__name__}:WithoutOptions"
    assert seen(np.arange(3)) == seen(np.arange(3))
    assert seen(np.arange(3)) != seen(np.arange(1, 4))
    assert seen(np.arange(3)) != seen(np.arange(3.0))
    assert seen(np.array(["a", None], dtype=object)) == seen(np.array(["a", None], dtype=object))
    assert seen(Checked(high=5)) == {"use": f"{__name__}:Checked", "low": 0, "high": 5}
    assert seen(math.inf) == "inf"
    assert seen({1: (2, Path("x"))}) == {"1": [2, "x"]}
    assert "0x" not in seen(partial(textwrap.dedent))  # an address would be another one in the next process
    assert seen(partial(dir, 1)) != seen(partial(dir, 2))
    assert seen(WithoutOptions()) == f"{__name__}:WithoutOptions object"  # no address in it


def test_a_default_that_depends_on_other_options_is_always_recorded() -> None:
    assert describe(Squares(3), brief=True) == {"use": f"{__name__}:Squares", "side": 3, "area": 9}


@attrs.frozen
class Kept:
    """Keeps a file."""

    path: Path | None = option(None, help="Where.")


@attrs.define(kw_only=True)
class Patient:
    limit: float = option(gt=0, seconds=True, help="Limit.")
    pause: float = option(1.0, ge=0, seconds=True, help="Pause.")
    most: float | None = option(None, gt=0, seconds=True, help="Most.")


def test_a_duration_is_a_number_of_seconds_or_text() -> None:
    cases: dict[Any, float] = {90: 90.0, 0.5: 0.5, "10m": 600.0, "1h30m": 5400.0, " 1.5 h ": 5400.0, "2d": 172800.0}
    for duration, expected in cases.items():
        assert build(Patient, {"limit": duration}, "") == Patient(limit=duration) == Patient(limit=expected)
    text: dict[str, Any] = {"limit": "1s", "pause": "0s", "most": "1m"}
    assert Patient(**text) == Patient(limit=1.0, pause=0.0, most=60.0)
    assert Patient(limit=1.0).most is None


@pytest.mark.parametrize(
    "value", [None, True, "", "  ", "90", "10x", "-5s", "1h and", -1, math.nan, math.inf, 10**400, [1]]
)
def test_anything_else_is_not_a_duration(value: Any) -> None:
    given = {"limit": value, "pause": value, "most": [] if value is None else value}
    says = {
        name: f"Must be seconds {sign} 0, or text like"
        for name, sign in (("limit", ">"), ("pause", ">="), ("most", ">"))
    }
    for mistake, (name, message) in zip(refusal(Patient, given), says.items(), strict=True):
        assert mistake.startswith(f"sampler.{name}: {message} '90s', '10m', '1h30m'. Got ")
    for name, message in says.items():
        with pytest.raises(UsageError, match=f"{name}: {message}"):
            Patient(**{"limit": 1, name: given[name]})


def test_a_duration_with_a_converter_is_refused() -> None:
    with pytest.raises(TypeError, match="seconds=True cannot have a converter"):
        option(1.0, ge=0, seconds=True, converter=abs, help="Pause.")


def test_a_string_becomes_a_path_also_in_python() -> None:
    assert Kept("a/b.txt").path == Path("a/b.txt")  # type: ignore[arg-type]
    assert build(Kept, {"path": "a/b.txt"}, "") == Kept(Path("a/b.txt"))


def test_the_path_of_another_library_becomes_a_path() -> None:
    """As pytest's `tmpdir`."""

    class Other:
        def __fspath__(self) -> str:
            return "a/b.txt"

    assert Kept(Other()).path == Path("a/b.txt")  # type: ignore[arg-type]


def test_empty_text_is_no_path() -> None:
    """It would be the current directory."""
    assert refusal(Kept, {"path": ""}) == ["sampler.path: Must be a path. Got str ''."]
    with pytest.raises(UsageError, match=r"The `path` option of Kept must be a path\. Got str ''"):
        Kept("")  # type: ignore[arg-type]


@pytest.mark.parametrize("given", ["~/b.txt", Path("~/b.txt")])
def test_a_path_may_begin_with_the_home_folder(given: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert Kept(given).path == build(Kept, {"path": given}, "").path == tmp_path / "b.txt"
    assert Kept("~no-such-user/b.txt").path == Path("~no-such-user/b.txt")  # type: ignore[arg-type]


# --- importing ------------------------------------------------------------------------------------


def test_import_paths_may_be_dotted() -> None:
    assert import_object("math:pi") is math.pi
    assert import_object("collections.abc:Mapping.get") is Mapping.get


@pytest.mark.parametrize(
    ("path", "said"),
    [
        *((path, "Must be an import path 'module:name'") for path in ("", "math", ":", "math:", ":pi", "math.pi")),
        ("no_such_module_here:x", "there is no module 'no_such_module_here'"),
        ("math.deeper:x", "Cannot import 'math.deeper:x'"),
        ("math:pie", "'math' has no 'pie'. Did you mean 'pi'?"),
        ("json:default_decoder", "'json' has no 'default_decoder'. Did you mean 'decoder'?"),  # not '_default_decoder'
        ("math:pi.real.deeper", "'math' has no 'deeper'"),
        ("..:x", "Got '..:x'."),
        (".relative:x", "Got '.relative:x'. Did you mean 'relative:x'?"),
        ("math.pi", "Got 'math.pi'. Did you mean 'math:pi'?"),
        ("./train/loss.py:f", "Got './train/loss.py:f'. Did you mean 'train.loss:f'?"),
        ("train/loss.py:f", "there is no module 'train/loss.py'. Did you mean 'train.loss:f'?"),
        ("train.py:f", "there is no module 'train.py'. Did you mean 'train:f'?"),
        ("hpt_croe.errors:HptError", "there is no module 'hpt_croe.errors'. Did you mean 'hpt_core'?"),
        ("hpt_core.erors:HptError", "there is no module 'hpt_core.erors'. Did you mean 'hpt_core.errors'?"),
    ],
)
def test_a_bad_import_path_says_why(path: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        import_object(path, "evaluator.call")
    assert said in str(refused.value)
    assert refused.value.mistakes[0].path == "evaluator.call"


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("trian:f", " Did you mean 'train'?"),
        ("trian.loss:f", " Did you mean 'train'?"),
        ("fractoins:f", ""),  # not 'fractions', of Python
        ("hypothesi:f", ""),  # not 'hypothesis', which is installed
    ],
)
def test_a_missing_module_may_be_one_of_the_users_own(
    path: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "train.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    module = path.partition(":")[0]
    with pytest.raises(UsageError) as refused:
        import_object(path)
    assert str(refused.value) == f"Cannot import {path!r}: there is no module {module!r}.{hint}"


def test_a_module_with_the_name_of_one_that_is_imported_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("random", "sys", "module_of_its_own"):
        (tmp_path / f"{name}.py").write_text("def g(): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name, place in (("random", random.__file__), ("sys", "built in")):
        hint = f"Python had already imported another module of that name ({place}): rename {tmp_path / name}.py."
        with pytest.raises(UsageError, match=re.escape(f"'{name}' has no 'f'. {hint}")):
            import_object(f"{name}:f")
    with pytest.raises(UsageError, match=r"'module_of_its_own' has no 'f'\.$"):
        import_object("module_of_its_own:f")
    with pytest.raises(UsageError, match=r"'math' has no 'sun'\. Did you mean 'sin'\?$"):
        import_object("math:sun")


def test_a_module_that_fails_keeps_its_own_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fails_on_import.py").write_text("import no_such_dependency\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match="No module named 'no_such_dependency'") as refused:
        import_object("fails_on_import:x")
    assert isinstance(refused.value.__cause__, ModuleNotFoundError)


def test_a_module_that_raises_during_its_import_is_reported_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "reads_on_import.py").write_text("import json\n\nSETTINGS = json.loads('{')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match=r"JSONDecodeError: Expecting .* \(.*reads_on_import\.py, line 3\)\.$"):
        import_object("reads_on_import:x")


def test_a_module_that_exits_during_its_import_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "exits_on_import.py").write_text("import sys\nsys.exit('no GPU')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match="Cannot import 'exits_on_import:x': SystemExit: no GPU"):
        import_object("exits_on_import:x")


def test_a_missing_dependency_is_not_taken_for_the_module_whose_name_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "no_such_dependency_user.py").write_text("import no_such_dependency\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match="No module named 'no_such_dependency'"):
        import_object("no_such_dependency_user:x")


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("gird", ["grid", "random"], " Did you mean 'grid'?"),
        ("GRID", ["grid", "random"], " Did you mean 'grid'?"),
        ("tpesampler", ["TPESampler"], " Did you mean 'TPESampler'?"),
        ("min", ["maximize", "minimize"], " Did you mean 'minimize'?"),
        ("GridSearch", ["random", "grid"], " Did you mean 'grid'?"),
        ("g", ["grid"], ""),
        ("zzz", ["grid"], ""),
        ("grid", [], ""),
    ],
)
def test_hints(name: str, known: Sequence[str], hint: str) -> None:
    assert did_you_mean(name, known) == hint


# --- components by default ----------------------------------------------------------------------------


@attrs.define(kw_only=True)
class Composed:
    """Has components by default."""

    needed: Sampler = option({"use": "here"}, help="A sampler.")
    extra: Sampler | None = option({"use": "gone"}, help="Another one, if it is installed.")


def test_a_default_component_is_made_like_a_given_one() -> None:
    asked = []

    def resolve(protocol: type, value: Any, path: str) -> Any:
        asked.append((protocol, value, path))
        if value == {"use": "gone"}:
            raise UnknownComponentError("There is no sampler 'gone'.")
        return "made"

    built = build(Composed, {}, "sampler", resolve)
    assert (built.needed, built.extra) == ("made", None)  # one that may be none is left out where nobody offers it
    expected = [("needed", "here"), ("extra", "gone")]
    assert asked == [(Sampler, {"use": use}, f"sampler.{name}") for name, use in expected]
    build(Composed, {"needed": "other", "extra": "third"}, "sampler", resolve)
    assert [value for _, value, _ in asked[2:]] == ["other", "third"]


def test_a_default_component_that_is_offered_but_cannot_be_made_is_not_left_out() -> None:
    def resolve(protocol: type, value: Any, path: str) -> Any:
        if value == {"use": "gone"}:
            raise UsageError(Mistake(f"{path}.use", "Two plugins offer the sampler 'gone'."))
        return "made"

    with pytest.raises(UsageError, match=r"sampler\.extra\.use: Two plugins offer"):
        build(Composed, {}, "sampler", resolve)


def test_a_required_default_component_that_is_missing_is_reported() -> None:
    def resolve(protocol: type, value: Any, path: str) -> Any:
        raise UnknownComponentError("There is no such sampler.")

    with pytest.raises(UsageError, match="There is no such sampler"):
        build(Composed, {}, "sampler", resolve)
