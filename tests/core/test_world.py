"""
What one environment allows at one version.
"""

from temppass.core.catalogue import Catalogue, Channel, Pass
from temppass.core.model import PassKind
from temppass.core.world import EnvironmentRecord, World

HERE, HALF_HOUR_MS = "release-production", 1_800_000


def world(*passes: Pass) -> World:
    channels = {id_: Channel(id_, "acme", id_) for id_ in ("REF", "REF30")}
    declared = Catalogue(channels=channels, passes={entry.id: entry for entry in passes})
    record = EnvironmentRecord(1, declared, {}, {}, b"")
    return World(HERE, record, keyring=None, pepper=b"p", client_key=b"c")


def test_only_enabled_integrations_reset_by_themselves() -> None:
    """The upkeep asks for the offer of each of them, and there is none of a disabled one."""
    daily = Pass("Daily", PassKind.BASIC, "", HALF_HOUR_MS, {"REF": True, "REF30": False}, resets="0 0 * * *")
    once = Pass("Once", PassKind.BASIC, "", HALF_HOUR_MS, {"REF": True})
    assert world(daily, once).recurring() == [("REF", "Daily")]
