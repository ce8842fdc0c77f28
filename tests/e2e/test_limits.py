"""
What a stranger can send on a raw socket, and that each of it ends: with an answer, and closed where nothing that
follows could be understood.
"""

import json
import re
import socket
from typing import TYPE_CHECKING

import pytest

from temppass import connection as bounds
from temppass.testing import serving

if TYPE_CHECKING:
    from tests.e2e.conftest import Folder, Server

KIB = 1024
GET = b"GET /healthz HTTP/1.1\r\nHost: a\r\n"
POST = b"POST /o/client/register HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk\r\n"
CLOSE = b"Connection: close\r\n"
END = b"\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@pytest.fixture(scope="module")
def server(shared: "Folder") -> "Server":
    return shared.serve("--store", "memory:")


def talk(port: int, *parts: bytes) -> bytes:
    """Send all parts and read until the server closes the connection, which it has to do within the time."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        try:
            for part in parts:
                connection.sendall(part)
            while received := connection.recv(65_536):
                answer += received
        except (BrokenPipeError, ConnectionResetError):  # closed while we were sending: read what it had said
            while received := _rest(connection):
                answer += received
    return answer


def _rest(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65_536)
    except ConnectionResetError:
        return b""


def statuses(answer: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        pytest.param([GET + b"X: " + b"a" * 33 * KIB + END + END], 431, id="one long header"),
        pytest.param([GET + b"".join(b"X-%d: a\r\n" % n for n in range(4000)) + END], 431, id="many short headers"),
        pytest.param([GET + b"X: ", *[b"a" * 8 * KIB] * 8], 431, id="a header without an end"),
        pytest.param([b"GET /", *[b"a" * 8 * KIB] * 8], 431, id="a path without an end"),
        pytest.param([b"a" * 64 * KIB], 400, id="a method without an end"),
        pytest.param([b"\x00\xff\x13garbage\r\n\r\n"], 400, id="garbage"),
        pytest.param([b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)], 400, id="TLS without TLS"),
        pytest.param([b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"], 400, id="HTTP/2"),
        pytest.param([GET + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"], 400, id="two lengths"),
        pytest.param([POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}}"], 400, id="the length twice"),
        pytest.param([POST + b"Content-Length: 65537\r\n\r\n"], 413, id="a long body declared"),
        pytest.param([CHUNKED, *[chunk(b"a" * 16 * KIB)] * 5, b"0\r\n\r\n"], 413, id="a long body in chunks"),
        pytest.param([CHUNKED, *[chunk(b"a" * 16 * KIB)] * 64], 413, id="chunks without an end"),
        pytest.param([b"GET http://a:b:c/ HTTP/1.1\r\n\r\n"], 400, id="a URL that is none"),
        pytest.param([b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n"], 400, id="a tunnel"),
    ],
)
def test_a_request_beyond_all_bounds_is_refused_once_and_closed(
    server: "Server", parts: list[bytes], status: int
) -> None:
    assert statuses(talk(server.port, *parts)) == [status]


def test_a_body_and_a_head_of_just_the_right_size_are_taken(server: "Server") -> None:
    body = b'{"software_statement":"%s"}' % (b"a" * (64 * KIB - 25))
    fits = POST + CLOSE + b"Content-Length: %d\r\n\r\n" % len(body) + body
    head = GET + CLOSE + b"X: " + b"a" * 32_000 + END + END
    answers = [talk(server.port, fits), talk(server.port, head)]
    assert (len(body), [statuses(answer) for answer in answers]) == (64 * KIB, [[400], [200]])
    assert b"invalid_software_statement" in answers[0]


def test_pipelined_requests_are_answered_in_order(server: "Server") -> None:
    requests = [GET, b"GET /nowhere HTTP/1.1\r\nHost: a\r\n", b"POST /healthz HTTP/1.1\r\nHost: a\r\n", GET + CLOSE]
    assert statuses(talk(server.port, b"".join(request + END for request in requests))) == [200, 404, 405, 200]


@pytest.mark.parametrize("apart", [False, True], ids=["in one piece", "head and body apart"])
def test_the_body_of_a_request_that_asks_for_an_upgrade_is_its_body(server: "Server", apart: bool) -> None:  # noqa: FBT001
    """Upgrades are ignored (RFC 9110 §7.8); the body must neither get lost nor be taken for another request."""
    body = GET + CLOSE + END
    head = POST + UPGRADE + b"Content-Length: %d\r\n\r\n" % len(body)
    parts = [head, body] if apart else [head + body]
    answer = talk(server.port, *parts, GET + CLOSE + END)
    assert (statuses(answer), b"The body is not JSON" in answer) == ([400, 200], True)


def test_requests_that_ask_for_an_upgrade_may_be_pipelined(server: "Server") -> None:
    assert statuses(talk(server.port, 3 * (GET + UPGRADE + END) + GET + CLOSE + END)) == [200] * 4


def test_what_strangers_send_does_not_fill_the_log(shared: "Folder") -> None:
    server = shared.serve("--store", "memory:")
    for data in (b"garbage\r\n\r\n", GET + UPGRADE + CLOSE + END, POST + b"Content-Length: 99999\r\n\r\n"):
        talk(server.port, data)
    server.end()
    assert server.log.decode() == f"listening on {server.url}\n"


@pytest.mark.parametrize("begun", [b"", b"GET /healthz HT"], ids=["nothing", "half a request"])
def test_a_connection_that_sends_no_head_is_closed(monkeypatch: pytest.MonkeyPatch, begun: bytes) -> None:
    monkeypatch.setattr(bounds, "HEAD_WAIT_S", 0.01)
    with serving() as double:
        assert talk(int(double.url.rpartition(":")[2]), begun) == b""


def test_a_head_that_is_too_large_is_refused_in_json(server: "Server") -> None:
    answer = talk(server.port, GET + b"X: " + b"a" * 33 * KIB + END + END)
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["status"] == 431
