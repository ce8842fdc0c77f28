"""
A route carries its own name and description, each request is counted under the name of the route that answered, and an
answer may be a stream, which is guarded to its end.
"""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import structlog
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.testclient import TestClient

from temppass.testing import Double, build, serving
from temppass.web.openapi import GuardedRoute, Operation
from temppass.web.problems import OWN_SURFACE, RESET_SURFACE

TEXT = "text/plain"
UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


async def nothing(_request: Request) -> Response:
    return Response()


def route(operation: Operation, path: str = "/x") -> GuardedRoute:
    return GuardedRoute(RESET_SURFACE, path, nothing, ["GET"], operation)


def counted(double: Double) -> Counter[tuple[str, str]]:
    """Answer how many requests were counted, by endpoint and status."""
    with TestClient(double.app, base_url="http://double.test") as client:
        text = client.get("/metrics").text
    lines = re.findall(r'^temppass_requests_total{endpoint="(\w+)",status="(\w+)"} (\d+)', text, re.MULTILINE)
    return Counter({(endpoint, status): int(count) for endpoint, status, count in lines})


# --- a route describes itself


@pytest.mark.parametrize(
    ("operation", "path", "told"),
    [
        (Operation("", "Do it.", 200), "/x", "/x needs a name and a description"),
        (Operation("do", "", 200), "/x", "/x needs a name and a description"),
        (Operation("do", "Do it.", 200), "/{what}", "/{what} names 'what', "),
        (Operation("do", "Do it.", 200, parameters=("X-What",)), "/x", "/x names 'X-What', "),
        (Operation("do", "Do it.", 200, headers=("X-What",)), "/x", "/x names 'X-What', "),
        (Operation("do", "Do it.", 200, plain=(418,)), "/x", "/x names 418, "),
        (Operation("do", "Do it.", 200, faults=(418,)), "/x", "/x names 418, "),
        (Operation("do", "Do it.", 200, refusals=(KeyError,)), "/x", "/x names <class 'KeyError'>, "),  # type: ignore[arg-type]
    ],
)
def test_a_route_that_cannot_be_described_does_not_come_to_be(operation: Operation, path: str, told: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(told)}"):
        route(operation, path)


def test_a_route_that_was_added_is_described_without_a_row_elsewhere(double: Double) -> None:
    double.app.routes.append(route(Operation("do", "Do it.", 200, {"type": "object"})))
    with TestClient(double.app) as client:
        described = client.get("/openapi.json").json()["paths"]["/x"]["get"]
    assert (described["operationId"], described["summary"], described["tags"]) == ("do", "Do it.", ["Reset"])


def test_one_name_is_one_operation(double: Double) -> None:
    operations: dict[str, set[Operation]] = {}
    for each in double.app.routes:
        operations.setdefault(each.name, set()).add(id(each.operation))  # type: ignore[arg-type]
    assert {name for name, found in operations.items() if len(found) > 1} == set()


# --- counting


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("GET", "/api/v2/ACME1/decisions/authorize/Basic", "authorize"),
        ("PUT", "/api/v2/ACME1/sessions/AAAAAAA", "none"),  # of resume_session as much as of session
        ("PUT", "/api/v2/ACME1/logout/", "none"),  # of logout, with an empty id, as much as of logout_of_all
        ("PUT", "/api/v2/ACME1/logout", "logout_of_all"),
    ],
)
def test_a_method_that_a_path_does_not_take_is_never_counted_under_the_name_of_another_route(
    double: Double, method: str, path: str, name: str
) -> None:
    with TestClient(double.app, base_url="http://double.test") as client:
        client.request(method, path)
    assert counted(double) == Counter({(name, "405"): 1})


def test_a_request_is_counted_under_the_name_of_its_route_whatever_calls_the_edge_or_the_endpoint(
    double: Double,
) -> None:
    """An application around the edge, as starlette's Mount, leaves its own endpoint in the scope."""
    double.app.routes.append(route(Operation("do", "Do it.", 200)))

    async def around(scope: Any, receive: Any, send: Any) -> None:
        await double.app({**scope, "endpoint": around}, receive, send)

    with TestClient(around, base_url="http://double.test") as client:
        client.get("/x")
        client.get("/nothing")
    assert counted(double) == Counter({("do", "200"): 1, ("none", "404"): 1})


# --- streams


def streaming(double: Double) -> Double:
    """Give it routes that stream: to the end, and to the middle."""

    async def pieces(request: Request) -> AsyncIterator[bytes]:
        yield b"one,"
        yield b"two"
        if request.scope["path"] == "/broken":
            raise OSError("inner words")

    async def stream(request: Request) -> Response:
        return StreamingResponse(pieces(request), media_type=TEXT)

    for name in ("whole", "broken"):
        operation = Operation(name, "Stream.", 200, TEXT)
        double.app.routes.append(GuardedRoute(OWN_SURFACE, f"/{name}", stream, ["GET"], operation))
    return double


def told(logs: list[Any]) -> list[tuple[Any, ...]]:
    """Answer what was logged of failures: event, level, path, the kind of error, whether there is a trace."""
    return [
        (log["event"], log["log_level"], log["path"], type(log["exc_info"]), bool(re.fullmatch(UUID, log["trace"])))
        for log in logs
    ]


FAILURE = ("answer failed", "error", "/broken", OSError, True)


def test_a_stream_is_an_answer_like_any_other(double: Double) -> None:
    with TestClient(streaming(double).app, base_url="http://double.test") as client:
        answer = client.get("/whole", headers={"Origin": "https://acme.example"})
    shown = (answer.status_code, answer.text, answer.headers["access-control-allow-origin"])
    assert (shown, counted(double)) == (
        (200, "one,two", "https://acme.example"),
        Counter({("whole", "200"): 1}),
    )


def test_a_stream_that_fails_midway_is_raised_to_the_server_logged_and_counted_once_as_failed(double: Double) -> None:
    with (
        structlog.testing.capture_logs() as logs,
        TestClient(streaming(double).app, base_url="http://double.test") as client,
        pytest.raises(OSError, match="inner words"),
    ):
        client.get("/broken")
    assert (told(logs), counted(double)) == ([FAILURE], Counter({("broken", "failed"): 1}))


def test_a_stream_that_fails_midway_is_cut_over_a_socket_and_the_next_connection_is_served(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with structlog.testing.capture_logs() as logs, serving() as double:
        streaming(double)
        got: list[bytes] = []
        with httpx2.Client(base_url=double.url, trust_env=False) as client:
            with client.stream("GET", "/broken") as answer, pytest.raises(httpx2.RemoteProtocolError):
                got.extend(answer.iter_raw())
            whole = client.get("/whole").text
            seen = ""
            while 'endpoint="whole"' not in seen:  # it is counted once it is sent, and the next request may come first
                seen = client.get("/metrics").text
    names = re.findall(r'endpoint="(broken|whole)",status="(\w+)"} (\S+)', seen)
    assert (b"".join(got), whole, told(logs), names, caplog.messages) == (
        b"one,two",
        "one,two",
        [FAILURE],
        [("broken", "failed", "1.0"), ("whole", "200", "1.0")],
        [],
    )


def test_a_stream_whose_client_leaves_is_counted_as_sent() -> None:
    double, begun = build(), asyncio.Event()

    async def endless(_request: Request) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"one"
            begun.set()
            await asyncio.Event().wait()

        return StreamingResponse(pieces())

    double.app.routes.append(GuardedRoute(OWN_SURFACE, "/endless", endless, ["GET"], Operation("endless", "Go.", 200)))
    scope = {
        "type": "http", "asgi": {"spec_version": "2.3"}, "http_version": "1.1", "scheme": "http", "method": "GET",
        "path": "/endless", "root_path": "", "query_string": b"", "headers": [(b"host", b"double.test")],
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        await begun.wait()
        return {"type": "http.disconnect"}

    async def send(_message: Any) -> None: ...

    asyncio.run(double.app(scope, receive, send))
    assert counted(double) == Counter({("endless", "200"): 1})
