"""
What an application would see: `authorize`, `preauthorize`, `profile` and `configuration` from a terminal.
"""

import secrets
from collections.abc import Callable, Sequence
from typing import Any

import click
import msgspec

from temppass.client import flow
from temppass.client.errors import InvalidTarget
from temppass.client.flow import Deny, Permit, Viewer
from temppass.commands.shared import (
    Asked,
    client_command,
    moment,
    refuse_padding,
    say,
    show_fields,
    show_json,
    show_table,
)
from temppass.core.viewer import is_email
from temppass.failure import USAGE, Failure
from temppass.tools.standing import Standing, ledgers

_VIEWER = (
    click.option("--device", metavar="ID", help="The viewer's device, by its decoded id."),
    click.option("--key", metavar="HASH", help="The viewer's key: a SHA-2 hash, or what it is the hash of."),
    click.option("--email", metavar="ADDR", help="The viewer's key, hashed here exactly as typed."),
    click.option("--identity-key", default="email", show_default=True, help="What the pass calls the key."),
    click.option("--forwarded-for", metavar="ADDR", help="The viewer's IP address."),
)


def viewer_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_VIEWER):
        command = option(command)
    return command


def _checked(device: str | None, key: str | None, email: str | None, identity_key: str) -> None:
    """Raises InvalidTarget for what names nobody, or somebody else than meant."""
    if key is not None and email is not None:
        raise click.UsageError("--key and --email both name a user key; give one of them.")
    options = {"--device": device, "--key": key, "--email": email, "--identity-key": identity_key}
    if empty := [option for option, value in options.items() if value is not None and not value.strip()]:
        raise InvalidTarget(f"{empty[0]} is empty", hint="is a variable unset?")
    refuse_padding(device=device, key=key, email=email)
    if email is not None and not is_email(email):
        raise InvalidTarget("--email holds no e-mail address", hint="--key hashes any text, exactly as typed")
    if device is not None and device.lower().startswith("fingerprint "):
        raise InvalidTarget("--device wants the decoded id, not the header", hint="`temppass id` tells it")


def _viewer(
    device: str | None, key: str | None, email: str | None, identity_key: str, forwarded_for: str | None
) -> Viewer:
    _checked(device, key, email, identity_key)
    if device is None:
        raise click.UsageError("Missing option '--device'.")
    return Viewer(device, key if key is not None else email, identity_key, forwarded_for)


@click.command()
@click.argument("resources", metavar="TITLE...", nargs=-1, required=True)
@viewer_options
@client_command()
def authorize(*, asked: Asked, resources: tuple[str, ...], **viewer: Any) -> None:
    """
    Decide titles as an application would; the first permit begins the trial.

    \b
    temppass authorize FILM-1 --device f238a1b2
    temppass authorize FILM-1 FILM-2 --device f238a1b2 --email viewer@example.com --json
    """
    _decide(asked, _viewer(**viewer), resources, only_ask=False)


@click.command()
@click.argument("resources", metavar="TITLE...", nargs=-1, required=True)
@viewer_options
@client_command()
def preauthorize(*, asked: Asked, resources: tuple[str, ...], **viewer: Any) -> None:
    """
    Judge titles as a catalogue page would; begin and consume nothing.

    \b
    temppass preauthorize FILM-1 FILM-2 --device f238a1b2
    """
    _decide(asked, _viewer(**viewer), resources, only_ask=True)


def _decide(asked: Asked, viewer: Viewer, resources: Sequence[str], *, only_ask: bool) -> None:
    party, call = asked.party, "preauthorize" if only_ask else "authorize"
    conversation = flow.authorize(party, asked.requestor, asked.mvpd, viewer, resources, only_ask=only_ask)
    if asked.is_only_shown(
        f"{call} {', '.join(resources)} for one device of {asked.requestor} / {asked.mvpd}", conversation
    ):
        return
    if not only_ask:
        asked.announce(f"authorize for one device of {asked.requestor} / {asked.mvpd}")
    with asked.client(party) as client:
        verdicts = client.play(conversation)
    if asked.as_json:
        show_json([
            {"authorized": isinstance(verdict, Permit), **msgspec.to_builtins(verdict)} for verdict in verdicts
        ])  # fmt: skip
        return
    show_table(("TITLE", "VERDICT", "UNTIL", "CODE"), [_row(verdict) for verdict in verdicts])
    for sentence in dict.fromkeys(verdict.message for verdict in verdicts if isinstance(verdict, Deny)):
        say(sentence)


def _row(verdict: Permit | Deny) -> tuple[str, str, str, str]:
    if isinstance(verdict, Permit):
        return verdict.resource, "permit", moment(verdict.not_after), "-"
    return verdict.resource, "deny", "-", verdict.code


@click.command()
@viewer_options
@client_command()
def profile(
    *,
    asked: Asked,
    device: str | None,
    key: str | None,
    email: str | None,
    identity_key: str,
    forwarded_for: str | None,
) -> None:
    """
    Show where a trial stands: new, running, over or used up, from when until when, what was watched. Begins nothing.

    With a device and a user key it shows what they have together, and the ledger of each.

    \b
    temppass profile --device f238a1b2
    temppass profile --device f238a1b2 --email viewer@example.com --json
    temppass profile --email viewer@example.com
    """
    _checked(device, key, email, identity_key)
    user_key = key if key is not None else email
    if device is None and user_key is None:
        raise click.UsageError("name the viewer: --device, --key or --email, or a device and a key.")
    party = asked.party
    conversation = ledgers(
        party, asked.requestor, asked.mvpd, device=device, key=user_key, stranger=secrets.token_hex(32),
        identity_key=identity_key, forwarded_for=forwarded_for,
    )  # fmt: skip
    whose = " and ".join(name for name, value in (("device", device), ("user key", user_key)) if value is not None)
    if asked.is_only_shown(f"show the profile of one {whose} of {asked.requestor} / {asked.mvpd}", conversation):
        return
    with asked.client(party) as client:
        found = client.play(conversation)
    if user_key is not None and "user key" not in found:
        if device is None:
            raise Failure(f"{asked.mvpd} knows viewers by device only", "name the device: --device", USAGE)
        say(f"{asked.mvpd} knows viewers by device only: the key was left out")
    _show(found, as_json=asked.as_json)


def _show(found: dict[str, Standing], *, as_json: bool) -> None:
    shown, *_ = found.values()
    if as_json:
        apart = {name.replace(" ", "_"): _document(each) for name, each in found.items()} if len(found) > 1 else None
        show_json({**_document(shown), **({"ledgers": apart} if apart else {})})
        return
    show_fields([
        ("pass", shown.pass_id),
        ("state", shown.state),
        ("from", moment(shown.not_before)),
        ("until", moment(shown.not_after)),
        ("remaining", shown.remaining),
        ("watched", _titles(shown) if shown.counts_titles else None),
        ("user id", shown.user_id or None),
        ("code", shown.denial.code if shown.denial else None),
    ])  # fmt: skip
    if len(found) > 1:
        show_table(
            ("LEDGER", "STATE", "FROM", "UNTIL", "WATCHED"),
            [
                (name, each.state, moment(each.not_before), moment(each.not_after), _titles(each))
                for name, each in found.items()
                if name != "together"
            ],
        )
    if shown.denial:
        say(shown.denial.message)
    if any(each.state == "new" for each in found.values()):
        say("new: nothing has begun; the times are those that an authorize would begin now")
    if any(each.not_after == 0 for each in found.values()):
        say("this service does not say when a trial that is over began and ended, or what was watched")


def _titles(standing: Standing) -> str:
    """Name the titles watched, and count those that the service did not name; "-" for none."""
    named = standing.used or ()
    more = (standing.used_count or 0) - len(named)
    return ", ".join([*named, *([f"{more} more"] if more > 0 else [])]) or "-"


def _document(standing: Standing) -> dict[str, Any]:
    told = {name: value for name, value in msgspec.to_builtins(standing).items() if name != "denial"}
    denial = msgspec.to_builtins(standing.denial) if standing.denial else {}
    return {"available": standing.denial is None, **told, **denial}


@click.command()
@client_command()
def configuration(*, asked: Asked) -> None:
    """
    List the passes and operators of a channel.

    \b
    temppass configuration --requestor REF
    """
    party = asked.party
    conversation = flow.configuration(party, asked.requestor)
    if asked.is_only_shown(f"show the configuration of {asked.requestor}", conversation):
        return
    with asked.client(party) as client:
        found = client.play(conversation)
    if asked.as_json:
        show_json(found)
        return
    requestor = found.get("requestor")
    mvpds = requestor.get("mvpds") if isinstance(requestor, dict) else None
    entries = [entry for entry in mvpds if isinstance(entry, dict)] if isinstance(mvpds, list) else []
    show_table(
        ("ID", "NAME", "TEMP PASS"),
        [(e.get("id", "-"), e.get("displayName") or "-", "yes" if e.get("isTempPass") else "-") for e in entries],
    )
