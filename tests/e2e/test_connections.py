"""
What a stranger can make a connection hold, and for how long: nothing without end, and never another's place.
"""

import asyncio
import contextlib
import json
import resource
import select
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from tests.e2e.test_limits import CLOSE, END, GET, KIB, POST, statuses, talk

from temppass import connection as bounds
from temppass import server
from temppass.connection import BoundedProtocol
from temppass.crowd import Crowd
from temppass.testing import build, serving

if TYPE_CHECKING:
    from tests.e2e.conftest import Certificate, Folder

CATALOGUE = """
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
[[application]]
id = "app"
channels = ["ACME1"]
scopes = ["api:client:v2"]
"""
READING = [
    "/o/client/register",
    "/o/client/token",
    "/api/v2/ACME1/decisions/authorize/Basic",
    "/api/v2/ACME1/decisions/preauthorize/Basic",
    "/api/v2/ACME1/sessions",
]
BODIES = {
    "a body that does not start": b"Content-Length: 9\r\n\r\n",
    "a body that stops": b'Content-Length: 9\r\n\r\n{"a"',
    "chunks that do not start": b"Transfer-Encoding: chunked\r\n\r\n",
    "a size without its chunk": b"Transfer-Encoding: chunked\r\n\r\n5\r\n",
    "an extension without an end": b"Transfer-Encoding: chunked\r\n\r\n5;a=bbb",
    "chunks without the last": b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
    "a body that waits to be asked for": b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\n",
}


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is awaited for long."""
    for name in ("BODY_WAIT_S", "LINGER_S"):
        monkeypatch.setattr(bounds, name, 0.05)


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


@contextlib.contextmanager
def listening(app: Any, connections_max: int, tls: server.Tls | None = None) -> Iterator[int]:
    """Answer the port of a server with so much room."""
    listener, ready = server.listening_socket("127.0.0.1", 0), threading.Event()
    port = listener.getsockname()[1]
    served = server.build(app, tls=tls, ready=ready.set, connections_max=connections_max)
    loop = server.new_event_loop()

    def answer() -> None:
        loop.run_until_complete(served.serve(sockets=[listener]))
        loop.close()

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    assert ready.wait(20)
    try:
        yield port
    finally:
        served.should_exit = True
        thread.join()


def call(port: int, sent: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    connection.sendall(sent)
    return connection


def rest(connection: socket.socket) -> bytes:
    """Read until the end, which must not be a reset."""
    answer = b""
    with connection:
        while received := connection.recv(65_536):
            answer += received
    return answer


# --- bodies


@pytest.mark.parametrize("path", READING)
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_a_body_that_does_not_come_is_not_awaited_for_long(hasty: None, path: str, body: bytes) -> None:
    with serving(CATALOGUE) as double:
        base = httpx2.Client(base_url=double.url, trust_env=False)
        made = base.post("/o/client/register", json={"software_statement": double.mint("app")}).json()
        form = {name: made[name] for name in ("client_id", "client_secret")} | {"grant_type": "client_credentials"}
        bearer = base.post("/o/client/token", data=form).json()["access_token"].encode()
        base.close()
        head = b"POST %s HTTP/1.1\r\nHost: a\r\nAP-Device-Identifier: fingerprint YQ==\r\n" % path.encode()
        answers = [
            [status for status in statuses(talk(port_of(double.url), sent + body)) if status != 100]
            for sent in (head, head + b"Authorization: Bearer " + bearer + END)
        ]
    assert answers == [[408], [408]]


def test_a_body_that_is_late_is_told_so_in_json(hasty: None) -> None:
    with serving() as double:
        answer = talk(port_of(double.url), POST + b"Content-Length: 9\r\n\r\n")
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {
        "error": "request_timeout",
        "message": "The body did not arrive in time.",
        "status": 408,
    }


def test_a_request_that_was_told_so_is_not_answered_twice(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(bounds, "BODY_WAIT_S", 0.05)
    may_end, ended = threading.Event(), threading.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.to_thread(may_end.wait, 20)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})
        ended.set()

    with listening(slow, 1) as port, call(port, GET + b"Content-Length: 9\r\n\r\n") as connection:
        answer = connection.recv(65_536)
        may_end.set()
        assert ended.wait(20)
        answer += rest(connection)
    assert (statuses(answer), caplog.records) == ([408], [])


def test_an_extension_of_a_chunk_counts_as_bytes() -> None:
    with serving() as double:
        head = POST + b"Transfer-Encoding: chunked\r\n\r\n1;"
        answer = talk(port_of(double.url), head, *[b"a" * 64 * KIB] * 16)
    assert statuses(answer) == [413]


def test_a_request_that_is_answered_without_its_body_is_the_last(hasty: None) -> None:
    with serving() as double, call(port_of(double.url), GET + b"Content-Length: 9\r\n\r\n") as connection:
        answer = rest(connection)
    assert (statuses(answer), b"\r\nconnection: close\r\n" in answer) == ([200], True)


def test_an_answer_is_not_lost_to_the_body_that_it_did_not_wait_for() -> None:
    """Closing at once would answer what the client still sends with a reset, which destroys what it has not read."""
    with serving() as double:
        connection = call(port_of(double.url), GET + b"Content-Length: 60000\r\n\r\n")
        begun = connection.recv(1)
        connection.sendall(b"a" * 60_000)
        answer = begun + rest(connection)
    assert statuses(answer) == [200]


def test_a_body_that_comes_apart_from_its_head_costs_no_connection() -> None:
    with serving() as double:
        connection = call(port_of(double.url), POST + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        answer = connection.recv(65_536)  # the application waits for the body
        connection.sendall(b"{}" + GET + CLOSE + END)
        answer += rest(connection)
    assert statuses(answer) == [100, 400, 200]


def test_what_comes_behind_a_body_is_no_header(hasty: None) -> None:
    """RFC 9110 §6.5.1: a trailer that is not known is dropped, and a Host there would be a second one."""
    with serving() as double:
        body = b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nHost: b\r\n\r\n"
        answer = talk(port_of(double.url), POST + CLOSE + body)
    assert b'"error":"invalid_request","error_description":"' in answer
    assert b"Host" not in answer


# --- waits


def test_line_ends_after_an_answer_hold_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "HEAD_WAIT_S", 0.05)
    with serving() as double, call(port_of(double.url), GET + END) as connection:
        answer = connection.recv(65_536)
        connection.sendall(END)
        assert (statuses(answer), rest(connection)) == ([200], b"")


def test_who_takes_no_answers_is_not_awaited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "ANSWER_WAIT_S", 0.05)
    with serving() as double, call(port_of(double.url)) as connection:
        connection.setblocking(False)
        ended = select.poll()
        ended.register(connection, select.POLLHUP | select.POLLOUT)
        request = b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n" * 1000
        seen = 0
        while not seen & (select.POLLHUP | select.POLLERR):
            ((_, seen),) = ended.poll(20_000)
            with contextlib.suppress(BlockingIOError, ConnectionError):
                connection.send(request)
    assert seen & select.POLLHUP


# --- too many


def test_silent_connections_make_room_for_who_speaks() -> None:
    with contextlib.ExitStack() as open_, listening(build().app, 4) as port:
        silent = [open_.enter_context(call(port)) for _ in range(8)]
        dripping = [open_.enter_context(call(port, b"GET /heal")) for _ in range(8)]
        answers = [statuses(talk(port, GET + CLOSE + END)) for _ in range(8)]
        assert (answers, [connection.recv(1) for connection in silent + dripping[:4]]) == ([[200]] * 8, [b""] * 12)


def test_silent_handshakes_make_room_for_who_speaks(certificate: "Certificate") -> None:
    tls = server.Tls(certificate.chain, certificate.key)
    with contextlib.ExitStack() as open_, listening(build().app, 4, tls) as port:
        silent = [open_.enter_context(call(port)) for _ in range(8)]
        context = ssl.create_default_context(cafile=certificate.chain)
        with httpx2.Client(base_url=f"https://127.0.0.1:{port}", verify=context, trust_env=False) as client:
            status = client.get("/healthz").status_code
        assert (status, [connection.recv(1) for connection in silent[:5]]) == (200, [b""] * 5)


def test_a_handshake_that_does_not_come_is_not_awaited_for_long(
    monkeypatch: pytest.MonkeyPatch, certificate: "Certificate"
) -> None:
    monkeypatch.setattr(server, "HEAD_WAIT_S", 0.05)
    with listening(build().app, 4, server.Tls(certificate.chain, certificate.key)) as port:
        assert [talk(port), talk(port, b"\x16\x03\x01\x02")] == [b"", b""]


def test_what_strangers_send_instead_of_a_handshake_does_not_fill_the_log(
    shared: "Folder", certificate: "Certificate"
) -> None:
    served = shared.serve("--store", "memory:", "--tls-cert", str(certificate.chain), "--tls-key", str(certificate.key))
    for data in (b"garbage\r\n\r\n", GET + END, b""):
        with contextlib.suppress(ConnectionError), call(served.port, data) as connection:
            connection.shutdown(socket.SHUT_WR)
            rest(connection)
    served.end()
    assert served.log.decode() == f"listening on {served.url}\n"


def test_where_everybody_is_being_answered_the_next_is_told_to_try_again() -> None:
    begun, may_end = threading.Event(), threading.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        begun.set()
        await asyncio.to_thread(may_end.wait, 20)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    with listening(slow, 1) as port, call(port, GET + CLOSE + END) as first:
        assert begun.wait(20)
        refused = talk(port, GET + END)
        may_end.set()
        answer = rest(first)
    head, _, body = refused.partition(b"\r\n\r\n")
    assert (statuses(answer), head.splitlines()[0].split()[1], json.loads(body)["error"]) == (
        [204],
        b"503",
        "temporarily_unavailable",
    )
    assert {b"retry-after: 1", b"connection: close"} <= set(head.splitlines())


def test_descriptors_are_asked_for_and_bound_the_connections() -> None:
    ask = "import resource as r; from temppass import server as s; print(s._connections_max(), *r.getrlimit(7))"
    assert resource.RLIMIT_NOFILE == 7
    shown = [
        subprocess.run(
            ["bash", "-c", f'ulimit -S -n 64; ulimit -H -n {hard}; exec "$@"', "bash", sys.executable, "-c", ask],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for hard in (1024, 400)
    ]
    assert shown == [["768", "1024", "1024"], ["200", "400", "400"]]


# --- heads and pipelines


@pytest.mark.parametrize(("headers", "status"), [(100, 200), (101, 431)])
def test_a_head_has_at_most_so_many_headers(headers: int, status: int) -> None:
    with serving() as double:
        head = GET + CLOSE + b"a: b\r\n" * (headers - 2)
        assert statuses(talk(port_of(double.url), head + END)) == [status]


def exchange(port: int, sent: bytes, end: bool = False) -> bytes:  # noqa: FBT001, FBT002
    """Send while reading; `end` says then that nothing more will come."""
    connection = call(port)

    def send() -> None:
        connection.sendall(sent)
        if end:
            connection.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=send)
    sender.start()
    answer = rest(connection)
    sender.join()
    return answer


def test_thousands_of_requests_in_one_write_are_all_answered() -> None:
    with serving() as double:
        answer = exchange(port_of(double.url), (GET + END) * 5000 + GET + CLOSE + END)
    assert statuses(answer) == [200] * 5001


def test_who_has_sent_all_requests_may_close_for_sending() -> None:
    with serving() as double:
        assert statuses(exchange(port_of(double.url), (GET + END) * 5000, end=True)) == [200] * 5000


def test_only_the_head_that_is_not_whole_counts_against_its_bound() -> None:
    with serving() as double:
        long = GET + b"x: " + b"a" * 30_000
        answer = exchange(port_of(double.url), (GET + END) * 2000 + long + END + END + long + END + CLOSE + END)
    assert statuses(answer) == [200] * 2002


@pytest.mark.parametrize(
    ("last", "status"),
    [
        (GET + b"x: " + b"a" * 33 * KIB + END + END, 431),
        (GET + b"x: " + b"a" * 64 * KIB, 431),
        (b"garbage\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: chunked\r\n\r\nno size\r\n", 400),
    ],
    ids=["a large head", "a head without an end", "garbage", "a bad chunk"],
)
def test_what_cannot_be_read_is_refused_after_the_answers_to_what_could(last: bytes, status: int) -> None:
    with serving() as double:
        assert statuses(exchange(port_of(double.url), (GET + END) * 100 + last)) == [200] * 100 + [status]


class Recorder(asyncio.Transport):
    """A transport that nobody reads."""

    reading = True

    def close(self) -> None: ...

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Reader(Recorder):
    """A transport that is read."""

    closed = False
    written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True


def test_what_comes_before_the_turn_of_an_end_prevents_it() -> None:
    """A head that is late, then a connection that is idle for too long: both speak between the alarm and their turn."""

    async def speak_late() -> tuple[int, bool]:
        async def answer(_scope: Any, _receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body"})

        served = server.build(answer, tls=None, ready=lambda: None)
        served.config.load()
        transport = Reader()
        protocol = BoundedProtocol(served.config, Crowd(1), {}, asyncio.get_running_loop())
        protocol.connection_made(transport)
        protocol._end_in_turn(protocol._head_is_late)
        for _ in range(2):
            protocol.data_received(GET + END)
            for _ in range(3):
                await asyncio.sleep(0)
            protocol.timeout_keep_alive_handler()
        seen = (transport.written.count(b"HTTP/1.1 204"), transport.closed)
        protocol.connection_lost(None)
        return seen

    assert asyncio.run(speak_late()) == (2, False)


def test_requests_that_wait_for_their_turn_take_little_memory() -> None:
    """Only so many are parsed, and nothing more is read, also when the application asks for a body."""

    async def fill() -> tuple[bool, bool]:
        asked = asyncio.Event()

        async def stuck(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            asked.set()
            await receive()

        served = server.build(stuck, tls=None, ready=lambda: None)
        served.config.load()
        transport = Recorder()
        protocol = BoundedProtocol(served.config, Crowd(1), {}, asyncio.get_running_loop())
        protocol.connection_made(transport)
        protocol.data_received((GET + END) * 9000)
        await asked.wait()
        few = len(protocol.pipeline) < bounds.PIPELINE_MAX + bounds.PIECE_BYTES / len(GET)
        protocol.connection_lost(None)
        return few, transport.reading

    assert asyncio.run(fill()) == (True, False)
