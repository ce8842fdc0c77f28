"""
`temppass inspect`: explain one token or header, offline. Tokens are secrets, so they come from a file or from stdin.
"""

import errno
import sys
import time
from pathlib import Path

import click

from temppass.commands.shared import failing, say, show_fields, show_json
from temppass.failure import USAGE, Failure
from temppass.tools.inspection import Explanation, explain, looks_secret, read_moment, value_words
from temppass.tools.proof import INPUT_BYTES_MAX, Proof, read_key_set


@click.command()
@click.argument("source", metavar="[FILE|-]", nargs=-1)
@click.option("--jwks", metavar="FILE", help="A key set: check the signature, and that the token holds now.")
@click.option("--resource", metavar="TITLE", help="With --jwks: the title that a media token has to be for.")
@click.option("--requestor", metavar="CHANNEL", help="With --jwks: the channel that a media token has to be for.")
@click.option("--at", metavar="MOMENT", help="Judge as of then (2026-01-31T20:00:00Z, or Unix time); else now.")
@click.option("--json", "as_json", is_flag=True, help="Answer as JSON on stdout.")
def inspect(
    *,
    source: tuple[str, ...],
    jwks: str | None,
    resource: str | None,
    requestor: str | None,
    at: str | None,
    as_json: bool,
) -> None:
    """
    Explain a software statement, an access token, a media token or a header of the wire; send nothing.

    It is read from FILE or from stdin, as it is or with its header's name before it. Exit code 0 if it can be read and,
    with --jwks, is good.

    \b
    temppass inspect statement.jwt
    temppass token | temppass inspect
    echo 'fingerprint ZjIzOGExYjI=' | temppass inspect -
    curl -s http://127.0.0.1:8080/.well-known/jwks.json > jwks.json
    temppass inspect media-token.txt --jwks jwks.json --requestor REF --resource FILM-1
    """
    if len(source) > 1:
        raise Failure(
            "more than one argument is given", "name one file, or - for stdin; a text goes through stdin", USAGE
        )
    for option, value in (("--resource", resource), ("--requestor", requestor)):
        if value is not None and jwks is None:
            raise Failure(f"{option} is checked with --jwks only", "give the key set too", USAGE)
    with failing():
        now_ms = read_moment(at) if at is not None else time.time_ns() // 1_000_000
        proof = Proof(read_key_set(_key_set_file(jwks)), resource, requestor) if jwks is not None else None
        explanation = explain(_text(source[0] if source else "-"), now_ms, proof)
    if as_json:
        show_json(explanation)
    else:
        _show(explanation)
    if explanation.good is False:
        raise Failure(f"the {explanation.kind} is not proved; signature: {explanation.signature}")
    if explanation.good is None and explanation.signature == "not checked":
        say("signature not checked; --jwks FILE checks it against the key set of the environment")


def _show(explanation: Explanation) -> None:
    facts = [
        (value_words(fact.name), fact.words if fact.value is None else f"{value_words(fact.value)}  ({fact.words})")
        for fact in explanation.facts
    ]
    show_fields([("kind", explanation.kind), *facts, ("signature", explanation.signature)])


def _key_set_file(name: str) -> bytes:
    if name.startswith(("http://", "https://")):
        raise Failure("--jwks takes a file: nothing is fetched", "save the key set first, e.g. with curl", USAGE)
    return _read(name, "--jwks")


def _text(source: str) -> bytes:
    if source != "-":
        return _read(source, "the argument")
    if sys.stdin.isatty():
        say("paste the text, then end the input (Ctrl-D):")
    return sys.stdin.buffer.read(INPUT_BYTES_MAX + 1)


def _read(name: str, what: str) -> bytes:
    """Read a file, a byte more than is allowed at most. A name that may be a secret itself is never repeated."""
    try:
        with Path(name).open("rb") as file:
            return file.read(INPUT_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no name of a file"
        if looks_secret(name) or (isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG):
            hint = "arguments are seen by other users and kept in histories: put it in a file, or give it on stdin"
            raise Failure(f"{what} looks like a token, and names no file", hint, USAGE) from None
        raise Failure(f"cannot read {value_words(name)}: {reason}", "name a file, or - for stdin") from None
