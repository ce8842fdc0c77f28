"""
`temppass secret`: what everything is sealed under, and another one in its place.
"""

from typing import TYPE_CHECKING

import click

from temppass.commands.group import EXIT_CODES, Group
from temppass.commands.local import actor, another_secret, assemble, closing, run, settings_of, store_option

if TYPE_CHECKING:
    from temppass.service.renewal import Renewed


@click.group(cls=Group, epilog=EXIT_CODES)
def secret() -> None:
    """
    Put another secret into the place of the present one; nobody becomes new.

    \b
    temppass secret rotate --store sqlite:///preview.db
    """


@secret.command()
@store_option
@click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
def rotate(store: str | None, dry_run: bool) -> None:  # noqa: FBT001 - click passes options by name
    """
    Seal everything anew, beside servers that go on: under the next secret file of an embedded store, else under
    TEMPPASS_SECRET what is sealed under TEMPPASS_SECRET_PREVIOUS. Refused while a server is up that does not know both.

    \b
    temppass secret rotate --store sqlite:///preview.db
    TEMPPASS_SECRET="$(cat new)" TEMPPASS_SECRET_PREVIOUS="$(cat old)" temppass secret rotate
    """
    found = _renew(store, dry_run=True)  # first only to look: it may be refused, and then leaves no trace
    if dry_run:
        click.echo(f"would seal anew: {_names(found)}\ndry run: nothing was changed", err=True)
        return
    done = _renew(store, dry_run=False)
    if settings_of(store).secret is None:
        click.echo(f"sealed anew under the new secret: {_names(done)}", err=True)
        click.echo("the secret of before opens backups of before, and is kept beside it as .previous", err=True)
    elif done.names:
        click.echo(f"sealed anew under TEMPPASS_SECRET: {_names(done)}", err=True)
        click.echo("hint: restart every server without TEMPPASS_SECRET_PREVIOUS", err=True)
    else:
        click.echo(f"nothing is left to do: TEMPPASS_SECRET opens everything ({done.of} environments)", err=True)


def _renew(store: str | None, *, dry_run: bool) -> "Renewed":
    """Seal everything anew, or look what that would be. Raises Failure."""
    settings, by = settings_of(store), actor()
    with another_secret(settings, dry_run=dry_run) as (new, holder):
        application = assemble(settings, read_only=dry_run, secret=new)
        renewal = application.service.renewal

        async def work() -> "Renewed":
            async with closing(application.store):
                return await (renewal.look(holder) if dry_run else renewal.renew(holder, by))

        return run(work)


def _names(sealed: "Renewed") -> str:
    return ", ".join(name or "the store itself" for name in sealed.names) or "nothing"
