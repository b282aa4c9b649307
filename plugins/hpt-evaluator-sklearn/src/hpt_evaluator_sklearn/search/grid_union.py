"""One space for a list of scikit-learn grids: a parameter chooses the grid, and the others are conditional on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import attrs

from hpt_core import Params, Space
from hpt_evaluator_sklearn.search.distributions import is_distribution, parameter_of
from hpt_evaluator_sklearn.search.labels import Table, choice_parameter, resolve_choices

__all__ = ["GridUnion"]


@attrs.frozen(eq=False)
class GridUnion:
    """Several grids, or mappings of names to distributions, as one space.

    The order of the space is scikit-learn's: one grid after the other, with the names of each sorted.

    Attributes:
        space: The space.
        tables: Parameter of the space -> value in the space -> value for the estimator.
        names: Parameter of the space -> ``set_params`` name, for those that differ.
        places: For each grid, ``set_params`` name -> parameter of the space.
        chooser: The parameter that chooses the grid; empty if there is only one grid.
    """

    space: Space
    tables: Mapping[str, Table]
    names: Mapping[str, str]
    places: Sequence[Mapping[str, str]]
    chooser: str

    @classmethod
    def of(cls, grids: Sequence[Mapping[str, Any]], *, whole_support: bool = True) -> Self:
        """Make the space of some grids.

        Args:
            grids: Mappings of names to lists or distributions.
            whole_support: See `parameter_of`.

        Raises:
            ValueError: With scikit-learn's message, if there are no grids.
        """
        if not grids:
            raise ValueError("No fits were performed. Was the CV iterator empty? Were there no candidates?")
        targets = sorted({name for grid in grids for name in grid})
        chooser = _free_name(targets) if len(grids) > 1 or not targets else ""
        parameters: dict[str, Any] = {}
        tables: dict[str, Table] = {}
        names: dict[str, str] = {}
        places: list[dict[str, str]] = [{} for _ in grids]
        if chooser:
            parameters[chooser] = choice_parameter(range(len(grids)))[0]
        for target in targets:
            variants = _variants(target, grids)
            for values, where in variants:
                name = target if len(variants) == 1 else f"{target}@{where[0]}"
                when = {chooser: where} if len(where) < len(grids) else None
                if is_distribution(values):
                    path = f"param_distributions.{target}"
                    parameters[name] = parameter_of(values, path, whole_support=whole_support, when=when)
                else:
                    parameters[name], tables[name] = choice_parameter(list(values), when=when, ordered=True)
                names |= {} if name == target else {name: target}
                for i in where:
                    places[i][target] = name
        return cls(Space(parameters), tables, names, places, chooser)

    def decode(self, params: Params) -> dict[str, Any]:
        """The parameters of the estimator for a configuration."""
        values = resolve_choices(self.tables, params)
        return {self.names.get(name, name): value for name, value in values.items() if name != self.chooser}

    def encode(self, candidate: Mapping[str, Any]) -> Params:
        """The configuration of one of scikit-learn's candidates, whose listed values are the objects of the grids.

        Raises:
            LookupError: If it is not in any of the grids.
        """
        for i, places in enumerate(self.places):
            if places.keys() == candidate.keys():
                try:
                    found = {places[name]: self._encode_value(places[name], value) for name, value in candidate.items()}
                except KeyError:
                    continue
                found |= {self.chooser: i} if self.chooser else {}
                return {name: found[name] for name in self.space.names if name in found}
        msg = f"{candidate!r:.200} is not in any of the grids"
        raise LookupError(msg)

    def _encode_value(self, name: str, value: Any) -> Any:
        """The value in the space that stands for a value of a candidate; raises KeyError if there is none."""
        if name not in self.tables:
            native = float(value) if self.space[name].kind == "float" else int(value)
            if self.space[name].contains(native):
                return native
            raise KeyError(name)
        for label, known in self.tables[name].items():
            if known is value:
                return label
        raise KeyError(name)


def _free_name(taken: Sequence[str]) -> str:
    name = "grid"
    while name in taken:
        name += "_"
    return name


def _variants(target: str, grids: Sequence[Mapping[str, Any]]) -> list[tuple[Any, list[int]]]:
    """The different lists or distributions of one name, each with the indices of its grids."""
    variants: list[tuple[Any, list[int]]] = []
    for i, grid in enumerate(grids):
        if target in grid:
            where = next((places for values, places in variants if values is grid[target]), None)
            if where is None:
                variants.append((grid[target], [i]))
            else:
                where.append(i)
    return variants
