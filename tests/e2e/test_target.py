"""
Request targets and hosts as they stand on a raw socket: what follows a `#` is never dropped, and every request belongs
to one host that can be told, or to nobody.

Source: RFC 9112 §3.2, RFC 9110 §7.2, design decisions 8.20 and 8.21.
"""

import json
import socket
from collections.abc import Iterator

import pytest

from temppass.testing import Double, serving

KEYS = "/.well-known/jwks.json"


@pytest.fixture(scope="module")
def double() -> Iterator[Double]:
    """A service whose default environment has keys; any other that a host names has none."""
    with serving("") as double:
        yield double


def talk(double: Double, head: str) -> tuple[int, dict[str, object]]:
    """Send a request line and headers as they are; answer the status and the JSON."""
    answer = b""
    with socket.create_connection(("127.0.0.1", int(double.url.rpartition(":")[2])), timeout=20) as connection:
        connection.sendall(f"{head}Connection: close\r\n\r\n".encode("latin-1"))
        while received := connection.recv(65_536):
            answer += received
    line, _, body = answer.partition(b"\r\n\r\n")
    return int(line[9:12]), json.loads(body)


@pytest.mark.parametrize(
    ("request_line", "words"),
    [
        ("GET /healthz#", {"error", "message", "status"}),
        ("GET /healthz?a=b#c", {"error", "message", "status"}),
        ("GET http://a/healthz#c", {"error", "message", "status"}),
        ("GET /nowhere#c", {"error", "message", "status"}),
        ("POST /healthz#c", {"error", "message", "status"}),
        ("OPTIONS /healthz#c", {"error", "message", "status"}),
        ("GET /api/v2/REF/configuration#c", {"error", "message", "status"}),
        ("DELETE /reset-tempass/v3/reset?requestor_id=REF&mvpd_id=P&device_id=#1234", {"error", "message", "status"}),
        ("DELETE /reset-tempass/v3/reset/generic?requestor_id=REF&mvpd_id=P&key=#1234", {"error", "message", "status"}),
        ("POST /o/client/register#c", {"error", "error_description"}),
        ("POST /o/client/token?client_id=a#c", {"error", "error_description"}),
    ],
)
def test_a_target_with_a_fragment_is_refused_in_the_words_of_its_surface(
    double: Double, request_line: str, words: set[str]
) -> None:
    status, body = talk(double, f"{request_line} HTTP/1.1\r\nHost: a\r\n")
    assert (status, body["error"], set(body), "%23" in str(body)) == (400, "invalid_request", words, True)


def test_an_encoded_number_sign_is_a_character_as_any_other(double: Double) -> None:
    assert talk(double, "GET /healthz?a=%23b HTTP/1.1\r\nHost: a\r\n")[0] == 200


#: what the keys say of the environment that a request was taken for
DEFAULT, NOWHERE, REFUSED = (200, True), (200, False), (400, False)


@pytest.mark.parametrize(
    ("head", "environment"),
    [
        (f"GET {KEYS} HTTP/1.1\r\nHost: a\r\n", DEFAULT),
        (f"GET {KEYS} HTTP/1.1\r\nHost: nowhere.localhost\r\n", NOWHERE),
        (f"GET {KEYS} HTTP/1.1\r\nHOST:nowhere.localhost:80\r\n", NOWHERE),
        (f"GET {KEYS} HTTP/1.1\r\nHost: \t nowhere.localhost\t \t\r\n", NOWHERE),
        (f"GET {KEYS} HTTP/1.1\r\n", REFUSED),
        (f"GET {KEYS} HTTP/1.1\r\nHost:\r\n", REFUSED),
        (f"GET {KEYS} HTTP/1.1\r\nHost: a\r\nHost: a\r\n", REFUSED),
        (f"GET {KEYS} HTTP/1.1\r\nHost: a\r\nhost: nowhere.localhost\r\n", REFUSED),
        (f"GET {KEYS} HTTP/1.1\r\nHost: nowhere.localhost, a\r\n", REFUSED),
        (f"GET {KEYS} HTTP/1.1\r\nHost: nowhere.localhost/\r\n", REFUSED),
        (f"GET {KEYS} HTTP/1.0\r\n", DEFAULT),
        (f"GET {KEYS} HTTP/1.0\r\nHost: nowhere.localhost\r\n", NOWHERE),
        (f"GET {KEYS} HTTP/1.0\r\nHost: a b\r\n", REFUSED),
        (f"GET {KEYS} HTTP/1.0\r\nHost: a\r\nHost: a\r\n", REFUSED),
        (f"GET http://nowhere.localhost:8080{KEYS} HTTP/1.1\r\nHost: a\r\n", NOWHERE),
        (f"GET HTTPS://nowhere.localhost{KEYS} HTTP/1.1\r\nHost: a\r\n", NOWHERE),
        (f"GET http://a{KEYS} HTTP/1.1\r\nHost: nowhere.localhost\r\n", DEFAULT),
        (f"GET http://nowhere.localhost{KEYS} HTTP/1.0\r\n", NOWHERE),
        (f"GET http://nowhere.localhost{KEYS} HTTP/1.1\r\n", REFUSED),
        (f"GET http://a{KEYS} HTTP/1.1\r\nHost: a b\r\n", REFUSED),
        (f"GET http://a{KEYS} HTTP/1.1\r\nHost: a\r\nHost: a\r\n", REFUSED),
        (f"GET http://anna@nowhere.localhost{KEYS} HTTP/1.1\r\nHost: a\r\n", REFUSED),
        (f"GET ftp://nowhere.localhost{KEYS} HTTP/1.1\r\nHost: a\r\n", REFUSED),
        (f"GET {KEYS} HTTP/1.1\r\nHost: a b\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n", REFUSED),
        (f"GET http://nowhere.localhost{KEYS} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n", NOWHERE),
    ],
)
def test_a_request_belongs_to_the_one_host_that_it_names(
    double: Double, head: str, environment: tuple[int, bool]
) -> None:
    status, body = talk(double, head)
    assert (status, bool(body.get("keys"))) == environment
