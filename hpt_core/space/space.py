"""The search space: named parameters, their conditions, and the map between configurations and the unit cube."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, overload
from weakref import WeakValueDictionary

from hpt_core.errors import Mistake, RequirementError, UsageError
from hpt_core.space.branches import Branches
from hpt_core.space.choices import Categorical, Constant, Ordinal
from hpt_core.space.conditions import ABSENT, Conditions
from hpt_core.space.enumeration import Enumeration, Values
from hpt_core.space.grid import MAX_POINTS, Grid
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

_FOUND: WeakValueDictionary[str, Branches] = WeakValueDictionary()  # by the hash of a space


class Space:
    """Named parameters with conditions and requirements. A space is immutable.

    A configuration (``params``) is a dict of native Python values that holds only the *active* parameters: those whose
    conditions hold and whose parents are active.

    A parameter may have a requirement, such as ``"leaf <= split / 2"``: configurations that do not satisfy it are not
    in the space. It is an expression with names of parameters (its own among them), numbers, strings,
    ``+ - * / // %``, comparisons, ``and``, ``or``, ``not`` and ``in``, as in Python. It does not apply while a
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

    __slots__ = (
        "__weakref__", "_branches", "_columns", "_conditions", "_decode_steps", "_decoders", "_default", "_encoders",
        "_flat", "_hash", "_one_template", "_order", "_parameters", "_parents", "_plain_keys", "_requirements", "_size",
        "_template", "_whole",
    )  # fmt: skip

    def __init__(self, declared: Mapping[str, Any]) -> None:
        parameters, order = parse_space(declared)
        self._parameters = MappingProxyType(parameters)
        self._order = order
        self._conditions = Conditions(self._parameters, order)
        self._columns = tuple(name for name, p in parameters.items() if p.size != 1)
        self._hash = ""
        self._size: int | None = -1
        self._whole: Grid | None = None
        required = {name: requirement_of(p.requires) for name, p in parameters.items()}
        self._requirements = {name: each for name, each in required.items() if each is not None}
        self._default: Params | None = None
        self._compile()
        self._branches = self._find_branches() if self._requirements else None

    def _compile(self) -> None:
        """Prepare the tables that the hot methods loop over."""
        parameters = self._parameters
        column = {name: i for i, name in enumerate(self._columns)}
        checks = self._conditions.checks
        lists = any(p.has_lists for p in parameters.values())
        has_none = any(p.contains(None) for p in parameters.values())
        self._parents = frozenset(parent for each in checks.values() for parent, _ in each)
        self._flat = not self._parents
        self._one_template = self._flat and not lists
        self._plain_keys = not lists and (self._flat or not has_none)
        self._decoders = tuple((name, parameters[name].from_unit) for name in self._columns)
        self._encoders = tuple((name, parameters[name].to_unit) for name in self._columns)
        self._decode_steps = tuple(
            (name, parameters[name].from_unit, column.get(name, -1), checks[name]) for name in self._order
        )
        self._template: Params = {name: p.from_unit(0.5) for name, p in parameters.items()}

    def _find_branches(self) -> Branches:
        """What the requirements allow. As a search takes long, equal spaces share it."""
        found = _FOUND.get(self.hash)
        if found is None:
            requirements, d = tuple(self._requirements.values()), len(self._columns)
            found = _FOUND[self.hash] = Branches(self._row, requirements, self._parameters, d, self._listed)
        return found

    def _first_allowed(self, branches: Branches) -> Params:
        """The default configuration; if it is not allowed, the nearest of some that are."""
        import numpy as np

        wanted = self._conditions.complete({})
        if self.allows(wanted):
            return wanted
        near = branches.some()
        apart = np.nan_to_num(self.to_unit(near), nan=0.5) - np.nan_to_num(self.to_unit(wanted), nan=0.5)
        return near[int((apart**2).sum(axis=1).argmin())]

    def _listed(self) -> list[list[float]] | None:
        """All allowed points, if the space is finite and small enough to try all."""
        import numpy as np

        try:
            return np.nan_to_num(self.to_unit(self.grid()), nan=0.5).tolist() if self.size is not None else None
        except UsageError:  # a grid without points
            return []

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
        return self._order

    @property
    def columns(self) -> tuple[str, ...]:
        """The names that have a column in the unit cube: all parameters with more than one value."""
        return self._columns

    @property
    def size(self) -> int | None:
        """Number of distinct configurations under the conditions and requirements.

        None if a parameter is continuous, or if there are requirements and, without them, more than 100,000
        configurations.
        """
        if self._size == -1:
            self._size = self._count()
        return self._size

    def _count(self) -> int | None:
        if any(p.size is None for p in self._parameters.values()):
            return None
        values = {name: Values.of(p, None, 1) for name, p in self._parameters.items()}
        count = Enumeration(self._order, values, {n: p.when for n, p in self._parameters.items()}).size
        if not self._requirements:
            return count
        return self.grid().size if count <= MAX_POINTS else None

    @property
    def has_defaults(self) -> bool:
        """Whether any parameter declares a default."""
        return any(p.default is not None for p in self._parameters.values())

    @property
    def hash(self) -> str:
        """SHA-256 of the definition, the same on every machine. It depends on the order of the names."""
        if not self._hash:
            import hashlib
            import json

            definition = {"names": self.names, "parameters": self.to_json()}
            text = json.dumps(definition, sort_keys=True, separators=(",", ":"))
            self._hash = hashlib.sha256(text.encode()).hexdigest()
        return self._hash

    def to_json(self) -> dict[str, dict[str, Any]]:
        """The tables of all parameters with their types, in the declared order."""
        return {name: p.to_json() for name, p in self._parameters.items()}

    @classmethod
    def from_json(cls, obj: Mapping[str, Any]) -> Space:
        """The inverse of `to_json`."""
        return cls(obj)

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

    def __reduce__(self) -> tuple[type[Space], tuple[dict[str, Parameter]]]:
        return type(self), (dict(self._parameters),)

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
        return self._draw(rng) if self._branches is None else self._branches.draw(rng)

    def _draw(self, rng: Generator) -> Params:
        return self._row(rng.random(len(self._columns)).tolist())

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
        if array.ndim not in (1, 2) or array.shape[-1] != len(self._columns):
            d = len(self._columns)
            msg = f"Unit coordinates must have the shape ({d},) or (n, {d}). Got {array.shape}."
            raise ValueError(msg)
        rows = array.tolist()
        return self._row(rows) if array.ndim == 1 else [self._row(row) for row in rows]

    def _row(self, row: list[float]) -> Params:
        if self._one_template:
            params = self._template.copy()
            for (name, decode), u in zip(self._decoders, row, strict=True):
                params[name] = decode(u)
            return params
        params = {}
        for name, decode, column, checks in self._decode_steps:
            for parent, allowed in checks:
                if params.get(parent, ABSENT) not in allowed:
                    break
            else:
                params[name] = decode(row[column] if column >= 0 else 0.5)
        return self._conditions.in_declared_order(params)

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
        return np.array(rows, dtype=np.float64).reshape(len(rows), len(self._columns))

    def _point(self, params: Mapping[str, Any]) -> list[float]:
        nan = float("nan")
        try:
            return [encode(params[name]) if name in params else nan for name, encode in self._encoders]
        except (KeyError, TypeError, ValueError, AttributeError):
            self.validate(params)  # its message says which value is wrong
            raise

    # --- configurations -----------------------------------------------------------------------------

    def key(self, params: Mapping[str, Any]) -> tuple[Any, ...]:
        """A hashable key that is equal for equal configurations only. Those outside the space have one, too."""
        if self._plain_keys:
            key = tuple(map(params.get, self._parameters))
            try:
                hash(key)
            except TypeError:  # one of the values is a list, which this space does not have
                pass
            else:
                return key
        return tuple(freeze(params.get(name, ABSENT)) for name in self._parameters)

    def active(self, params: Mapping[str, Any]) -> tuple[str, ...]:
        """The names that are active under the parents' values in ``params``, in the declared order."""
        return self._conditions.active(params)

    def contains(self, params: object) -> bool:
        """Whether ``params`` is a valid configuration that `validate` would return unchanged."""
        if not isinstance(params, Mapping):
            return False
        names = self._parameters if self._flat else self._conditions.active(params)
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
        if self._branches is None or given:
            return self._conditions.complete(given or {})
        if self._default is None:
            self._default = self._first_allowed(self._branches)
        return self._conditions.complete(self._default)

    def neighbours(self, params: Mapping[str, Any]) -> list[Params]:
        """The configurations that differ from ``params`` in one step of one parameter.

        Each active parameter in turn takes the values that `Parameter.neighbours` returns. A parameter that becomes
        active starts from its default; one that becomes inactive is left out.
        """
        complete = self._conditions.complete
        start = complete(params)
        same = start.keys() - self._parents  # changing one of these activates and deactivates nothing
        near = [
            {**start, name: value} if name in same else complete({**params, name: value})
            for name, parameter in self._parameters.items()
            if name in params
            for value in parameter.neighbours(params[name])
        ]
        return list(filter(self.allows, near)) if self._requirements else near

    def grid(self, points: int | Mapping[str, int] = 5) -> Grid:
        """The grid over the space; see `Grid`."""
        allows = self.allows if self._requirements else None
        if allows is None or points != 5:
            return Grid(self._parameters, self._order, points, allows)
        if self._whole is None:  # it is kept, as finding the allowed points takes long
            self._whole = Grid(self._parameters, self._order, 5, allows)
        return self._whole
