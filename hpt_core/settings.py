"""The plain settings of a study: everything of it that is neither a component nor the space."""

from __future__ import annotations

import hashlib
import re
from typing import Literal

import attrs

from hpt_core.errors import Mistake, UsageError
from hpt_core.options import option

__all__ = ["Settings"]

_NAME_LENGTH = 200


@attrs.define(kw_only=True)
class Settings:
    """How a study works, whatever its components; see `hpt_core.Study` for what each one means."""

    name: str = option("study", help="The study's name in its store.")
    seed: int | None = option(None, ge=0, lt=2**63, help="An int >= 0; without one it is drawn once and recorded.")
    duplicates: Literal["avoid", "reuse", "allow"] = option("avoid", help="What to do with a point that was taken.")
    reproducible: bool = option(False, help="Make several workers' trials independent of timing.")
    retries: int = option(1, ge=0, help="How often a trial that was lost with its worker is run again.")
    max_failures: int = option(3, ge=1, help="A run ends when its first so many trials all fail alike.")
    trial_timeout: float | None = option(None, gt=0, help="Seconds that a trial may take.")

    @property
    def folder_name(self) -> str:
        """The name as that of one folder, whatever is in it: no path, and no two names alike."""
        if re.fullmatch(r"\w[\w .=+-]{0,99}", self.name, re.ASCII):
            return self.name
        digest = hashlib.blake2b(self.name.encode(), digest_size=6).hexdigest()
        return f"{re.sub(r'[^A-Za-z0-9]+', '-', self.name)[:40].strip('-')}-{digest}"

    def __attrs_post_init__(self) -> None:
        """Check the name, which is also a file's or a table's."""
        if not self.name.strip() or not self.name.isprintable() or len(self.name) > _NAME_LENGTH:
            message = f"Must be printable text of 1 to {_NAME_LENGTH} characters. Got {self.name!r:.80}."
            raise UsageError(Mistake("name", message))
