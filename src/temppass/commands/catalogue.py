"""
`temppass catalogue`: plan, apply and show what an environment offers.
"""

from typing import Any

import click

from temppass.commands.group import EXIT_CODES, Group
from temppass.commands.local import actor, administer, environment_option, look, store_option
from temppass.failure import Failure


@click.group(cls=Group, epilog=EXIT_CODES)
def catalogue() -> None:
    """
    Plan, apply and show the catalogue of an environment.

    \b
    temppass catalogue plan catalogue.toml
    temppass catalogue apply catalogue.toml --description "free weekend"
    temppass catalogue show > catalogue.toml
    """


@catalogue.command()
@click.argument("file", type=click.File("rb"))
@store_option
@environment_option
def plan(file: Any, store: str | None, environment: str | None) -> None:
    """
    Tell what applying FILE would change; change nothing.

    \b
    temppass catalogue plan catalogue.toml
    """
    parsed = _parse(file)
    differences = look(store, environment, lambda app, name: app.service.catalogues.plan(name, parsed))
    _show_differences(differences)


@catalogue.command()
@click.argument("file", type=click.File("rb"))
@store_option
@environment_option
@click.option("--description", default="", metavar="TEXT", help="Why, for the audit trail.")
def apply(file: Any, store: str | None, environment: str | None, description: str) -> None:
    """
    Make FILE the catalogue, as a whole; running servers honour it at their next decision.

    \b
    temppass catalogue apply catalogue.toml --description "free weekend"
    """
    parsed = _parse(file)
    by = actor()
    applied = administer(
        store, environment, lambda app, name: app.service.catalogues.apply(name, parsed, description, by)
    )
    _show_differences(applied.differences)
    click.echo(f"version {applied.version} holds", err=True)


@catalogue.command()
@store_option
@environment_option
def show(store: str | None, environment: str | None) -> None:
    """
    Print the catalogue as the file that would apply it.

    \b
    temppass catalogue show > catalogue.toml
    """
    import tomli_w  # noqa: PLC0415 - only this command writes TOML

    from temppass.core.catalogue import EMPTY  # noqa: PLC0415
    from temppass.core.catalogue_file import document_of  # noqa: PLC0415

    shown = look(store, environment, lambda app, name: app.service.catalogues.catalogue(name))
    if shown == EMPTY:
        click.echo("the catalogue is empty", err=True)
    click.echo(tomli_w.dumps({kind: entries for kind, entries in document_of(shown).items() if entries}), nl=False)


def _parse(file: Any) -> Any:
    from temppass.core.catalogue_file import CatalogueError, parse  # noqa: PLC0415

    name = getattr(file, "name", "stdin")
    try:
        return parse(file.read().decode("utf-8"), str(name))
    except UnicodeDecodeError:
        raise Failure(f"{name} is not UTF-8", "save it as UTF-8") from None
    except CatalogueError as error:
        count = len(error.problems)
        raise Failure(f"nothing was applied, {count} problem{'s' if count > 1 else ''}:\n{error}") from None


def _show_differences(differences: list[str]) -> None:
    for line in differences:
        click.echo(line)
    if not differences:
        click.echo("no differences", err=True)
