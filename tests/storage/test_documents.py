"""
Sessions live for half an hour, so two versions of the server read each other's: documents, one field, and both ways.
"""

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from temppass.core.model import Device, Session

T0 = 1_767_261_600_000
#: what 0.1.0 wrote before devices had the vendor's shapes
BEFORE = (
    b'{"code":"K7Q2MXA","id":"4b7f0e3e","channel_id":"REF","device":"ZGRkZGRkZGRkZGRkZGRkZA==","started_at":%d,'
    b'"expires_at":%d,"pass_id":"P","domain":null,"redirect_url":null,"info":{"type":"TV","version":"3.1",'
    b'"operatingSystem":"Linux 5.15","display":"1920x1080"}}'
) % (T0, T0 + 1_800_000)


class DeviceBefore(Struct, frozen=True, omit_defaults=True, rename="camel"):
    type: str | None = None
    version: str | None = None
    operating_system: str | None = None
    display: str | None = None


class SessionBefore(Struct, frozen=True):
    code: str
    id: str
    channel_id: str
    device: bytes
    started_at: int
    expires_at: int
    pass_id: str | None = None
    domain: str | None = None
    redirect_url: str | None = None
    info: DeviceBefore = DeviceBefore()


SESSION = Session("K7Q2MXA", "4b7f0e3e", "REF", b"d" * 16, T0, T0 + 1_800_000, "P")


def test_a_session_of_the_version_before_is_read_without_its_device() -> None:
    assert msgspec.json.decode(BEFORE, type=Session) == SESSION


def test_a_session_is_read_by_the_version_before_without_its_device() -> None:
    written = msgspec.json.encode(replace(SESSION, screen=Device("TV", "Box One", "3.1")))
    before = msgspec.json.decode(BEFORE, type=SessionBefore)
    assert msgspec.json.decode(written, type=SessionBefore) == replace(before, info=DeviceBefore())
