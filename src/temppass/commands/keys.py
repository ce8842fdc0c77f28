"""
`temppass keys`: which keys an environment signs with, and their rotation, on the store.
"""

from typing import TYPE_CHECKING

import click

from temppass.commands.group import EXIT_CODES, Group
from temppass.commands.local import actor, administer, environment_option, look, store_option
from temppass.commands.shared import moment
from temppass.failure import Failure

if TYPE_CHECKING:
    from temppass.commands.local import Application
    from temppass.service.signing import Rotated


@click.group(cls=Group, epilog=EXIT_CODES)
def keys() -> None:
    """
    List the signing keys of an environment, and rotate them.

    \b
    temppass keys list
    temppass keys rotate --reason "each quarter"
    temppass keys rotate --compromised --reason "ticket 7"
    """


@keys.command("list")
@store_option
@environment_option
def list_(store: str | None, environment: str | None) -> None:
    """
    List the signing keys, a line each: id, kind, state, made when, signs from when, and until when it verifies tokens.

    \b
    temppass keys list
    """
    for each in look(store, environment, lambda app, name: app.service.signing.all_here(name)):
        moments = (moment(at) if at is not None else "-" for at in (each.made_at, each.signs_from, each.until))
        click.echo("\t".join((each.kid, each.kind, each.state, *moments)))


@keys.command()
@click.option("--compromised", is_flag=True, help="End every present key at once, with all that it signed.")
@click.option("--reason", metavar="TEXT", default="", help="Why, for the audit trail; no e-mail address.")
@store_option
@environment_option
def rotate(store: str | None, environment: str | None, reason: str, compromised: bool) -> None:  # noqa: FBT001 - click passes options by name
    """
    Publish the next signing keys, and print their ids. They sign after twice TEMPPASS_JWKS_SECONDS, so that everybody
    knows them by then; no token is refused for it.

    With --compromised they sign at once, and nothing that was signed before is good any more: clients ask for new
    tokens by themselves, statements have to be minted anew, and are listed.

    \b
    temppass keys rotate
    temppass keys rotate --compromised --reason "ticket 7"
    """
    from temppass.core.reason import reason_of  # noqa: PLC0415 - not for the help alone
    from temppass.core.refusal import Refusal  # noqa: PLC0415
    from temppass.service.signing import Rotation  # noqa: PLC0415

    by = actor()

    async def work(app: "Application", name: str) -> "Rotated":
        try:
            return await app.service.signing.rotate_here(name, Rotation(compromised, reason_of(reason)), by)
        except Refusal as refusal:
            raise Failure(refusal.detail, "`temppass keys list` shows what there is") from None

    # first only to look: where there is nothing to rotate, no store comes into being
    administer(store, environment, lambda app, name: app.service.signing.require(name), read_only=True)
    done = administer(store, environment, work)
    for kid in done.kids:
        click.echo(kid)
    if not compromised:
        click.echo(f"published; they sign from {moment(done.signs_from)} on", err=True)
        return
    click.echo("they sign already, and nothing that was signed before is good any more", err=True)
    for each in done.mint_anew:
        what = f"statement {each.id}" if each.id is not None else "every statement of before"
        click.echo(f"mint anew: {each.application_id} ({what})", err=True)
