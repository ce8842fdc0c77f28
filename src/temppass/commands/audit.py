"""
`temppass audit`: whether what is on record is what was recorded.
"""

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from temppass.commands.group import EXIT_CODES, Group
from temppass.commands.local import administer, store_option
from temppass.failure import Failure

if TYPE_CHECKING:
    from temppass.commands.local import Application
    from temppass.core.act import Link

#: what `--in` calls the chain of the store itself, which is no environment and has no name
STORE = "."
_HEAD = re.compile(r"(\d{1,18}):([0-9a-f]{64})")


@click.group(cls=Group, epilog=EXIT_CODES)
def audit() -> None:
    """
    Prove that the audit trail of a store is what was sealed.

    \b
    temppass audit verify
    temppass audit verify --in release-production --head 1204:9f86d0…
    """


@audit.command()
@click.option("--in", "environment", metavar="NAME", help="This environment; . for the store's own; else all of them.")
@click.option(
    "--head", metavar="N:HASH", help="A head that was printed before; finds that what came before it is gone."
)
@store_option
def verify(environment: str | None, head: str | None, store: str | None) -> None:
    """
    Find every sealed record that was changed, inserted, reordered or removed, and print the head of each chain.

    Keep the head elsewhere: who cuts off the end of a chain is found by --head alone.

    \b
    temppass audit verify --in release-production > head.txt
    temppass audit verify --in release-production --head "$(cat head.txt)"
    """
    kept = _link(head) if head is not None else None
    if kept is not None and environment is None:
        raise click.UsageError("--head is the head of one chain; name it with --in.")

    async def work(app: "Application", _name: str) -> list[str]:
        from temppass.core.world import HOUSE  # noqa: PLC0415 - not for the help alone

        there = sorted({HOUSE, *await app.store.environments()})
        names = there if environment is None else [HOUSE if environment == STORE else environment]
        if not {*names} <= {*there}:
            raise Failure(
                f"there is no environment {environment!r}", f"it has: {', '.join(filter(None, there)) or 'none'}"
            )
        return [name or STORE for name in names if not await _holds(app, name, kept, alone=environment is not None)]

    if wrong := administer(store, None, work, read_only=True):
        hint = "compare with a backup of before; who could write to the database could have done it"
        raise Failure(f"the audit trail is not what was sealed: {', '.join(wrong)}", hint)


async def _holds(app: "Application", name: str, kept: "Link | None", *, alone: bool) -> bool:
    """Tell what is to be said of one chain; answer whether it holds."""
    history, called, holds = app.service.history, name or STORE, True
    async for fault in history.faults(name, kept):
        click.echo(f"{called}: {fault}", err=True)
        holds = False
    begins = await history.beginning(name)
    if begins.link.sequence:
        until = datetime.fromtimestamp(begins.at / 1000, UTC).isoformat(timespec="seconds")
        click.echo(f"{called}: records up to {begins.link.sequence}, of {until}, are kept no more", err=True)
    if bare := await history.bare(name):
        click.echo(f"{called}: of a version before, found by their time alone: the first {bare}", err=True)
    waiting = 0
    async for _ in history.unsealed(name):
        waiting += 1
    if waiting:
        click.echo(f"{called}: not sealed yet: {waiting}; a server seals within a second", err=True)
    head = await history.head(name)
    told = f"{head.sequence}:{head.hash.hex()}"
    click.echo(told if alone else f"{called}\t{told}")
    return holds


def _link(text: str) -> "Link":
    from temppass.core.act import Link  # noqa: PLC0415 - not for the help alone

    found = _HEAD.fullmatch(text.strip())
    if found is None:
        raise click.BadParameter("write it as it was printed: N:HASH.", param_hint="--head")
    return Link(int(found[1]), bytes.fromhex(found[2]))
