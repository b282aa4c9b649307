"""Maps to and from the unit interval: round trips, bounds, exact values, scalar against vectorised."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hpt_core.space.space import Categorical, Constant, Float, Int, Ordinal, Parameter, Space
from hpt_core.testing.strategies import continuous, parameters, params_of, spaces, units

HARD = [
    Float(0.1, 0.7),
    Float(-1e-300, 1e300),
    Float(1e16, 1e16 + 2),
    Float(1e6, 1e6 + 1),
    Float(0.0, 5e-324),
    Float(1.0, math.nextafter(1.0, 2.0)),
    Float(-8e307, 8e307),
    Float(1e-3, 1e3, log=True),
    Float(2.2250738585072014e-308, 1.7976931348623157e308, log=True),
    Float(1e300, 1.1e300, log=True),
    Float(1e300, 2.8e300, log=True),
    Float(1.0, math.nextafter(1.0, 2.0), log=True),
    Float(1.0, 1.0 + 2.0**-6, log=True),
    Float(0.0, 1.0, step=0.1),
    Float(1e-300, 1.0, step=0.1, log=True),
    Float(1e-300, 1.7e308, step=1e307, log=True),
    Float(0.05, 1e6, step=0.05, log=True),
    Float(1.0, 1e13, step=0.25, log=True),
    Int(0, 2**53 - 1),
    Int(-(2**52), 2**52 - 1),
    Int(0, 2**50 + 3),
    Int(1, 2**53, log=True),
    Int(2**53 - 100, 2**53, log=True),
    Int(2**50, 2**51, log=True),
    Int(1, 9, step=4, log=True),
    Int(3, 3),
    Categorical("a", 1, None, [1, "x"]),
    Ordinal("s", "m", "l"),
    Constant([1, 2]),
]


def identical(a: Any, b: Any) -> bool:
    return type(a) is type(b) and bool(a == b)


def check_round_trip(p: Parameter, u: float) -> None:
    value = p.from_unit(u)
    assert p.contains(value)
    snapped = p.to_unit(value)
    assert type(snapped) is float
    assert 0.0 <= snapped <= 1.0
    assert identical(p.from_unit(snapped), value)
    assert p.snap(u) == snapped
    assert p.snap(snapped) == snapped


@given(parameters() | continuous(), units())
def test_from_unit_finds_back_to_itself_bit_for_bit(p: Parameter, u: float) -> None:
    check_round_trip(p, u)


@pytest.mark.parametrize("p", HARD, ids=repr)
def test_hard_ranges_find_back_too(p: Parameter) -> None:
    rng = np.random.default_rng(0)
    ends = [0.0, 1.0, 2.0**-53, 2.0**-41, 1 - 2.0**-53, 1 - 2.0**-41, 0.5]
    for u in [*ends, *rng.random(3000).tolist(), *(10 ** -rng.uniform(0, 18, 1000)).tolist()]:
        check_round_trip(p, u)
        check_round_trip(p, 1.0 - u)


@given(parameters(), st.data())
def test_order_of_units_is_order_of_values(p: Parameter, data: st.DataObject) -> None:
    low, high = sorted((data.draw(units()), data.draw(units())))
    first, second = p.from_unit(low), p.from_unit(high)
    if isinstance(p, (Float, Int)):
        assert first <= second
    else:
        assert p.index_of(first) <= p.index_of(second)


@given(parameters())
def test_ends_of_the_interval_are_the_ends_of_the_range(p: Parameter) -> None:
    if isinstance(p, (Float, Int)):
        assert identical(p.from_unit(0.0), p.low)
        assert identical(p.from_unit(1.0), p.high)
    for beyond, end in ((-0.1, 0.0), (-math.inf, 0.0), (1.1, 1.0), (math.inf, 1.0)):
        assert identical(p.from_unit(beyond), p.from_unit(end))


@pytest.mark.parametrize("p", [p for p in HARD if p.size != 1], ids=repr)
def test_nan_has_no_value(p: Parameter) -> None:
    with pytest.raises(ValueError, match=r"nan|NaN"):
        p.from_unit(math.nan)


@given(continuous(), st.data())
def test_a_float_off_the_lattice_moves_by_less_than_1e_11_of_the_range(p: Float, data: st.DataObject) -> None:
    value = data.draw(st.floats(p.low, p.high))
    assert p.contains(value)
    back = p.from_unit(p.to_unit(value))
    assert p.low <= back <= p.high
    if p.log:
        span = math.log(p.high) - math.log(p.low) or 1.0
        rounding = 4 * math.ulp(max(abs(math.log(p.low)), abs(math.log(p.high)), 1.0))
        assert abs(math.log(back) - math.log(value)) <= 1e-11 * span + rounding
    else:
        assert abs(back - value) <= 1e-11 * (p.high - p.low)


@pytest.mark.parametrize("p", [p for p in HARD if isinstance(p, Float) and p.size is None], ids=repr)
def test_each_lattice_point_is_itself_in_unit_coordinates(p: Float) -> None:
    """Where the doubles resolve the lattice, to_unit(from_unit(k / 2**40)) is k / 2**40 exactly."""
    if p.high - p.low < 2**44 * math.ulp(p.high) or (p.log and math.log(p.high / p.low) < 0.02):
        return
    for k in np.random.default_rng(1).integers(0, 2**40, 2000).tolist():
        assert p.to_unit(p.from_unit(k / 2**40)) == k / 2**40


def test_linear_and_log_scales_agree_with_their_formulas() -> None:
    linear, log = Float(-3.0, 5.0), Float(1e-4, 10.0, log=True)
    for k in range(1025):
        u = k / 1024
        assert linear.from_unit(u) == pytest.approx(-3.0 + 8.0 * u, abs=1e-15)
        assert log.from_unit(u) == pytest.approx(1e-4 * 1e5**u, rel=1e-13)
        assert log.to_unit(1e-4 * 1e5**u) == pytest.approx(u, abs=1e-12)


@given(parameters(finite=True), st.data())
def test_finite_values_are_numbered(p: Parameter, data: st.DataObject) -> None:
    assert p.size is not None
    i = data.draw(st.integers(0, p.size - 1))
    value = p.value_at(i)
    assert p.contains(value)
    assert p.index_of(value) == i
    if p.size <= 2**32:
        assert identical(p.from_unit(p.to_unit(value)), value)


@given(st.integers(1, 2**50), st.data())
def test_linear_cells_have_their_centres(n: int, data: st.DataObject) -> None:
    p = Int(0, n - 1)
    i = data.draw(st.integers(0, n - 1))
    assert Fraction(p.to_unit(i)) == pytest.approx(Fraction(2 * i + 1, 2 * n), rel=1e-15)


@given(st.integers(2**50 + 1, 2**53), units())
def test_wide_cells_are_exact(n: int, u: float) -> None:
    p = Int(0, n - 1)
    i = p.from_unit(u)
    assert i == min(math.floor(Fraction(u) * n), n - 1)
    assert math.floor(Fraction(p.to_unit(i)) * n) == i


@given(st.integers(1, 1000), st.integers(1, 20), st.integers(2, 300), units())
def test_log_cells_reach_half_a_step(low: int, step: int, n: int, u: float) -> None:
    """Against the definition: cell i of the padded log scale, looked up edge by edge."""
    p = Int(low, low + (n - 1) * step, step=step, log=True)
    bottom = low - min(step, low) / 2
    edges = [bottom, *(low + (i + 0.5) * step for i in range(n))]
    scale = [math.log(e / bottom) / math.log(edges[-1] / bottom) for e in edges]
    i = p.index_of(p.from_unit(u))
    assert scale[i] - 1e-12 <= u <= scale[i + 1] + 1e-12
    assert p.to_unit(p.value_at(i)) == pytest.approx((scale[i] + scale[i + 1]) / 2, abs=1e-12)


@given(st.integers(-500, 500), st.integers(1, 500), st.integers(0, 9), st.integers(0, 400))
def test_steps_are_decimal(low: int, step: int, places: int, k: int) -> None:
    unit = Decimal(10) ** -places
    a, s = float(low * unit), float(step * unit)
    p = Float(a, float((low + step * 400) * unit), step=s)
    assert p.size == 401
    assert p.value_at(k) == float((low + k * step) * unit)


@given(st.integers(2**40, 2**53))
def test_an_int_too_fine_for_the_log_lattice_is_kept_and_moves_by_less_than_1e_11(value: int) -> None:
    p = Int(1, 2**53, log=True)
    u = p.to_unit(value)
    assert p.contains(value)
    assert u == pytest.approx(math.log(value / 0.5) / math.log((2**53 + 0.5) / 0.5), abs=1e-11)
    assert math.log(p.from_unit(u) / value) == pytest.approx(0, abs=1e-11 * math.log(2**54))


def test_three_steps_of_a_tenth_are_0_3() -> None:
    p = Float(0, 1, step=0.1)
    assert [p.value_at(i) for i in range(11)] == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert p.high == 1.0


@pytest.mark.parametrize(
    ("high", "step", "last", "size"),
    [(1.0, 0.3, 0.9, 4), (0.99, 0.1, 0.9, 10), (0.05, 0.1, 0.0, 1), (1.0, 1 / 3, 0.9999999999999999, 4)],
)
def test_high_is_lowered_to_the_last_step(high: float, step: float, last: float, size: int) -> None:
    p = Float(0, high, step=step)
    assert (p.high, p.size) == (last, size)


def test_a_continuous_float_has_no_numbered_values() -> None:
    p = Float(0, 1)
    assert p.size is None
    for call in (lambda: p.value_at(0), lambda: p.index_of(0.5)):
        with pytest.raises(TypeError, match="continuous"):
            call()


def test_lists_are_handed_out_as_copies() -> None:
    space = Space({"layers": Categorical([1], [2], default=[2]), "fixed": Constant([3])})
    for params in (space.default(), space.from_unit([0.1]), space.validate({"layers": [2]})):
        params["layers"].append(9)
        params["fixed"].append(9)
    assert space.default() == {"layers": [2], "fixed": [3]}


# --- a whole space ----------------------------------------------------------------------------------


@given(spaces(), st.data())
def test_spaces_find_back_and_vectors_agree_with_scalars(space: Space, data: st.DataObject) -> None:
    d = len(space.columns)
    rows = data.draw(st.lists(st.lists(units(), min_size=d, max_size=d), max_size=4))
    many = space.from_unit(np.array(rows, dtype=float).reshape(len(rows), d))
    assert len(many) == len(rows)
    matrix = space.to_unit(many)
    assert matrix.shape == (len(rows), d)
    assert matrix.dtype == np.float64
    for row, params, back in zip(rows, many, matrix, strict=True):
        assert space.contains(params)
        assert list(params) == [name for name in space.names if name in params]
        one = space.from_unit(row)
        assert all(map(identical, one.values(), params.values()))
        assert space.to_unit(params).tobytes() == back.tobytes()
        assert space.from_unit(back) == params
        for name, u, v in zip(space.columns, row, back.tolist(), strict=True):
            assert math.isnan(v) == (name not in params)
            if name in params:
                assert identical(params[name], space[name].from_unit(u))
                assert v == space[name].to_unit(params[name])


@given(spaces().flatmap(lambda space: st.tuples(st.just(space), params_of(space))))
@example((Space({"x": Float(0, 1)}), {"x": 1 / 3}))
def test_configurations_off_the_lattice_are_kept(case: tuple[Space, dict[str, Any]]) -> None:
    space, params = case
    assert space.contains(params)
    assert space.validate(params) == params
    assert space.contains(space.from_unit(space.to_unit(params)))


def test_constants_have_no_column() -> None:
    space = Space({"a": 3, "x": [1, 2], "b": Float(2, 2), "c": ["only"]})
    assert space.columns == ("x",)
    assert space.from_unit([0.9]) == {"a": 3, "x": 2, "b": 2.0, "c": "only"}
    assert space.to_unit(space.from_unit([0.9])).tolist() == [0.75]
    none = Space({"a": 3})
    assert none.from_unit([]) == {"a": 3}
    assert none.to_unit([{"a": 3}] * 2).shape == (2, 0)
    assert none.from_unit(np.empty((2, 0))) == [{"a": 3}] * 2


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 1), (1, 1, 2)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    space = Space({"x": Float(0, 1), "y": Float(0, 1)})
    with pytest.raises(ValueError, match=r"shape \(2,\) or \(n, 2\)"):
        space.from_unit(np.zeros(shape))


def test_nan_is_ignored_where_inactive_and_refused_where_active() -> None:
    space = Space({"m": ["a", "b"], "x": Float(0, 1, when={"m": "a"})})
    assert space.from_unit([0.9, math.nan]) == {"m": "b"}
    with pytest.raises(ValueError, match="nan"):
        space.from_unit([0.1, math.nan])


@pytest.mark.parametrize("decades", range(1, 9))
def test_the_middle_of_a_log_range_between_powers_of_ten_is_one(decades: int) -> None:
    parameter = Float(float(f"1e-{decades}"), float(f"1e{decades}"), log=True)
    assert parameter.from_unit(0.5) == 1.0
    assert parameter.to_unit(1.0) == 0.5
