"""
Reads whom a request of a retired interface is for: device, user key, device information and address, in every form in
which they were sent, and writes them as REST v2 takes them.

Source: contract §6.0, §10, §11.1.
"""

import base64
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import msgspec

from temppass.client.flow import Viewer
from temppass.core.identity import IDENTITY_BYTES_MAX, decode_base64, device_from_header
from temppass.core.refusal import InvalidDeviceIdentifier
from temppass.tools.forms import identity_fields, is_digest
from temppass.tools.pasted import NotMigrated, Request, bytes_of, raw, text_of


def viewer_of(request: Request) -> tuple[Viewer, dict[str, str], list[str], list[str]]:
    """Answer who a v1 request is for, further headers, notes and warnings."""
    device_id = _device_id(request)
    notes, warnings = ["deviceId is now AP-Device-Identifier: fingerprint and the base64 of the same bytes"], []
    user_key, identity_key = None, "email"
    generic_data = text_of(request, "generic_data")
    if generic_data:
        identity_key, user_key = _identity(_generic_data(generic_data), "generic_data")
        notes.append("generic_data is now AP-TempPass-Identity: the base64 of the JSON, and not URL-encoded")
        warnings += unhashed(user_key, "generic_data")
    headers, told = _device_info(request)
    if headers:
        notes.append("the device information is the header X-Device-Info: base64 only, no longer URL-encoded")
    return Viewer(device_id, user_key, identity_key, _forwarded_for(request)), headers, notes, [*warnings, *told]


def headers_of_v2(request: Request) -> tuple[dict[str, str], list[str]]:
    """Answer the headers that say who watches, in their canonical form."""
    more, warnings = _device_info(request)
    if "ap-device-identifier" in request.headers:
        try:
            device_id = device_from_header(request.headers["ap-device-identifier"])
        except InvalidDeviceIdentifier as error:
            raise NotMigrated(error.detail, hint="`temppass id` shows how a device is named") from None
        more["AP-Device-Identifier"] = Viewer(device_id).headers()["AP-Device-Identifier"]
    if "ap-temppass-identity" in request.headers:
        fields = identity_fields(request.headers["ap-temppass-identity"])
        identity_key, user_key = _identity(fields, "AP-TempPass-Identity")
        more["AP-TempPass-Identity"] = Viewer(b"any", user_key, identity_key).headers()["AP-TempPass-Identity"]
        warnings += unhashed(user_key, "AP-TempPass-Identity")
    if forwarded_for := _forwarded_for(request):
        more["X-Forwarded-For"] = forwarded_for
    return more, warnings


def unhashed(user_key: str, where: str) -> list[str]:
    """Warn of a user key that is no digest."""
    if is_digest(user_key):
        return []
    return [f"{where} held a text that is not hashed; its SHA-256 is written instead, so hash it before it is sent"]


def _device_id(request: Request) -> bytes:
    device_id = bytes_of(raw(request, "deviceId", "device_id") or "")
    if not 0 < len(device_id) <= IDENTITY_BYTES_MAX:
        raise NotMigrated(f"deviceId is missing, or has no 1 to {IDENTITY_BYTES_MAX} bytes", hint="add the device's id")
    return device_id


def _identity(fields: Mapping[str, Any] | None, where: str) -> tuple[str, str]:
    """Answer identity key and user key of a JSON identity. Raises NotMigrated."""
    texts = {name: value for name, value in (fields or {}).items() if isinstance(value, str) and value and name}
    if "email" in texts:
        return "email", texts["email"]
    if len(texts) != 1:
        raise NotMigrated(f"{where} is no JSON object with one text", hint='it is such as {"email": "<SHA-256 hex>"}')
    return next(iter(texts.items()))


def _generic_data(text: str) -> dict[str, Any] | None:
    """Read a JSON identity, also URL-encoded twice, and with the round brackets of a printed example."""
    text = unquote(text) if text.lstrip().startswith("%") else text
    bracketed = re.fullmatch(r"\s*\((.*)\)\s*", text, re.DOTALL)
    try:
        return msgspec.json.decode(f"{{{bracketed[1]}}}" if bracketed else text, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        return None


def _device_info(request: Request) -> tuple[dict[str, str], list[str]]:
    """Answer the device information as a header, and warnings."""
    given = request.headers.get("x-device-info") or raw(request, "device_info", "deviceInfo")
    if not given:
        return {}, []
    fields = identity_fields(unquote(given).replace(" ", "+"))
    if fields is None:
        return {}, ["the device information cannot be read and was left out: it is the base64 of a JSON object"]
    lacking = [name for name in ("model", "version", "osName", "osVersion", "connectionType") if name not in fields]
    warnings = [f"the device information lacks {', '.join(lacking)}, which REST v2 asks for"] if lacking else []
    decoded = decode_base64(unquote(given).replace(" ", "+"))
    return {"X-Device-Info": base64.b64encode(decoded).decode()}, warnings


def _forwarded_for(request: Request) -> str | None:
    given = request.headers.get("x-forwarded-for", "")
    return given if re.fullmatch(r"[0-9A-Fa-f.:, ]+", given) else None
