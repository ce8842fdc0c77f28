"""
What a request says of the device that it comes from, and how a second screen is told.

`X-Device-Info` goes first, in its documented forms (contract §11.1). Of what it does not tell, `User-Agent` shows the
browser and the operating system; ua-parser reads it, in the vendor's words where the vendor has one. No address is
kept: not the connection's, and not `connectionIp`.
"""

import re
from typing import Any

import msgspec

from temppass.core.model import Device
from temppass.web.request import field_text
from temppass.wire import (
    BrowserShape,
    ConnectionShape,
    DeviceShape,
    DisplayShape,
    HardwareShape,
    SystemShape,
    VersionShape,
)

#: a longer `User-Agent` is neither read nor kept: what it costs to read grows with it, 4 ms here for one made to
USER_AGENT_CHARACTERS_MAX = 512
#: what a session keeps of a device, as JSON; of one that says more nothing is kept
DEVICE_BYTES_MAX = 2_048

#: contract §6.8
TYPES = frozenset({
    "Camera", "DataCollectionTerminal", "Desktop", "EmbeddedNetworkModule", "eReader", "GamesConsole",
    "GeolocationTracker", "Glasses", "MediaPlayer", "MobilePhone", "PaymentTerminal", "PluginModem", "SetTopBox", "TV",
    "Tablet", "WirelessHotspot", "Wristwatch", "VehicleMultimediaSystem", "Projector", "Unknown",
})  # fmt: skip

#: by ua-parser's name: `osName`, `osFamily`, `osVendor`
_SYSTEMS = {
    "Android": ("Android", "Android", "Google"),
    "ATV OS X": ("tvOS", "tvOS", "Apple"),
    "Chrome OS": ("Chrome OS", "Linux", "Google"),
    "Linux": ("Linux", "Linux", None),
    "Mac OS X": ("OS X", "macOS", "Apple"),
    "OpenBSD": ("OpenBSD", "BSD", None),
    "Roku": ("Roku OS", "Roku OS", "Roku"),
    "Tizen": ("Tizen", "Tizen", "Tizen Project"),
    "Ubuntu": ("Linux", "Linux", None),
    "Web0S": ("webOS", "webOS", "LG"),
    "webOS": ("webOS", "webOS", "LG"),
    "Windows": ("Windows", "Windows", "Microsoft"),
    "iOS": ("iOS", "iOS", "Apple"),
    "tvOS": ("tvOS", "tvOS", "Apple"),
}
#: by ua-parser's name: `browserName`, `browserVendor`
_BROWSERS = {
    "Android": ("Android Browser", "Google"),
    "Chrome": ("Chrome", "Google"),
    "Chrome Mobile": ("Chrome", "Google"),
    "Chrome Mobile WebView": ("Chrome", "Google"),
    "Chrome Mobile iOS": ("Chrome", "Google"),
    "Edge": ("Edge", "Microsoft"),
    "Edge Mobile": ("Edge", "Microsoft"),
    "Firefox": ("Firefox", "Mozilla"),
    "Firefox Mobile": ("Firefox", "Mozilla"),
    "Firefox iOS": ("Firefox", "Mozilla"),
    "IE": ("Internet Explorer", "Microsoft"),
    "Mobile Safari": ("Safari", "Apple"),
    "Opera": ("Opera", None),
    "Opera Mobile": ("Opera", None),
    "Safari": ("Safari", "Apple"),
    "SeaMonkey": ("SeaMonkey", "Mozilla"),
}
_VERSION = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,9}))?(?:\.([0-9]{1,9}))?(?![0-9])[. +-]?(.*)")
_NUMBER = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?")


def read_device(info: dict[str, Any], user_agent: str | None) -> Device:
    """Answer what a session keeps: all that `X-Device-Info` tells, and what `User-Agent` shows besides."""
    known = {
        field: text
        for field, key in zip(Device.__struct_fields__, Device.__struct_encode_fields__, strict=True)
        if (text := _told(info.get(key))) is not None
    }
    known.pop("original_user_agent", None)
    if user_agent and len(user_agent) <= USER_AGENT_CHARACTERS_MAX and user_agent.isprintable():
        known["original_user_agent"] = user_agent
        for part, shown in (("browser_", _browser), ("os_", _system)):
            if not any(field.startswith(part) for field in known):  # or two sources would make one thing
                known |= shown(user_agent)
    device = Device(**known)
    return device if len(msgspec.json.encode(device)) <= DEVICE_BYTES_MAX else Device()


def shape(device: Device) -> DeviceShape:
    """Answer the vendor's shape of a device; what is not known is null, 0 or "", as in its samples (contract §6.8)."""
    version = _version(device.version)
    type_ = device.primary_hardware_type
    return DeviceShape(
        type_ if type_ in TYPES else "Unknown",
        device.model,
        version,
        HardwareShape(device.model, device.vendor, device.manufacturer, version),
        SystemShape(device.os_name, device.os_family, device.os_vendor, _version(device.os_version)),
        BrowserShape(
            device.browser_name,
            device.browser_vendor,
            _version(device.browser_version),
            device.user_agent or device.original_user_agent,
            device.original_user_agent,
        ),
        DisplayShape(
            int(_number(device.display_width)),
            int(_number(device.display_height)),
            int(_number(device.display_ppi)),
            None,
            None,
            _number(device.diagonal_screen_size),
            VersionShape(),
        ),
        device.application_id,
        ConnectionShape(device.connection_type, device.connection_secure == "true", device.connection_port),
    )


def _told(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = field_text(value)
    return text if text is not None and text.isprintable() else None


def _browser(user_agent: str) -> dict[str, str]:
    from ua_parser import parse_user_agent  # noqa: PLC0415 - 40 ms, of no use to who opens no session

    found = parse_user_agent(user_agent)
    if found is None:
        return {}
    name, vendor = _BROWSERS.get(found.family, (found.family, None))
    version = _dotted(found.major, found.minor, found.patch)
    return _known(browser_name=name, browser_vendor=vendor, browser_version=version)


def _system(user_agent: str) -> dict[str, str]:
    from ua_parser import parse_os  # noqa: PLC0415 - as above

    found = parse_os(user_agent)
    if found is None:
        return {}
    name, family, vendor = _SYSTEMS.get(found.family, (found.family, None, None))
    version = _dotted(found.major, found.minor, found.patch)
    return _known(os_name=name, os_family=family, os_vendor=vendor, os_version=version)


def _known(**fields: str | None) -> dict[str, str]:
    return {name: value for name, value in fields.items() if value}


def _dotted(*parts: str | None) -> str:
    return ".".join(filter(None, parts))


def _version(text: str | None) -> VersionShape:
    """Read `14.5.4.2934` as 14, 5, 4 and the profile `2934`; a text that begins with no number is all profile."""
    if text is None:
        return VersionShape()
    found = _VERSION.fullmatch(text)
    if found is None:
        return VersionShape(profile=text)
    major, minor, patch, profile = found.groups(default="")
    return VersionShape(int(major), int(minor or 0), int(patch or 0), profile)


def _number(text: str | None) -> float:
    return float(text) if text is not None and _NUMBER.fullmatch(text) else 0
