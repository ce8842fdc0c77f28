"""
`temppass id`: every form of one identity. It sends nothing and needs no profile.
"""

import sys

import click

from temppass.client.errors import InvalidTarget
from temppass.commands.shared import failing, say, show_fields, show_json
from temppass.tools.forms import VALUE_BYTES_MAX, Device, Forms, Kind, forms


@click.command("id")
@click.argument("words", metavar="VALUE", nargs=-1)
@click.option(
    "--kind",
    type=click.Choice(["auto", "device", "key", "email"]),
    default="auto",
    show_default=True,
    help="What bare text is; other than auto, it is taken as it stands.",
)
@click.option(
    "--identity-key",
    metavar="NAME",
    default="email",
    show_default=True,
    help="The JSON key under which the pass expects the user key.",
)
@click.option("--json", "as_json", is_flag=True, help="Answer as JSON on stdout.")
def id_(words: tuple[str, ...], kind: Kind, identity_key: str, as_json: bool) -> None:  # noqa: FBT001 - click passes options by name
    """
    Show every form of one identity, and how it was read; nothing is sent.

    VALUE is a device id, an AP-Device-Identifier or AP-TempPass-Identity value with or without the header's name, a
    SHA-2 digest in hex or an e-mail address; - reads it from stdin, and so keeps it out of the shell's history.

    \b
    temppass id tvbox-4f19c2a0
    temppass id "fingerprint dHZib3gtNGYxOWMyYTA="
    temppass id viewer@example.net
    temppass id - --kind email --json < address.txt
    """
    with failing():
        found = forms(_value(words), kind, identity_key=identity_key)
        for warning in found.warnings:
            say(f"warning: {warning}")
        if as_json:
            show_json(_document(found))
            return
        for step in found.steps:
            say(step)
        show_fields(_fields(found))


def _value(words: tuple[str, ...]) -> str:
    """Answer the value, which a header without quotes gives in several words. Raises InvalidTarget."""
    if words == ("-",):
        return _read()
    if len(words) > 1 and words[0].lower() != "fingerprint" and not words[0].endswith(":"):
        raise InvalidTarget("there is more than one value", hint="put it in quotes, and give one identity at a time")
    return " ".join(words)


def _read() -> str:
    """Read one line of stdin, without its end. Raises InvalidTarget."""
    raw = sys.stdin.buffer.read(VALUE_BYTES_MAX + 2)
    text = raw.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8", "surrogateescape")
    if "\n" in text:
        raise InvalidTarget("stdin holds more than one line", hint="give one identity at a time")
    return text


def _fields(found: Forms) -> list[tuple[str, object]]:
    identity = found.identity
    if isinstance(identity, Device):
        return [
            ("device id", identity.device_id),
            ("query", identity.query),
            ("AP-Device-Identifier", identity.header),
            ("SHA-256", identity.sha256),
        ]
    return [
        ("user key", identity.key),
        ("query", f"key={identity.key}"),
        ("AP-TempPass-Identity", identity.header),
        *((f"key if {variant.of}", variant.key) for variant in identity.variants),
    ]


def _document(found: Forms) -> dict[str, object]:
    identity, told = found.identity, {"steps": found.steps, "warnings": found.warnings}
    if isinstance(identity, Device):
        return {
            "kind": "device",
            "device_id": identity.device_id,
            "query": identity.query,
            "headers": {"AP-Device-Identifier": identity.header},
            "sha256": identity.sha256,
            **told,
        }
    return {
        "kind": "key",
        "key": identity.key,
        "query": f"key={identity.key}",
        "headers": {"AP-TempPass-Identity": identity.header},
        "identity_key": identity.identity_key,
        "variants": identity.variants,
        **told,
    }
