"""
The tables of web/problems.py are complete, and each surface says no in its own shape.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from temppass.core import refusal
from temppass.core.explain import Hurdle
from temppass.core.model import DenyCode
from temppass.core.refusal import Conflict, InactiveIntegration, Refusal, UnknownChannel, UnknownPass
from temppass.store import StoreBusy, StoreUnavailable
from temppass.web.problems import (
    CODES,
    CONTROL,
    EXECUTION_TIME,
    OWN_SURFACE,
    REGISTRATION,
    REGISTRATION_SURFACE,
    RESET,
    RESET_SURFACE,
    THROTTLED,
    V2,
    V2_SURFACE,
    Surface,
    answer,
)

TABLES = {"v2": V2, "reset": RESET, "registration": REGISTRATION}
SURFACES = {"v2": V2_SURFACE, "reset": RESET_SURFACE, "registration": REGISTRATION_SURFACE, "own": OWN_SURFACE}
ROWS = [(name, kind) for name, table in TABLES.items() for kind in table]


def kinds_of(parent: type[Refusal]) -> Iterator[type[Refusal]]:
    for kind in parent.__subclasses__():
        yield kind
        yield from kinds_of(kind)


def answer_to(surface: Surface, error: Exception) -> tuple[Response, dict[str, Any]]:
    """Answer what a caller gets of an endpoint that raises `error`, and the body decoded."""
    scope = {"type": "http", "method": "GET", "path": "/", "scheme": "http", "query_string": b"", "host": ""}
    response = answer(surface, Request({**scope, "server": ("localhost", 80)}), error)
    return response, json.loads(bytes(response.body))


# --- the tables


def test_every_refusal_has_a_row_on_some_surface() -> None:
    mapped = {kind for table in (*TABLES.values(), CONTROL, THROTTLED) for kind in table}
    assert set(kinds_of(Refusal)) - mapped == {Conflict}  # what others are kinds of, and never raised


def test_the_tree_of_refusals_is_drawn_whole() -> None:
    drawn = re.findall(r"^ {4}[│├└─ ]*([A-Z]\w+)", refusal.__doc__ or "", re.MULTILINE)
    assert sorted(drawn) == sorted(["Refusal", *(kind.__name__ for kind in kinds_of(Refusal))])


def test_an_explanation_says_what_the_wire_says() -> None:
    kinds = (UnknownChannel, UnknownPass, InactiveIntegration)
    assert [hurdle.value for hurdle in Hurdle] == [V2[kind].code for kind in kinds]


def test_every_v2_row_has_the_status_of_its_enhanced_code() -> None:
    assert {row.code: CODES[row.code].status for row in V2.values()} == {row.code: row.status for row in V2.values()}


def test_every_enhanced_code_can_occur() -> None:
    raised = {row.code for row in V2.values()} | {code.value for code in DenyCode}
    assert raised | {EXECUTION_TIME, "internal_server_error"} == set(CODES)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        # contract §5.3
        (
            "reset",
            {(400, "invalid_request"), (401, "access_denied"), (403, "invalid_client"), (403, "insufficient_scope")},
        ),
        # contract §3.2 and §3.3
        (
            "registration",
            {
                (400, "invalid_request"),
                (400, "invalid_redirect_uri"),
                (400, "invalid_software_statement"),
                (400, "unapproved_software_statement"),
                (400, "invalid_client"),
                (400, "unauthorized_client"),
                (400, "unsupported_grant_type"),
            },
        ),
    ],
)
def test_the_words_of_a_surface(name: str, words: set[tuple[int, str]]) -> None:
    assert set(TABLES[name].values()) == words


# --- the shapes


@pytest.mark.parametrize(("name", "kind"), ROWS)
def test_each_row_is_answered_in_the_shape_of_its_surface(name: str, kind: type[Refusal]) -> None:
    response, body = answer_to(SURFACES[name], kind("What is wrong.", debug="never shown"))
    status, code = TABLES[name][kind]
    enhanced = {"action": CODES[code].action, "helpUrl": f"http://localhost/help/{code}"} if name == "v2" else {}
    shapes: dict[str, dict[str, Any]] = {
        "v2": {"status": status, "code": code, "message": "What is wrong.", "trace": body.get("trace"), **enhanced},
        "reset": {"error": code, "message": "What is wrong.", "status": status},
        "registration": {"error": code, "error_description": "What is wrong."},
    }
    assert (response.status_code, body) == (status, shapes[name])


@pytest.mark.parametrize(("name", "kind"), ROWS)
def test_every_401_names_the_way_to_authenticate(name: str, kind: type[Refusal]) -> None:
    """RFC 9110 §15.5.2 and contract §5.3."""
    response, _ = answer_to(SURFACES[name], kind("What is wrong."))
    assert response.headers.get("www-authenticate") == ("Bearer" if response.status_code == 401 else None)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("v2", "internal_server_error"),
        ("reset", "server_error"),
        ("registration", "server_error"),
        ("own", "server_error"),
    ],
)
def test_a_bug_is_told_without_its_words(name: str, code: str) -> None:
    """Also a refusal that the surface has no row for."""
    told = [answer_to(SURFACES[name], error) for error in (RuntimeError("inner words"), Refusal("unmapped"))]
    assert [(response.status_code, body.get("code") or body["error"]) for response, body in told] == [(500, code)] * 2
    assert not [body for _, body in told if "inner words" in str(body) or "RuntimeError" in str(body)]


@pytest.mark.parametrize("name", SURFACES)
@pytest.mark.parametrize("kind", THROTTLED)
def test_who_comes_too_often_is_told_so_on_every_surface_alike(name: str, kind: type[Refusal]) -> None:
    response, body = answer_to(SURFACES[name], kind("What is wrong."))
    expected = {"error": "too_many_requests", "message": "What is wrong.", "status": 429}
    assert (response.status_code, response.headers["retry-after"], body) == (429, "1", expected)


@pytest.mark.parametrize("name", SURFACES)
@pytest.mark.parametrize("away", [StoreUnavailable, StoreBusy])
def test_a_store_that_is_away_is_asked_again_later(name: str, away: type[StoreUnavailable]) -> None:
    response, _ = answer_to(SURFACES[name], away("disk full"))
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
