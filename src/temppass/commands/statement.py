"""
`temppass statement` and `temppass client`: what lets an application register, what came of it, and the end of either;
on the store, or with an operator's profile through the control API.
"""

import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from temppass.client.applications import OLDER, NewStatement, Registration, Statement
from temppass.client.errors import RequestRefused
from temppass.commands.group import EXIT_CODES, Group
from temppass.commands.local import actor, administer, environment_option, look, store_option
from temppass.commands.shared import control_of, failing, failure, moment, read_statement, say, show_json, show_table
from temppass.failure import USAGE, Failure
from temppass.tools.claims import Unexplained, read_token

if TYPE_CHECKING:
    from temppass.client.desk import Control
    from temppass.commands.local import Application

A = TypeVar("A")

#: clients that are read from a store at once
_PAGE = 500


def _places(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that tell where it acts, for `_act`."""
    text = "Of an operator: act through the control API, not on a store."
    return store_option(environment_option(click.option("--profile", metavar="NAME", help=text)(command)))


class _Where:
    """Where a command acts: with an operator's profile through the control API, else on a store."""

    def __init__(self, profile: str | None, store: str | None, environment: str | None) -> None:
        if profile is not None and store is not None:
            raise click.UsageError("--profile acts through the control API, --store on a store; give one of them.")
        self._profile = profile
        self._store = store
        self._environment = environment

    def look(self, there: "Callable[[Control], A]", here: "Callable[[Application, str], Awaitable[A]]") -> A:
        if self._profile is not None:
            return self._ask(self._profile, there, "is it an application there, for a channel that the operator sees?")
        return look(self._store, self._environment, here)

    def act(
        self,
        there: "Callable[[Control], A]",
        here: "Callable[[Application, str], Awaitable[A]]",
        hint: str,
        need: "Callable[[Application, str], Awaitable[object]] | None" = None,
    ) -> A:
        """On a store first only look, by `need`, so that where there is nothing to do none comes into being."""
        if self._profile is not None:
            return self._ask(self._profile, there, hint)
        if need is not None:
            administer(self._store, self._environment, _refusing(need, hint), read_only=True)
        return administer(self._store, self._environment, _refusing(here, hint))

    def _ask(self, profile: str, work: "Callable[[Control], A]", hint: str) -> A:
        with control_of(profile, self._environment) as desk:
            try:
                return work(desk)
            except RequestRefused as error:
                raise Failure(f"{failure(error)}", hint) from None


def _refusing(
    work: "Callable[[Application, str], Awaitable[A]]", hint: str
) -> "Callable[[Application, str], Awaitable[A]]":
    """Turn a refusal into the failure of a command."""

    async def done(app: "Application", name: str) -> A:
        from temppass.core.refusal import Refusal, UnknownApplication  # noqa: PLC0415 - not for the help alone

        try:
            return await work(app, name)
        except UnknownApplication:
            raise  # has a hint of its own
        except Refusal as refusal:
            raise Failure(refusal.detail, hint) from None

    return done


@click.group(cls=Group, epilog=EXIT_CODES)
def statement() -> None:
    """
    Mint, list and revoke the software statements of applications.

    \b
    temppass statement mint ops --expires 90d > statement.jwt
    temppass statement list ops
    temppass statement revoke ops --statement statement.jwt
    """


@statement.command()
@click.argument("application")
@click.option("--expires", metavar="DURATION", help="How long it is good, with all that comes of it: 90d, 12h.")
@_places
def mint(
    application: str, expires: str | None, profile: str | None, store: str | None, environment: str | None
) -> None:
    """
    Print a new software statement of APPLICATION and nothing else on stdout; older ones stay good. Its id, by which it
    is listed and revoked, is told on stderr.

    \b
    temppass statement mint ops > statement.jwt
    temppass statement mint ops --expires 90d --profile desk > statement.jwt
    """
    lasts_ms, where = _duration(expires), _Where(profile, store, environment)
    by, hint = actor(), f"`temppass statement list {application}` shows what there is"

    async def here(app: "Application", name: str) -> NewStatement:
        ends_at = app.service.context.clock() + lasts_ms if lasts_ms is not None else None
        minted = await app.service.statements.mint(name, application, by, ends_at)
        return NewStatement(minted.id, minted.statement, minted.ends_at or 0)

    def there(desk: "Control") -> NewStatement:
        ends_at = round(time.time() * 1000) + lasts_ms if lasts_ms is not None else None
        return desk.mint_statement(application, ends_at=ends_at)

    minted = where.act(there, here, hint, lambda app, name: app.service.statements.require(name, application))
    click.echo(minted.statement)
    say(f"statement {minted.id}{f', good until {moment(minted.ends_at)}' if minted.ends_at else ''}")


@statement.command("list")
@click.argument("application")
@click.option("--json", "as_json", is_flag=True, help="Answer as JSON on stdout.")
@_places
def list_(
    application: str,
    profile: str | None,
    store: str | None,
    environment: str | None,
    as_json: bool,  # noqa: FBT001 - click passes options by name
) -> None:
    """
    List the statements of APPLICATION that were not revoked, the oldest first: id, who minted it and when, until when
    it is good, the day of its last use, and how many clients it has. `older` is all that was handed out before
    statements were listed.

    \b
    temppass statement list ops
    """
    found = _Where(profile, store, environment).look(
        lambda desk: desk.statements(application), lambda app, name: _listed(app, name, application)
    )
    if as_json:
        show_json(found)
        return
    if not found:
        say(f"{application} has no statement")
        return
    head = ("STATEMENT", "MINTED", "BY", "UNTIL", "LAST USE", "CLIENTS")
    show_table(head, [_row(each) for each in found])


def _row(each: Statement) -> Sequence[object]:
    clients = f"{each.clients:,}"
    return each.id, moment(each.minted_at), each.minted_by or "-", moment(each.ends_at), each.used_on or "-", clients


@statement.command()
@click.argument("application")
@click.option(
    "--statement", "which", metavar="ID|FILE|older", help="Only this one, by its id or the file that holds it."
)
@_places
def revoke(
    application: str, which: str | None, profile: str | None, store: str | None, environment: str | None
) -> None:
    """
    End every statement, client and token that APPLICATION was given so far; with --statement what one statement is, and
    what came from it. `older` is all that was handed out before statements were listed.

    Ending one alone counts once no server runs beside that is older than this program and lists none.

    \b
    temppass statement revoke ops --statement statement.jwt
    temppass statement revoke ops
    """
    where, by, once = _Where(profile, store, environment), actor(), str(uuid.uuid4())
    id_ = _id_of(which, application) if which is not None else None

    def there(desk: "Control") -> None:
        if id_ is None or id_ == OLDER:
            desk.revoke_statements(application, older=id_ == OLDER, once=once)
        elif id_ not in {each.id for each in desk.statements(application)}:
            raise Failure(f"{application!r} has no statement {id_!r}, or it was revoked", hint)
        else:
            desk.revoke_statement(id_, once=once)

    async def here(app: "Application", name: str) -> None:
        from temppass.core.model import OLDER as OF_BEFORE  # noqa: PLC0415 - not for the help alone

        await app.service.statements.revoke(name, application, by, OF_BEFORE if id_ == OLDER else id_)

    hint = f"`temppass statement list {application}` shows what there is"
    where.act(there, here, hint)
    if id_ is None:
        say(f"revoked all that {application} was given; `temppass statement mint` starts afresh")
    elif id_ == OLDER:
        say(f"revoked what {application} was given before statements were listed, and all that came from it")
    else:
        say(f"revoked statement {id_} of {application}, and all that came from it")


def _id_of(which: str, application: str) -> str:
    """Answer the id that is meant by an id, `older` or a file. Raises Failure."""
    if which == "":
        raise Failure("--statement is empty", "is a variable unset?", USAGE)
    if which == OLDER or (which != "-" and "." not in which and "/" not in which and not Path(which).exists()):
        return which
    if which.startswith("eyJ") and which.count(".") == 2:  # noqa: PLR2004 - of a compact JWS (RFC 7515 §7.1)
        hint = "it may stand in the history of the shell now: give its file, or its id"
        raise Failure("--statement names an id or a file, and takes no statement", hint, USAGE)
    try:
        with failing():
            claims = read_token(read_statement(which)).claims
    except Unexplained as error:
        raise Failure(f"{which} holds no software statement: {error}", error.hint, USAGE) from None
    id_ = claims.get("jti")
    if claims.get("listed") is not True or not isinstance(id_, str) or id_ == OLDER:
        all_of_it = f"`temppass statement revoke {application} --statement older` ends all that are of before, as one"
        raise Failure(f"the statement in {which} is of before statements were listed", all_of_it, USAGE)
    return id_


def _duration(text: str | None) -> int | None:
    from temppass.core.catalogue_file import duration_ms  # noqa: PLC0415 - not for the help alone

    try:
        return duration_ms(text) if text is not None else None
    except ValueError as error:
        raise click.BadParameter(f"{error}.", param_hint="--expires") from None


# --- clients


@click.group(cls=Group, epilog=EXIT_CODES)
def client() -> None:
    """
    List the clients of an application, and end one.

    A client is an installation that registered with a statement of the application.

    \b
    temppass client list ops --statement older
    temppass client revoke 01a2012c-da4b-4000-995c-342e7546bd39
    """


@client.command("list")
@click.argument("application")
@click.option(
    "--statement", "which", metavar="ID|FILE|older", help="Only those of this one, by its id or the file that holds it."
)
@click.option("--json", "as_json", is_flag=True, help="Answer as JSON on stdout.")
@_places
def list_clients(
    application: str,
    which: str | None,
    profile: str | None,
    store: str | None,
    environment: str | None,
    as_json: bool,  # noqa: FBT001 - click passes options by name
) -> None:
    """
    List the clients of APPLICATION that may ask for tokens, the last to register first: id, when it registered, with
    which statement, and the day of its last use, to 30 days.

    \b
    temppass client list ops --statement older
    """
    of = _id_of(which, application) if which is not None else None

    async def here(app: "Application", name: str) -> list[Registration]:
        return [each async for each in _clients(app, name, application, of)]

    found = _Where(profile, store, environment).look(lambda desk: list(desk.clients(application, statement=of)), here)
    if as_json:
        show_json(found)
        return
    if not found:
        say("no client may ask for tokens")
        return
    head = ("CLIENT", "REGISTERED", "STATEMENT", "LAST USE")
    show_table(head, [(each.id, moment(each.registered_at), each.statement, each.used_on or "-") for each in found])


@client.command("revoke")
@click.argument("client_id", metavar="ID")
@_places
def revoke_client(client_id: str, profile: str | None, store: str | None, environment: str | None) -> None:
    """
    End the client ID and its tokens; its statement and other clients stay good, and it can register again.

    Ending one alone counts once no server runs beside that is older than this program.

    \b
    temppass client revoke 01a2012c-da4b-4000-995c-342e7546bd39
    """
    by, once = actor(), str(uuid.uuid4())

    async def need(app: "Application", name: str) -> None: ...  # that there is a store

    _Where(profile, store, environment).act(
        lambda desk: desk.revoke_client(client_id, once=once),
        lambda app, name: app.service.statements.revoke_client(name, client_id, by),
        "`temppass client list APPLICATION` shows who there is",
        need,
    )
    say(f"client {client_id} and its tokens have ended")


# --- what a store tells, as the control API would


async def _listed(app: "Application", name: str, application: str) -> list[Statement]:
    from temppass.core.model import OLDER as OF_BEFORE  # noqa: PLC0415 - not for the help alone

    return [
        Statement(
            OLDER if each.id == OF_BEFORE else each.id,
            each.minted_at or 0,
            each.minted_by or "",
            each.ends_at or 0,
            _day(each.used_at),
            each.clients,
        )
        for each in await app.service.statements.of(name, application)
    ]


async def _clients(
    app: "Application", name: str, application: str, statement_id: str | None
) -> AsyncIterator[Registration]:
    from temppass.core.model import OLDER as OF_BEFORE  # noqa: PLC0415 - not for the help alone
    from temppass.core.model import Registered  # noqa: PLC0415 - as above

    of, after = OF_BEFORE if statement_id == OLDER else statement_id, None
    while True:
        page: list[Registered] = await app.service.statements.clients(name, application, of, _PAGE, after)
        for each in page:
            statement = OLDER if each.statement_id == OF_BEFORE else each.statement_id
            yield Registration(each.id, each.at, statement, _day(each.used_at))
        if len(page) < _PAGE:
            return
        after = page[-1]


def _day(ms: int) -> str:
    return moment(ms)[:10] if ms > 0 else ""
