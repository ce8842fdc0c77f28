"""
What a catalogue offers, and since when its recurring resets count.
"""

from datetime import datetime

import pytest
from msgspec.structs import replace

from temppass.core.catalogue import (
    Catalogue,
    Channel,
    Pass,
    Programmer,
    carry_resets,
    channel_of,
    is_environment_name,
    offer_of,
)
from temppass.core.model import PassKind
from temppass.core.refusal import InactiveIntegration, UnknownChannel, UnknownPass

MINUTE, DAY = 60_000, 86_400_000

_REF = {"REF": True}
DECLARED = Catalogue(
    {"acme": Programmer("acme", "Acme Media")},
    {"REF": Channel("REF", "acme", "Reference channel", timezone="America/New_York")},
    {
        "TempPassREF": Pass("TempPassREF", PassKind.BASIC, "Free half hour", 30 * MINUTE, _REF),
        "flexibleTempPass": Pass(
            "flexibleTempPass", PassKind.PROMOTIONAL, "flexibleTempPass", 28 * DAY, _REF, 5, "email"
        ),
        "TempPass2": Pass("TempPass2", PassKind.BASIC, "TempPass2", 10 * MINUTE, _REF, resets="0 0 * * *"),
    },
)

# --- look up


def test_a_disabled_integration_is_not_offered() -> None:
    refusals = {
        "TempPassREF": InactiveIntegration,
        "flexibleTempPass": InactiveIntegration,
        "TempPass3": UnknownPass,
    }
    passes = dict(DECLARED.passes)
    passes["TempPassREF"] = replace(passes["TempPassREF"], channels={"REF": False})
    passes["flexibleTempPass"] = replace(passes["flexibleTempPass"], channels={})
    catalogue = replace(DECLARED, passes=passes)
    for pass_id, refusal in refusals.items():
        with pytest.raises(refusal):
            offer_of(catalogue, catalogue.channels["REF"], pass_id, {}, "here")


def test_an_unknown_channel_is_refused() -> None:
    with pytest.raises(UnknownChannel):
        channel_of(DECLARED, "ref")


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("release-production", True),
        ("a", True),
        ("0" * 64, True),
        ("0" * 65, False),
        ("", False),
        ("A", False),
        ("a_b", False),
    ],
)
def test_environment_names(name: str, good: bool) -> None:  # noqa: FBT001
    assert is_environment_name(name) is good


# --- recurring resets


def moment(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


NEW_YORK = "America/New_York"


def test_a_reset_counts_from_the_apply_that_introduced_it() -> None:
    offer = offer_of(
        DECLARED, DECLARED.channels["REF"], "TempPass2", {"REF/TempPass2": moment("2026-01-02T04:00Z")}, "here"
    )
    told = [offer.due_at(0, moment(now)) for now in ("2026-01-02T04:59Z", "2026-01-02T05:00Z", "2026-01-05T00:00Z")]
    assert told == [None, moment("2026-01-02T05:00Z"), moment("2026-01-04T05:00Z")]


@pytest.mark.parametrize(
    ("resets", "timezone", "since"),
    [
        ("0 0 * * *", NEW_YORK, 100),
        ("0 1 * * *", NEW_YORK, 200),
        ("0 0 * * *", "UTC", 200),
    ],
)
def test_an_unchanged_rhythm_keeps_its_beginning(resets: str, timezone: str, since: int) -> None:
    channels = {"REF": replace(DECLARED.channels["REF"], timezone=timezone)}
    changed = replace(DECLARED.passes["TempPass2"], resets=resets, name="Another name")
    new = replace(DECLARED, channels=channels, passes={**DECLARED.passes, "TempPass2": changed})
    assert carry_resets(DECLARED, {"REF/TempPass2": 100}, new, 200) == {"REF/TempPass2": since}


def test_a_rhythm_that_is_taken_away_begins_anew_when_it_comes_back() -> None:
    without = replace(DECLARED, passes={})
    kept = carry_resets(DECLARED, {"REF/TempPass2": 100}, without, 200)
    assert (kept, carry_resets(without, kept, DECLARED, 300)) == ({}, {"REF/TempPass2": 300})
