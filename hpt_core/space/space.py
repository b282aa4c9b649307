"""The search space: named parameters, their conditions, and the map between configurations and the unit cube."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, overload
from weakref import WeakValueDictionary

from hpt_core.errors import Mistake, RequirementError
from hpt_core.space.allowed import Allowed
from hpt_core.space.choices import Categorical, Constant, Ordinal
from hpt_core.space.conditions import ABSENT, Conditions
from hpt_core.space.cube import Row, UnitCube
from hpt_core.space.grid import Grid
from hpt_core.space.numeric import Float, Int
from hpt_core.space.parameters import Parameter, Params
from hpt_core.space.parsing import parse_space
from hpt_core.space.requirements import requirement_of
from hpt_core.values import freeze

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Categorical", "Constant", "Float", "Grid", "Int", "Ordinal", "Parameter", "Space"]

_ALLOWED: WeakValueDictionary[str, Allowed] = WeakValueDictionary()  # by the hash of a space


class Space:
    """Named parameters with conditions and requirements. A space is immutable.

    A configuration (``params``) is a dict of native Python values that holds only the *active* parameters: those whose
    conditions hold and whose parents are active.

    A parameter may have a requirement, such as ``"leaf <= split / 2"``: configurations that do not satisfy it are not
    in the space. It is an expression with names of parameters (its own among them), numbers, strings,
    ``+ - * / // % **``, comparisons, ``and``, ``or``, ``not`` and ``in``, as in Python. It does not apply while a
    parameter that it names is inactive, and it is not satisfied if it cannot be computed (a division by zero).

    Args:
        declared: Name -> parameter. A list is short for a `Categorical`, a single value for a `Constant`. A table
            ``{low, high, ...}`` is an `Int` if both bounds are ints, else a `Float`. ``{choices = [...]}`` is a
            `Categorical`, with ``ordered = true`` an `Ordinal`. ``{value = ...}`` is a `Constant`. A key ``type``
            sets the kind explicitly.

    Raises:
        SpaceError: With every mistake found, each with its path (``space.C.low``), or if no configuration is found
            that satisfies the requirements.

    Example::

        space = Space({
            "model": Categorical("svm", "forest"),
            "C": Float(1e-3, 1e3, log=True, when={"model": "svm"}),
            "split": Int(2, 40, when={"model": "forest"}),
            "leaf": Int(1, 20, when={"model": "forest"}, requires="leaf <= split / 2"),
        })
    """

    def __init__(self, declared: Mapping[str, Any]) -> None:
        self._declare(declared)
        if self._allowed is not None:
            self._allowed.search()

    def _declare(self, declared: Mapping[str, Any]) -> None:
        parameters, order = parse_space(declared)
        self._parameters = MappingProxyType(parameters)
        self._conditions = Conditions(self._parameters, order)
        self._cube = UnitCube(self._conditions)
        required = {name: requirement_of(p.requires) for name, p in parameters.items()}
        self._requirements = {name: each for name, each in required.items() if each is not None}
        self._allowed = self._find_allowed() if self._requirements else None

    def _find_allowed(self) -> Allowed:
        """What the requirements allow. As a search takes long, equal spaces share it."""
        found = _ALLOWED.get(self.hash)
        if found is None:
            found = _ALLOWED[self.hash] = Allowed(self._cube, tuple(self._requirements.values()))
        return found

    # --- the definition -----------------------------------------------------------------------------

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """Name -> parameter, in the declared order."""
        return self._parameters

    @property
    def names(self) -> tuple[str, ...]:
        """All names, in the declared order."""
        return tuple(self._parameters)

    @property
    def order(self) -> tuple[str, ...]:
        """All names, with parents before children, otherwise in the declared order."""
        return self._conditions.order

    @property
    def columns(self) -> tuple[str, ...]:
        """The names that have a column in the unit cube: all parameters with more than one value."""
        return self._cube.columns

    @property
    def size(self) -> int | None:
        """Number of distinct configurations under the conditions and requirements.

        None if a parameter is continuous, or if there are requirements and, without them, more than 100,000
        configurations.
        """
        return self._size

    @cached_property
    def _size(self) -> int | None:
        if self._allowed is not None:
            return self._allowed.size
        return None if any(p.size is None for p in self._parameters.values()) else self.grid().size

    @property
    def has_defaults(self) -> bool:
        """Whether any parameter declares a default."""
        return any(p.default is not None for p in self._parameters.values())

    @property
    def hash(self) -> str:
        """SHA-256 of the definition, the same on every machine. It depends on the order of the names."""
        return self._hash

    @cached_property
    def _hash(self) -> str:
        import hashlib
        import json

        definition = {"names": self.names, "parameters": self.to_json()}
        text = json.dumps(definition, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> dict[str, dict[str, Any]]:
        """The tables of all parameters with their types, in the declared order."""
        return {name: p.to_json() for name, p in self._parameters.items()}

    @classmethod
    def from_json(cls, obj: Mapping[str, Any]) -> Space:
        """The inverse of `to_json`.

        The space was made before, so it is not searched again for configurations that satisfy the requirements before
        one is drawn: that may take long, and a study may only be read.
        """
        space = cls.__new__(cls)
        space._declare(obj)  # noqa: SLF001 - it is a space
        return space

    def __getitem__(self, name: str) -> Parameter:
        return self._parameters[name]

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters)

    def __contains__(self, name: object) -> bool:
        return name in self._parameters

    def __eq__(self, other: object) -> bool:
        return self.hash == other.hash if isinstance(other, Space) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.hash)

    def __reduce__(self) -> tuple[Callable[[Mapping[str, Any]], Space], tuple[dict[str, Parameter]]]:
        return type(self).from_json, (dict(self._parameters),)  # which takes parameters, too

    def __repr__(self) -> str:
        inner = ", ".join(f"{name!r}: {p!r}" for name, p in self._parameters.items())
        return f"Space({{{inner}}})"

    # --- the unit cube ------------------------------------------------------------------------------

    def sample(self, rng: Generator) -> Params:
        """Draw a configuration, each active parameter uniformly on its scale.

        The same as `from_unit` of ``rng.random(len(space.columns))``, repeated until the requirements are satisfied.
        If less than about one in 10,000 does, it is the end of a random walk over those that do, which are drawn nearly
        evenly unless they are in pieces far apart. If less than about one in ten does in some branch, each branch with
        a share of at least 1 in 50 is drawn as often as without requirements.
        """
        if self._allowed is not None:
            return self._allowed.draw(rng)
        return self._cube.decode(rng.random(len(self._cube.columns)).tolist())

    @overload
    def from_unit(self, u: Sequence[float]) -> Params: ...
    @overload
    def from_unit(self, u: ArrayLike) -> Any: ...
    def from_unit(self, u: Any) -> Any:
        """The configurations at points of the unit cube, whether or not they satisfy the requirements.

        Args:
            u: Shape (d,) or (n, d) with d = ``len(space.columns)``. Coordinates outside [0, 1] are clipped; the columns
                of inactive parameters are ignored.

        Returns:
            One configuration for shape (d,), a list of n for shape (n, d).

        Raises:
            ValueError: If the shape is wrong, or the coordinate of an active parameter is NaN.
        """
        import numpy as np

        array = np.asarray(u, dtype=np.float64)
        d = len(self.columns)
        if array.ndim not in (1, 2) or array.shape[-1] != d:
            msg = f"Unit coordinates must have the shape ({d},) or (n, {d}). Got {array.shape}."
            raise ValueError(msg)
        rows = array.tolist()
        return self._cube.decode(rows) if array.ndim == 1 else list(map(self._cube.decode, rows))

    def to_unit(self, params: Mapping[str, Any] | Iterable[Mapping[str, Any]]) -> NDArray[np.float64]:
        """The points of the unit cube for configurations in the space.

        Args:
            params: One configuration, or several.

        Returns:
            Shape (d,) for one, (n, d) for several; NaN where a parameter is inactive.

        Raises:
            InvalidParamsError: If a value is not one of its parameter's values.
        """
        import numpy as np

        if isinstance(params, Mapping):
            return np.array(self._point(params), dtype=np.float64)
        rows = [self._point(one) for one in params]
        return np.array(rows, dtype=np.float64).reshape(len(rows), len(self.columns))

    def _point(self, params: Mapping[str, Any]) -> Row:
        try:
            return self._cube.encode(params)
        except (KeyError, TypeError, ValueError, AttributeError):
            self.validate(params)  # its message says which value is wrong
            raise

    # --- configurations -----------------------------------------------------------------------------

    def key(self, params: Mapping[str, Any]) -> tuple[Any, ...]:
        """A hashable key that is equal for equal configurations only. Those outside the space have one, too."""
        key = tuple([params.get(name, ABSENT) for name in self._parameters])
        try:
            hash(key)
        except TypeError:  # one of the values is a list
            return tuple(map(freeze, key))
        return key

    def active(self, params: Mapping[str, Any]) -> tuple[str, ...]:
        """The names that are active under the parents' values in ``params``, in the declared order."""
        return self._conditions.active(params)

    def contains(self, params: object) -> bool:
        """Whether ``params`` is a valid configuration that `validate` would return unchanged."""
        if not isinstance(params, Mapping):
            return False
        names = self._conditions.active(params)
        if len(params) != len(names):
            return False
        parameters = self._parameters
        if not all(name in params and parameters[name].contains(params[name]) for name in names):
            return False
        return self.allows(params)

    def allows(self, params: Mapping[str, Any]) -> bool:
        """Whether the values of a configuration satisfy the requirements, `Parameter.requires`."""
        return all(requirement.holds(params) for requirement in self._requirements.values())

    def validate(self, params: Mapping[str, Any]) -> Params:
        """Check and complete a configuration given by a user.

        Numpy scalars become native values, and an int becomes a float if the parameter is a `Float`. A missing active
        parameter gets its declared default, or its only value.

        Returns:
            The configuration with native values, in the declared order.

        Raises:
            InvalidParamsError: With every mistake found.
        """
        valid = self._conditions.validate(params)
        broken = {name: each for name, each in self._requirements.items() if not each.holds(valid)}
        if broken:
            raise RequirementError(*(Mistake(name, each.broken_by(valid)) for name, each in broken.items()))
        return valid

    def default(self, given: Mapping[str, Any] | None = None) -> Params:
        """The configuration of the defaults; ``given`` values take precedence.

        A parameter without a declared default has its middle value, a categorical its first choice. If that does not
        satisfy the requirements, it is a configuration near it that does; with ``given`` values it may not.
        """
        if self._allowed is None or given:
            return self._conditions.complete(given or {})
        return self._allowed.default()

    def neighbours(self, params: Mapping[str, Any]) -> list[Params]:
        """The configurations that differ from ``params`` in one step of one parameter.

        Each active parameter in turn takes the values that `Parameter.neighbours` returns. A parameter that becomes
        active starts from its default; one that becomes inactive is left out.
        """
        complete = self._conditions.complete
        start = complete(params)
        same = start.keys() - self._conditions.parents  # changing one of these activates and deactivates nothing
        near = [
            {**start, name: value} if name in same else complete({**params, name: value})
            for name, parameter in self._parameters.items()
            if name in params
            for value in parameter.neighbours(params[name])
        ]
        return list(filter(self.allows, near)) if self._requirements else near

    def grid(self, points: int | Mapping[str, int] = 5) -> Grid:
        """The grid over the space; see `Grid`."""
        if self._allowed is None:
            return Grid(self._parameters, self.order, points)
        return self._allowed.grid if points == 5 else Grid(self._parameters, self.order, points, self.allows)
