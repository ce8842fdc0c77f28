"""
The command line. Words go to stderr, data to stdout; every error says what is wrong, where, and what to do next.

Nothing of a command is imported before it is called, so that `temppass --help` is quick and the client installs
without the server.
"""

import errno
import os
import sys
from typing import NoReturn

import click

from temppass.commands.group import EXIT_CODES, TableGroup
from temppass.failure import Failure, install


def main() -> NoReturn:
    try:
        code = temppass.main(standalone_mode=False, prog_name="temppass")
    except click.exceptions.Exit as error:
        code = error.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        code = 130
    except Failure as error:
        code = _failed(error)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in SERVER_MODULES:
            raise
        hint = f"{install('server')}, or '.[server,postgres]' for PostgreSQL"
        code = _failed(Failure(f"this command needs the server, of which {error.name} is not installed", hint))
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python's last flush fails once more
        code = 1
        if error.errno != errno.EPIPE:
            hint = "what was asked has been done; only its answer is lost"
            code = _failed(Failure(f"cannot write the answer: {error.strerror}", hint))
    sys.exit(code if isinstance(code, int) else 0)


def _failed(failure: Failure) -> int:
    """Say on stderr what failed; answer the exit code."""
    click.echo(f"error: {failure}", err=True)
    if failure.hint:
        click.echo(f"hint: {failure.hint}", err=True)
    return failure.code


#: what the server needs and the client does not (pyproject.toml, extras server and postgres)
SERVER_MODULES = ("asyncpg", "httptools", "prometheus_client", "starlette", "structlog", "uvicorn", "uvloop")
_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EPIPE)
_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

#: the commands against a service: where in `temppass.commands` each is, and what --help says of it unseen
CLIENT_COMMANDS = {
    "reset": ("reset:reset", "Make a viewer, a file of viewers, or everybody new to a pass."),
    "explain": ("desk:explain", "Say why a viewer may watch or may not, in a sentence to read out."),
    "undo": ("desk:undo", "Take back a reset or a grant, within a day."),
    "grant": ("desk:grant", "Give a viewer minutes or titles on top of a trial."),
    "acts": ("desk:acts", "List who did what, when and why, the newest first."),
    "approval": (
        "approval:approval",
        "List, confirm and decline the resets of everybody that wait for a second person.",
    ),
    "schedule": ("schedule:schedule", "List recurring resets, pause one, and let it go on."),
    "authorize": ("viewer:authorize", "Decide titles as an application would; the first permit begins the trial."),
    "preauthorize": ("viewer:preauthorize", "Judge titles as a catalogue page would; begin and consume nothing."),
    "profile": (
        "viewer:profile",
        "Show where a trial stands: new, running, over or used up, from when until when, what was watched.",
    ),
    "configuration": ("viewer:configuration", "List the passes and operators of a channel."),
    "id": ("identity:id_", "Show every form of one identity, and how it was read; nothing is sent."),
    "token": (
        "access:token",
        "Print a good access token, for a variable of the shell; the one that is kept, or a new one.",
    ),
    "inspect": (
        "inspection:inspect",
        "Explain a software statement, an access token, a media token or a header of the wire; send nothing.",
    ),
    "doctor": (
        "doctor:doctor",
        "Find out why calls fail: check each link from the statement to a decision, and name the first that is broken.",
    ),
    "migrate-request": (
        "legacy:migrate_request",
        "Write a request of the reset API before v3, or of REST v1, as it is today; nothing is sent.",
    ),
    "login": (
        "access:login",
        "Save a service, a channel, a pass and the secret that opens them as a profile.",
    ),
    "logout": ("access:logout", "Forget a profile with its secret, credentials and token."),
    "whoami": (
        "access:whoami",
        "Tell who one is: profile, service, channel, pass, and whether a token is at hand.",
    ),
    "completion": (
        "completion:completion",
        "Print the completion script of a shell, to be loaded by its start-up file.",
    ),
    "profiles": ("access:profiles_", "List the saved profiles; a star marks the one that is used where none is named."),
}
#: the commands of a service, in the same way
SERVER_COMMANDS = {
    "serve": ("serve:serve", "Answer requests until interrupted."),
    "catalogue": ("catalogue:catalogue", "Plan, apply and show the catalogue of an environment."),
    "statement": ("statement:statement", "Mint, list and revoke the software statements of applications."),
    "client": (
        "statement:client",
        "List the clients of an application, and end one.",
    ),
    "keys": ("keys:keys", "List the signing keys of an environment, and rotate them."),
    "operator": (
        "operator:operator",
        "Create, list and revoke the operators of a store: who may use the control API, and for what.",
    ),
    "audit": ("audit:audit", "Prove that the audit trail of a store is what was sealed."),
    "secret": ("secret:secret", "Put another secret into the place of the present one; nobody becomes new."),
    "store": ("store:store_group", "Bring the store up to date, and check it."),
}


@click.group(
    cls=TableGroup,
    table={"Against a service": CLIENT_COMMANDS, "As a service": SERVER_COMMANDS},
    context_settings=_CONTEXT,
    epilog=EXIT_CODES,
    help="""
    A self-hostable temporary pass service, wire-compatible with Adobe Pass Temp Pass, and its client.

    \b
    temppass reset --device f238a1b2                make one viewer new to a pass
    temppass login --profile local --url URL        save a service and its software statement
    temppass serve --demo                           try everything, with a walk to paste
    temppass catalogue apply catalogue.toml         declare channels, passes and applications
    temppass statement mint ops > statement.jwt     let an application register
    temppass serve                                  serve them
    """,
)
@click.version_option(package_name="temppass")
def temppass() -> None: ...


if __name__ == "__main__":
    main()
