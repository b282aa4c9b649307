"""The table of the kinds of components agrees with the hooks, the kits and the contracts that it names."""

from __future__ import annotations

import re

import pytest

from hpt_core import hookspecs, testing
from hpt_core.cli.new import _KINDS as CREATED
from hpt_core.cli.scaffold import title_of
from hpt_core.components import KINDS
from hpt_core.plugins.checks import missing_methods
from hpt_core.testing import checks

every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.mark.parametrize(
    ("kind", "methods"),
    [
        ("sampler", "suggest"),
        ("evaluator", "evaluate"),
        ("stopping rule", "judge_trial or judge_study or promote"),
        ("store", "append/read/studies/lock/close"),
        ("executor", "run"),
    ],
)
def test_a_component_needs_the_methods_of_one_contract(kind: str, methods: str) -> None:
    assert missing_methods(kind, None) == methods
    for names in methods.split(" or "):
        required = names.split("/")
        whole = type("Whole", (), {name: lambda self: None for name in required})
        assert missing_methods(kind, whole()) == ""
        for name in required:
            partial = type("Partial", (whole,), {name: None})
            assert missing_methods(kind, partial()) == methods


def test_every_hook_that_names_components_is_that_of_one_kind() -> None:
    hooks = {name: hook for name, hook in vars(hookspecs).items() if name.startswith("hpt_")}
    naming = [name for name, hook in hooks.items() if hook.__annotations__["return"] == "Mapping[str, str | type]"]
    assert sorted(naming) == sorted(kind.hook for kind in KINDS.values())


@every_kind
def test_the_kit_of_a_kind_has_the_fixture(kind: str) -> None:
    kit = getattr(testing, KINDS[kind].kit)
    assert hasattr(kit, KINDS[kind].fixture)
    assert checks.checks_of(kit)


@every_kind
def test_what_is_optional_is_in_a_contract(kind: str) -> None:
    optional = KINDS[kind].optional
    assert list(optional) == sorted(set(optional))
    texts = [contract.__doc__ or "" for contract in KINDS[kind].contracts]
    named = set(re.findall(r"``(\w+)", " ".join(texts)))
    own = {name for methods in KINDS[kind].methods for name in methods}
    assert set(optional) <= named | own | {"check"}  # the contract of samplers has `check` for all kinds
    assert "``check(" in (KINDS["sampler"].contracts[0].__doc__ or "")


def test_a_plugin_of_every_kind_can_be_created() -> None:
    assert [title_of(kind) for kind in CREATED] == list(KINDS)
