"""
`temppass serve`: the service itself, in one process or several, and its demonstration.
"""

import contextlib
import errno
import ipaddress
import os
import socket
from collections.abc import Awaitable, Callable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import click

from temppass.commands.local import assemble, closing, opening, run, settings_of, store_option
from temppass.failure import Failure

if TYPE_CHECKING:
    from temppass.server import Tls
    from temppass.settings import Settings
    from temppass.wiring import Application

    Rhythms = list[tuple[float, Callable[[], Awaitable[None]]]]


@click.command()
@store_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Port to listen on; 0 picks one."
)
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Server processes.")
@click.option("--tls-cert", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="PEM certificate chain.")
@click.option("--tls-key", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="PEM private key.")
@click.option(
    "--control-port",
    type=click.IntRange(0, 65535),
    help="Port for control API and console alone, which the other then does not serve; 0 picks one.",
)
@click.option("--no-control", is_flag=True, help="Serve no control API, and no console.")
@click.option(
    "--trusted-proxy",
    "proxies",
    metavar="CIDR",
    multiple=True,
    callback=lambda _context, _option, values: tuple(map(_network, values)),
    help="Believe X-Forwarded-Proto and -For of these addresses, and of nobody else; may be given again.",
)
@click.option("--demo", is_flag=True, help="Begin with the documented ids, and print a walk to paste into a shell.")
def serve(  # noqa: C901 - its inner functions are counted with it
    store: str | None,
    host: str,
    port: int,
    workers: int,
    tls_cert: Path | None,
    tls_key: Path | None,
    control_port: int | None,
    no_control: bool,  # noqa: FBT001 - click passes options by name
    proxies: tuple[str, ...],
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
    if control_port is not None and no_control:
        raise click.UsageError("--control-port and --no-control exclude one another.")
    settings = _settings(store, workers, demo=demo)
    wiring.configure_logging()
    tls = _tls(tls_cert, tls_key) if tls_cert and tls_key else None
    with opening():
        hold = wiring.hold(settings.store)
    listeners = [_listener(host, each) for each in (port, control_port) if each is not None]
    ports = [each.getsockname()[1] for each in listeners]
    shown_host = f"[{host}]" if ":" in host else host
    url, *control_url = [f"{'https' if tls else 'http'}://{shown_host}:{each}" for each in ports]

    def assembled() -> "Application":
        made = assemble(settings)
        if no_control or control_port is not None:
            made.edge.keep_control_to(None if no_control else ports[1])
        return made

    application = assembled()
    if hold is not None:
        hold.tell(url)

    def announce(lines: str) -> None:
        _announce(lines, url, control_url)

    async def prepare() -> str:
        await _check(application, settings)
        if not demo:
            return ""
        from temppass.demo import prepare, walk  # noqa: PLC0415 - only a demo needs it

        console = None if no_control else (control_url or [url])[0]
        curl = f"curl -s --cacert {tls.certificate}" if tls else "curl -s"
        return walk(url, await prepare(application.service, settings.environment), console, curl)

    async def answer(worker: "Application", ready: Callable[[], None]) -> None:
        await _answer(
            worker, lambda rhythms: server.serve(server.behind(worker.edge, proxies), listeners, tls, ready, rhythms)
        )

    async def answer_alone() -> None:
        async with closing(application.store):
            lines = await prepare()
            await answer(application, lambda: announce(lines))

    async def prepare_alone() -> str:
        async with closing(application.store):
            return await prepare()

    def work(ready: Callable[[], None]) -> None:
        worker = assembled()

        async def answer_here() -> None:
            async with closing(worker.store):
                await answer(worker, ready)

        run(answer_here, new_loop=server.new_event_loop)

    if workers == 1:
        run(answer_alone, new_loop=server.new_event_loop)
    else:
        lines = run(prepare_alone)
        Workers(work, lambda: announce(lines)).run(workers)


async def _answer(worker: "Application", answering: "Callable[[Rhythms], Awaitable[None]]") -> None:
    """Say that this process serves, answer requests, and say that it serves no more."""
    from temppass.service.register import Process  # noqa: PLC0415 - the client does without the server
    from temppass.store import StoreUnavailable  # noqa: PLC0415

    register, upkeep = worker.service.register, worker.service.upkeep
    await register.enter(Process(socket.gethostname(), os.getpid(), metadata.version("temppass")))
    await answering(upkeep.rhythms())
    with contextlib.suppress(StoreUnavailable):
        await upkeep.count()  # what the last seconds brought
        await register.leave()


def _announce(lines: str, url: str, control_url: list[str]) -> None:
    if lines:
        click.echo(lines)
    for each in control_url:
        click.echo(f"control on {each}", err=True)
    click.echo(f"listening on {url}", err=True)


def _settings(store: str | None, workers: int, *, demo: bool) -> "Settings":
    """Read the settings of a server. Raises Failure."""
    if demo and store is None and not os.environ.get("TEMPPASS_STORE"):
        store = "sqlite:///temppass-demo.db"
    settings = settings_of(store)
    if workers > 1 and not settings.store.startswith("postgresql://"):
        raise Failure("an embedded store is served by one process", "leave --workers out, or use PostgreSQL")
    return settings


async def _check(application: "Application", settings: "Settings") -> None:
    """See to it that the secret opens the store: what does not shows now, not at the first request."""
    await application.service.catalogues.check()
    if not settings.store.startswith("postgresql://"):  # an embedded store is migrated by whoever opens it
        await application.service.catalogues.seal_keys()


def _network(text: str) -> str:
    """Answer a network as CIDR has it. Raises BadParameter."""
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        raise click.BadParameter(f"{error}; write an address, or a network as 10.0.0.0/8") from None
    if network.prefixlen == 0:
        raise click.BadParameter(f"{text} is everybody, and whoever is trusted says where others come from")
    return str(network)


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
