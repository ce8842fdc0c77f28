"""
`temppass completion`: what a shell needs in order to complete commands and options.
"""

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, *, shell: str) -> None:
    """
    Print the completion script of a shell, to be loaded by its start-up file.

    \b
    temppass completion bash >> ~/.bashrc
    temppass completion zsh >> ~/.zshrc
    temppass completion fish > ~/.config/fish/completions/temppass.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None, "click knows these three"
    click.echo(kind(context.find_root().command, {}, "temppass", "_TEMPPASS_COMPLETE").source())
