"""The files of a new plugin distribution, from the templates in ``hpt_core/templates``."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from importlib.resources import files

import attrs

from hpt_core import __version__
from hpt_core.cli.kit_case import KIT_OF
from hpt_core.errors import UsageError
from hpt_core.hookspecs import API_VERSION

__all__ = ["scaffold", "title_of"]


@attrs.frozen
class _Kind:
    """What differs between the kinds of plugins."""

    title: str
    hook: str
    suffix: str
    imports: str
    signature: str
    factory: str
    flags: str = ""


_CALLABLE = "from collections.abc import Callable"
_PLAIN = {"imports": _CALLABLE, "signature": "Callable[[], CLASS]", "factory": "CLASS"}
_KINDS = {
    "sampler": _Kind("sampler", "hpt_samplers", "Sampler", **_PLAIN),
    "evaluator": _Kind("evaluator", "hpt_evaluators", "Evaluator", **_PLAIN),
    "stopping": _Kind("stopping rule", "hpt_stopping_rules", "Rule", **_PLAIN),
    "store": _Kind(
        "store",
        "hpt_stores",
        "Store",
        imports=f"{_CALLABLE}\nfrom pathlib import Path",
        signature="Callable[[Path], CLASS]",
        factory="lambda path: CLASS(path=str(path))",
    ),
    "executor": _Kind(
        "executor",
        "hpt_executors",
        "Executor",
        flags="    ends_late_trials = False\n\n",
        **_PLAIN,
    ),
}
_USAGE = {"stopping": '[[stop]]\nuse = "NAME"', "executor": 'executor = "NAME"\nworkers = 4'}


def title_of(kind: str) -> str:
    """The core's name of a kind: ``stopping rule`` for ``stopping``."""
    return _KINDS[kind].title


def scaffold(kind: str, name: str) -> tuple[str, dict[str, str]]:
    """The files of a new plugin.

    Args:
        kind: ``sampler``, ``evaluator``, ``stopping``, ``store`` or ``executor``.
        name: Name of the component in studies: lower-case letters, digits and hyphens.

    Returns:
        The name of the distribution, and path -> text.

    Raises:
        UsageError: If the name is not valid.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        rule = "must start with a letter and contain only lower-case letters, digits and single hyphens, as in my-idea"
        msg = f"A plugin name {rule}. Got {name!r}."
        raise UsageError(msg)
    distribution = f"hpt-{kind}-{name}"
    package = distribution.replace("-", "_")
    values = _placeholders(kind, name, distribution, package)
    source = f"src/{package}"
    wanted = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        "CHANGELOG.md": "CHANGELOG.md",
        "LICENSE": "LICENSE",
        f"{source}/__init__.py": "init.py",
        f"{source}/{values['MODULE']}.py": f"{kind}.py",
        f"tests/test_{package}_kit.py": "test.py",
    }
    made = {path: _filled(template, values) for path, template in wanted.items()}
    return distribution, {**made, f"{source}/py.typed": ""}


def _placeholders(kind: str, name: str, distribution: str, package: str) -> dict[str, str]:
    about = _KINDS[kind]
    kit, fixture = KIT_OF[about.title]
    major, minor = __version__.split(".")[:2]
    return {
        # replaced in this order: a placeholder before those that its name or its value contains
        "IMPORTS": about.imports,
        "SIGNATURE": about.signature,
        "FACTORY": about.factory,
        "FIXTURE": fixture,
        "FLAGS": about.flags,
        "USAGE": _USAGE.get(kind, f'[{kind}]\nuse = "NAME"'),
        "DISTRIBUTION": distribution,
        "CORE_FROM": f"{major}.{minor}",
        "CORE_BELOW": f"{major}.{int(minor) + 1}",
        "PACKAGE": package,
        "MODULE": "rule" if kind == "stopping" else kind,
        "CLASS": "".join(part.capitalize() for part in name.split("-")) + about.suffix,
        "POINT": f"{kind}-{name}",
        "NAME": name,
        "HOOK": about.hook,
        "NUMPY": ', "numpy>=1.26"' if kind == "sampler" else "",
        "KIND": about.title,
        "KIT": kit,
        "YEAR": str(datetime.now(UTC).year),
        "API": str(API_VERSION),
    }


def _filled(template: str, values: dict[str, str]) -> str:
    text = (files("hpt_core") / "templates" / f"{template}.txt").read_text(encoding="utf-8")
    if template == "LICENSE":
        return text.replace("DISTRIBUTION", values["DISTRIBUTION"]).replace("YEAR", values["YEAR"])
    for word, value in values.items():
        if word != "FLAGS":  # no word boundary follows it
            text = value.join(re.split(rf"(?<![A-Z_]){word}(?![A-Z_])", text))
    return text.replace("FLAGS", values["FLAGS"])
