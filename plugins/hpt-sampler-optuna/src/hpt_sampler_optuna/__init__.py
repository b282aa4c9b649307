"""Optuna's samplers in hpt, hpt's samplers in Optuna, and ``hpt import``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hpt_core import hookimpl

if TYPE_CHECKING:
    import click

    from hpt_sampler_optuna.within_optuna import HptSampler

__all__ = ["HptSampler"]

hpt_api_version = 1


@hookimpl
def hpt_samplers() -> dict[str, str]:
    """The sampler ``optuna``."""
    return {"optuna": "hpt_sampler_optuna.sampler:OptunaSampler"}


@hookimpl
def hpt_commands(cli: click.Group) -> None:
    """Add ``hpt import``."""
    from hpt_sampler_optuna.command import command

    cli.add_command(command)


if not TYPE_CHECKING:  # a type checker would take every name for one of this module

    def __getattr__(name: str) -> Any:
        if name == "HptSampler":
            from hpt_sampler_optuna.within_optuna import HptSampler

            return HptSampler
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
