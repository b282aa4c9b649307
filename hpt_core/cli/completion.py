"""``hpt completion``: print the shell completion script."""

from __future__ import annotations

import click

__all__ = ["command"]

_SHELLS = ("bash", "zsh", "fish")

_HELP = """Print the completion script for SHELL. It completes commands, options, and study and plugin names.

\b
To install it:
  bash:  hpt completion bash >> ~/.bashrc
  zsh:   hpt completion zsh >> ~/.zshrc
  fish:  hpt completion fish > ~/.config/fish/completions/hpt.fish
"""


@click.command("completion", help=_HELP, short_help="Print the completion script for a shell.")
@click.argument("shell", type=click.Choice(_SHELLS), metavar="SHELL")
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the script."""
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    completer = found(ctx.find_root().command, {}, "hpt", "_HPT_COMPLETE")
    click.echo(completer.source_template % completer.source_vars())
