"""
`temppass migrate-request`: what a retired request is today. It runs nothing, sends nothing and needs no profile.
"""

import sys

import click

from temppass.client.errors import InvalidTarget
from temppass.commands.shared import failing, say, show_json
from temppass.tools.curl import curl
from temppass.tools.legacy import migrate
from temppass.tools.pasted import REQUEST_BYTES_MAX


@click.command(
    "migrate-request",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.argument("words", metavar="CURL", nargs=-1, type=click.UNPROCESSED)
@click.option("--json", "as_json", is_flag=True, help="Answer as JSON on stdout.")
def migrate_request(words: tuple[str, ...], as_json: bool) -> None:  # noqa: FBT001 - click passes options by name
    """
    Write a request of the reset API before v3, or of REST v1, as it is today; nothing is sent.

    CURL is a curl command line, best in quotes, or a URL; - or no argument reads it from stdin. API keys, tokens and
    passwords are not repeated: a variable of the shell stands for the access token.

    \b
    temppass migrate-request "https://mgmt.auth.adobe.com/reset-tempass/v2/reset?requestor_id=REF&mvpd_id=TempPassREF"
    temppass migrate-request --json 'curl -X DELETE -H "ApiKey: ..." "https://..."'
    temppass migrate-request < request.sh
    """
    if (
        len(words) > 1 and words[-1] == "--json" and words[0] != "curl"
    ):  # after one quoted command it is ours, not curl's
        words, as_json = words[:-1], True
    with failing():
        migrated = migrate(_command(words))
        for warning in migrated.warnings:
            say(f"warning: {warning}")
        lines = [curl(request) for request in migrated.requests]
        if as_json:
            show_json(
                {
                    "was": migrated.was,
                    "becomes": migrated.becomes,
                    "is_current": migrated.is_current,
                    "scope": migrated.scope,
                    "curl": lines,
                    "notes": migrated.notes,
                    "warnings": migrated.warnings,
                }
            )
            return
        say(f"{migrated.was} is current" if migrated.is_current else f"{migrated.was} becomes {migrated.becomes}")
        for note in migrated.notes:
            say(f"- {note}")
        if migrated.scope is not None:
            say(f"scope: {migrated.scope}")
        for line in lines:
            click.echo(line)


def _command(words: tuple[str, ...]) -> str | tuple[str, ...]:
    """Answer what was given: words, one text, or what stdin holds. Raises InvalidTarget."""
    if words and words != ("-",):
        return words[0] if len(words) == 1 else words
    if not words and sys.stdin.isatty():
        raise InvalidTarget("there is nothing to migrate", hint="give a curl command line, in quotes, or a URL")
    try:
        return sys.stdin.buffer.read(REQUEST_BYTES_MAX + 1).decode()
    except UnicodeDecodeError:
        raise InvalidTarget("stdin is not UTF-8", hint="save it as UTF-8") from None
