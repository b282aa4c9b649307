"""The plain settings of a study and of a run: those that are neither a component, the space nor the objectives."""

from __future__ import annotations

import hashlib
import re
from typing import Literal

import attrs

from hpt_core.errors import Mistake, UsageError
from hpt_core.options import option

__all__ = ["RunSettings", "Settings"]

_NAME_LENGTH = 200


@attrs.define(kw_only=True)
class Settings:
    """The settings of a study that do not depend on its components; see `hpt_core.Study` for their meaning."""

    name: str = option("study", help="The study's name in its store.")
    seed: int | None = option(None, ge=0, lt=2**63, help="An int >= 0. If not given, it is drawn once and recorded.")
    duplicates: Literal["avoid", "reuse", "allow"] = option("avoid", help="What to do with a repeated point.")
    reproducible: bool = option(False, help="Make the trials of several workers independent of timing.")
    retries: int = option(1, ge=0, help="How often in a row a trial is rerun if its worker was lost.")
    max_failures: int = option(3, ge=1, help="A run ends if this many trials at its start all fail alike.")
    trial_timeout: float | None = option(
        None, gt=0, seconds=True, help="The longest that a trial may take, in seconds or as text like '10m'."
    )

    @property
    def folder_name(self) -> str:
        """The study's name as a folder name: not a path, and different for different names."""
        if re.fullmatch(r"\w[\w .=+-]{0,99}", self.name, re.ASCII):
            return self.name
        digest = hashlib.blake2b(self.name.encode(), digest_size=6).hexdigest()
        return f"{re.sub(r'[^A-Za-z0-9]+', '-', self.name)[:40].strip('-')}-{digest}"

    def __attrs_post_init__(self) -> None:
        """Check the name, which stores may use for a file or a table."""
        if not self.name.strip() or not self.name.isprintable() or len(self.name) > _NAME_LENGTH:
            message = f"Must be printable text of 1 to {_NAME_LENGTH} characters. Got {self.name!r:.80}."
            raise UsageError(Mistake("name", message))


@attrs.frozen
class RunSettings:
    """The settings of a run of a study; see `hpt_core.Study.run`."""

    trials: int | None = option(None, ge=1, help="Maximum number of trials, over all runs; None: no limit.")
    workers: int = option(1, ge=1, help="Number of processes that evaluate trials in parallel.")
