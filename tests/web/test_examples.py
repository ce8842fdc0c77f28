"""
Replays tests/examples/*.json: whole conversations, with the sample values of contract §6.0. test_walk.py has walk.json.

A step is asked `at_ms` after T0 with the headers of its file and its own, and its whole answer is compared; "…" stands
for what differs from run to run, `{code}` for the last authentication code.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.web.walk.walk import RECORDED

from temppass.testing import Double

EXAMPLES = sorted({*(Path(__file__).parent.parent / "examples").glob("*.json")} - {RECORDED})


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_happens_as_written(
    bare: TestClient, double: Double, token_of: Callable[..., str], steady: Callable[[Any], Any], example: Path
) -> None:
    document = json.loads(example.read_text("utf-8"))
    headers = {**document["headers"], "Authorization": f"Bearer {token_of('ops')}"}
    begun_at, code = double.clock.now, ""
    for number, step in enumerate(document["steps"]):
        double.clock.now = begun_at + step["at_ms"]
        asked = step["request"]
        answer = bare.request(
            asked["method"],
            asked["path"].replace("{code}", code),
            headers=headers | asked.get("headers", {}),
            json=asked.get("json"),
            data=asked.get("form"),
        )
        body = answer.json() if answer.headers.get("content-type", "").startswith("application/json") else None
        if body and re.fullmatch(r"[A-Z0-9]{7}", body.get("code", "")):
            code = body["code"]
        expected = json.loads(json.dumps(step["answer"].get("json")).replace("{code}", code))
        assert (number, answer.status_code, steady(body)) == (number, step["answer"]["status"], expected)
