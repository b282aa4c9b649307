"""What a run of a study has to expect of its store: a refusal, or the wrong file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from hpt_core.cli.problems import usage_text
from hpt_core.components import path_of
from hpt_core.errors import DefinitionChangedError, StoreError
from hpt_core.study.opening import amendments, complete

if TYPE_CHECKING:
    from hpt_core.study.study import Study

__all__ = ["refusals", "store_elsewhere"]


def refusals(study: Study) -> list[str]:
    """Complete the study from its store, as a run does. Returns why a run would then be refused, if it would."""
    found, ledger = [], study.ledger
    with closing(study):
        try:
            ledger.sync()  # reading creates no store
        except StoreError as err:
            found.append(str(err))
        else:
            found += _missing_folder(study.store)
    complete(study, ledger.history)
    try:
        if ledger.history.exists:
            amendments(study, ledger.history)
    except DefinitionChangedError as err:
        found.append(usage_text(err))
    return found


def _missing_folder(store: object) -> Iterator[str]:
    """A file that does not exist reads as an empty store, whether or not a run could create it."""
    path = path_of(store)
    folder = "." if path is None else os.path.dirname(os.path.abspath(path))  # noqa: PTH100, PTH120 - as below
    if not os.path.isdir(folder):  # noqa: PTH112 - Path raises for a long name
        yield f"The folder {folder} of the store does not exist. Create it, unless this kind of store does."


def store_elsewhere(store: object, file: Path) -> Iterator[str]:
    """A warning if a run would create the store here although it exists beside the study file: its path is relative."""
    path = path_of(store) or ""
    other = os.path.join(file.parent, path)  # noqa: PTH118 - an absolute path stays as it is
    if path and not os.path.exists(path) and os.path.exists(other):  # noqa: PTH110 - Path raises for a long name
        yield (
            f"There is no {path} in this folder, so a run creates it. Beside the study file there is {other}: "
            f"to continue a study in it, run the command in {file.parent.resolve()}."
        )
