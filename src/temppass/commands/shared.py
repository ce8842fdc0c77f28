"""
What the commands of the client share: their options, how a service and its credentials are found, how answers are
shown, and how a write is announced and confirmed.
"""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import click
import msgspec
import platformdirs

from temppass.client.client import Client, default_vault
from temppass.client.control import Seat, Target, seat
from temppass.client.desk import Control
from temppass.client.errors import (
    AccessDenied,
    CredentialsRefused,
    InvalidTarget,
    NotPermitted,
    ProfileError,
    RequestRefused,
    ServerFault,
    TempPassError,
    Throttled,
    Unreachable,
    Unreadable,
    VaultError,
)
from temppass.client.exchange import Flow, Send
from temppass.client.flow import Party
from temppass.client.place import ENVIRONMENTS, Place
from temppass.client.vault import KeyringVault, Vault
from temppass.core.viewer import is_email
from temppass.failure import FAILED, THROTTLED, UNAUTHORIZED, USAGE, Failure
from temppass.tools.curl import OPERATOR_TOKEN, STATEMENT, curl, request_of
from temppass.tools.profiles import Chosen, Profiles, choose, clean_statement, clean_token

_OPTIONS = (
    click.option("--profile", metavar="NAME", help="Saved by `temppass login`; else TEMPPASS_PROFILE."),
    click.option("--environment", metavar="NAME", help=f"One of the vendor's: {', '.join(ENVIRONMENTS)}."),
    click.option("--url", metavar="URL", help="Base URL of a self-hosted server; else TEMPPASS_URL."),
    click.option("--statement-file", metavar="FILE", help="The software statement; - reads stdin."),
    click.option("--requestor", metavar="ID", help="The channel; else TEMPPASS_REQUESTOR."),
    click.option("--mvpd", metavar="ID", help="The pass; else TEMPPASS_MVPD."),
    click.option("--json", "as_json", is_flag=True, help="Answer as JSON on stdout."),
    click.option("--dry-run", is_flag=True, help="Say what would be done, and send nothing."),
    click.option("--show-request", is_flag=True, help="Print the request as curl, and send nothing."),
    click.option("--yes", is_flag=True, help="Do not ask for confirmation, where a command would."),
)


class Asked(NamedTuple):
    """What the shared options, the variables and the profile say together."""

    chosen: Chosen
    as_json: bool
    dry_run: bool
    show_request: bool
    yes: bool

    @property
    def place(self) -> Place:
        if self.chosen.place is None:
            raise Failure(
                "no service is named",
                "name one with --url or --environment, or save one with `temppass login`",
                USAGE,
            )
        return self.chosen.place

    @property
    def requestor(self) -> str:
        return self.chosen.requestor or _missing("requestor", "the channel")

    @property
    def mvpd(self) -> str:
        return self.chosen.mvpd or _missing("mvpd", "the pass")

    @property
    def party(self) -> Party:
        """Raises Failure where no statement is named that belongs to the place."""
        place = self.place
        if self.show_request:
            return Party(place, STATEMENT)
        if self.chosen.statement_file is not None:
            return Party(place, read_statement(self.chosen.statement_file))
        if self.chosen.secret_of is not None:
            return Party(place, profiles().statement(self.chosen.secret_of))
        hint = "give --statement-file, or save one with `temppass login`"
        if self.chosen.profile is not None:
            hint = f"profile {self.chosen.profile} has one for another place only; {hint}"
        raise Failure(f"no software statement is named for {place.name}", hint, USAGE)

    def client(self, party: Party) -> Client:
        """Answer a client that speaks for `party`, which is read only once: a statement may come from stdin."""
        return Client(party.place, party.software_statement, vault=self.vault)

    @property
    def is_operators(self) -> bool:
        """Whether an operator speaks, through the control API; a statement that is named makes it an application."""
        return self.chosen.operator_in is not None and self.chosen.statement_file is None

    @property
    def seat(self) -> Seat:
        """Raises Failure where no profile is named that has an operator's token for the place."""
        place, chosen = self.place, self.chosen
        if chosen.secret_of is None:
            hint = "name a profile of an operator's: `temppass login --profile NAME --url URL --operator` saves one"
            raise Failure(f"no operator's token is named for {place.name}", hint, USAGE)
        if self.show_request and chosen.operator_in is not None:
            return seat(place, OPERATOR_TOKEN, chosen.operator_in)
        return seat(place, profiles().operator_token(chosen.secret_of), chosen.operator_in or "")

    def control(self, seat: Seat) -> Control:
        """Answer what speaks for an operator."""
        return Control(seat.place.service, seat.token, seat.environment)

    @property
    def vault(self) -> Vault:
        name = self.chosen.secret_of if self.chosen.statement_file is None else None
        return vault(in_keyring=name is not None and profiles().get(name).keep == "keyring")

    def announce(self, what: str) -> None:
        """Say on stderr what is about to be done, where."""
        say(f"about to {self._said(what)}")

    def _said(self, what: str) -> str:
        profile = f"profile {self.chosen.profile}, " if self.chosen.profile else ""
        where = self.place.name if self.place.name in ENVIRONMENTS else self.place.service
        return f"{what} ({profile}{where})"

    def confirm(self, what: str) -> None:
        """
        Let a person type the id of the pass before `what` is done to many. Raises Failure without a terminal and
        without --yes.
        """
        if self.yes:
            return
        if not sys.stdin.isatty():
            problem = f"{what} needs a confirmation, and there is no terminal to ask at"
            raise Failure(problem, "add --yes if you mean it", USAGE)
        typed = click.prompt(f"{what}: type {self.mvpd} to go on", default="", show_default=False, err=True)
        if typed.strip() != self.mvpd:
            raise Failure("not confirmed; nothing was reset", "", USAGE)

    def is_only_shown(self, what: str, *conversations: Flow[Any]) -> bool:
        """Serve --show-request and --dry-run; answer whether that was all that was asked."""
        if self.show_request:
            show_requests(self, *(request_of(conversation) for conversation in conversations))
        elif self.dry_run:
            say(f"would {self._said(what)}")
            say("dry run: nothing was sent")
            if self.as_json:
                show_json({"dry_run": True, "would": what})
        return self.show_request or self.dry_run


def client_command() -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command the shared options; it is called with `asked`."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        def run(
            *,
            profile: str | None,
            environment: str | None,
            url: str | None,
            statement_file: str | None,
            requestor: str | None,
            mvpd: str | None,
            as_json: bool,
            dry_run: bool,
            show_request: bool,
            yes: bool,
            **own: Any,
        ) -> Any:
            options = {
                "profile": profile, "environment": environment, "url": url, "statement_file": statement_file,
                "requestor": requestor, "mvpd": mvpd,
            }  # fmt: skip
            with failing():
                empty = [name for name, value in options.items() if value == ""]
                if empty:
                    raise InvalidTarget(f"--{empty[0].replace('_', '-')} is empty", hint="is a variable unset?")
                chosen = choose(options, os.environ, profiles())
                return command(asked=Asked(chosen, as_json, dry_run, show_request, yes), **own)

        run.__doc__, run.__name__ = command.__doc__, command.__name__
        run.__click_params__ = list(getattr(command, "__click_params__", []))  # type: ignore[attr-defined]
        for option in reversed(_OPTIONS):
            run = option(run)
        return run

    return decorate


@contextmanager
def failing() -> Iterator[None]:
    """Turn what a client raises into the failure of a command, with the exit code of its kind."""
    try:
        yield
    except TempPassError as error:
        raise failure(error) from None


@contextmanager
def control_of(profile: str, environment: str | None) -> Iterator[Control]:
    """Answer what speaks for the operator of a profile, in its environment or another. Raises Failure."""
    with failing():
        if not profile or environment == "":
            option = "--profile" if not profile else "--environment"
            raise InvalidTarget(f"{option} is empty", hint="is a variable unset?")
        chosen = choose({"profile": profile}, {}, profiles())
        asked = Asked(chosen, as_json=False, dry_run=False, show_request=False, yes=False)
        with Control(asked.place.service, asked.seat.token, environment or asked.seat.environment) as control:
            yield control


def failure(error: TempPassError) -> Failure:
    code = FAILED
    match error:
        case InvalidTarget():
            code = USAGE
        case CredentialsRefused() | AccessDenied() | NotPermitted():
            code = UNAUTHORIZED
        case Throttled():
            code = THROTTLED
    told = f" ({error.status}{f' {error.code}' if error.code else ''})" if error.status else ""
    return Failure(f"{error}{told}", error.hint or _HINT_OF_KIND.get(type(error), ""), code)


_DOCTOR = "`temppass doctor` finds the broken link"
_HINT_OF_KIND: dict[type[TempPassError], str] = {
    Unreachable: f"does the service run, and is --url its base URL? {_DOCTOR}",
    Unreadable: f"does something else answer there, such as a proxy? {_DOCTOR}",
    ServerFault: "the service itself is not well; try again later",
    CredentialsRefused: _DOCTOR,
    AccessDenied: _DOCTOR,
    NotPermitted: _DOCTOR,
    RequestRefused: f"`temppass configuration` lists the passes of a channel; {_DOCTOR}",
    VaultError: "set XDG_STATE_HOME to a folder of yours",
    ProfileError: "set XDG_CONFIG_HOME to a folder of yours, or mend the file",
}


def refuse_padding(**options: str | None) -> None:
    """Raises InvalidTarget for an identity with white space around it, as a file of targets does."""
    for name, value in options.items():
        if value is not None and value != value.strip():
            hint = "`temppass id` shows what becomes of it; the library takes it as it stands"
            raise InvalidTarget(f"--{name} has white space around it, which would be hashed with it", hint=hint)


_TARGET = (
    click.option("--device", metavar="ID", help="The viewer's device, by its decoded id."),
    click.option("--key", metavar="HASH", help="The viewer's key: a SHA-2 hash, or what it is the hash of."),
    click.option("--email", metavar="ADDR", help="The viewer's key, hashed exactly as typed."),
    click.option("--subject", metavar="DIGEST", help="The viewer, by a digest that explain or the console told."),
)


def target_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that name one viewer, for `target_of`."""
    for option in reversed(_TARGET):
        command = option(command)
    return command


def target_of(device: str | None, key: str | None, email: str | None, subject: str | None) -> Target:
    """Answer whom the options name, perhaps nobody. Raises InvalidTarget for what is empty, or somebody else."""
    if key is not None and email is not None:
        raise click.UsageError("--key and --email both name a user key; give one of them.")
    options = {"--device": device, "--key": key, "--email": email, "--subject": subject}
    if empty := [option for option, value in options.items() if value is not None and not value.strip()]:
        raise InvalidTarget(f"{empty[0]} is empty", hint="is a variable unset?")
    refuse_padding(device=device, key=key, email=email)
    if email is not None and not is_email(email):
        raise InvalidTarget("--email holds no e-mail address", hint="--key hashes any text, exactly as typed")
    return Target(device, email, key, subject)


def profiles() -> Profiles:
    return Profiles(Path(platformdirs.user_config_dir("temppass")))


def vault(*, in_keyring: bool) -> Vault:
    files = default_vault()
    return KeyringVault(files.folder) if in_keyring else files


def read_statement(source: str) -> str:
    """Read a software statement from a file, or from stdin for `-`. Raises Failure, ProfileError."""
    return clean_statement(_read(source, "software statement"), _named(source))


def read_token(source: str) -> str:
    """Read an operator's token from a file, or from stdin for `-`. Raises Failure, ProfileError."""
    if source.startswith("tpo_"):  # nor is it repeated
        hint = "it may stand in the history of the shell now: have it revoked, and give a file or stdin"
        raise Failure("--token-file names a file and takes no token", hint, USAGE)
    return clean_token(_read(source, "token"), _named(source))


def _named(source: str) -> str:
    return "stdin" if source == "-" else source


def _read(source: str, what: str) -> str:
    try:
        return sys.stdin.read() if source == "-" else Path(source).read_text("utf-8")
    except OSError as error:
        raise Failure(f"cannot read {source}: {error.strerror}", f"name the file of a {what}") from None
    except UnicodeDecodeError:
        raise Failure(f"{_named(source)} holds no {what}", "it is one line of letters and digits") from None


def _missing(option: str, what: str) -> NoReturn:
    raise Failure(f"{what} is not named", f"give --{option}, or save it with `temppass login`", USAGE)


# --- talking


def say(words: str) -> None:
    """Talk to a person, on stderr."""
    click.echo(words, err=True)


def show_requests(asked: Asked, *requests: Send) -> None:
    """Print requests as curl, one a line; with --json as a list."""
    lines = [curl(request) for request in requests]
    if asked.as_json:
        show_json(lines)
    else:
        for line in lines:
            click.echo(line)


def printable(text: str) -> str:
    """Write what steers a terminal as an escape."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def show_json(value: Any) -> None:
    """Print data for a program: one JSON document."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def show_fields(fields: Sequence[tuple[str, object]]) -> None:
    """Print names and values in two columns; what is None is left out."""
    shown = [(name, value) for name, value in fields if value is not None]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        click.echo(f"{name:<{width}}  {printable(str(value))}")


def show_table(head: Sequence[str], rows: Sequence[Sequence[object]], *, err: bool = False) -> None:
    """Print rows under a head, in columns as wide as they need to be; with `err` to a person, on stderr."""
    cells = [[printable(str(cell)) for cell in row] for row in [head, *rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    for row in cells:
        click.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip(), err=err)


def moment(ms: int) -> str:
    """Write a moment, Unix milliseconds, as RFC 3339 in UTC; "-" for 0, and a number that no calendar has as it is."""
    from datetime import UTC, datetime, timedelta  # noqa: PLC0415 - 3 ms that --help does not need

    try:
        return (
            (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)).strftime("%Y-%m-%dT%H:%M:%SZ")
            if ms
            else "-"
        )
    except OverflowError:  # a service may say anything
        return str(ms)


def moment_given(text: str | None, option: str) -> int | None:
    """Read the moment that an option names, as Unix milliseconds. Raises Failure."""
    from temppass.tools.claims import Unexplained  # noqa: PLC0415 - most commands take no moment
    from temppass.tools.inspection import read_moment  # noqa: PLC0415 - as above

    try:
        return read_moment(text) if text is not None else None
    except Unexplained as error:
        raise Failure(f"{option}: {error}", error.hint, USAGE) from None


def many(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"
