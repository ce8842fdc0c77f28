"""
The server as a fixture: the same engine, store and edge as production, on a clock that the test holds.

    with temppass.testing.serving(CATALOGUE) as double:
        statement = double.mint("ops")
        ...                                  # any HTTP client against double.url
        double.clock.advance(30 * 60_000)    # the half hour is over

Each double is a world of its own, so tests can run side by side.
"""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from temppass.core.act import ByShell
from temppass.core.catalogue_file import parse
from temppass.core.operator import Role
from temppass.core.tokens import read_statement
from temppass.failure import install

try:
    from temppass import server
    from temppass.service.context import wall_clock
    from temppass.service.operators import NewOperator
    from temppass.settings import read_settings
    from temppass.wiring import Application, assemble
except ModuleNotFoundError as error:
    needs = f"temppass.testing needs temppass[server], of which {error.name} is not installed"
    raise ImportError(f"{needs}; {install('server')}") from error

A = TypeVar("A")

START_WAIT_S = 30
#: who changes a double, in its records
ACTOR = ByShell("test")


class Run(Protocol):
    """Waits for a coroutine, on whichever loop the double lives."""

    def __call__(self, work: Coroutine[Any, Any, A], /) -> A: ...


class Clock:
    """A clock that moves only when told to. `now` is Unix milliseconds."""

    def __init__(self, now: int) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now

    def advance(self, ms: int) -> None:
        self.now += ms


class Double:
    """A whole service in this process. `app` is its ASGI application; `url` is "" unless it listens."""

    def __init__(self, application: Application, clock: Clock, environment: str, run: Run, url: str = "") -> None:
        self.app = application.edge
        self.application = application
        self.clock = clock
        self.url = url
        self.environment = environment
        self._run = run

    def apply(self, catalogue: str, environment: str | None = None) -> None:
        """Make a catalogue (TOML) hold. Raises CatalogueError."""
        parsed = parse(catalogue, "catalogue")
        self._run(self.application.service.catalogues.apply(environment or self.environment, parsed, "test", ACTOR))

    def mint(self, application_id: str, environment: str | None = None, ends_at: int | None = None) -> str:
        """
        Answer a software statement, which ends at a moment, in Unix milliseconds, or never. Raises UnknownApplication,
        and InvalidRequest for an end that is past.
        """
        statements = self.application.service.statements
        return self._run(statements.mint(environment or self.environment, application_id, ACTOR, ends_at)).statement

    def operator(self, name: str, role: str, environments: Sequence[str] = (), channels: Sequence[str] = ()) -> str:
        """Create an operator of the control API, for 90 days; answer their token. Refuses: InvalidRequest."""
        new = NewOperator(name, Role(role), tuple(environments), tuple(channels))
        return self._run(self.application.service.operators.create_here(new, ACTOR)).token

    def revoke(self, application_id: str, environment: str | None = None, statement: str | None = None) -> None:
        """
        End all that the application was given, or one statement, which `mint` answered, with what came from it. Raises
        UnknownApplication; InvalidStatement for what is none here; NotThere for one that was revoked.
        """
        here = environment or self.environment
        self._run(self._revoke(application_id, here, statement))

    async def _revoke(self, application_id: str, environment: str, statement: str | None) -> None:
        service, id_ = self.application.service, None
        if statement is not None:
            keyring = (await service.world(environment)).keyring
            assert keyring is not None  # somebody minted the statement
            id_ = read_statement(keyring, statement, environment, self.clock() // 1000).id
        await service.statements.revoke(environment, application_id, ACTOR, id_)


def build(catalogue: str | None = None, *, store: str = "memory:", now: int | None = None, **variables: str) -> Double:
    """
    Answer a double that does not listen, to be driven as an ASGI application.

    `catalogue` is TOML; `now` is where its clock stands, in Unix milliseconds; `variables` are those of settings.py.
    """
    settings = read_settings(variables, store=store)
    clock = Clock(wall_clock() if now is None else now)
    double = Double(assemble(settings, clock), clock, settings.environment, _aside)
    if catalogue is not None:
        double.apply(catalogue)
    return double


def _aside(work: Coroutine[Any, Any, A]) -> A:
    """Wait for a coroutine on a loop of another thread: this one's may be running, as in a test that awaits."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


@contextlib.contextmanager
def serving(
    catalogue: str | None = None, *, store: str = "memory:", now: int | None = None, **variables: str
) -> Iterator[Double]:
    """Answer a double that listens on a free port of the loopback, in a thread of its own, until the block ends."""
    double = build(catalogue, store=store, now=now, **variables)
    listener = server.listening_socket("127.0.0.1", 0)
    ready = threading.Event()
    listening = server.build(double.app, tls=None, ready=ready.set)
    loop = server.new_event_loop()

    def answer() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(listening.serve(sockets=[listener]))
        loop.run_until_complete(double.application.store.close())
        loop.close()

    thread = threading.Thread(target=answer, name="temppass-double", daemon=True)
    thread.start()
    if not ready.wait(START_WAIT_S):
        raise TimeoutError("the double did not start")

    def run(work: Coroutine[Any, Any, A]) -> A:
        return asyncio.run_coroutine_threadsafe(work, loop).result()

    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        yield Double(double.application, double.clock, double.environment, run, url)
    finally:
        listening.should_exit = True
        thread.join()
