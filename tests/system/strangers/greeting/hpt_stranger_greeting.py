"""A stranger's command, and one half of a collision."""

from __future__ import annotations

import click

from hpt_core import hookimpl


@click.command("greet", short_help="Say hello.")
def greet() -> None:
    """Say hello."""
    click.echo("Hello from a stranger.")


@hookimpl
def hpt_commands(cli: click.Group) -> None:
    """Offer the command."""
    cli.add_command(greet)


@hookimpl
def hpt_samplers() -> dict[str, str]:
    """Offer what another one offers, too."""
    return {"twin": "hpt_stranger_annealing:Annealing"}
