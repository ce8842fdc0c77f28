"""
`temppass statement`: mint and revoke what lets an application register.
"""

import click

from temppass.commands.group import EXIT_CODES, Group
from temppass.commands.local import actor, administer, environment_option, store_option


@click.group(cls=Group, epilog=EXIT_CODES)
def statement() -> None:
    """
    Mint and revoke the software statements of applications.

    \b
    temppass statement mint ops > statement.jwt
    temppass statement revoke ops
    """


@statement.command()
@click.argument("application")
@store_option
@environment_option
def mint(application: str, store: str | None, environment: str | None) -> None:
    """
    Print a new software statement of APPLICATION and nothing else; older ones stay good.

    \b
    temppass statement mint ops > statement.jwt
    """
    by = actor()
    # first only to look: where there is nothing to mint for, no store comes into being
    administer(store, environment, lambda app, name: app.service.statements.require(name, application), read_only=True)
    minted = administer(store, environment, lambda app, name: app.service.statements.mint(name, application, by))
    click.echo(minted.statement)


@statement.command()
@click.argument("application")
@store_option
@environment_option
def revoke(application: str, store: str | None, environment: str | None) -> None:
    """
    End every statement, client and token that APPLICATION was given so far.

    \b
    temppass statement revoke ops
    """
    by = actor()
    administer(store, environment, lambda app, name: app.service.statements.revoke(name, application, by))
    click.echo(f"revoked all that {application} was given; `temppass statement mint` starts afresh", err=True)
