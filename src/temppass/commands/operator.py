"""
`temppass operator`: who may use the control API, made and ended on the store.
"""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from temppass.commands.group import EXIT_CODES, Group
from temppass.commands.local import actor, administer, store_option
from temppass.commands.shared import moment
from temppass.failure import Failure

if TYPE_CHECKING:
    from temppass.commands.local import Application
    from temppass.core.operator import Operator


@click.group(cls=Group, epilog=EXIT_CODES)
def operator() -> None:
    """
    Create, list and revoke the operators of a store: who may use the control API, and for what.

    \b
    temppass operator create anna --role support --channel REF > anna.token
    temppass operator list
    temppass operator revoke anna
    """


@operator.command()
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(["viewer", "support", "operator", "admin"]),
    required=True,
    help="viewer looks; support also resets and grants one viewer; operator also many; admin everything.",
)
@click.option("--environment", "environments", multiple=True, metavar="NAME", help="Only here; may be repeated.")
@click.option("--channel", "channels", multiple=True, metavar="ID", help="Only for this channel; may be repeated.")
@click.option("--expires", default="90d", metavar="DURATION", help="How long the token is good: 90d, 12h; else 90d.")
@store_option
def create(
    name: str, role: str, environments: tuple[str, ...], channels: tuple[str, ...], expires: str, store: str | None
) -> None:
    """
    Create the operator NAME and print their token, and nothing else: it is never shown again.

    \b
    temppass operator create anna --role support --channel REF > anna.token
    """
    from temppass.core.catalogue_file import duration_ms  # noqa: PLC0415 - not for the help alone
    from temppass.core.operator import Role  # noqa: PLC0415
    from temppass.service.operators import NewOperator  # noqa: PLC0415

    try:
        lasts_ms = duration_ms(expires)
    except ValueError as error:
        raise click.BadParameter(f"{error}.", param_hint="--expires") from None
    new = NewOperator(name, Role(role), environments, channels, lasts_ms=lasts_ms)
    by = actor()
    with _refusing():
        created = administer(store, None, lambda app, _name: app.service.operators.create_here(new, by))
    click.echo(created.token)


@operator.command("list")
@store_option
def list_(store: str | None) -> None:
    """
    List the operators: name, role, until when, where; one that has ended says so.

    \b
    temppass operator list
    """
    now, everyone = administer(store, None, _everyone, read_only=True)
    for each in everyone:
        until = "revoked" if each.revoked else "ended" if each.ends_at <= now else f"until {moment(each.ends_at)}"
        where = ", ".join(each.environments) or "every environment"
        which = ", ".join(each.channels) or "every channel"
        click.echo(f"{each.name}\t{each.role}\t{until}\t{where}\t{which}")


@operator.command()
@click.argument("name")
@store_option
def revoke(name: str, store: str | None) -> None:
    """
    End the token of the operator NAME, on every server at once.

    \b
    temppass operator revoke anna
    """
    by = actor()
    with _refusing():
        administer(store, None, lambda app, _name: app.service.operators.revoke_here(name, by))
    click.echo(f"the token of {name} has ended", err=True)


async def _everyone(app: "Application", _name: str) -> "tuple[int, tuple[Operator, ...]]":
    return app.service.context.clock(), await app.service.operators.everyone()


@contextlib.contextmanager
def _refusing() -> Iterator[None]:
    """Turn a refusal into the failure of a command."""
    from temppass.core.refusal import Refusal  # noqa: PLC0415

    try:
        yield
    except Refusal as refusal:
        raise Failure(refusal.detail, "`temppass operator list` shows who there is") from None
