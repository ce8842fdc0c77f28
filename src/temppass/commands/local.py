"""
Opens a store here: what the server's commands share, from the store's URL to the failure of a command.

Nothing of the server is imported before a command needs it.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import click

from temppass.failure import Failure

if TYPE_CHECKING:
    from temppass.core.act import ByShell
    from temppass.core.secret import Secret
    from temppass.settings import Settings
    from temppass.store import Holder, Store
    from temppass.wiring import Application as Application  # noqa: PLC0414 - the commands on a store have it from here

A = TypeVar("A")

_CHECK_STORE = "check --store or TEMPPASS_STORE"


def store_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--store",
        metavar="URL",
        help="sqlite:///file.db, postgresql://… or memory:; else TEMPPASS_STORE, else sqlite:///temppass.db.",
    )(command)


def environment_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--environment",
        metavar="NAME",
        help="Which isolated world; else TEMPPASS_ENVIRONMENT, else release-production.",
    )(command)


class _Missing(Failure):
    """There is no store to read."""


def settings_of(store: str | None) -> "Settings":
    """Read the settings, with the store that an option names, if one does. Raises Failure."""
    from temppass.settings import SettingsError, read_settings  # noqa: PLC0415

    try:
        return read_settings(os.environ, store=store)
    except SettingsError as error:
        raise Failure(str(error)) from None


def assemble(settings: "Settings", *, read_only: bool = False, secret: "Secret | None" = None) -> "Application":
    """Open the store and build everything on it. Raises Failure."""
    from temppass import wiring  # noqa: PLC0415

    with opening():
        return wiring.assemble(settings, read_only=read_only, secret=secret)


@contextlib.contextmanager
def another_secret(settings: "Settings", *, dry_run: bool) -> "Iterator[tuple[Secret, Holder | None]]":
    """Answer the secret that is to take the place of the present one, and who serves the store. Raises Failure."""
    from temppass import wiring  # noqa: PLC0415

    with opening(), wiring.another_secret(settings, dry_run=dry_run) as secret:
        yield secret, wiring.holder(settings.store)


@contextlib.contextmanager
def opening() -> Iterator[None]:
    """Turn what opening a store raises into the failure of a command."""
    from temppass.settings import SettingsError  # noqa: PLC0415
    from temppass.store import SchemaOutdated, StoreHeld, StoreMissing, StoreUnavailable  # noqa: PLC0415

    try:
        yield
    except SettingsError as error:
        raise Failure(str(error)) from None
    except StoreHeld as error:
        raise Failure(str(error), "stop that one first, or use PostgreSQL for more than one") from None
    except StoreMissing as error:
        raise _Missing(str(error), _CHECK_STORE) from None
    except (StoreUnavailable, SchemaOutdated) as error:
        raise Failure(str(error), _CHECK_STORE) from None


def look(store: str | None, environment: str | None, work: "Callable[[Application, str], Awaitable[A]]") -> A:
    """Do what only reads; a store that is not there yet is an empty one, and stays away."""
    try:
        return administer(store, environment, work, read_only=True)
    except _Missing as missing:
        click.echo(f"{missing}; read as an empty one", err=True)
        return administer("memory:", environment, work, read_only=True)


def administer(
    store: str | None,
    environment: str | None,
    work: "Callable[[Application, str], Awaitable[A]]",
    *,
    read_only: bool = False,
) -> A:
    """Open the store, do one thing to an environment, close it."""
    from temppass.core.catalogue import is_environment_name  # noqa: PLC0415

    settings = settings_of(store)
    name = environment or settings.environment
    if not is_environment_name(name):
        raise click.UsageError(f"--environment {name!r} is no name; use a-z, 0-9 and -, at most 64 characters.")
    application = assemble(settings, read_only=read_only)

    async def work_and_close() -> A:
        async with closing(application.store):
            return await work(application, name)

    return run(work_and_close)


def run(work: Callable[[], Awaitable[A]], new_loop: Callable[[], asyncio.AbstractEventLoop] | None = None) -> A:
    """Do `work` on an event loop of its own; what a store or a use case raises is the failure of a command."""
    from temppass.core.refusal import UnknownApplication  # noqa: PLC0415
    from temppass.core.secret import WrongSecret  # noqa: PLC0415
    from temppass.service.renewal import NotYet  # noqa: PLC0415
    from temppass.store import NotDistributed, SchemaOutdated, StoreUnavailable  # noqa: PLC0415

    async def main() -> A:
        return await work()

    try:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            return runner.run(main())
    except UnknownApplication as error:
        raise Failure(str(error), "declare it with `temppass catalogue apply`") from None
    except WrongSecret as error:
        raise Failure(str(error), "set the secret that the store is sealed under") from None
    except NotYet as error:
        raise Failure(f"these would not open the store any more: {error}", error.hint) from None
    except NotDistributed as error:
        raise Failure(str(error)) from None
    except SchemaOutdated as error:
        raise Failure(str(error), "run `temppass store migrate`") from None
    except StoreUnavailable as error:
        raise Failure(f"the store does not answer: {error}", _CHECK_STORE) from None


def actor() -> "ByShell":
    """Answer who is at this shell, for the audit trail."""
    import getpass  # noqa: PLC0415 - only commands that change something need it

    from temppass.core.act import ByShell  # noqa: PLC0415

    try:
        return ByShell(getpass.getuser())
    except (OSError, KeyError):  # a user id without a name, as in some containers
        return ByShell(str(os.getuid()))


@contextlib.asynccontextmanager
async def closing(store: "Store") -> AsyncIterator[None]:
    """Close the store at the end, however it comes."""
    try:
        yield
    finally:
        await store.close()
