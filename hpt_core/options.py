"""Options: a component is an attrs class, and its fields are its options.

One mechanism turns a TOML table, Python keywords or ``-o key=value`` into a component, rejects unknown options and
wrong types with the key's path, and lists the options for ``hpt plugins show``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

import attrs

from hpt_core.durations import to_seconds
from hpt_core.errors import HptError, Mistake, PluginError, UnknownComponentError, UsageError
from hpt_core.mistakes import Mistakes, key_path, within, without_key
from hpt_core.spelling import did_you_mean
from hpt_core.structure import Structure, invalid_value
from hpt_core.values import native

__all__ = ["UnknownOption", "annotations_of", "build", "inline_option", "option", "option_fields"]

_Resolve = Callable[[type, Any, str], Any]


@attrs.frozen
class UnknownOption(Mistake):
    """An option that its component does not have."""


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
    seconds: bool = False,
    inline: bool = False,
    affects_results: bool = True,
) -> Any:
    """An attrs field that is an option of a component.

    Args:
        default: The default; without one (and without ``factory``) the option is required. The default of an option
            that is itself a component may be ``{"use": name}``, from which `build` makes the component (None if no
            plugin offers it and the option may be None).
        help: One sentence for ``hpt plugins show`` and the docs.
        ge: Lower bound (>=) of a number, or of each number in a list or table; None: no such bound.
        gt: Lower bound (>).
        le: Upper bound (<=).
        lt: Upper bound (<).
        factory: Makes a mutable default.
        converter: Applied to the given value, as by `attrs.field`; not with ``seconds``, which is a conversion itself.
        seconds: Whether the option is a duration, with the bound ``gt=0`` or ``ge=0``. Text such as ``"90s"``,
            ``"10m"`` or ``"1h30m"`` is accepted, too, and becomes a number of seconds.
        inline: Whether the option is a component that shares its table with the other options of the class: it gets
            ``use`` and every key that is not one of them. At most one option of a class may be inline.
        affects_results: False if no value of the option can change a trial, a result or a decision, as for a file to
            save the winner to. A study then resumes with a new value without ``--amend``.

    Returns:
        What `attrs.field` returns. A value is checked against the annotation as strictly when the component is made in
        Python as when it comes from a file: True is not an int. A path may begin with ``~``.
    """
    if seconds and converter:
        raise TypeError("An option with seconds=True cannot have a converter, too.")
    bounds = {"ge": ge, "gt": gt, "le": le, "lt": lt}
    metadata = {
        "help": help,
        "bounds": {key: bound for key, bound in bounds.items() if bound is not None},
        "seconds": seconds,
        "inline": inline,
        "affects_results": affects_results,
    }
    made = {"factory": factory} if factory else {"default": default}
    convert = attrs.Converter(to_seconds, takes_field=True) if seconds else converter
    return attrs.field(metadata=metadata, validator=_validate, converter=convert, **made)


def option_fields(cls: type) -> list[attrs.Attribute[Any]]:
    """The fields of a component class that are options, in order of declaration.

    Args:
        cls: A component class; one that is not an attrs class has no options.
    """
    if not attrs.has(cls):
        return []
    return [field for field in attrs.fields(cls) if field.init]


def inline_option(cls: type) -> str | None:
    """The name of the inline option of a class (see `option`); None if it has none."""
    return next((field.name for field in option_fields(cls) if field.metadata.get("inline")), None)


def _as_given(_kind: type, value: Any, _path: str) -> Any:
    return value


def build(cls: type, given: Mapping[str, Any], path: str, resolve: _Resolve = _as_given) -> Any:
    """Make a component from options given by a user.

    Args:
        cls: The component's class.
        given: Option name -> value, as read from TOML or passed from Python.
        path: Key path of the options, for messages, such as ``sampler``.
        resolve: Called as ``resolve(protocol, value, path)`` to make an option that is itself a component.

    Returns:
        An instance of ``cls``.

    Raises:
        UsageError: With every mistake found.
        PluginError: If the class itself is defined wrongly, or raises an error that is not about its options.
    """
    fields = {field.name: field for field in option_fields(cls)}
    hints, part = annotations_of(cls), partial(_part, resolve)
    values: dict[str, Any] = {}
    mistakes = Mistakes()
    for name in dict.fromkeys([*given, *fields]):  # mistakes are reported in the order of the input
        where = key_path(path, str(name))  # in Python, a key may be of any type
        if name not in fields:
            mistakes.extend([UnknownOption(where, _unknown_option(cls, str(name)))])
            continue
        field = fields[name]
        kind = Any if field.converter else hints.get(name, Any)  # the converter checks its own input
        structure = Structure(field.metadata.get("bounds", {}), part)
        if name in given and field.metadata.get("seconds"):
            values[name] = mistakes.collect(to_seconds, native(given[name]), field, where)
        elif name in given:
            values[name] = mistakes.collect(structure.of, native(given[name]), kind, where)
        elif isinstance(field.default, Mapping) and "use" in field.default:
            values[name] = mistakes.collect(_default_component, structure, field.default, kind, where)
        elif field.default is attrs.NOTHING:
            mistakes.add(where, f"This option is required. {field.metadata.get('help', '')}".strip())
    if mistakes:  # not the error itself: that an option's component is unknown does not make this one unknown
        raise UsageError(*mistakes)
    return _instance(cls, values, path)


def _validate(instance: Any, attribute: attrs.Attribute[Any], value: object) -> None:
    cls: type = type(instance)
    structure = Structure(attribute.metadata["bounds"], _as_given)  # a component was checked when it was made
    try:
        checked = structure.of(value, annotations_of(cls).get(attribute.name, Any), attribute.name)
    except UsageError as err:
        owner, mistakes = cls.__name__, err.mistakes
        raise UsageError(
            *(f"The `{m.path}` option of {owner} {m.message.replace('Must', 'must', 1)}" for m in mistakes)
        ) from None
    if isinstance(checked, Path):  # a string becomes a path here as well, and "~" the home folder
        object.__setattr__(instance, attribute.name, checked)


@cache
def annotations_of(cls: type) -> Mapping[str, Any]:
    """The evaluated annotations of a component class.

    Raises:
        PluginError: If one uses a name that does not exist at runtime.
    """
    try:
        return get_type_hints(cls) if attrs.has(cls) else {}
    except (AttributeError, NameError, SyntaxError, TypeError) as err:
        hint = "Import what they use outside `if TYPE_CHECKING:`."
        msg = f"The annotations of the options of {cls.__name__} cannot be evaluated at runtime: {err}. {hint}"
        raise PluginError(msg) from None


def _unknown_option(cls: type, name: str) -> str:
    names = sorted(field.name for field in option_fields(cls))
    known = ", ".join(names) or ("none" if attrs.has(cls) else "none, because it is not an attrs class")
    return f"{cls.__name__} has no such option.{did_you_mean(name, names)} Its options: {known}."


def _default_component(structure: Structure, default: Any, kind: Any, path: str) -> Any:
    try:
        return structure.of(default, kind, path)
    except UnknownComponentError:
        if NoneType not in get_args(kind):
            raise
        return None


def _part(resolve: _Resolve, kind: type, value: Any, path: str) -> Any:
    """Make a component, or an attrs class that groups options; one with an inline option also accepts that alone."""
    if not attrs.has(kind):
        return resolve(kind, value, path)
    inline = inline_option(kind)
    if isinstance(value, Mapping) and (inline is None or (inline in value and "use" not in value)):
        return build(kind, value, path, resolve)
    if inline is None:
        raise invalid_value(path, "a table", value)
    given = {inline: value}
    if isinstance(value, Mapping):
        names = {field.name for field in option_fields(kind)} - {inline}
        own = {name: item for name, item in value.items() if name in names}
        given = {inline: {name: item for name, item in value.items() if name not in names}, **own}
    try:
        return build(kind, given, path, resolve)
    except UsageError as err:  # the inline option's own key is not in the user's input
        raise UsageError(*without_key(path, inline, err.mistakes)) from err


def _instance(cls: type, values: Mapping[str, Any], path: str) -> Any:
    try:
        return cls(**values)
    except UsageError as err:
        raise UsageError(*within(path, err.mistakes)) from err
    except (TypeError, ValueError, OSError) as err:
        message = f"{cls.__name__} cannot be created from these options: {type(err).__name__}: {err}"
        raise UsageError(Mistake(path, message)) from err
    except HptError:
        raise
    except Exception as err:  # no validation of options: the author needs the traceback
        msg = f"{path}: {cls.__name__} failed while it was created: {type(err).__name__}: {err}"
        raise PluginError(msg) from err
