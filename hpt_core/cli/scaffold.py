"""The files of a new plugin distribution, from the templates in ``hpt_core/templates``."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from importlib.resources import files

from hpt_core import __version__
from hpt_core.components import KINDS
from hpt_core.errors import UsageError
from hpt_core.hookspecs import API_VERSION

__all__ = ["scaffold", "title_of"]


_TITLES = {title.split()[0]: title for title in KINDS}

_PLACEHOLDERS = {
    "IMPORTS": "from collections.abc import Callable",
    "SIGNATURE": "Callable[[], CLASS]",
    "FACTORY": "CLASS",
    "FLAGS": "",
    "USAGE": '[KIND]\nuse = "NAME"',
    "NUMPY": "",
}
_PLACEHOLDERS_OF = {
    "sampler": {"NUMPY": ', "numpy>=1.26"'},
    "stopping": {"USAGE": '[[stop]]\nuse = "NAME"'},
    "store": {
        "IMPORTS": "from collections.abc import Callable\nfrom pathlib import Path",
        "SIGNATURE": "Callable[[Path], CLASS]",
        "FACTORY": "lambda path: CLASS(path=str(path))",
    },
    "executor": {
        "FLAGS": "    ends_late_trials = False\n\n",
        "USAGE": 'executor = "NAME"\nworkers = 4',
    },
}
"""Kind -> where it differs from `_PLACEHOLDERS`."""


def title_of(kind: str) -> str:
    """The core's name of a kind: ``stopping rule`` for ``stopping``."""
    return _TITLES[kind]


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
    title, noun = _TITLES[kind], _TITLES[kind].split()[-1]
    major, minor = __version__.split(".")[:2]
    return {
        # replaced in this order: a placeholder before those that its name or its value contains
        **_PLACEHOLDERS,
        **_PLACEHOLDERS_OF.get(kind, {}),
        "FIXTURE": KINDS[title].fixture,
        "DISTRIBUTION": distribution,
        "CORE_FROM": f"{major}.{minor}",
        "CORE_BELOW": f"{major}.{int(minor) + 1}",
        "PACKAGE": package,
        "MODULE": noun,
        "CLASS": "".join(part.capitalize() for part in [*name.split("-"), noun]),
        "POINT": f"{kind}-{name}",
        "NAME": name,
        "HOOK": KINDS[title].hook,
        "KIND": title,
        "KIT": KINDS[title].kit,
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
