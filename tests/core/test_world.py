"""
What one environment allows at one version.
"""

import json

import msgspec

from temppass.core.catalogue import Application, Catalogue, Channel, Pass
from temppass.core.model import PassKind
from temppass.core.world import Environment, EnvironmentRecord, World, read_environment, rewritten

HERE, HALF_HOUR_MS = "release-production", 1_800_000


def world(*passes: Pass) -> World:
    channels = {id_: Channel(id_, "acme", id_) for id_ in ("REF", "REF30")}
    declared = Catalogue(channels=channels, passes={entry.id: entry for entry in passes})
    record = EnvironmentRecord(1, declared, {}, {}, b"")
    return World(HERE, Environment(record), keyring=None, pepper=b"p", client_key=b"c")


def test_only_enabled_integrations_reset_by_themselves() -> None:
    """The upkeep asks for the offer of each of them, and there is none of a disabled one."""
    daily = Pass("Daily", PassKind.BASIC, "", HALF_HOUR_MS, {"REF": True, "REF30": False}, resets="0 0 * * *")
    once = Pass("Once", PassKind.BASIC, "", HALF_HOUR_MS, {"REF": True})
    assert world(daily, once).recurring() == [("REF", "Daily")]


def test_an_environment_of_before_resets_were_guarded_is_read_as_one_without_guards() -> None:
    declared = Catalogue(
        channels={"REF": Channel("REF", "acme", "REF")},
        passes={"P": Pass("P", PassKind.BASIC, "", HALF_HOUR_MS, {"REF": True})},
        applications={"ops": Application("ops", "", None, ())},
    )
    record = EnvironmentRecord(1, declared, {}, {}, b"")
    document = json.loads(rewritten(record).document)
    for kind, names in (
        ("channels", ["reset_all"]),
        ("passes", ["reason_required", "approvals"]),
        ("applications", ["reset_all"]),
    ):
        for entry in document["catalogue"][kind].values():
            for name in names:
                del entry[name]
    assert read_environment(msgspec.json.encode(document)) == record
