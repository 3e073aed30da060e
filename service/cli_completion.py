"""`nnserve completion`: what a shell needs to complete the commands and options of nnserve."""

import click
from click.shell_completion import get_completion_class


@click.command(short_help="Print what bash or zsh needs for completion.")
@click.argument("shell", type=click.Choice(["bash", "zsh"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a script that has bash or zsh complete commands, options and files.

    In ~/.bashrc: eval "$(nnserve completion bash)"; in ~/.zshrc the same with zsh.
    """
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(ctx.find_root().command, {}, "nnserve", "_NNSERVE_COMPLETE").source())
