"""
Who watches is known to nobody: neither the files of the store nor the log hold a device id, a user key or a secret,
in any of the forms in which they came.
"""

import base64
import hashlib
import json
import signal
from typing import TYPE_CHECKING

import httpx2

if TYPE_CHECKING:
    from tests.e2e.conftest import Folder

DEVICE = "tvbox-4f19c2a0-77d3-4b1e-8c55-90ab31de6f02"
EMAIL = "user@domain.com"
KEY = hashlib.sha256(EMAIL.encode())
#: the v1 parameters that narrow a reset; a session does tell its second screen which application opened it
APP, USER = "app-of-the-viewer", "user-of-the-device"


def forms(value: bytes) -> set[bytes]:
    """Answer how a value may be written down: as it is, in hex, in base64 at any offset, digested without a key."""
    written = {value, value.hex().encode(), value.hex().upper().encode()}
    for digest in (hashlib.md5, hashlib.sha1, hashlib.sha256):
        written |= {digest(value).digest(), digest(value).hexdigest().encode()}
    for offset in range(3):
        # without the characters at either end that depend on the neighbours
        coded = base64.b64encode(bytes(offset) + value)[4 if offset else 0 : -4]
        written |= {coded, coded.replace(b"+", b"-").replace(b"/", b"_")}
    return written


def test_neither_the_store_nor_the_log_knows_the_viewer(folder: "Folder") -> None:
    folder.declare()
    server = folder.serve(TEMPPASS_LOG_REQUESTS="1")
    wire = folder.application(server)
    info = base64.b64encode(json.dumps({"applicationId": APP}).encode()).decode()
    wire.http.headers["X-Device-Info"] = info
    permits = [wire.decide(DEVICE, "FILM-1")["authorized"] for _ in range(2)]
    permits += [wire.decide(DEVICE, "FILM-1", "Promo", key)["authorized"] for key in (EMAIL, KEY.hexdigest())]
    wire.profile(DEVICE, "Promo", EMAIL)
    wire.http.post("/api/v2/ACME1/sessions", headers={"AP-Device-Identifier": device_header(DEVICE)})
    resets = [wire.reset("Promo", key=EMAIL), wire.reset("Promo", device_id=DEVICE)]
    resets.append(wire.reset("Basic", device_id=DEVICE, appId=APP, deviceUser=USER))
    resets.append(wire.reset("Basic", device_id="all", appId=APP, deviceUser=USER))
    wire.decide(DEVICE, "FILM-1", "Promo", EMAIL)
    for path in (f"/nowhere?device_id={DEVICE}&key={EMAIL}", f"/reset-tempass/v3/reset?device_id={DEVICE}"):
        wire.http.delete(path)  # refused, and logged without its query string

    names = (DEVICE, EMAIL, USER, wire.credentials["client_secret"], wire.token, wire.token.rpartition(".")[2])
    secrets = {form: name for name in names for form in forms(name.encode())}
    secrets |= dict.fromkeys([KEY.digest(), *forms(KEY.hexdigest().encode())], "user key")
    files = [file for file in folder.path.glob("temppass.db*") if not file.name.endswith(".secret")]
    kept = {file.name: file.read_bytes() for file in files}
    server.end(signal.SIGTERM)
    kept |= {"closed": (folder.path / "temppass.db").read_bytes(), "log": server.log}
    assert (permits, resets) == ([True] * 4, [204] * 4)
    assert {"temppass.db", "temppass.db-wal", "log", "closed"} <= kept.keys()
    assert b'"path": "/reset-tempass/v3/reset"' in kept["log"]
    assert {(name, where) for form, name in secrets.items() for where, held in kept.items() if form in held} == set()


def device_header(device_id: str) -> str:
    return f"fingerprint {base64.b64encode(device_id.encode()).decode()}"


def test_what_is_kept_of_the_keys_cannot_be_read_without_the_secret(folder: "Folder") -> None:
    folder.declare()
    statement = folder.temppass("statement", "mint", "ops").out.strip()
    secret = (folder.path / "temppass.db.secret").read_bytes()
    server = folder.serve()
    keys = httpx2.get(f"{server.url}/.well-known/jwks.json", trust_env=False).json()["keys"]
    server.end()
    kept = (folder.path / "temppass.db").read_bytes()
    private = [b"PRIVATE KEY", b'"d"', b'"kty"', secret, secret[:16], statement.encode()]
    assert [part for part in private if part in kept] == []
    assert [sorted({"d", "p", "q"} & key.keys()) for key in keys] == [[]] * len(keys)
