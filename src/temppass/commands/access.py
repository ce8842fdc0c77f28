"""
Who one is to a service: `login`, `logout`, `whoami`, `profiles`, and the access token itself.
"""

import sys
import time

import click
import msgspec

from temppass.client import exchange, flow
from temppass.client.client import Client
from temppass.client.errors import TempPassError
from temppass.client.vault import Held, vault_name
from temppass.commands.shared import (
    Asked,
    client_command,
    failing,
    moment,
    profiles,
    read_statement,
    say,
    show_fields,
    show_json,
    show_requests,
    show_table,
    vault,
)
from temppass.failure import FAILED, USAGE, Failure
from temppass.tools.claims import claims_of
from temppass.tools.curl import CLIENT_ID, CLIENT_SECRET, STATEMENT, curl, request_of
from temppass.tools.profiles import Profile, place_of


@click.command()
@click.option("--profile", "name", metavar="NAME", required=True, help="What to call it.")
@click.option("--url", metavar="URL", help="Base URL of a self-hosted server.")
@click.option("--environment", metavar="NAME", help="Or one of the vendor's environments.")
@click.option("--requestor", metavar="ID", help="The channel that commands mean where they name none.")
@click.option("--mvpd", metavar="ID", help="The pass that commands mean where they name none.")
@click.option("--statement-file", metavar="FILE", default="-", help="The software statement; stdin where not given.")
@click.option("--default", is_flag=True, help="Use this profile where none is named.")
@click.option("--keyring", is_flag=True, help="Keep secrets in the keyring of the operating system.")
@click.option("--offline", is_flag=True, help="Do not try the statement first.")
@click.option("--dry-run", is_flag=True, help="Say what would be saved; send and save nothing.")
@click.option("--show-request", is_flag=True, help="Print as curl how the statement is tried, and send nothing.")
def login(
    *,
    name: str,
    url: str | None,
    environment: str | None,
    requestor: str | None,
    mvpd: str | None,
    statement_file: str,
    default: bool,
    keyring: bool,
    offline: bool,
    dry_run: bool,
    show_request: bool,
) -> None:
    """
    Save a service, a channel, a pass and the software statement that opens them as a profile.

    The statement is read from a file or from stdin, tried, and kept in a file that only you can read.

    \b
    temppass login --profile local --url http://127.0.0.1:8080 --requestor REF --mvpd TempPassREF \\
        --statement-file statement.jwt --default
    temppass login --profile staging --environment release-staging --requestor REF < statement.jwt
    """
    options = {"--profile": name, "--url": url, "--environment": environment, "--requestor": requestor, "--mvpd": mvpd,
               "--statement-file": statement_file}  # fmt: skip
    if empty := [option for option, value in options.items() if value == ""]:
        raise Failure(f"{empty[0]} is empty", "is a variable unset?", USAGE)
    if (url is None) == (environment is None):
        raise click.UsageError("Give either --url or --environment.")
    if statement_file == "-" and sys.stdin.isatty() and not show_request:
        say("paste the software statement, then end the input (Ctrl-D):")
    with failing():
        place = place_of(url, environment)
        if show_request:
            for request in _credentials_requests(flow.Party(place, STATEMENT)):
                click.echo(curl(request))
            return
        statement = read_statement(statement_file)
        if dry_run:
            say(f"would save profile {name} for {place.name} in {profiles().path}; nothing was sent or saved")
            return
        unset = msgspec.UNSET
        profile = Profile(
            url or unset, environment or unset, requestor or unset, mvpd or unset, "keyring" if keyring else "file"
        )
        if not offline:
            with Client(place, statement, vault=vault(in_keyring=keyring)) as client:
                client.access_token()
        profiles().put(name, profile, statement, default=default)
    say(f"saved profile {name} in {profiles().path}{'' if offline else '; the statement is taken'}")


@click.command()
@click.argument("name", metavar="PROFILE")
@click.option("--dry-run", is_flag=True, help="Say what would be forgotten, and forget nothing.")
def logout(*, name: str, dry_run: bool) -> None:
    """
    Forget a profile with its statement, credentials and token.

    \b
    temppass logout local
    """
    with failing():
        known = profiles()
        found = known.get(name)
        if dry_run:
            say(f"would forget profile {name} of {known.path}, its statement, credentials and token")
            return
        try:
            entry = vault_name(found.place.name, known.statement(name))
        except TempPassError:
            say(f"the statement of {name} is gone already; credentials made with it stay where they are")
        else:
            vault(in_keyring=found.keep == "keyring").remember(entry, None)
        known.remove(name)
    say(f"forgot profile {name}; what the service knows of it stays there until it is revoked")


@click.command()
@client_command()
def whoami(*, asked: Asked) -> None:
    """
    Tell who one is, offline: profile, service, channel, pass, and whether a token is at hand. Exit code 1 if unusable.

    \b
    temppass whoami
    temppass whoami --profile staging --json
    """
    reason = ""
    asked = asked._replace(show_request=False)  # nothing is sent anyway
    held: Held | None = None
    subject: object = None
    try:
        party = asked.party
        held = asked.vault.recall(vault_name(party.place.name, party.software_statement))
        subject = claims_of(party.software_statement).get("sub")
    except (Failure, TempPassError) as error:
        reason = str(error)
    chosen, now = asked.chosen, time.time_ns() // 1_000_000
    has_token = held is not None and bool(held.token) and held.expires_at > now
    fields = {
        "usable": not reason,
        "profile": chosen.profile,
        "place": chosen.place.name if chosen.place else None,
        "requestor": chosen.requestor,
        "mvpd": chosen.mvpd,
        "statement_sub": subject,
        "client_id": held.client_id if held else None,
        "token_expires_at": held.expires_at if held is not None and has_token else None,
    }
    if asked.as_json:
        show_json({**fields, "reason": reason or None})
    else:
        expires = fields["token_expires_at"]
        words = {**fields, "usable": "no" if reason else "yes", "token_expires_at": None}
        shown = [(name.replace("_", " "), value) for name, value in words.items()]
        token = f"good until {moment(expires)}" if isinstance(expires, int) else "none; the next command gets one"
        show_fields([*shown, ("token", token)])
    if reason:
        raise Failure(reason, "save a profile with `temppass login`", FAILED)


@click.command(name="profiles")
@click.option("--json", "as_json", is_flag=True, help="Answer as JSON on stdout.")
def profiles_(*, as_json: bool) -> None:
    """
    List the saved profiles; a star marks the one that is used where none is named.

    \b
    temppass profiles
    temppass profiles --json
    """
    with failing():
        known, default = profiles().all(), profiles().default
        rows = [
            {
                "name": name, "default": name == default, "place": entry.url or entry.environment or "none",
                "requestor": entry.requestor or None, "mvpd": entry.mvpd or None, "keep": entry.keep,
            }
            for name, entry in known.items()
        ]  # fmt: skip
    if as_json:
        show_json(rows)
        return
    if not rows:
        say(f"no profile yet; `temppass login` saves one in {profiles().path}")
        return
    show_table(
        ("", "PROFILE", "PLACE", "REQUESTOR", "MVPD", "SECRETS"),
        [
            ("*" if row["default"] else "", row["name"], row["place"], row["requestor"] or "-", row["mvpd"] or "-",
             row["keep"])
            for row in rows
        ],
    )  # fmt: skip


@click.command()
@client_command()
def token(*, asked: Asked) -> None:
    """
    Print a good access token, for a variable of the shell; the one that is kept, or a new one.

    \b
    ACCESS_TOKEN=$(temppass token)
    temppass token --json
    """
    party = asked.party
    if asked.show_request:
        show_requests(asked, *_credentials_requests(party))
        return
    if asked.is_only_shown("get an access token"):
        return
    with asked.client(party) as client:
        access_token = client.access_token()
    claims = claims_of(access_token)
    expires_s = claims.get("exp")
    expires_at = expires_s * 1000 if isinstance(expires_s, int) else None
    if asked.as_json:
        show_json({"access_token": access_token, "expires_at": expires_at, "scopes": claims.get("scopes")})
        return
    if sys.stdout.isatty():
        say("this is a secret; ACCESS_TOKEN=$(temppass token) keeps it off the screen")
    click.echo(access_token)
    if expires_at is not None:
        say(f"good until {moment(expires_at)}")


def _credentials_requests(party: flow.Party) -> tuple[exchange.Send, exchange.Send]:
    return request_of(flow.registration(party)), request_of(flow.token(party, Held(CLIENT_ID, CLIENT_SECRET)))
