"""Options: a component is an attrs class, its fields are its options.

One mechanism turns a TOML table, Python keywords or ``-o key=value`` into a component, refuses what is unknown
or of the wrong type with the key's path, and lists the options for ``hpt plugins show``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import attrs

from hpt_core.declared import native
from hpt_core.errors import Mistake, PluginError, UsageError
from hpt_core.spelling import did_you_mean

__all__ = ["build", "inline_option", "option", "option_fields"]

_BOUNDS: dict[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "ge": (">=", lambda value, bound: value >= bound),
    "gt": (">", lambda value, bound: value > bound),
    "le": ("<=", lambda value, bound: value <= bound),
    "lt": ("<", lambda value, bound: value < bound),
}
_SCALARS: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "str": (str,), "bool": (bool,)}


def option(
    default: Any = attrs.NOTHING,
    *,
    help: str,  # noqa: A002 - the word that click and argparse use
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    factory: Callable[[], Any] | None = None,
    converter: Callable[[Any], Any] | None = None,
    inline: bool = False,
) -> Any:
    """An attrs field that is an option of a component.

    Args:
        default: The default; without one (and without ``factory``) the option must be given. An option that is itself a
            component may have ``{"use": name}``, which `build` makes (None if nobody offers it and it may be none).
        help: One sentence for ``hpt plugins show`` and the docs.
        ge: A number must be >= this; None: no such bound.
        gt: A number must be > this.
        le: A number must be <= this.
        lt: A number must be < this.
        factory: Makes a mutable default.
        converter: Applied to what was given, as by `attrs.field`.
        inline: The option is a component that shares its table with the other options of the class: it takes ``use``
            and every key that none of them has. One option of a class may be so.

    Returns:
        What `attrs.field` returns. Values are checked also when the component is made by hand: a plain ``int``,
        ``float``, ``str`` or ``bool`` annotation (alone or with ``| None``) is enforced, and True is no int.
    """
    bounds = {"ge": ge, "gt": gt, "le": le, "lt": lt}
    metadata = {"help": help, "bounds": {k: v for k, v in bounds.items() if v is not None}, "inline": inline}
    made = {"factory": factory} if factory else {"default": default}
    return attrs.field(metadata=metadata, validator=_validate, converter=converter, **made)


def _validate(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    problem = _problem(attribute, value)
    if problem:
        msg = f"The `{attribute.name}` option of {type(instance).__name__} {problem}"
        raise UsageError(msg)


def _problem(attribute: attrs.Attribute[Any], value: Any) -> str | None:
    """What is wrong with a value, in the form 'must be an int >= 1. Got 0.'; None where nothing is."""
    hint = attribute.type.__name__ if isinstance(attribute.type, type) else str(attribute.type)
    names = [part.strip() for part in hint.split("|")]
    kinds = [name for name in names if name in _SCALARS]
    bounds: Mapping[str, float] = attribute.metadata.get("bounds", {})
    if value is None and "None" in names:
        return None
    if kinds and len(kinds) == len([n for n in names if n != "None"]):
        is_bool_by_mistake = isinstance(value, bool) and "bool" not in kinds
        fits = any(isinstance(value, _SCALARS[kind]) for kind in kinds) and not is_bool_by_mistake
        finite = not isinstance(value, float) or math.isfinite(value)
        if not fits or not finite:
            return f"must be {_wanted(names, bounds)}. Got {_shown(value)}."
    bounded = isinstance(value, (int, float))  # another alternative (a table of them) checks its own
    in_bounds = not bounded or all(_BOUNDS[key][1](value, bound) for key, bound in bounds.items())
    return None if in_bounds else f"must be {_wanted(names, bounds)}. Got {_shown(value)}."


def _wanted(names: Sequence[str], bounds: Mapping[str, float]) -> str:
    words = {"int": "an int", "float": "a number", "str": "a string", "bool": "true or false"}
    limits = " and ".join(f"{_BOUNDS[key][0]} {bound}" for key, bound in bounds.items())
    parts = [words.get(name, name) for name in names if name != "None"]
    return " ".join(part for part in (" or ".join(parts), limits) if part)


def _shown(value: object) -> str:
    return f"{type(value).__name__} {value!r:.80}" if isinstance(value, (str, bool)) else f"{value!r:.80}"


def option_fields(cls: type) -> list[attrs.Attribute[Any]]:
    """The fields of a component class that are options, in order of declaration.

    Args:
        cls: A component class; one that is not an attrs class has no options.
    """
    if not attrs.has(cls):
        return []
    return [field for field in attrs.fields(cls) if field.init]


def build(
    cls: type,
    given: Mapping[str, Any],
    path: str,
    resolve: Callable[[type, Any, str], Any] | None = None,
) -> Any:
    """Make a component from the options that a user gave.

    Args:
        cls: The component's class.
        given: Option name -> value as TOML or Python gave it.
        path: Key path of the options, for messages (``sampler``).
        resolve: Called as ``resolve(protocol, value, path)`` where an option is itself a component.

    Returns:
        An instance of ``cls``.

    Raises:
        UsageError: With every mistake found.
        PluginError: If the class itself is at fault.
    """
    fields = {field.name: field for field in option_fields(cls)}
    given = {name: native(value) for name, value in given.items()}
    mistakes = []
    for name in given:
        if name not in fields:
            known = ", ".join(sorted(fields)) or ("none" if attrs.has(cls) else "none, as it is no attrs class")
            hint = did_you_mean(name, list(fields))
            message = f"{cls.__name__} has no such option.{hint} Its options: {known}."
            mistakes.append(Mistake(_join(path, name), message))
    for name, field in fields.items():
        if name not in given and field.default is attrs.NOTHING:
            help_text = field.metadata.get("help", "")
            mistakes.append(Mistake(_join(path, name), f"This option must be given. {help_text}".strip()))
    hints = _hints(cls)
    values = {
        name: _by_default(field.default, hints[name], _join(path, name), resolve)
        for name, field in fields.items()
        if name not in given and isinstance(field.default, Mapping) and "use" in field.default
    }
    for name in (known for known in given if known in fields):
        where = _join(path, name)
        problem = None if fields[name].converter else _problem(fields[name], given[name])
        if problem:
            mistakes.append(Mistake(where, problem[0].upper() + problem[1:]))
            continue
        try:
            kind = Any if fields[name].converter else hints[name]
            values[name] = _Structure(resolve).of(given[name], kind, where)
        except UsageError as err:
            mistakes += err.mistakes
    if mistakes:
        order = list(given)
        raise UsageError(*sorted(mistakes, key=lambda m: _place(m.path, path, order)))
    return _made(cls, values, path)


def _by_default(default: Any, kind: Any, path: str, resolve: Callable[[type, Any, str], Any] | None) -> Any:
    try:
        return _Structure(resolve).of(default, kind, path)
    except UsageError:
        if NoneType not in get_args(kind):
            raise
        return None


@cache
def _hints(cls: type) -> Mapping[str, Any]:
    try:
        return get_type_hints(cls) if attrs.has(cls) else {}
    except Exception as err:
        msg = f"The options of {cls.__name__} are annotated with what is not there at runtime: {err}"
        raise PluginError(msg) from err


def _made(cls: type, values: Mapping[str, Any], path: str) -> Any:
    try:
        return cls(**values)
    except UsageError as err:
        raise UsageError(*(Mistake(_join(path, m.path), m.message) for m in err.mistakes)) from err
    except Exception as err:
        message = f"{cls.__name__} cannot be made of these options: {type(err).__name__}: {err}"
        raise UsageError(Mistake(path, message)) from err


def _join(path: str, rest: str) -> str:
    return ".".join(part for part in (path, rest) if part)


def _place(where: str, path: str, order: Sequence[str]) -> int:
    name = where.removeprefix(f"{path}." if path else "").split(".")[0].split("[")[0]
    return order.index(name) if name in order else len(order)


@attrs.frozen
class _Structure:
    """Turns plain data into what a type hint asks for, strictly: nothing is cast but int to float."""

    resolve: Callable[[type, Any, str], Any] | None

    def of(self, value: Any, kind: Any, path: str) -> Any:
        origin, args = get_origin(kind), get_args(kind)
        if origin in (Union, UnionType):
            protocols = [arg for arg in args if getattr(arg, "_is_protocol", False)]  # several are one contract
            return self._union(value, [arg for arg in args if arg not in protocols[1:]], path)
        if origin is Literal:
            if not any(value == known and type(value) is type(known) for known in args):
                words = [known for known in args if isinstance(known, str)]
                hint = did_you_mean(value, words) if isinstance(value, str) else ""
                raise _wrong(path, f"one of {', '.join(map(repr, args))}", value, hint)
            return value
        if origin in (list, Sequence, tuple):
            if not isinstance(value, (list, tuple)):
                raise _wrong(path, "a list", value)
            items = self._each([(v, args[0], f"{path}[{i}]") for i, v in enumerate(value)])
            return tuple(items) if origin is tuple else items
        if origin in (dict, Mapping):
            if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
                raise _wrong(path, "a table", value)
            items = self._each([(v, args[1], f"{path}.{key}") for key, v in value.items()])
            return dict(zip(value, items, strict=True))
        return self._plain(value, kind, path)

    def _each(self, jobs: Sequence[tuple[Any, Any, str]]) -> list[Any]:
        done: list[Any] = []
        mistakes: list[Mistake] = []
        for value, kind, path in jobs:
            try:
                done.append(self.of(value, kind, path))
            except UsageError as err:
                mistakes += err.mistakes
        if mistakes:
            raise UsageError(*mistakes)
        return done

    def _union(self, value: Any, kinds: Sequence[Any], path: str) -> Any:
        errors = []
        for kind in kinds:
            try:
                return self.of(value, kind, path)
            except UsageError as err:
                errors.append(err)
        shaped = [e for e in errors if any(m.path != path for m in e.mistakes)]
        if shaped:  # one alternative had the right outer shape: its own mistakes say more
            raise shaped[0]
        raise _wrong(path, " or ".join(_kind_name(kind) for kind in kinds if kind is not NoneType), value)

    def _plain(self, value: Any, kind: Any, path: str) -> Any:
        if kind is Any or kind is object or get_origin(kind) is not None or not isinstance(kind, type):
            return value  # an object or an import path: the component itself knows what it takes
        if getattr(kind, "_is_protocol", False) and self.resolve is not None:
            return self.resolve(kind, value, path)
        if attrs.has(kind) and not isinstance(value, kind):
            return self._record(value, kind, path)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            try:
                return float(value)
            except OverflowError:
                raise _wrong(path, "a finite number", value) from None
        if kind is Path and isinstance(value, (str, Path)):
            return Path(value)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise _wrong(path, _kind_name(kind), value)
        if isinstance(value, float) and not math.isfinite(value):
            raise _wrong(path, "a finite number", value)
        return value

    def _record(self, value: Any, cls: type, path: str) -> Any:
        """A table of options within the options; one with an inline component may be given as that alone."""
        inline = inline_option(cls)
        names = {field.name for field in option_fields(cls)} - {inline}
        if isinstance(value, Mapping) and (inline is None or (inline in value and "use" not in value)):
            return build(cls, value, path, self.resolve)
        if inline is None:
            raise _wrong(path, "a table", value)
        given = {inline: value}
        if isinstance(value, Mapping):
            own = {name: item for name, item in value.items() if name in names}
            given = {inline: {name: item for name, item in value.items() if name not in names}, **own}
        try:
            return build(cls, given, path, self.resolve)
        except UsageError as err:  # the user wrote no such key
            moved = [attrs.evolve(m, path=m.path.replace(f"{path}.{inline}", path, 1)) for m in err.mistakes]
            raise UsageError(*moved) from err


def inline_option(cls: type) -> str | None:
    """The option of a class that shares its table with the others (see `option`), None where there is none."""
    return next((field.name for field in option_fields(cls) if field.metadata.get("inline")), None)


def _kind_name(kind: Any) -> str:
    names = {int: "an int", float: "a number", str: "a string", bool: "true or false", Path: "a path"}
    origins = {list: "a list", dict: "a table", tuple: "a list"}
    name = names.get(kind) or origins.get(get_origin(kind)) or getattr(kind, "__name__", kind)
    return str(name)


def _wrong(path: str, wanted: str, value: object, hint: str = "") -> UsageError:
    return UsageError(Mistake(path, f"Must be {wanted}. Got {_shown(value)}.{hint}"))
