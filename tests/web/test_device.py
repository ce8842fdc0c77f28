"""
What a session keeps of a device, and the vendor's shape of it.

Source: contract §6.8 and §11.1.
"""

from typing import Any

import msgspec
import pytest

from temppass import wire
from temppass.core.model import Device
from temppass.web.device import DEVICE_BYTES_MAX, read_device, shape

#: every documented key
INFO = {
    "primaryHardwareType": "TV",
    "model": "BRAVIA",
    "version": "9.1",
    "manufacturer": "Sony",
    "vendor": "Sony",
    "osName": "Android",
    "osFamily": "Android",
    "osVendor": "Google",
    "osVersion": "12.0.1",
    "browserName": "Chrome",
    "browserVendor": "Google",
    "browserVersion": "141.0.7390.54",
    "userAgent": "Player/1",
    "displayWidth": 3840,
    "displayHeight": "2160",
    "displayPpi": 80,
    "diagonalScreenSize": 54.6,
    "applicationId": "acme.tv",
    "connectionIp": "203.0.113.24",
    "connectionPort": 443,
    "connectionType": "WiFi",
    "connectionSecure": True,
}
WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"
NO_VERSION = {"major": 0, "minor": 0, "patch": 0, "profile": ""}


def shown(info: dict[str, Any], user_agent: str | None = None) -> dict[str, Any]:
    answer: dict[str, Any] = msgspec.json.decode(wire.encode(shape(read_device(info, user_agent))))
    return answer


def test_every_documented_key_has_its_place() -> None:
    version = NO_VERSION | {"major": 9, "minor": 1}
    assert shown(INFO, "Mozilla/5.0") == {
        "type": "TV",
        "model": "BRAVIA",
        "version": version,
        "hardware": {"name": "BRAVIA", "vendor": "Sony", "manufacturer": "Sony", "version": version},
        "operatingSystem": {
            "name": "Android",
            "family": "Android",
            "vendor": "Google",
            "version": {"major": 12, "minor": 0, "patch": 1, "profile": ""},
        },
        "browser": {
            "name": "Chrome",
            "vendor": "Google",
            "version": {"major": 141, "minor": 0, "patch": 7390, "profile": "54"},
            "userAgent": "Player/1",
            "originalUserAgent": "Mozilla/5.0",
        },
        "display": {
            "width": 3840,
            "height": 2160,
            "ppi": 80,
            "name": None,
            "vendor": None,
            "diagonalSize": 54.6,
            "version": NO_VERSION,
        },
        "applicationId": "acme.tv",
        "connection": {"type": "WiFi", "secure": True, "port": "443"},
    }


def test_nothing_known_has_the_same_shape() -> None:
    everything, nothing = shown(INFO), shown({})
    assert (nothing["type"], nothing["version"], nothing["connection"]["secure"]) == ("Unknown", NO_VERSION, False)
    assert [(key, value.keys()) for key, value in nothing.items() if isinstance(value, dict)] == [
        (key, value.keys()) for key, value in everything.items() if isinstance(value, dict)
    ]


@pytest.mark.parametrize(
    ("user_agent", "browser", "system"),
    [
        (
            f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {WEBKIT} Chrome/141.0.0.0 Safari/537.36",
            ["Chrome", "Google", 141],
            ["OS X", "macOS", "Apple", 10],
        ),
        (
            f"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) {WEBKIT} Version/17.5 Mobile/15E148 Safari/604.1",
            ["Safari", "Apple", 17],
            ["iOS", "iOS", "Apple", 17],
        ),
        (
            "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0",
            ["Firefox", "Mozilla", 130],
            ["Linux", "Linux", None, 0],
        ),
        (
            f"Mozilla/5.0 (Web0S; Linux/SmartTV) {WEBKIT} Chrome/108.0.5359.211 Safari/537.36 WebAppManager",
            ["Chrome", "Google", 108],
            ["webOS", "webOS", "LG", 0],
        ),
        ("Roku/DVP-14.5 (14.5.4.2934)", ["Roku", None, 14], ["Roku OS", "Roku OS", "Roku", 14]),
        (
            "AppleCoreMedia/1.0.0.21K69 (Apple TV; U; CPU OS 17_2 like Mac OS X; en_us)",
            [None, None, 0],
            ["tvOS", "tvOS", "Apple", 0],
        ),
        (
            f"Mozilla/5.0 (SMART-TV; LINUX; Tizen 7.0) {WEBKIT} 94.0.4606.31/7.0 TV Safari/537.36",
            ["Safari", "Apple", 0],
            ["Tizen", "Tizen", "Tizen Project", 7],
        ),
        ("okhttp/4.9.3", ["okhttp", None, 4], [None, None, None, 0]),
        ("testclient", [None, None, 0], [None, None, None, 0]),
    ],
)
def test_a_user_agent_shows_browser_and_system(user_agent: str, browser: list[Any], system: list[Any]) -> None:
    device = shown({}, user_agent)
    told, os = device["browser"], device["operatingSystem"]
    assert [told["name"], told["vendor"], told["version"]["major"], told["userAgent"]] == [*browser, user_agent]
    assert [os["name"], os["family"], os["vendor"], os["version"]["major"]] == system


def test_what_is_told_goes_before_what_is_shown_and_is_not_mixed_with_it() -> None:
    firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"
    device = shown({"browserName": "Opera"}, firefox)
    assert (device["browser"]["name"], device["browser"]["version"], device["operatingSystem"]["name"]) == (
        "Opera",
        NO_VERSION,
        "Linux",
    )


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("3", [3, 0, 0, ""]),
        ("3.1", [3, 1, 0, ""]),
        ("14.5.4.2934", [14, 5, 4, "2934"]),
        ("1.2.3-beta", [1, 2, 3, "beta"]),
        ("XP", [0, 0, 0, "XP"]),
        ("12345678901", [0, 0, 0, "12345678901"]),
        ("1.12345678901", [1, 0, 0, "12345678901"]),
        ("", [0, 0, 0, ""]),
        ("\u0663", [0, 0, 0, "\u0663"]),
    ],
)
def test_versions_are_numbers_and_a_profile(text: str, version: list[Any]) -> None:
    assert [*shown({"version": text})["version"].values()] == version


@pytest.mark.parametrize("value", ["", "x" * 257, "a\nb", "\x00", None, [], {}, ["x"]])
def test_what_is_no_short_text_is_not_told(value: object) -> None:
    assert read_device({"model": value}, None) == Device()


@pytest.mark.parametrize("size", ["many", "-1", "1e9", "1" * 10, True])
def test_a_size_that_is_no_number_is_none(size: object) -> None:
    assert shown({"displayWidth": size, "diagonalScreenSize": size})["display"] == shown({})["display"]


@pytest.mark.parametrize("user_agent", [None, "", "x" * 513, "a\x00b", "a\x7fb"])
def test_a_user_agent_that_cannot_be_read_is_not_kept(user_agent: str | None) -> None:
    assert read_device({}, user_agent) == Device()


def test_a_device_that_tells_too_much_is_not_kept() -> None:
    keys = [key for key in INFO if key not in {"connectionIp", "connectionSecure"}]
    kept = [read_device(dict.fromkeys(keys, "\N{TELEVISION}" * length), None) for length in (1, 18, 24, 256)]
    assert [len(msgspec.json.encode(device)) > 2 for device in kept] == [True, True, False, False]
    assert max(len(msgspec.json.encode(device)) for device in kept) <= DEVICE_BYTES_MAX


def test_only_the_documented_keys_are_read() -> None:
    assert read_device({"originalUserAgent": "x", "name": "y", "connectionIp": "203.0.113.24"}, None) == Device()
