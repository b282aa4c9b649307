"""Why a run of a study would be refused by its store, for ``hpt check``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

from hpt_core.cli.problems import usage_text
from hpt_core.errors import DefinitionChangedError, StoreError
from hpt_core.study.opening import amendments, complete

if TYPE_CHECKING:
    from hpt_core.study.study import Study

__all__ = ["refusals"]


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
    path = getattr(store, "path", None)
    folder = os.path.dirname(os.path.abspath(path)) if isinstance(path, (str, os.PathLike)) else "."  # noqa: PTH100, PTH120
    if not os.path.isdir(folder):  # noqa: PTH112 - Path raises for a long name
        yield f"The folder {folder} of the store does not exist. Create it, unless this kind of store does."
