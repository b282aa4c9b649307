"""The study file: TOML in, a study out. It is data: no expression in it is evaluated."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import attrs

from hpt_core.components import fit_together, look_ahead
from hpt_core.constraints import parse_constraints
from hpt_core.definition import parse_objectives
from hpt_core.errors import Mistake, UsageError
from hpt_core.options import build, option, option_fields
from hpt_core.plugins import Plugins, default_plugins
from hpt_core.settings import Settings
from hpt_core.space import Space
from hpt_core.spelling import did_you_mean
from hpt_core.study import Study

__all__ = ["RunSettings", "make_study", "put_over", "read_study_file"]

_MAX_BYTES = 1 << 20
_SETTINGS = tuple(field.name for field in option_fields(Settings))
_TABLES = ("space", "objective", "constraints", "evaluator", "sampler", "store", "stop", "executor")


@attrs.frozen
class RunSettings:
    """What a study file says of the run, not of the study."""

    trials: int | None = option(None, ge=1, help="How many trials the study may have in all; None: no limit.")
    workers: int = option(1, ge=1, help="How many processes evaluate at once.")


_RUN = tuple(field.name for field in option_fields(RunSettings))
_KEYS = (*_SETTINGS, *_TABLES, *_RUN)


def read_study_file(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Read a study file.

    Args:
        path: The file.
        overrides: ``"key.path=value"``, each put over what the file says; a value is TOML, or else taken as text.

    Raises:
        UsageError: If there is no such file, it is no TOML (with line and column), or an override is malformed.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
    except OSError as err:
        raise UsageError(f"Cannot read the study file {path}: {err.strerror}.") from err
    if len(raw) > _MAX_BYTES:
        raise UsageError(f"The study file {path} is too long; at most {_MAX_BYTES} bytes are taken.")
    try:
        data = tomllib.loads(raw.decode("utf-8-sig"))  # editors on Windows put a mark before the text
    except UnicodeDecodeError as err:
        raise UsageError(f"{path} is no valid TOML: it must be text in UTF-8 (byte {err.start} is not).") from err
    except (ValueError, RecursionError) as err:  # ValueError: bad TOML, an int of thousands of digits
        raise UsageError(f"{path} is no valid TOML: {err}") from err
    data.setdefault("name", path.stem)
    for override in overrides:
        put_over(data, override)
    return data


def put_over(data: dict[str, Any], override: str) -> None:
    """Put ``"key.path=value"`` over what is there; the value is TOML, or else taken as text.

    A name with a dot in it is quoted, as in TOML: ``space."svc.C".high=10``.

    Raises:
        UsageError: If it is malformed, or on its path is something else than a table.
    """
    key, separator, text = override.partition("=")
    steps = _steps(key)
    if not separator or not all(steps):
        raise UsageError(f"An override must look like key.path=value. Got {override!r}.")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        value = text.strip()
    table: Any = data
    for depth, step in enumerate(steps[:-1]):
        table = table.setdefault(step, {}) if isinstance(table, dict) else table
        if not isinstance(table, dict):
            place = ".".join(steps[: depth + 1])
            remedy = f" It is a list, which is set as a whole: {place}=[...]." if isinstance(table, list) else ""
            raise UsageError(f"Cannot set {key}: {place} is no table.{remedy}")
    table[steps[-1]] = value


def _steps(key: str) -> list[str]:
    """The names in a dotted key as TOML reads it; bare ones may have any characters."""
    try:
        table: Any = tomllib.loads(f"{key} = 0")
    except (ValueError, RecursionError):
        return [step.strip() for step in key.split(".")]
    steps = []
    while isinstance(table, dict):
        (name, table), *_ = table.items()
        steps.append(name)
    return steps


def make_study(
    data: Mapping[str, Any],
    *,
    folder: Path,
    store: str | None = None,
    amend: bool = False,
    plugins: Plugins | None = None,
) -> tuple[Study, RunSettings]:
    """Make a study from the data of a study file.

    Args:
        data: As `read_study_file` gives it.
        folder: The file's folder; modules that the study names are looked for there and in the working folder.
        store: A store's path or URL, used where the file names none.
        amend: See `Study`.
        plugins: The plugins to use; None: all installed.

    Returns:
        The study and how to run it.

    Raises:
        UsageError: With every mistake in the file.
        PluginError: If a component cannot be loaded.
    """
    for place in (str(Path.cwd()), str(folder.resolve())):
        if place not in sys.path:
            sys.path.insert(0, place)
    found = _Collector(data, plugins or default_plugins())
    arguments = found.components(store)
    run = found.collect(lambda: build(RunSettings, {key: data[key] for key in _RUN if key in data}, ""))
    settings = {key: data[key] for key in _SETTINGS if key in data}
    found.collect(lambda: build(Settings, settings, ""))
    if arguments.get("space") is not None:
        objectives = arguments.get("objective") or parse_objectives("minimize")
        for component in (arguments.get("evaluator"), arguments.get("sampler"), *arguments["stop"]):
            found.collect(partial(look_ahead, [component], arguments["space"], objectives))
    if arguments.get("evaluator") is not None:
        found.collect(partial(fit_together, arguments["evaluator"], arguments["stop"]))
    if found.mistakes:
        raise UsageError(*found.mistakes)
    return Study(**arguments, **settings, amend=amend, plugins=found.plugins), run


class _Collector:
    """Makes the parts of a study one by one and keeps every mistake."""

    def __init__(self, data: Mapping[str, Any], plugins: Plugins) -> None:
        self.data = data
        self.plugins = plugins
        self.mistakes: list[Mistake] = []
        for key in data:
            if key not in _KEYS:
                hint = did_you_mean(key, _KEYS)
                known = f"Known: {', '.join(_KEYS)}."
                self.mistakes.append(Mistake(key, f"A study file has no such key.{hint} {known}"))

    def collect(self, make: Callable[[], Any]) -> Any:
        """Call ``make``; what is wrong with it joins the mistakes."""
        try:
            return make()
        except UsageError as err:
            self.mistakes += [mistake for mistake in err.mistakes if mistake not in self.mistakes]
            return None

    def components(self, store: str | None) -> dict[str, Any]:
        """Everything that `Study` takes but its plain settings."""
        data, plugins = self.data, self.plugins
        if "space" not in data:
            self.mistakes.append(Mistake("space", "A study needs a [space] table with its parameters."))
        if "evaluator" not in data:
            self.mistakes.append(Mistake("evaluator", "A study needs an [evaluator] table that says use = ..."))
        made: dict[str, Any] = {}
        if "space" in data:
            made["space"] = self.collect(lambda: Space(data["space"]))
        if "objective" in data:
            made["objective"] = self.collect(lambda: parse_objectives(data["objective"]))
        if "constraints" in data:
            made["constraints"] = self.collect(lambda: parse_constraints(data["constraints"]))
        for key in ("evaluator", "sampler", "executor"):
            if key in data:
                made[key] = self._component(key, data[key], key)
        made["stop"] = self._rules()
        spec = data.get("store", store)
        if spec is not None:
            made["store"] = self.collect(lambda: plugins.make_store(spec))
        return made

    def _component(self, kind: str, spec: Any, path: str) -> Any:
        return self.collect(lambda: self.plugins.make(kind, spec, path))

    def _rules(self) -> list[Any]:
        given = self.data.get("stop", [])
        several = given if isinstance(given, list) else [given]
        return [self._component("stopping rule", rule, f"stop[{i}]") for i, rule in enumerate(several)]
