"""A stranger's notifier: writes what happens to the file that the variable HPT_NOTES names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from hpt_core import hookimpl

if TYPE_CHECKING:
    from hpt_core import Study, Trial


def _note(text: str) -> None:
    if "HPT_NOTES" in os.environ:
        with Path(os.environ["HPT_NOTES"]).open("a", encoding="utf-8") as file:
            file.write(text + "\n")


@hookimpl
def hpt_study_started(study: Study) -> None:
    """Tell of the start."""
    _note(f"start {study.name}")


@hookimpl
def hpt_trial_finished(trial: Trial) -> None:
    """Tell of a trial."""
    _note(f"trial {trial.number} {trial.state}")


@hookimpl
def hpt_study_finished(reason: str) -> None:
    """Tell of the end."""
    _note(f"end {reason}")
