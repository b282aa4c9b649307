"""Study files: from TOML to a study. A study file is data; nothing in it is evaluated as code."""

from __future__ import annotations

import logging
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hpt_core.errors import Mistake, UsageError
from hpt_core.history.constraints import parse_constraints
from hpt_core.history.definition import parse_objectives
from hpt_core.importing import import_from
from hpt_core.mistakes import Mistakes
from hpt_core.options import UnknownOption, build, option_fields
from hpt_core.plugins.checks import check_evidence, rules_by_path, run_checks
from hpt_core.plugins.plugins import Plugins, default_plugins
from hpt_core.space.space import Space
from hpt_core.spelling import did_you_mean
from hpt_core.study.settings import RunSettings, Settings
from hpt_core.study.study import Study
from hpt_core.values import shown

__all__ = ["make_study", "put_over", "read_study_file"]

_LOG = logging.getLogger("hpt")

_LIKE_TOML = re.compile(r"\[|\{(?![^{}=:,]+\})")  # not "{program} --lr={lr}", a command
_MAX_BYTES = 1 << 20
_SETTINGS = tuple(field.name for field in option_fields(Settings))
_TABLES = ("space", "objective", "constraints", "evaluator", "sampler", "store", "stop", "executor")
_RUN = tuple(field.name for field in option_fields(RunSettings))
_KEYS = (*_SETTINGS, *_TABLES, *_RUN)


def read_study_file(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Read a study file.

    Args:
        path: The file.
        overrides: ``"key.path=value"`` strings that override keys of the file; see `put_over`.

    Raises:
        UsageError: If the file cannot be read, is not valid TOML (with line and column), or an override is malformed.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
    except OSError as err:
        hint = did_you_mean(path.name, [other.name for other in _others(path, err) if other.is_file()])
        raise UsageError(f"Cannot read the study file {path}: {err.strerror}.{hint}") from err
    if len(raw) > _MAX_BYTES:
        raise UsageError(f"The study file {path} is too large: the limit is {_MAX_BYTES:,} bytes.")
    try:
        text = raw.decode("utf-8-sig")  # editors on Windows may prepend a byte order mark
        data = tomllib.loads(text)
    except UnicodeDecodeError as err:
        raise UsageError(f"{path} is not valid TOML: it must be UTF-8 text, but byte {err.start} is not.") from err
    except (ValueError, RecursionError) as err:  # ValueError: bad TOML, or an int with thousands of digits
        raise UsageError(f"{path} is not valid TOML: {err}.{_broken_table(text, str(err))}") from err
    data.setdefault("name", path.stem)
    for override in overrides:
        put_over(data, override)
    return data


def _others(path: Path, err: OSError) -> Iterable[Path]:
    """The files that may have been meant."""
    if isinstance(err, FileNotFoundError):
        return path.parent.glob("*.toml")
    return [path.parent / f"{path.name}.toml"] * isinstance(err, IsADirectoryError)


def _broken_table(text: str, problem: str) -> str:
    """A hint for a table in braces that goes on in the next line or ends with a comma, as in JSON or Python."""
    found = re.search(r"(?:key part|inline table) \(at line (\d+), column (\d+)", problem)
    if found is None:
        return ""
    line, column = text.split("\n")[int(found[1]) - 1], int(found[2])
    if "{" not in line[:column] or not re.match(r"\s*([}#]|$)", line[column - 1 :]):
        return ""
    return " A table in braces { ... } must be in one line, without a comma after its last value."


def put_over(data: dict[str, Any], override: str) -> None:
    """Set the value of ``"key.path=value"`` in ``data``. The value is read as TOML, or as text if it is not TOML.

    A name that contains a dot is quoted, as in TOML: ``space."svc.C".high=10``.

    Raises:
        UsageError: If the override is malformed, or its path leads through something other than a table.
    """
    key, separator, text = override.partition("=")
    steps = _steps(key)
    if not separator or not all(steps):
        raise UsageError(f"An override must look like key.path=value. Got {override!r}.")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError) as err:
        value = text.strip()
        if _LIKE_TOML.match(value):
            problem = str(err).partition(" (at ")[0]  # it counts columns from the start of "value = "
            raise UsageError(
                f"The value of the override {key} looks like TOML but is not: {problem}. "
                f"Quote a text that begins with {value[0]!r}. Got {value:.200}."
            ) from err
    table: Any = data
    for depth, step in enumerate(steps[:-1]):
        table = table.setdefault(step, {})
        if not isinstance(table, dict):
            place = ".".join(steps[: depth + 1])
            found, form = ("a list", "[...]") if isinstance(table, list) else (shown(table), "{...}")
            raise UsageError(
                f"Cannot set {key}: {place} is not a table. It is {found}; set it as a whole: {place}={form}."
            )
    table[steps[-1]] = value


def _steps(key: str) -> list[str]:
    """The names in a dotted key, as TOML reads it; unlike in TOML, unquoted names may have any characters."""
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
        data: As returned by `read_study_file`.
        folder: The file's folder. Modules that the study names are searched there, then in the working folder.
        store: A store's path or URL, used if the file names none.
        amend: See `Study`.
        plugins: The plugins to use; None: all installed.

    Returns:
        The study and the settings of its run.

    Raises:
        UsageError: With every mistake found in the file.
        PluginError: If a component cannot be loaded.
    """
    import_from(Path.cwd(), folder.resolve())
    plugins, mistakes = plugins or default_plugins(), Mistakes()
    arguments = _arguments(data, plugins, mistakes, store)
    collect = mistakes.collect
    run: RunSettings = collect(build, RunSettings, {key: data[key] for key in _RUN if key in data}, "")
    settings = {key: data[key] for key in _SETTINGS if key in data}
    collect(build, Settings, settings, "")
    rules = rules_by_path(arguments.get("stop"))
    objectives = arguments.get("objective", parse_objectives("minimize"))  # None: invalid
    if arguments.get("space") is not None and objectives is not None:
        components = arguments.get("evaluator"), arguments.get("sampler"), rules
        collect(run_checks, *components, arguments["space"], objectives)
    if arguments.get("evaluator") is not None:
        collect(check_evidence, arguments["evaluator"], rules)
    placed = [_placed(mistake) for mistake in mistakes]
    if placed != [*mistakes]:
        raise UsageError(*dict.fromkeys(placed))
    mistakes.raise_all()
    _warn_of_constants(data["space"], arguments["space"], data)
    return Study(**arguments, **settings, amend=amend, plugins=plugins), run


def _placed(mistake: Mistake) -> Mistake:
    """The mistake, or one that says where a key of the study belongs: in TOML, a line below a [table] is part of it."""
    key = mistake.path.rpartition(".")[2]
    if key not in _KEYS or not isinstance(mistake, UnknownOption):
        return mistake
    return Mistake(mistake.path, f"There is no such option. {_remedy(key)}")


def _remedy(key: str) -> str:
    return f"If the study's `{key}` was meant, set it above the first [table] of the file."


def _warn_of_constants(declared: Mapping[str, Any], space: Space, data: Mapping[str, Any]) -> None:
    """Warn of parameters that were hardly meant as such: ``trials = 5`` below ``[space]``."""
    for key, given in declared.items():
        if key in _KEYS and key not in data and not isinstance(given, (Mapping, list)):
            value = shown(space.parameters[key].value_at(0))
            _LOG.warning("space.%s is a parameter that is always %s. %s", key, value, _remedy(key))


def _arguments(data: Mapping[str, Any], plugins: Plugins, mistakes: Mistakes, store: str | None) -> dict[str, Any]:
    """The arguments of `Study` other than its plain settings."""
    for key in data:
        if key not in _KEYS:
            hint = did_you_mean(key, _KEYS)
            mistakes.add(key or '""', f"A study file has no such key.{hint} Known: {', '.join(_KEYS)}.")
    if "space" not in data:
        mistakes.add("space", "A study needs a [space] table with its parameters.")
    if "evaluator" not in data:
        mistakes.add("evaluator", "A study needs an [evaluator] table with a key `use`.")
    makers: dict[str, Callable[[Any], Any]] = {
        "space": Space,
        "objective": parse_objectives,
        "constraints": parse_constraints,
        **{kind: partial(plugins.make, kind) for kind in ("evaluator", "sampler", "executor")},
        "stop": partial(_rules, plugins, mistakes),
        "store": plugins.make_store,
    }
    given = {"stop": [], "store": store, **data}
    return {key: mistakes.collect(make, given[key]) for key, make in makers.items() if given.get(key) is not None}


def _rules(plugins: Plugins, mistakes: Mistakes, given: Any) -> Any:
    rules = rules_by_path(given).items()
    made = {path: mistakes.collect(plugins.make, "stopping rule", rule, path) for path, rule in rules}
    return made["stop"] if "stop" in made else list(made.values())
