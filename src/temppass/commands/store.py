"""
`temppass store`: bring a store's schema up to date, and check it.
"""

import asyncio
import re
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl

import click

from temppass.commands.group import EXIT_CODES, Group
from temppass.commands.local import administer, settings_of, store_option

if TYPE_CHECKING:
    from temppass.service import Service
    from temppass.store import Store, Whereabouts

A = TypeVar("A")

#: a migration that takes longer says what it waits for, in seconds
SILENT_WAIT_S = 2


@click.group(cls=Group, name="store", epilog=EXIT_CODES)
def store_group() -> None:
    """
    Bring the store up to date, and check it.

    \b
    temppass store migrate --store sqlite:///preview.db
    temppass store check --store sqlite:///preview.db
    """


@store_group.command()
@store_option
@click.option("--citus", is_flag=True, help="Spread the ledgers over the workers of a Citus cluster.")
@click.option("--slots", type=click.IntRange(1, 256), help="With --citus: in so many parts, else one for each worker.")
def migrate(store: str | None, citus: bool, slots: int | None) -> None:  # noqa: FBT001 - click passes options by name
    """
    Create the store or bring its schema up to date; harmless when it is.

    \b
    temppass store migrate --store sqlite:///preview.db
    temppass store migrate --store postgresql://temppass@db.example/preview
    temppass store migrate --store postgresql://temppass@coordinator.example/preview --citus --slots 4
    """
    if slots is not None and not citus:
        raise click.UsageError("--slots says into how many parts --citus spreads the ledgers; give both")
    place = _place_of_store(settings_of(store).store)

    async def bring_over(store: "Store", service: "Service") -> bool:
        finished = await store.migrate()
        for sentence in await store.distribute(slots) if citus else ():
            click.echo(sentence, err=True)
        await service.catalogues.seal_keys()
        return finished

    if administer(store, None, lambda app, _name: _aloud(bring_over(app.store, app.service), app.store, place)):
        click.echo("the schema is up to date", err=True)
    else:
        click.echo("the schema is up to date, and still has names that older servers need", err=True)
        click.echo("hint: run this again when no server of the version before is left", err=True)


async def _aloud(migration: Coroutine[Any, Any, A], store: "Store", place: str) -> A:
    """Wait for a migration, and say so where it takes long."""
    task = asyncio.ensure_future(migration)
    try:
        _, waiting = await asyncio.wait([task], timeout=SILENT_WAIT_S)
        if waiting:
            why = "it does not answer, or is busy with this or another migration"
            where = store.whereabouts
            if where is not None and where.primary is None and len(where.hosts) > 1:
                why = _hosts(where)
            click.echo(f"waiting for {place}: {why} (Ctrl-C gives up and changes nothing)", err=True)
        return await task
    finally:
        task.cancel()


def _place_of_store(url: str) -> str:
    """Name what a store's URL leads to, without user and password: `host:port/db` for PostgreSQL."""
    if not url.startswith("postgresql://"):
        return url
    server, _, query = url.removeprefix("postgresql://").partition("?")
    host, _, database = server.rpartition("@")[2].partition("/")
    more = dict(parse_qsl(query))
    host = host or more.get("host") or "localhost"
    port = "" if re.search(r":\d+$", host) else f":{more.get('port') or 5432}"
    return f"{host}{port}/{database or more.get('dbname', '')}"


@store_group.command()
@store_option
def check(store: str | None) -> None:
    """
    Prove that the store answers, its schema is current and the secret opens its keys.

    \b
    temppass store check --store sqlite:///preview.db
    """

    async def look(store: "Store", service: "Service") -> "tuple[list[str], Whereabouts | None]":
        names = await service.catalogues.check()
        await store.ping()
        return names, store.whereabouts

    names, where = administer(store, None, lambda app, _name: look(app.store, app.service), read_only=True)
    click.echo(f"good; environments: {', '.join(names) or 'none yet'}", err=True)
    if where is not None:
        click.echo(f"{_hosts(where)}; a synchronous standby: {where.standby}", err=True)


def _hosts(where: "Whereabouts") -> str:
    return ", ".join(f"{host} {what}" for host, what in where.hosts.items())
