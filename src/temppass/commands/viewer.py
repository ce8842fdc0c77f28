"""
What an application would see: `authorize`, `preauthorize`, `profile` and `configuration` from a terminal.
"""

from collections.abc import Callable, Sequence
from typing import Any

import click
import msgspec

from temppass.client import flow
from temppass.client.errors import InvalidTarget
from temppass.client.flow import Deny, Permit, ProfileState, Viewer
from temppass.client.forms import is_email
from temppass.commands.shared import Asked, client_command, moment, say, show_fields, show_json, show_table

_VIEWER = (
    click.option("--device", metavar="ID", required=True, help="The viewer's device, by its decoded id."),
    click.option("--key", metavar="HASH", help="The viewer's key: a SHA-2 hash, or what it is the hash of."),
    click.option("--email", metavar="ADDR", help="The viewer's key, hashed here exactly as typed."),
    click.option("--identity-key", default="email", show_default=True, help="What the pass calls the key."),
    click.option("--forwarded-for", metavar="ADDR", help="The viewer's IP address."),
)


def viewer_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_VIEWER):
        command = option(command)
    return command


def _viewer(device: str, key: str | None, email: str | None, identity_key: str, forwarded_for: str | None) -> Viewer:
    if key is not None and email is not None:
        raise click.UsageError("--key and --email both name a user key; give one of them.")
    options = {"--device": device, "--key": key, "--email": email, "--identity-key": identity_key}
    if empty := [option for option, value in options.items() if value is not None and not value.strip()]:
        raise InvalidTarget(f"{empty[0]} is empty", hint="is a variable unset?")
    if email is not None and not is_email(email):
        raise InvalidTarget("--email holds no e-mail address", hint="--key hashes any text, exactly as typed")
    if device.lower().startswith("fingerprint "):
        raise InvalidTarget("--device wants the decoded id, not the header", hint="`temppass id` tells it")
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
def profile(*, asked: Asked, **viewer: Any) -> None:
    """
    Show the state of a trial: when it ends, what was watched, what remains. Begins nothing.

    \b
    temppass profile --device f238a1b2
    temppass profile --device f238a1b2 --email viewer@example.com --json
    """
    party = asked.party
    conversation = flow.profile(party, asked.requestor, asked.mvpd, _viewer(**viewer))
    if asked.is_only_shown(f"show the profile of one device of {asked.requestor} / {asked.mvpd}", conversation):
        return
    with asked.client(party) as client:
        state = client.play(conversation)
    if asked.as_json:
        show_json({"available": isinstance(state, ProfileState), **msgspec.to_builtins(state)})
        return
    if isinstance(state, Deny):
        show_fields([("pass", asked.mvpd), ("state", "over"), ("code", state.code)])
        say(state.message)
        return
    show_fields([
        ("pass", state.pass_id),
        ("state", "available"),
        ("from", moment(state.not_before)),
        ("until", moment(state.not_after)),
        ("remaining", state.remaining),
        ("watched", ", ".join(state.used) or "-" if state.used is not None else None),
        ("user id", state.user_id),
    ])  # fmt: skip


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
