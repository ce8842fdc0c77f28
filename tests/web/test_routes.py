"""
A route carries its own name and description.
"""

import re

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.testclient import TestClient

from temppass.testing import Double
from temppass.web.openapi import GuardedRoute, Operation
from temppass.web.problems import RESET_SURFACE

TEXT = "text/plain"


async def nothing(_request: Request) -> Response:
    return Response()


def route(operation: Operation, path: str = "/x") -> GuardedRoute:
    return GuardedRoute(RESET_SURFACE, path, nothing, ["GET"], operation)


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
