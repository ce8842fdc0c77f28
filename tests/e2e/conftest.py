"""
Real processes and real sockets: a folder in which a stranger works, the servers and commands that run in it, and an
application's way over the wire. Every wait has a bound, and only processes that were started here are ended.
"""

import base64
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.conftest import database_of_slots, new_database

#: nothing here takes so long unless it hangs
WAIT_S = 60
TITLES_MAX = 3
#: what all servers and commands of one PostgreSQL store have to share
SECRET = "the one secret of all that share a store"

CATALOGUE = f"""
[[programmer]]
id = "acme"

[[channel]]
id = "ACME1"
programmer = "acme"

[[pass]]
id = "Basic"
kind = "basic"
ttl = "30m"
channels = ["ACME1"]

[[pass]]
id = "Promo"
kind = "promotional"
ttl = "28d"
resources_max = {TITLES_MAX}
identity_key = "email"
channels = ["ACME1"]

[[application]]
id = "ops"
channels = ["ACME1"]
scopes = ["api:client:v2", "temporary:passes:owner"]
"""


class Done(NamedTuple):
    code: int
    out: str
    err: str


class Server:
    """One server process after another, on one store."""

    def __init__(self, folder: Path, options: tuple[str, ...], variables: Mapping[str, str]) -> None:
        self.url = ""
        #: what the processes wrote on stderr
        self.log = b""
        self._folder = folder
        self._options = options
        self._variables = variables

    def start(self, file_kib_max: int | None = None) -> None:
        """
        Answer once the server says that it listens; then all that it prints on stdout is there too.

        No file of the server may grow beyond `file_kib_max`, as if the disk were full.
        """
        command = [sys.executable, "-m", "temppass.cli", "serve", "--port", "0", *self._options]
        if file_kib_max is not None:
            command = ["bash", "-c", f'ulimit -S -f {file_kib_max}; exec "$@"', "bash", *command]
        with (self._folder / "stdout").open("wb") as out:
            self._process = subprocess.Popen(
                command,
                cwd=self._folder,
                env=surroundings(self._folder, self._variables),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.PIPE,
            )
        self.url, heard = "", threading.Event()
        self._listener = threading.Thread(target=self._listen, args=(heard,), daemon=True)
        self._listener.start()
        assert heard.wait(WAIT_S), "the server says nothing"
        assert self.url, self.log.decode()

    def _listen(self, heard: threading.Event) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as lines:
            for line in lines:
                self.log += line
                if line.startswith(b"listening on "):
                    self.url = line.decode().split()[-1]
                    heard.set()
        heard.set()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def out(self) -> str:
        return (self._folder / "stdout").read_text()

    def send(self, number: int) -> None:
        self._process.send_signal(number)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, unless the process has ended already, and answer its exit code."""
        self._process.send_signal(number)
        code = self._process.wait(WAIT_S)
        self._listener.join(WAIT_S)
        return code

    def insist(self, number: int = signal.SIGTERM) -> int:
        """Send a signal again and again until the process has ended, and answer its exit code."""
        while self._process.poll() is None:
            self._process.send_signal(number)
        self._listener.join(WAIT_S)
        return self._process.returncode


class Wire:
    """An application that has registered: one title, one profile, one reset at a time, from any thread."""

    def __init__(self, url: str, statement: str) -> None:
        self.http = httpx2.Client(base_url=url, trust_env=False, timeout=WAIT_S, limits=httpx2.Limits())
        made = self.http.post("/o/client/register", json={"software_statement": statement}).json()
        self.credentials = {name: made[name] for name in ("client_id", "client_secret")}
        self.token = ""
        self.move(url)

    def move(self, url: str) -> None:
        """Go on at another address, with another token of the same client."""
        self.http.base_url = httpx2.URL(url)
        form = {**self.credentials, "grant_type": "client_credentials"}
        self.token = self.http.post("/o/client/token", data=form).json()["access_token"]
        self.http.headers["Authorization"] = f"Bearer {self.token}"

    def authorize(self, device_id: str, title: str, pass_id: str = "Basic", key: str = "") -> httpx2.Response:
        path, headers = f"/api/v2/ACME1/decisions/authorize/{pass_id}", identity(device_id, key)
        return self.http.post(path, headers=headers, json={"resources": [title]})

    def decide(self, device_id: str, title: str, pass_id: str = "Basic", key: str = "") -> dict[str, Any]:
        """Answer the one decision of an authorize."""
        (decision,) = self.authorize(device_id, title, pass_id, key).json()["decisions"]
        return dict(decision)

    def profile(self, device_id: str, pass_id: str = "Basic", key: str = "") -> dict[str, Any]:
        answer = self.http.get(f"/api/v2/ACME1/profiles/{pass_id}", headers=identity(device_id, key))
        return dict(answer.json()["profiles"][pass_id])

    def reset(self, pass_id: str, **target: str) -> int:
        """Reset `device_id` or `key`; answer the status."""
        path = "/reset-tempass/v3/reset/generic" if "key" in target else "/reset-tempass/v3/reset"
        return self.http.delete(path, params={"requestor_id": "ACME1", "mvpd_id": pass_id, **target}).status_code

    def close(self) -> None:
        self.http.close()


def identity(device_id: str, key: str) -> dict[str, str]:
    headers = {"AP-Device-Identifier": f"fingerprint {base64.b64encode(device_id.encode()).decode()}"}
    if key:
        headers["AP-TempPass-Identity"] = base64.b64encode(json.dumps({"email": key}).encode()).decode()
    return headers


class Folder:
    """Where a stranger works. Nothing of the surrounding environment gets in but the path."""

    #: `temppass`, for a shell
    command = f"{sys.executable} -m temppass.cli"

    def __init__(self, path: Path, **variables: str) -> None:
        self.path = path
        self._variables = variables
        self._open: list[Wire] = []
        self._servers: list[Server] = []

    @property
    def database(self) -> str | None:
        """The URL of the database that its servers share; None where it is a file of the folder."""
        return self._variables.get("TEMPPASS_STORE")

    def temppass(self, *arguments: str, through: Sequence[str] = (), **variables: str) -> Done:
        """Run a command; `through` is a program, with its options, that starts it."""
        done = subprocess.run(
            [*through, sys.executable, "-m", "temppass.cli", *arguments],
            cwd=self.path,
            env=surroundings(self.path, self._variables | variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def bash(self, script: str, **variables: str) -> str:
        """Run a script as if pasted into a shell; answer what it prints."""
        done = subprocess.run(
            ["bash"],
            input=script,
            cwd=self.path,
            env=surroundings(self.path, self._variables | variables),
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=False,
        )
        assert done.stdout, done.stderr
        return done.stdout

    def declare(self, catalogue: str = CATALOGUE) -> None:
        (self.path / "catalogue.toml").write_text(catalogue)
        done = self.temppass("catalogue", "apply", "catalogue.toml")
        assert done.code == 0, done.err

    def serve(self, *options: str, **variables: str) -> Server:
        server = Server(self.path, options, self._variables | variables)
        self._servers.append(server)
        server.start()
        return server

    def application(self, server: Server) -> Wire:
        """Mint a statement of `ops` and register it."""
        wire = Wire(server.url, self.temppass("statement", "mint", "ops").out.strip())
        self._open.append(wire)
        return wire

    def close(self) -> None:
        for wire in self._open:
            wire.close()
        for server in self._servers:
            server.end(signal.SIGKILL)


def surroundings(folder: Path, variables: Mapping[str, str]) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8", **variables}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    folder = Folder(tmp_path)
    yield folder
    folder.close()


def sharing(path: Path, database: str) -> Folder:
    """Answer a folder whose servers and commands share a PostgreSQL database."""
    return Folder(path, TEMPPASS_STORE=database, TEMPPASS_SECRET=SECRET)


@pytest.fixture(scope="module", params=["postgres", "slots"])
def cluster(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Folder]:
    """A folder on a migrated database, of one slot or of several, for the tests of one file."""
    several = request.param == "slots"
    server = request.getfixturevalue("postgres_server") if not several else ""
    with database_of_slots(request) if several else new_database(server) as database:
        folder = sharing(tmp_path_factory.mktemp("cluster"), database)
        assert folder.temppass("store", "migrate") == (0, "", "the schema is up to date\n")
        yield folder
        folder.close()


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Folder]:
    """A folder on either database: a file in it, or one that its servers share."""
    if request.param == "sqlite":
        folder = Folder(tmp_path)
        yield folder
        folder.close()
        return
    with new_database(request.getfixturevalue("postgres_server")) as database:
        folder = sharing(tmp_path, database)
        folder.temppass("store", "migrate")
        yield folder
        folder.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Folder]:
    """A folder for the tests of one file that leave no trace in it."""
    folder = Folder(tmp_path_factory.mktemp("shared"))
    yield folder
    folder.close()


class Certificate(NamedTuple):
    chain: Path
    key: Path


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate of the documented host names, and of this machine."""
    folder = tmp_path_factory.mktemp("tls")
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "temppass")])
    hosts = [x509.DNSName(f"{service}.auth.adobe.com") for service in ("sp", "mgmt")]
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([*hosts, x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return Certificate(folder / "cert.pem", folder / "key.pem")
