"""The space of scikit-learn's grids: one of several is chosen, and what stands in some of them only is conditional."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any, Self

import attrs
import numpy as np

from hpt_core import Params, Space
from hpt_evaluator_sklearn.search.distributions import is_distribution, parameter_of
from hpt_evaluator_sklearn.search.labels import Table, listed, meant

__all__ = ["Union"]


@attrs.frozen(eq=False)
class Union:
    """Several grids, or mappings of names to distributions, as one space.

    The order of the space is scikit-learn's: the grids one after the other, the names of each sorted.

    Attributes:
        space: The space.
        tables: Parameter of the space -> its values there -> what the estimator is given.
        names: Parameter of the space -> ``set_params`` name, where the two differ.
        places: For each grid, ``set_params`` name -> parameter of the space.
        chooser: The parameter that says which grid; empty: there is one only.
    """

    space: Space
    tables: Mapping[str, Table]
    names: Mapping[str, str]
    places: Sequence[Mapping[str, str]]
    chooser: str

    @classmethod
    def of(cls, grids: Sequence[Mapping[str, Any]], *, everything: bool = True) -> Self:
        """Make the space.

        Args:
            grids: Names to lists or distributions.
            everything: See `parameter_of`.

        Raises:
            ValueError: In scikit-learn's words, if there are no grids.
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
            parameters[chooser] = listed(range(len(grids)))[0]
        for target in targets:
            variants = _variants(target, grids)
            for values, where in variants:
                name = target if len(variants) == 1 else f"{target}@{where[0]}"
                when = {chooser: where} if len(where) < len(grids) else None
                if is_distribution(values):
                    path = f"param_distributions.{target}"
                    parameters[name] = parameter_of(values, path, everything=everything, when=when)
                else:
                    parameters[name], tables[name] = listed(list(values), when=when, ordered=True)
                names |= {} if name == target else {name: target}
                for i in where:
                    places[i][target] = name
        return cls(Space(parameters), tables, names, places, chooser)

    def decode(self, params: Params) -> dict[str, Any]:
        """The estimator's parameters of a configuration."""
        values = meant(self.tables, params)
        return {self.names.get(name, name): value for name, value in values.items() if name != self.chooser}

    def encode(self, candidate: Mapping[str, Any]) -> Params:
        """The configuration that a candidate of scikit-learn's is.

        Raises:
            LookupError: If it is in none of the grids.
        """
        for i, places in enumerate(self.places):
            if places.keys() == candidate.keys():
                try:
                    found = {places[name]: self._code(places[name], value) for name, value in candidate.items()}
                except KeyError:
                    continue
                found |= {self.chooser: i} if self.chooser else {}
                return {name: found[name] for name in self.space.names if name in found}
        msg = f"{candidate!r:.200} is in none of the grids"
        raise LookupError(msg)

    def _code(self, name: str, value: Any) -> Any:
        """A value as it is in the space; KeyError where it is not."""
        if name not in self.tables:
            native = float(value) if self.space[name].kind == "float" else int(value)
            if self.space[name].contains(native):
                return native
            raise KeyError(name)
        for fits in (operator.is_, _equal):
            for word, known in self.tables[name].items():
                if fits(known, value):
                    return word
        raise KeyError(name)


def _free_name(taken: Sequence[str]) -> str:
    name = "grid"
    while name in taken:
        name += "_"
    return name


def _variants(target: str, grids: Sequence[Mapping[str, Any]]) -> list[tuple[Any, list[int]]]:
    """The different lists or distributions that go by one name, and the grids that have them."""
    variants: list[tuple[Any, list[int]]] = []
    for i, grid in enumerate(grids):
        if target in grid:
            where = next((places for values, places in variants if values is grid[target]), None)
            if where is None:
                variants.append((grid[target], [i]))
            else:
                where.append(i)
    return variants


def _equal(known: Any, value: Any) -> bool:
    return type(known) is type(value) and np.ndim(known) == 0 and bool(known == value)
