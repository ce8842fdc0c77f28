"""
Who one is to a service: `login`, `logout`, `whoami`, `profiles`, and the access token itself.
"""

import sys
import time

import click
import msgspec

from temppass.client import control, exchange, flow
from temppass.client.client import Client
from temppass.client.control import ENVIRONMENT
from temppass.client.desk import Control
from temppass.client.errors import NotPermitted, TempPassError
from temppass.client.place import Place
from temppass.client.vault import Held, vault_name
from temppass.commands.shared import (
    Asked,
    client_command,
    failing,
    moment,
    profiles,
    read_statement,
    read_token,
    say,
    show_fields,
    show_json,
    show_requests,
    show_table,
    vault,
)
from temppass.failure import FAILED, USAGE, Failure
from temppass.tools.claims import claims_of
from temppass.tools.curl import CLIENT_ID, CLIENT_SECRET, OPERATOR_TOKEN, STATEMENT, curl, request_of
from temppass.tools.profiles import Profile, Profiles, place_of


@click.command()
@click.option("--profile", "name", metavar="NAME", required=True, help="What to call it.")
@click.option("--url", metavar="URL", help="Base URL of a self-hosted server.")
@click.option("--environment", metavar="NAME", help="Or one of the vendor's environments.")
@click.option("--requestor", metavar="ID", help="The channel that commands mean where they name none.")
@click.option("--mvpd", metavar="ID", help="The pass that commands mean where they name none.")
@click.option("--statement-file", metavar="FILE", help="The software statement; stdin where not given.")
@click.option("--operator", "is_operators", is_flag=True, help="Save an operator's token in place of a statement.")
@click.option("--token-file", metavar="FILE", help="With --operator: the token; stdin where not given.")
@click.option("--in", "in_", metavar="NAME", help="With --operator: the environment; else release-production.")
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
    statement_file: str | None,
    is_operators: bool,
    token_file: str | None,
    in_: str | None,
    default: bool,
    keyring: bool,
    offline: bool,
    dry_run: bool,
    show_request: bool,
) -> None:
    """
    Save a service, a channel, a pass and the secret that opens them as a profile.

    The secret is the software statement of an application or, with --operator, an operator's token. It is read from a
    file or from stdin, tried, and kept in a file that only you can read.

    \b
    temppass login --profile local --url http://127.0.0.1:8080 --requestor REF --mvpd TempPassREF \\
        --statement-file statement.jwt --default
    temppass login --profile staging --environment release-staging --requestor REF < statement.jwt
    temppass login --profile desk --url http://127.0.0.1:8080 --operator < anna.token
    """
    options = {"--profile": name, "--url": url, "--environment": environment, "--requestor": requestor, "--mvpd": mvpd,
               "--statement-file": statement_file, "--token-file": token_file, "--in": in_}  # fmt: skip
    if empty := [option for option, value in options.items() if value == ""]:
        raise Failure(f"{empty[0]} is empty", "is a variable unset?", USAGE)
    if (url is None) == (environment is None):
        raise click.UsageError("Give either --url or --environment.")
    others = ("--environment", "--statement-file") if is_operators else ("--token-file", "--in")
    if stray := [option for option in others if options[option] is not None]:
        raise click.UsageError(f"{stray[0]} does not go {'with' if is_operators else 'without'} --operator.")
    source = (token_file if is_operators else statement_file) or "-"
    what = "operator's token" if is_operators else "software statement"
    if source == "-" and sys.stdin.isatty() and not show_request:
        say(f"paste the {what}, then end the input (Ctrl-D):")
    with failing():
        place, acts_in = place_of(url, environment), in_ or ENVIRONMENT
        if show_request:
            asked = (
                [request_of(control.whoami(control.seat(place, OPERATOR_TOKEN, acts_in)))]
                if is_operators
                else _credentials_requests(flow.Party(place, STATEMENT))
            )
            for request in asked:
                click.echo(curl(request))
            return
        secret = read_token(source) if is_operators else read_statement(source)
        if dry_run:
            say(f"would save profile {name} for {place.name} in {profiles().path}; nothing was sent or saved")
            return
        unset = msgspec.UNSET
        profile = Profile(
            url or unset,
            environment or unset,
            requestor or unset,
            mvpd or unset,
            "keyring" if keyring else "file",
            acts_in if is_operators else unset,
        )
        taken = "" if offline else f"; {_tried(place, secret, profile)}"
        profiles().put(name, profile, secret, default=default)
    say(f"saved profile {name} in {profiles().path}{taken}")


def _tried(place: Place, secret: str, profile: Profile) -> str:
    """Try a secret, and say that it is taken. Raises TempPassError."""
    if profile.operator:
        with Control(place.service, secret, profile.operator) as desk:
            found = desk.whoami()
        if found.environments and profile.operator not in found.environments:
            raise NotPermitted(f"{found.name} acts in {', '.join(found.environments)} only", hint="name one with --in")
        return f"the token is taken: {found.name}, {found.role}"
    with Client(place, secret, vault=vault(in_keyring=profile.keep == "keyring")) as client:
        client.access_token()
    return "the statement is taken"


@click.command()
@click.argument("name", metavar="PROFILE")
@click.option("--dry-run", is_flag=True, help="Say what would be forgotten, and forget nothing.")
def logout(*, name: str, dry_run: bool) -> None:
    """
    Forget a profile with its secret, credentials and token.

    \b
    temppass logout local
    """
    with failing():
        known = profiles()
        found = known.get(name)
        if dry_run:
            say(f"would forget profile {name} of {known.path}, its secret, credentials and token")
            return
        if not found.operator:  # whose token is all that is kept
            _forget_credentials(name, found, known)
        known.remove(name)
    say(f"forgot profile {name}; what the service knows of it stays there until it is revoked")


def _forget_credentials(name: str, found: Profile, known: Profiles) -> None:
    try:
        entry = vault_name(found.place.name, known.statement(name))
    except TempPassError:
        say(f"the statement of {name} is gone already; credentials made with it stay where they are")
    else:
        vault(in_keyring=found.keep == "keyring").remember(entry, None)


@click.command()
@client_command()
def whoami(*, asked: Asked) -> None:
    """
    Tell who one is: profile, service, channel, pass, and whether a token is at hand. Exit code 1 if unusable.

    Sends nothing, except for an operator, of whom the service is asked: role, limits, and until when.

    \b
    temppass whoami
    temppass whoami --profile staging --json
    """
    if asked.is_operators:
        _operator_whoami(asked)
        return
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


def _operator_whoami(asked: Asked) -> None:
    seat = asked.seat
    conversation = control.whoami(seat)
    if asked.is_only_shown("ask whose token it is", conversation):
        return
    with asked.control(seat) as desk:
        found = desk.play(conversation)
    chosen = asked.chosen
    fields = {
        "usable": True, "profile": chosen.profile, "place": seat.place.name, "environment": seat.environment,
        "requestor": chosen.requestor, "mvpd": chosen.mvpd, "operator": found.name, "role": found.role,
        "environments": list(found.environments), "channels": list(found.channels), "ends_at": found.ends_at,
    }  # fmt: skip
    if asked.as_json:
        show_json(fields)
        return
    words = {
        **fields, "usable": "yes", "environments": ", ".join(found.environments) or "all",
        "channels": ", ".join(found.channels) or "all", "ends_at": None,
    }  # fmt: skip
    show_fields([*words.items(), ("token", f"good until {moment(found.ends_at)}")])


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
                "operator": entry.operator or None,
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
        ("", "PROFILE", "PLACE", "REQUESTOR", "MVPD", "SECRETS", "OPERATOR IN"),
        [
            ("*" if row["default"] else "", row["name"], row["place"], row["requestor"] or "-", row["mvpd"] or "-",
             row["keep"], row["operator"] or "-")
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
