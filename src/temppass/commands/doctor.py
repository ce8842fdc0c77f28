"""
`temppass doctor`: walk from the software statement to a decision, and name the first broken link with its remedy.
"""

import secrets
from typing import Any

import click

from temppass.client.client import Client
from temppass.client.vault import Held, LookedThrough
from temppass.commands.shared import Asked, client_command, failure, refuse_padding, say, show_json, show_table
from temppass.failure import USAGE, Failure
from temppass.tools.curl import ACCESS_TOKEN, CLIENT_ID, CLIENT_SECRET
from temppass.tools.doctor import LINKS, Checkup, State, checkup, requests


@click.command()
@click.option("--device", metavar="ID", help="Ask for this device; else for one that was never seen.")
@client_command()
def doctor(*, asked: Asked, device: str | None) -> None:
    """
    Find out why calls fail: check each link from the statement to a decision, and name the first that is broken.

    Nothing is reset, no trial begins, and nothing is kept. Exit code 0 if all is well, 4 if statement, credentials,
    scopes or an unassigned channel are refused, 6 if throttled, 1 for any other broken link.

    \b
    temppass doctor
    temppass doctor --url http://127.0.0.1:8080 --statement-file statement.jwt --requestor REF --mvpd TempPassREF
    temppass doctor --profile staging --json
    """
    if device == "":
        raise Failure("--device is empty", "is a variable unset?", USAGE)
    refuse_padding(device=device)
    if device is not None and device.lower().startswith("fingerprint "):
        raise Failure("--device wants the decoded id, not the header", "`temppass id` tells it", USAGE)
    device_id = device if device is not None else f"temppass-doctor-{secrets.token_hex(16)}"
    party, requestor, mvpd = asked.party, asked.requestor, asked.mvpd
    shown = requests(party, requestor, mvpd, device_id, Held(CLIENT_ID, CLIENT_SECRET, ACCESS_TOKEN))
    if asked.is_only_shown(f"check {', '.join(LINKS)} of {requestor} / {mvpd}", *shown):
        return
    with Client(party.place, party.software_statement, vault=LookedThrough(asked.vault)) as client:
        found = client.play(checkup(party, requestor, mvpd, device_id))
    if asked.as_json:
        show_json(_document(found, party.place.service, requestor, mvpd))
    else:
        show_table(("LINK", "STATE", "FOUND"), [(link.name, link.state, link.found or "-") for link in found.links])
    for link in found.links:
        if link.state is State.WARNING:
            say(f"warning: {link.name}: {link.remedy}")
    if found.broken is not None and found.error is not None:
        message = f"the first broken link is {found.broken.name}: {found.broken.found}"
        raise Failure(message, found.broken.remedy, failure(found.error).code)


def _document(found: Checkup, service: str, requestor: str, mvpd: str) -> dict[str, Any]:
    return {
        "well": found.broken is None,
        "broken": found.broken.name if found.broken else None,
        "service": service,
        "requestor": requestor,
        "mvpd": mvpd,
        "links": found.links,
    }
