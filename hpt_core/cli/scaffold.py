"""The files of a new plugin distribution, from the templates in ``hpt_core/templates``."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from importlib.resources import files

import attrs

from hpt_core import __version__
from hpt_core.errors import UsageError
from hpt_core.hookspecs import API_VERSION

__all__ = ["scaffold", "title_of"]


@attrs.frozen
class _Kind:
    """What differs between the kinds of plugins."""

    title: str
    hook: str
    suffix: str
    kit: str
    fixture: str
    imports: str
    signature: str
    factory: str
    flags: str = ""


_CALLABLE = "from collections.abc import Callable"
_PLAIN = {"imports": _CALLABLE, "signature": "Callable[[], CLASS]", "factory": "CLASS"}
_KINDS = {
    "sampler": _Kind("sampler", "hpt_samplers", "Sampler", "SamplerKit", "make_sampler", **_PLAIN),
    "evaluator": _Kind("evaluator", "hpt_evaluators", "Evaluator", "EvaluatorKit", "make_evaluator", **_PLAIN),
    "stopping": _Kind("stopping rule", "hpt_stopping_rules", "Rule", "StoppingRuleKit", "make_rule", **_PLAIN),
    "store": _Kind(
        "store",
        "hpt_stores",
        "Store",
        "StoreKit",
        "make_store",
        imports=f"{_CALLABLE}\nfrom pathlib import Path",
        signature="Callable[[Path], CLASS]",
        factory="lambda path: CLASS(path=str(path))",
    ),
    "executor": _Kind(
        "executor",
        "hpt_executors",
        "Executor",
        "ExecutorKit",
        "make_executor",
        flags="    ends_late_trials = False\n\n",
        **_PLAIN,
    ),
}
_USAGE = {"stopping": '[[stop]]\nuse = "NAME"', "executor": 'executor = "NAME"\nworkers = 4'}


def title_of(kind: str) -> str:
    """What the core calls a kind: ``stopping rule`` for ``stopping``."""
    return _KINDS[kind].title


def scaffold(kind: str, name: str) -> tuple[str, dict[str, str]]:
    """The files of a new plugin.

    Args:
        kind: ``sampler``, ``evaluator``, ``stopping``, ``store`` or ``executor``.
        name: As studies will name it: small letters, digits and hyphens.

    Returns:
        The name of the distribution, and path -> text.

    Raises:
        UsageError: If that cannot be a name.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        msg = f"The name of a plugin is made of small letters, digits and single hyphens, as my-idea. Got {name!r}."
        raise UsageError(msg)
    distribution = f"hpt-{kind}-{name}"
    package = distribution.replace("-", "_")
    words = _words(kind, name, distribution, package)
    source = f"src/{package}"
    wanted = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        "CHANGELOG.md": "CHANGELOG.md",
        "LICENSE": "LICENSE",
        f"{source}/__init__.py": "init.py",
        f"{source}/{words['MODULE']}.py": f"{kind}.py",
        f"tests/test_{package}_kit.py": "test.py",
    }
    made = {path: _filled(template, words) for path, template in wanted.items()}
    return distribution, {**made, f"{source}/py.typed": ""}


def _words(kind: str, name: str, distribution: str, package: str) -> dict[str, str]:
    about = _KINDS[kind]
    major, minor, _ = __version__.split(".")
    return {
        # longer words before those that they contain, and what holds other words before them
        "IMPORTS": about.imports,
        "SIGNATURE": about.signature,
        "FACTORY": about.factory,
        "FIXTURE": about.fixture,
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
        "KIND": about.title,
        "KIT": about.kit,
        "YEAR": str(datetime.now(UTC).year),
        "API": str(API_VERSION),
    }


def _filled(template: str, words: dict[str, str]) -> str:
    text = (files("hpt_core") / "templates" / f"{template}.txt").read_text(encoding="utf-8")
    if template == "LICENSE":
        return text.replace("DISTRIBUTION", words["DISTRIBUTION"]).replace("YEAR", words["YEAR"])
    for word, value in words.items():
        if word != "FLAGS":  # it stands right before other text
            text = value.join(re.split(rf"(?<![A-Z_]){word}(?![A-Z_])", text))
    return text.replace("FLAGS", words["FLAGS"])
