"""
The wire is what was recorded, byte for byte, and the recorded walk goes past every door there is.

What a door can answer is what /openapi.json says of it; that it says all of it is shown in test_openapi.py.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from tests.web.walk.doors import Operation, operations
from tests.web.walk.recording import Json, differences, recording
from tests.web.walk.walk import RECORDED, walk

_JSON_TYPES = ("application/json", "application/problem+json")
WALKED: dict[str, Json] = json.loads(RECORDED.read_text("utf-8"))
#: (status, code) that no request can bring about here
UNREACHABLE = {
    (408, "request_timeout"),  # comes after ten seconds of a wall clock
    (500, "server_error"),  # a bug
    (500, "internal_server_error"),  # the same
}
#: what these answer only where ten thousand steps wait for the store; where it is away, they say so of each title
BUSY = {("authorize", 503), ("preauthorize", 503)}


def test_the_wire_is_what_was_recorded() -> None:
    differing = differences(WALKED, recording(walk()))
    assert differing == "", (
        f"{differing}\n\nhint: if the wire is meant to change, run `make walk` and read the difference"
    )


# --- the walk is complete


def answer_of(name: str) -> tuple[int, Any]:
    """Answer the status and the body, decoded where it is JSON, of what an exchange received last."""
    received = "".join(WALKED[name]["received"])
    if same := re.fullmatch(r"<the same as: (.+)>", received):
        return answer_of(same[1])
    head, _, body = received.rpartition("\r\n\r\n")
    return int(head.rpartition("HTTP/1.1 ")[2][:3]), json.loads(body) if body.startswith("{") else None


DOCUMENT: Json = answer_of("/openapi.json")[1]
OPERATIONS = operations(DOCUMENT)


def asked_of(exchange: Json) -> Operation | None:
    """Answer which operation took a request: the first whose path fits."""
    method, _, target = exchange["sent"][0].partition(" ")
    path = re.split(r"[? ]", re.sub(r"<uuid [^>]*>", "id", target))[0]  # what is random may stand in a path
    for operation in OPERATIONS:
        if method == operation.method and re.fullmatch(re.sub(r"{\w+}", "[^/]*", operation.path), path):
            return operation
    return None


def seen() -> Iterator[tuple[str, str, int, str | None]]:
    """Answer method and path, status and code of every exchange that some operation took."""
    for name, exchange in WALKED.items():
        operation, (status, body) = asked_of(exchange), answer_of(name)
        if operation is not None:
            told = body or {}
            yield (
                operation.method,
                operation.path,
                status,
                told.get("code" if {"trace", "title"} & {*told} else "error"),
            )


def resolved(answer: Json) -> Json:
    found: Json = DOCUMENT["components"]["responses"][answer["$ref"].rpartition("/")[2]] if "$ref" in answer else answer
    return found


def described(operation: Operation) -> set[tuple[int, str | None]]:
    """Answer every (status, code) that an operation is said to answer; what is no error has no code."""
    told: set[tuple[int, str | None]] = set()
    for status, answer in operation.described["responses"].items():
        content = resolved(answer).get("content", {})
        schema: Json = next((content[kind]["schema"] for kind in _JSON_TYPES if kind in content), {})
        words = [word["enum"] for part in schema.get("allOf", [])[1:] for word in part["properties"].values()]
        told |= {(int(status), code) for code in (words[0] if words else [None])}
    return told


SEEN = set(seen())


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: f"{operation.method} {operation.path}")
def test_every_operation_is_walked_past_and_all_it_can_answer(operation: Operation) -> None:
    """Of an alias and of a retired path, that it answers; a 405 is the next test's."""
    path, method, told = operation
    expected = {
        (status, code)
        for status, code in described(operation) - UNREACHABLE
        if status != 405 and (told.get("operationId"), status) not in BUSY and (status < 400 or not operation.is_alias)
    }
    assert expected - {row[2:] for row in SEEN if row[:2] == (method, path)} == set()


@pytest.mark.parametrize("path", DOCUMENT["paths"])
def test_every_path_is_asked_for_a_method_that_it_does_not_take_and_for_those_that_it_does(path: str) -> None:
    answers = [answer_of(f"{method} {path}")[0] for method in ("TRACE", "OPTIONS")]
    assert answers == [405, 204]


@pytest.mark.parametrize("verb", ["authorize", "preauthorize"])
def test_every_error_of_a_title_is_walked_into(verb: str) -> None:
    words = DOCUMENT["components"]["schemas"]["DecisionShape"]["properties"]["error"]["allOf"][1]["properties"]["code"]
    answers = [answer_of(name)[1] for name, exchange in WALKED.items() if f"/decisions/{verb}/" in exchange["sent"][0]]
    items = [item for body in answers for item in (body or {}).get("decisions", [])]
    told = {item["error"]["code"] for item in items if "error" in item}
    assert set(words["enum"]) == told


def test_every_page_of_help_is_read() -> None:
    codes = DOCUMENT["components"]["parameters"]["error"]["schema"]["enum"]
    assert [answer_of(f"help on {code}")[0] for code in codes] == [200] * len(codes)
