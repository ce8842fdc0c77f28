"""
Signing keys as they are set up and seen from outside: how long a copy of the key set may be kept, from when the next
keys sign, and how often they are rotated.
"""

import pytest
from starlette.testclient import TestClient
from tests.web.conftest import CATALOGUE, T0

from temppass.settings import SettingsError, read_settings
from temppass.testing import Double, build

KEYS, JWKS = "/control/v1/environments/release-production/keys", "/.well-known/jwks.json"
DAY = 86_400_000


def scene(**variables: str) -> tuple[Double, TestClient, dict[str, str]]:
    double = build(CATALOGUE, now=T0, **variables)
    return double, TestClient(double.app), {"Authorization": f"Bearer {double.operator('root', 'admin')}"}


@pytest.mark.parametrize(
    ("variables", "max_age", "signs_from"),
    [
        ({}, "public, max-age=300", "2026-01-01T10:10:00.000Z"),
        ({"TEMPPASS_JWKS_SECONDS": "3600"}, "public, max-age=3600", "2026-01-01T12:00:00.000Z"),
    ],
)
def test_the_next_keys_sign_when_every_copy_of_the_key_set_has_them(
    variables: dict[str, str], max_age: str, signs_from: str
) -> None:
    _, client, root = scene(**variables)
    rotated = client.post(f"{KEYS}/rotate", headers=root, json={}).json()
    published = client.get(JWKS)
    assert (published.headers["cache-control"], rotated["signs_from"]) == (max_age, signs_from)
    assert {*rotated["kids"]} < {key["kid"] for key in published.json()["keys"]}


def test_what_is_told_of_a_key_is_its_life() -> None:
    """Two that sign, two that will: the next ones are not told of as if they signed."""
    _, client, root = scene()
    client.post(f"{KEYS}/rotate", headers=root, json={})
    told = client.get(KEYS, headers=root).json()["keys"]
    members = ("kind", "alg", "state", "made_at", "signs_from", "until")
    assert [tuple(key[name] for name in members) for key in told] == [
        ("RSA", "RS256", "signing", "2026-01-01T10:00:00.000Z", "2026-01-01T10:00:00.000Z", None),
        ("EC", "ES256", "signing", "2026-01-01T10:00:00.000Z", "2026-01-01T10:00:00.000Z", None),
        ("RSA", "RS256", "next", "2026-01-01T10:00:00.000Z", "2026-01-01T10:10:00.000Z", None),
        ("EC", "ES256", "next", "2026-01-01T10:00:00.000Z", "2026-01-01T10:10:00.000Z", None),
    ]  # fmt: skip


@pytest.mark.parametrize(("setting", "days", "count"), [("off", 999, 2), ("30", 29, 2), ("30", 30, 4)])
def test_upkeep_rotates_keys_that_are_as_old_as_was_chosen(setting: str, days: int, count: int) -> None:
    double, client, _ = scene(TEMPPASS_KEY_ROTATION=setting)
    double.clock.advance(days * DAY)
    double._run(double.application.service.upkeep.tick())
    assert len(client.get(JWKS).json()["keys"]) == count


@pytest.mark.parametrize(("value", "days"), [("", None), ("off", None), ("1", 1), ("36500", 36_500)])
def test_a_rhythm_is_off_or_so_many_days(value: str, days: int | None) -> None:
    assert read_settings({"TEMPPASS_KEY_ROTATION": value}).key_rotation_days == days


@pytest.mark.parametrize(
    ("name", "value"),
    [("TEMPPASS_KEY_ROTATION", value) for value in ("0", "-1", "on", "OFF", "36501", "1.5")]
    + [("TEMPPASS_JWKS_SECONDS", value) for value in ("0", "-1", "86401", "off")],
)
def test_what_cannot_be_chosen_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        read_settings({name: value})
