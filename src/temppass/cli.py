"""
The command line. Words go to stderr, data to stdout; every error says what is wrong, where, and what to do next.

Nothing of the server is imported before a command needs it, so that `temppass --help` is quick and the client
installs without the server.
"""

import asyncio
import contextlib
import errno
import os
import re
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar
from urllib.parse import parse_qsl

import click

from temppass.failure import Failure, install

if TYPE_CHECKING:
    from temppass.core.act import ByShell
    from temppass.server import Tls
    from temppass.settings import Settings
    from temppass.store import Store
    from temppass.wiring import Application

A = TypeVar("A")

EXIT_CODES = """\b
Exit codes: 0 done, 1 failed, 2 wrong usage or not confirmed, 4 not let in,
5 some lines of a file failed, 6 throttled, 130 interrupted."""

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def main() -> NoReturn:
    try:
        code = temppass.main(standalone_mode=False, prog_name="temppass")
    except click.exceptions.Exit as error:
        code = error.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        code = 130
    except Failure as error:
        code = _failed(error)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in SERVER_MODULES:
            raise
        hint = f"{install('server')}, or '.[server,postgres]' for PostgreSQL"
        code = _failed(Failure(f"this command needs the server, of which {error.name} is not installed", hint))
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python's last flush fails once more
        code = 1
        if error.errno != errno.EPIPE:
            hint = "what was asked has been done; only its answer is lost"
            code = _failed(Failure(f"cannot write the answer: {error.strerror}", hint))
    sys.exit(code if isinstance(code, int) else 0)


def _failed(failure: Failure) -> int:
    """Say on stderr what failed; answer the exit code."""
    click.echo(f"error: {failure}", err=True)
    if failure.hint:
        click.echo(f"hint: {failure.hint}", err=True)
    return failure.code


#: a migration that takes longer says what it waits for, in seconds
SILENT_WAIT_S = 2
#: no sentence of --help is as long, in characters: click cuts what is longer
SENTENCE_MAX = 1_000
#: what the server needs and the client does not (pyproject.toml, extras server and postgres)
SERVER_MODULES = ("asyncpg", "httptools", "prometheus_client", "starlette", "structlog", "uvicorn", "uvloop")
_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EPIPE)
#: the client's commands: where each is, and what --help says of it without looking there
CLIENT_COMMANDS = {
    "reset": ("reset:reset", "Make a viewer, a file of viewers, or everybody new to a pass."),
    "authorize": ("viewer:authorize", "Decide titles as an application would; the first permit begins the trial."),
    "preauthorize": ("viewer:preauthorize", "Judge titles as a catalogue page would; begin and consume nothing."),
    "profile": (
        "viewer:profile",
        "Show where a trial stands: new, running, over or used up, from when until when, what was watched.",
    ),
    "configuration": ("viewer:configuration", "List the passes and operators of a channel."),
    "id": ("identity:id_", "Show every form of one identity, and how it was read; nothing is sent."),
    "token": (
        "access:token",
        "Print a good access token, for a variable of the shell; the one that is kept, or a new one.",
    ),
    "inspect": (
        "inspection:inspect",
        "Explain a software statement, an access token, a media token or a header of the wire; send nothing.",
    ),
    "doctor": (
        "doctor:doctor",
        "Find out why calls fail: check each link from the statement to a decision, and name the first that is broken.",
    ),
    "migrate-request": (
        "legacy:migrate_request",
        "Write a request of the reset API before v3, or of REST v1, as it is today; nothing is sent.",
    ),
    "login": (
        "access:login",
        "Save a service, a channel, a pass and the software statement that opens them as a profile.",
    ),
    "logout": ("access:logout", "Forget a profile with its statement, credentials and token."),
    "whoami": (
        "access:whoami",
        "Tell who one is, offline: profile, service, channel, pass, and whether a token is at hand.",
    ),
    "completion": (
        "completion:completion",
        "Print the completion script of a shell, to be loaded by its start-up file.",
    ),
    "profiles": ("access:profiles_", "List the saved profiles; a star marks the one that is used where none is named."),
}


class _Group(click.Group):
    """`--help` tells the first sentence of each command whole, over as many lines as it takes."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's shape
        self.format_own(formatter, "Commands")

    def format_own(self, formatter: click.HelpFormatter, heading: str) -> None:
        told = [(name, command.get_short_help_str(SENTENCE_MAX)) for name, command in self.commands.items()]
        with formatter.section(heading):
            formatter.write_dl(told)


class _Commands(_Group):
    """The client's commands are imported when they are called; --help lists them from the table above."""

    group_class = _Group

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*CLIENT_COMMANDS, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in CLIENT_COMMANDS:
            return super().get_command(ctx, cmd_name)
        module, _, name = CLIENT_COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(f"temppass.commands.{module}"), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's shape
        with formatter.section("Against a service"):
            formatter.write_dl([(name, sentence) for name, (_, sentence) in CLIENT_COMMANDS.items()])
        self.format_own(formatter, "As a service")


@click.group(
    cls=_Commands,
    context_settings=_CONTEXT,
    epilog=EXIT_CODES,
    help="""
    A self-hostable temporary pass service, wire-compatible with Adobe Pass Temp Pass, and its client.

    \b
    temppass reset --device f238a1b2                make one viewer new to a pass
    temppass login --profile local --url URL        save a service and its software statement
    temppass serve --demo                           try everything, with a walk to paste
    temppass catalogue apply catalogue.toml         declare channels, passes and applications
    temppass statement mint ops > statement.jwt     let an application register
    temppass serve                                  serve them
    """,
)
@click.version_option(package_name="temppass")
def temppass() -> None: ...


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


# --- serve


@temppass.command()
@store_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Port to listen on; 0 picks one."
)
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Server processes.")
@click.option("--tls-cert", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="PEM certificate chain.")
@click.option("--tls-key", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="PEM private key.")
@click.option("--demo", is_flag=True, help="Begin with the documented ids, and print a walk to paste into a shell.")
def serve(  # noqa: C901 - its inner functions are counted with it
    store: str | None,
    host: str,
    port: int,
    workers: int,
    tls_cert: Path | None,
    tls_key: Path | None,
    demo: bool,  # noqa: FBT001 - click passes options by name
) -> None:
    """
    Answer requests until interrupted.

    \b
    temppass serve --demo
    temppass serve --store sqlite:///preview.db --port 8080
    temppass serve --host 0.0.0.0 --port 443 --tls-cert chain.pem --tls-key key.pem
    """
    from temppass import server, wiring  # noqa: PLC0415 - the client does without the server
    from temppass.workers import Workers  # noqa: PLC0415

    if (tls_cert is None) != (tls_key is None):
        raise click.UsageError("--tls-cert and --tls-key go together.")
    if demo and store is None and not os.environ.get("TEMPPASS_STORE"):
        store = "sqlite:///temppass-demo.db"
    settings = _settings(store)
    if workers > 1 and not settings.store.startswith("postgresql://"):
        raise Failure("an embedded store is served by one process", "leave --workers out, or use PostgreSQL")
    wiring.configure_logging()
    tls = _tls(tls_cert, tls_key) if tls_cert and tls_key else None
    with _opening():
        hold = wiring.hold(settings.store)
    application = _assemble(settings)
    listener = _listener(host, port)
    shown_host = f"[{host}]" if ":" in host else host
    url = f"{'https' if tls else 'http'}://{shown_host}:{listener.getsockname()[1]}"
    if hold is not None:
        hold.tell(url)

    def announce(lines: str) -> None:
        if lines:
            click.echo(lines)
        click.echo(f"listening on {url}", err=True)

    async def prepare() -> str:
        return await _prepare(
            application, settings, f"curl -s --cacert {tls.certificate}" if tls else "curl -s", url, demo
        )

    async def answer_alone() -> None:
        async with _closing(application.store):
            lines = await prepare()
            await server.serve(
                application.edge, listener, tls, lambda: announce(lines), application.service.upkeep.rhythms()
            )

    async def prepare_alone() -> str:
        async with _closing(application.store):
            return await prepare()

    def work(ready: Callable[[], None]) -> None:
        worker = _assemble(settings)

        async def answer() -> None:
            async with _closing(worker.store):
                await server.serve(worker.edge, listener, tls, ready, worker.service.upkeep.rhythms())

        _run(answer, new_loop=server.new_event_loop)

    if workers == 1:
        _run(answer_alone, new_loop=server.new_event_loop)
    else:
        lines = _run(prepare_alone)
        Workers(work, lambda: announce(lines)).run(workers)


async def _prepare(application: "Application", settings: "Settings", curl: str, url: str, demo: bool) -> str:  # noqa: FBT001
    """Check the store, and for a demo fill it; answer the walk to print, or nothing."""
    await application.service.catalogues.check()  # a wrong secret shows now, not at the first request
    if not settings.store.startswith("postgresql://"):  # an embedded store is migrated by whoever opens it
        await application.service.catalogues.seal_keys()
    if not demo:
        return ""
    from temppass.demo import prepare, walk  # noqa: PLC0415 - only a demo needs it

    return walk(url, await prepare(application.service, settings.environment), curl)


def _tls(certificate: Path, key: Path) -> "Tls":
    from temppass import server  # noqa: PLC0415 - the client does without the server

    tls = server.Tls(certificate, key)
    try:
        server.check_tls(tls)
    except OSError as error:
        hint = "give a PEM certificate chain and the PEM key that belongs to it"
        raise Failure(f"cannot use {certificate} with {key}: {error.strerror}", hint) from None
    return tls


def _listener(host: str, port: int) -> socket.socket:
    from temppass import server  # noqa: PLC0415 - the client does without the server

    try:
        return server.listening_socket(host, port)
    except OSError as error:
        reason = str(error.strerror).partition(" (while")[0]  # Python tells the address once more
        hint = "stop what listens there, or try --port 0" if error.errno == errno.EADDRINUSE else ""
        raise Failure(f"cannot listen on {host}:{port}: {reason}", hint) from None


@contextlib.asynccontextmanager
async def _closing(store: "Store") -> AsyncIterator[None]:
    try:
        yield
    finally:
        await store.close()


# --- catalogue


@temppass.group(epilog=EXIT_CODES)
def catalogue() -> None:
    """
    Plan, apply and show the catalogue of an environment.

    \b
    temppass catalogue plan catalogue.toml
    temppass catalogue apply catalogue.toml --description "free weekend"
    temppass catalogue show > catalogue.toml
    """


@catalogue.command()
@click.argument("file", type=click.File("rb"))
@store_option
@environment_option
def plan(file: Any, store: str | None, environment: str | None) -> None:
    """
    Tell what applying FILE would change; change nothing.

    \b
    temppass catalogue plan catalogue.toml
    """
    parsed = _parse(file)
    differences = _look(store, environment, lambda app, name: app.service.catalogues.plan(name, parsed))
    _show_differences(differences)


@catalogue.command()
@click.argument("file", type=click.File("rb"))
@store_option
@environment_option
@click.option("--description", default="", metavar="TEXT", help="Why, for the audit trail.")
def apply(file: Any, store: str | None, environment: str | None, description: str) -> None:
    """
    Make FILE the catalogue, as a whole; running servers honour it at their next decision.

    \b
    temppass catalogue apply catalogue.toml --description "free weekend"
    """
    parsed = _parse(file)
    actor = _actor()
    applied = _administer(
        store, environment, lambda app, name: app.service.catalogues.apply(name, parsed, description, actor)
    )
    _show_differences(applied.differences)
    click.echo(f"version {applied.version} holds", err=True)


@catalogue.command()
@store_option
@environment_option
def show(store: str | None, environment: str | None) -> None:
    """
    Print the catalogue as the file that would apply it.

    \b
    temppass catalogue show > catalogue.toml
    """
    import tomli_w  # noqa: PLC0415 - only this command writes TOML

    from temppass.core.catalogue import EMPTY  # noqa: PLC0415
    from temppass.core.catalogue_file import document_of  # noqa: PLC0415

    shown = _look(store, environment, lambda app, name: app.service.catalogues.catalogue(name))
    if shown == EMPTY:
        click.echo("the catalogue is empty", err=True)
    click.echo(tomli_w.dumps({kind: entries for kind, entries in document_of(shown).items() if entries}), nl=False)


# --- statement


@temppass.group(epilog=EXIT_CODES)
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
    minted = _administer(
        store, environment, lambda app, name: app.service.credentials.mint(name, application), read_only=True
    )
    click.echo(minted)


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
    actor = _actor()
    _administer(store, environment, lambda app, name: app.service.credentials.revoke(name, application, actor))
    click.echo(f"revoked all that {application} was given; `temppass statement mint` starts afresh", err=True)


# --- store


@temppass.group(name="store", epilog=EXIT_CODES)
def store_group() -> None:
    """
    Bring the store up to date, and check it.

    \b
    temppass store migrate --store sqlite:///preview.db
    temppass store check --store sqlite:///preview.db
    """


@store_group.command()
@store_option
@click.option("--citus", is_flag=True, help="Distribute the ledgers by subject over a Citus cluster.")
def migrate(store: str | None, citus: bool) -> None:  # noqa: FBT001 - click passes options by name
    """
    Create the store or bring its schema up to date; harmless when it is.

    \b
    temppass store migrate --store sqlite:///preview.db
    temppass store migrate --store postgresql://temppass@db.example/preview
    """
    place = _place_of_store(_settings(store).store)

    async def bring_over(app: "Application") -> bool:
        finished = await app.store.migrate(distributed=citus)
        await app.service.catalogues.seal_keys()
        return finished

    if _administer(store, None, lambda app, _name: _aloud(bring_over(app), place)):
        click.echo("the schema is up to date", err=True)
    else:
        click.echo("the schema is up to date, and still has names that older servers need", err=True)
        click.echo("hint: run this again when no server of the version before is left", err=True)


async def _aloud(migration: Coroutine[Any, Any, A], place: str) -> A:
    """Wait for a migration, and say so where it takes long."""
    task = asyncio.ensure_future(migration)
    try:
        _, waiting = await asyncio.wait([task], timeout=SILENT_WAIT_S)
        if waiting:
            why = "it does not answer, or is busy with this or another migration"
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
    names = _administer(store, None, lambda app, _name: app.service.catalogues.check(), read_only=True)
    click.echo(f"good; environments: {', '.join(names) or 'none yet'}", err=True)


# --- what the commands share

_CHECK_STORE = "check --store or TEMPPASS_STORE"


class _Missing(Failure):
    """There is no store to read."""


def _settings(store: str | None) -> "Settings":
    from temppass.settings import SettingsError, read_settings  # noqa: PLC0415

    try:
        return read_settings(os.environ, store=store)
    except SettingsError as error:
        raise Failure(str(error)) from None


def _assemble(settings: "Settings", *, read_only: bool = False) -> "Application":
    from temppass.wiring import assemble  # noqa: PLC0415

    with _opening():
        return assemble(settings, read_only=read_only)


@contextlib.contextmanager
def _opening() -> Iterator[None]:
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


def _look(store: str | None, environment: str | None, work: "Callable[[Application, str], Awaitable[A]]") -> A:
    """Do what only reads; a store that is not there yet is an empty one, and stays away."""
    try:
        return _administer(store, environment, work, read_only=True)
    except _Missing as missing:
        click.echo(f"{missing}; read as an empty one", err=True)
        return _administer("memory:", environment, work, read_only=True)


def _administer(
    store: str | None,
    environment: str | None,
    work: "Callable[[Application, str], Awaitable[A]]",
    *,
    read_only: bool = False,
) -> A:
    """Open the store, do one thing to an environment, close it."""
    from temppass.core.catalogue import is_environment_name  # noqa: PLC0415

    settings = _settings(store)
    name = environment or settings.environment
    if not is_environment_name(name):
        raise click.UsageError(f"--environment {name!r} is no name; use a-z, 0-9 and -, at most 64 characters.")
    application = _assemble(settings, read_only=read_only)

    async def run() -> A:
        async with _closing(application.store):
            return await work(application, name)

    return _run(run)


def _run(work: Callable[[], Awaitable[A]], new_loop: Callable[[], asyncio.AbstractEventLoop] | None = None) -> A:
    from temppass.core.tokens import WrongSecret  # noqa: PLC0415
    from temppass.service.credentials import UnknownApplication  # noqa: PLC0415
    from temppass.store import SchemaOutdated, StoreUnavailable  # noqa: PLC0415

    async def main() -> A:
        return await work()

    try:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            return runner.run(main())
    except UnknownApplication as error:
        raise Failure(str(error), "declare it with `temppass catalogue apply`") from None
    except WrongSecret as error:
        raise Failure(str(error), "set the secret that the store was made with") from None
    except SchemaOutdated as error:
        raise Failure(str(error), "run `temppass store migrate`") from None
    except StoreUnavailable as error:
        raise Failure(f"the store does not answer: {error}", _CHECK_STORE) from None


def _actor() -> "ByShell":
    """Answer who is at this shell, for the audit trail."""
    import getpass  # noqa: PLC0415 - only commands that change something need it

    from temppass.core.act import ByShell  # noqa: PLC0415

    try:
        return ByShell(getpass.getuser())
    except (OSError, KeyError):  # a user id without a name, as in some containers
        return ByShell(str(os.getuid()))


def _parse(file: Any) -> Any:
    from temppass.core.catalogue_file import CatalogueError, parse  # noqa: PLC0415

    name = getattr(file, "name", "stdin")
    try:
        return parse(file.read().decode("utf-8"), str(name))
    except UnicodeDecodeError:
        raise Failure(f"{name} is not UTF-8", "save it as UTF-8") from None
    except CatalogueError as error:
        count = len(error.problems)
        raise Failure(f"nothing was applied, {count} problem{'s' if count > 1 else ''}:\n{error}") from None


def _show_differences(differences: list[str]) -> None:
    for line in differences:
        click.echo(line)
    if not differences:
        click.echo("no differences", err=True)


if __name__ == "__main__":
    main()
