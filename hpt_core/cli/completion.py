"""``hpt completion``: the script that completes hpt's commands in a shell."""

from __future__ import annotations

import click

__all__ = ["command"]

_SHELLS = ("bash", "zsh", "fish")


_HELP = """Print the script that completes hpt's commands, options, study and plugin names in SHELL.

\b
To have it in each shell, once:
  bash:  hpt completion bash >> ~/.bashrc
  zsh:   hpt completion zsh >> ~/.zshrc
  fish:  hpt completion fish > ~/.config/fish/completions/hpt.fish
"""


@click.command("completion", help=_HELP, short_help="Print the script that completes hpt's commands in a shell.")
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the script."""
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    completer = found(ctx.find_root().command, {}, "hpt", "_HPT_COMPLETE")
    click.echo(completer.source_template % completer.source_vars())
