"""The promise: whatever changes in the public API since the last release is named in the changelog.

HPT_WRITE_API=1 pytest tests/test_public_api.py    at a release writes what the next changes are compared with.
"""

from __future__ import annotations

import enum
import inspect
import os
import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import hpt_core
from hpt_core import hookspecs, testing
from hpt_core.cli.group import hpt
from hpt_core.cli.session import Session
from hpt_core.plugins.plugins import Plugins
from hpt_core.testing import strategies

ROOT = Path(__file__).parents[1]
RELEASED = Path(__file__).with_name("public_api.txt")
HEAD = "# The public API of hpt-core {}, written by tests/test_public_api.py at its release; do not edit.\n"


_STARS = {"VAR_POSITIONAL": "*", "VAR_KEYWORD": "**"}

# --- what is public -------------------------------------------------------------------------------


def public_api() -> dict[str, str]:
    """Dotted name -> what it is, for all that is public."""
    found = {"hpt_api_version": f" = {hookspecs.API_VERSION}"}
    for name, hook in vars(hookspecs).items():
        if name.startswith("hpt_"):
            options = {key: value for key, value in hook.hpt_spec.items() if value}
            found[name] = f"{signature(hook)} {options or ''}".rstrip()
    for module in (hpt_core, testing, strategies):
        for name in module.__all__:
            found |= dict(described(name, getattr(module, name)))
    return found


def described(name: str, thing: Any) -> Iterator[tuple[str, str]]:
    if not inspect.isclass(thing):
        is_alias = isinstance(thing, (types.GenericAlias, types.UnionType))
        is_function = inspect.isfunction(inspect.unwrap(thing))
        yield name, signature(thing) if is_function else f" = {type_name(thing if is_alias else type(thing))}"
        return
    is_made = inspect.isfunction(thing.__init__) and not getattr(thing, "_is_protocol", False)
    makes = signature(thing) if is_made and not issubclass(thing, enum.Enum) else ""
    bases = [base.__name__ for base in thing.__bases__ if base is not object and is_public(base)]
    yield name, f"{makes} of {', '.join(bases)}" if bases else makes
    members = {member: value for cls in reversed(ours(thing)) for member, value in vars(cls).items()}
    for member, value in members.items():
        if member.startswith("test_"):
            yield f"{name}.{member}", ""
        elif not member.startswith("_") or member == "__call__":
            yield f"{name}.{member}", member_of(value)
    for cls in ours(thing):
        documented = (inspect.getdoc(cls) or "").partition("\nAttributes:\n")[2].partition("\n\n")[0]
        for member in {*inspect.get_annotations(cls), *re.findall(r"^    (\w+):", documented, re.MULTILINE)}:
            if not member.startswith("_") and member not in members:
                yield f"{name}.{member}", ""


def is_public(base: type) -> bool:
    return not base.__module__.startswith("hpt_core.") or base.__name__ in (*hpt_core.__all__, *testing.__all__)


def ours(cls: type) -> list[type]:
    return [base for base in cls.__mro__ if base.__module__.startswith("hpt_core")]


def member_of(value: Any) -> str:
    if isinstance(value, property):
        return f": {inspect.signature(value.fget).return_annotation}" if value.fget else ""
    if isinstance(value, (staticmethod, classmethod)):
        value = value.__func__
    if inspect.isfunction(value):
        return signature(value)
    if isinstance(value, enum.Enum):
        return f" = {value.value!r}"
    return f" = {value!r}" if is_plain(value) else ""


def is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str, tuple, dict))


def signature(function: Any) -> str:
    """As it is written, spelt the same by every Python."""
    found = inspect.signature(function)
    parts, star = [], False
    for parameter in found.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not star:
            parts.append("*")
        star = star or parameter.kind in (parameter.VAR_POSITIONAL, parameter.KEYWORD_ONLY)
        prefix = _STARS.get(parameter.kind.name, "")
        kind = "" if parameter.annotation is parameter.empty else f": {type_name(parameter.annotation)}"
        default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
        parts.append(f"{prefix}{parameter.name}{kind}{default}")
    returns = found.return_annotation
    end = "" if returns in (found.empty, None, "None") else f" -> {type_name(returns)}"
    return f"({', '.join(parts)}){end}"


def type_name(kind: Any) -> str:
    if isinstance(kind, str):
        return kind
    plain = re.sub(r"ForwardRef\('(.*?)'\)", r"\1", inspect.formatannotation(kind))
    return re.sub(r"\b(\w+\.)+(?=\w)", "", plain)


# --- the promise ----------------------------------------------------------------------------------


def written(api: dict[str, str]) -> str:
    return "".join(f"{name}{text}\n" for name, text in sorted(api.items()))


def unnamed(before: list[str], now: list[str], notes: str) -> list[str]:
    """The lines that came, went or changed, and whose name, or whose class's, is not in the notes.

    A member is named with its class (`Study.run`); where the class itself came, went or changed, that is enough.
    """
    changed = sorted({*before} ^ {*now})
    return [line for line in changed if not any(is_named(name, notes) for name in names_of(line, changed))]


def names_of(line: str, changed: list[str]) -> list[str]:
    name = re.match(r"[\w.]+", line)
    assert name is not None
    owner, _, member = name[0].rpartition(".")
    of_class = bool(member) and any(re.match(rf"{re.escape(owner)}(?![\w.])", other) for other in changed)
    return [name[0], owner] if owner and of_class else [name[0]]


def is_named(name: str, notes: str) -> bool:
    return re.search(rf"(?<![\w.]){re.escape(name)}(?!\w|\.\w)", notes) is not None


def section(changelog: str, title: str) -> str:
    return changelog.partition(f"## [{title}]")[2].partition("\n## [")[0]


def test_what_changed_in_the_public_api_is_in_the_changelog() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[(\d\S*)\]", changelog, re.MULTILINE)
    now = written(public_api())
    if os.environ.get("HPT_WRITE_API"):
        RELEASED.write_text(HEAD.format(versions[0]) + now, encoding="utf-8")
    head, _, before = RELEASED.read_text(encoding="utf-8").partition("\n")
    assert f"{head}\n" == HEAD.format(versions[0]), f"{versions[0]} is released: run HPT_WRITE_API=1 pytest {__file__}"
    missing = unnamed(before.splitlines(), now.splitlines(), section(changelog, "Unreleased"))
    assert not missing, (
        f"These changed since {versions[0]} and are not named under [Unreleased] in CHANGELOG.md, where they must be:\n"
        + "\n".join(missing)
    )


@pytest.mark.parametrize(
    ("before", "now", "notes", "missing"),
    [
        (["f(a)"], ["f(a)"], "", []),
        (["f(a)"], ["f(a, b)"], "", ["f(a)", "f(a, b)"]),
        (["f(a)"], ["f(a, b)"], "`f` takes `b`", []),
        (["f(a)"], ["f(a, b)"], "`g.f` and `f.g` and `ff`", ["f(a)", "f(a, b)"]),
        (["A(x)", "A.run(a)"], ["A(x)", "A.run(b)"], "`A` has changed", ["A.run(a)", "A.run(b)"]),
        (["A(x)", "A.run(a)"], ["A(x)", "A.run(b)"], "`A.run(b)` takes b", []),
        ([], ["A(x)", "A.run(a)"], "a new class, A.", []),
        (["A(x)", "A.run(a)"], [], "", ["A(x)", "A.run(a)"]),
    ],
)
def test_a_change_that_nobody_names_is_found(before: list[str], now: list[str], notes: str, missing: list[str]) -> None:
    assert unnamed(before, now, notes) == missing


def test_all_kinds_of_public_things_are_looked_at() -> None:
    api = public_api()
    assert api["hpt_default"] == "(kind: str) -> str | None {'firstresult': True}"
    assert api["Sampler.suggest"] == "(self, history: History, rng: Generator) -> Params | Suggestion"
    assert api["State.PAUSED"] == " = 'paused'"
    signature = (
        "(reason: str, evidence: Mapping[str, Any] = NOTHING, value: float | None = None, complete: bool = False)"
    )
    assert api["Stop"] == signature
    assert api["UsageError"] == "(*mistakes: Mistake | str) of HptError"
    assert api["SamplerKit.seeded"] == " = True"
    assert {"SamplerKit.test_follows_the_seed", "SamplerKit.make_sampler", "spaces", "make_history"} <= api.keys()


# --- deprecations ---------------------------------------------------------------------------------


class Old:
    """A plugin that implements what is deprecated."""

    @hpt_core.hookimpl
    def hpt_samplers(self) -> dict[str, str]:
        return {"old": "nowhere:Sampler"}

    @hpt_core.hookimpl
    def hpt_trial_finished(self, study: Any, trial: Any) -> None:
        pass


class New:
    """A plugin that takes the arguments which stay."""

    @hpt_core.hookimpl
    def hpt_trial_finished(self, trial: Any) -> None:
        pass


RENAMED = DeprecationWarning("The hook hpt_samplers is hpt_proposers from hpt-core 0.3 on.")
NARROWED = DeprecationWarning("The argument study of hpt_trial_finished goes with hpt-core 0.3.")


def test_a_deprecated_hook_warns_and_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(hookspecs.hpt_samplers.hpt_spec, "warn_on_impl", RENAMED)  # type: ignore[attr-defined]
    plugins = Plugins(discover=False)
    with pytest.warns(DeprecationWarning, match="hpt_samplers is hpt_proposers") as told:
        plugins.register(Old())
    assert [Path(warning.filename).name for warning in told] == [Path(__file__).name]
    assert plugins.names("sampler") == ["old"]


def test_a_deprecated_argument_warns_who_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = hookspecs.hpt_trial_finished.hpt_spec  # type: ignore[attr-defined]
    monkeypatch.setitem(spec, "warn_on_impl_args", {"study": NARROWED})
    plugins = Plugins(discover=False)
    plugins.register(New())
    with pytest.warns(DeprecationWarning, match="The argument study"):
        plugins.register(Old())


def test_the_doctor_tells_what_is_deprecated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(hookspecs.hpt_default.hpt_spec, "warn_on_impl", RENAMED)  # type: ignore[attr-defined]
    monkeypatch.setattr("hpt_core.plugins.plugins.default_plugins", Plugins)
    result = CliRunner().invoke(hpt, ["plugins", "doctor"], obj=Session())
    assert result.exit_code == 0, result.stderr
    assert re.search(r"builtin/__init__\.py:\d+: The hook hpt_samplers is hpt_proposers", result.stderr)


def test_a_name_that_does_not_exist_is_refused() -> None:
    """By Python and, as the comments are errors where there is nothing to ignore, by type checkers."""
    with pytest.raises(AttributeError, match="module 'hpt_core' has no attribute 'Flaot'"):
        hpt_core.Flaot  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(AttributeError, match=r"module 'hpt_core.testing' has no attribute 'StorKit'"):
        testing.StorKit  # type: ignore[attr-defined]  # noqa: B018
