"""
What the code is and what the documentation says of it are the same, in both directions: by reflection, so that neither
can be changed alone.
"""

import ast
import fnmatch
import inspect
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import click
import pytest
from prometheus_client import CollectorRegistry
from sybil.document import Document
from sybil.parsers.markdown import CodeBlockParser

import temppass
from temppass import cli, testing
from temppass.commands.group import EXIT_CODES
from temppass.core import catalogue_file
from temppass.core.model import PassKind
from temppass.demo import Prepared, walk
from temppass.settings import VARIABLES
from temppass.tools.profiles import VARIABLES as CLIENT_VARIABLES
from temppass.web.app import Edge
from temppass.web.problems import CODES, CONTROL, FAULTS, INTROSPECTION, PLAIN, REGISTRATION, RESET

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "temppass"
REFERENCE = ROOT / "docs" / "reference.md"
DESIGN = ROOT / "docs" / "design.md"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
MODULES = sorted(SOURCE.rglob("*.py"))


def by_name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def sections(page: Path) -> dict[str, str]:
    """Answer each section of a page by its heading, without the sections below it."""
    parts = re.split(r"^#+ (.+)$", page.read_text("utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def rows(heading: str, page: Path = REFERENCE) -> list[list[str]]:
    """Answer the cells of a section's table, without its head and without backticks."""
    lines = [line for line in sections(page)[heading].splitlines() if line.startswith("|")]
    return [[cell.strip().replace("`", "") for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def blocks(page: Path, language: str) -> list[str]:
    document = Document.parse(str(page), CodeBlockParser(language, lambda _example: None))
    return [str(example.parsed) for example in document.examples()]


# --- the reference


def test_every_setting_is_in_the_reference() -> None:
    documented = [(name, default) for name, default, *_ in rows("Settings")]
    assert documented == [(name, default or "none") for name, default, _ in VARIABLES]


def commands(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def called(names: Iterable[str]) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(cli.temppass)
    for name in names:
        command = cli.temppass.get_command(context, name)
        assert command is not None
        yield f"temppass {name}", command


CLIENT_COMMANDS, SERVER_COMMANDS = dict(called(cli.CLIENT_COMMANDS)), dict(called(cli.SERVER_COMMANDS))
TOP = CLIENT_COMMANDS | SERVER_COMMANDS
GROUPS = {name: command for name, command in TOP.items() if isinstance(command, click.Group)}
COMMANDS = {name: command for name, command in TOP.items() if name not in GROUPS}
COMMANDS |= {name: command for path, group in GROUPS.items() for name, command in commands(group, path)}
#: what all of the client's commands take that have any of it, told once
SHARED = {cells[0].partition(" ")[0] for cells in rows("Commands against a service")}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_in_the_reference(name: str) -> None:
    taken = [
        param.opts[0] if isinstance(param, click.Option) else param.human_readable_name
        for param in COMMANDS[name].params
    ]
    if " ".join(name.split()[:2]) in CLIENT_COMMANDS and set(taken) >= SHARED:
        taken = [option for option in taken if option not in SHARED]
    assert sorted(cells[0].partition(" ")[0] for cells in rows(f"`{name}`")) == sorted(taken)


def test_every_command_is_in_the_reference() -> None:
    assert {
        heading.strip("`") for heading in sections(REFERENCE) if heading.startswith("`temppass ")
    } == COMMANDS.keys()


def first_sentence(command: click.Command) -> str:
    return command.get_short_help_str(limit=1_000)


def test_help_says_of_every_command_what_the_command_says_of_itself() -> None:
    table = cli.CLIENT_COMMANDS | cli.SERVER_COMMANDS
    told = {f"temppass {name}": sentence for name, (_, sentence) in table.items()}
    assert told == {name: first_sentence(command) for name, command in TOP.items()}


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("group", [cli.temppass, *GROUPS.values()])
def test_help_cuts_no_sentence(group: click.Group, width: int) -> None:
    context = click.Context(group, terminal_width=width, max_content_width=width)
    told = " ".join(group.get_help(context).split())
    below = [command for name in group.list_commands(context) if (command := group.get_command(context, name))]
    assert [sentence for sentence in map(first_sentence, below) if sentence not in told] == []


def test_every_variable_of_the_client_is_in_the_reference() -> None:
    documented = {cells[1] for cells in rows("Commands against a service")} - {"none"}
    assert documented == set(CLIENT_VARIABLES.values())


def test_every_exit_code_is_in_the_reference() -> None:
    assert [cells[0] for cells in rows("Command line")] == re.findall(r"\b(\d+) \w", EXIT_CODES)


def test_every_kind_of_pass_is_in_the_reference() -> None:
    meaning = {cells[0]: cells[2] for cells in rows("`[[pass]]`")}
    assert meaning["kind"] == " or ".join(PassKind)


@pytest.mark.parametrize(
    ("kind", "keys"),
    {
        "programmer": catalogue_file._PROGRAMMER,
        "channel": catalogue_file._CHANNEL,
        "pass": catalogue_file._PASS,
        "application": catalogue_file._APPLICATION,
    }.items(),
)
def test_every_catalogue_key_is_in_the_reference(kind: str, keys: dict[str, object]) -> None:
    assert [cells[0] for cells in rows(f"`[[{kind}]]`")] == list(keys)


def test_every_endpoint_is_in_the_reference() -> None:
    served = {
        (method, route.path_format)
        for route in testing.build().app.routes
        for method in (route.methods or set()) - {"HEAD"}
    }
    documented = Counter(
        (method, path)
        for heading in ("Registration and tokens", "Reset", "REST v2", "Control", "Own")
        for methods, path, _ in rows(heading)
        for method in methods.split(", ")
    )
    assert documented == Counter(served)


def test_every_enhanced_error_is_in_the_reference() -> None:
    documented = {code: (int(status), action) for code, status, action, _ in rows("Codes of REST v2")}
    assert documented == {name: (code.status, code.action) for name, code in CODES.items()}


@pytest.mark.parametrize(
    ("heading", "answered"),
    {
        "Codes of the reset API": {*RESET.values()},
        "Codes of registration and token": {*REGISTRATION.values()},
        "Codes of introspection": {*INTROSPECTION.values()},
        "Codes of the control API": {*CONTROL.values()},
        "Codes of every path": {*PLAIN.items(), *FAULTS.items(), (431, "header_fields_too_large")},
    }.items(),
)
def test_every_error_is_in_the_reference(heading: str, answered: set[tuple[int, str]]) -> None:
    assert {(int(status), code) for status, code, _ in rows(heading)} == answered


def constants(path: Path) -> Iterator[tuple[str, object]]:
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if re.fullmatch(r"[A-Z][A-Z_]*_(MAX|MIN|WAIT_S)", name):
                yield f"{path.stem}.{name}", eval(ast.unparse(node.value))


def test_every_bound_is_in_the_reference() -> None:
    bounds = {name: value for path in MODULES for name, value in constants(path) if isinstance(value, int | float)}
    cells = " ".join(cells[1] for cells in rows("Limits")).replace(",", "")
    documented = {float(number) for number in re.findall(r"\d+(?:\.\d+)?", cells)}
    assert {name: value for name, value in bounds.items() if value not in documented} == {}


def test_every_public_name_is_in_the_reference() -> None:
    public = {f"temppass.{name}" for name in temppass.__all__} | {
        f"temppass.testing.{name}"
        for name, value in vars(testing).items()
        if (inspect.isclass(value) or inspect.isfunction(value)) and value.__module__ == testing.__name__
        if not name.startswith("_")
    }
    assert {cells[0] for cells in rows("Python")} == public - {"temppass.testing.Run"}  # a type of arguments only


@pytest.mark.parametrize("name", temppass.__all__)
def test_every_public_name_says_what_it_is(name: str) -> None:
    """A class by a docstring of its own, and each public method of it; a value by its type's."""
    value = getattr(temppass, name)
    owner = value if inspect.isclass(value) or inspect.isfunction(value) else type(value)
    said = {name: vars(owner).get("__doc__")} if inspect.isclass(owner) else {name: owner.__doc__}
    for member, entry in vars(owner).items() if inspect.isclass(value) else ():
        if not member.startswith("_") and (inspect.isfunction(entry) or isinstance(entry, property)):
            said[member] = entry.__doc__
    assert [each for each, sentence in said.items() if not sentence] == []


def test_every_metric_is_in_the_reference() -> None:
    double = testing.build()
    registry = CollectorRegistry()
    Edge(double.application.service, registry=registry)
    names = [f"{each.name}_total" if each.type == "counter" else each.name for each in registry.collect()]
    assert [cells[0] for cells in rows("Metrics")] == names


def test_every_extra_is_installed_from_the_source() -> None:
    """The project is in no registry, where anybody could take its name."""
    said = [(by_name(path), line) for path in [*MODULES, *PAGES] for line in path.read_text("utf-8").splitlines()]
    assert [(name, line) for name, line in said if re.search(r"pip install [^.]*temppass", line)] == []


def test_a_wheel_says_whose_it_is_and_what_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    needed = ["authors", "classifiers", "description", "keywords", "license", "readme", "requires-python", "urls"]
    assert [key for key in needed if not project.get(key)] == []


# --- the pages


def anchors(page: Path) -> set[str]:
    """Answer the anchors of a page's headings, as forges make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", page.read_text("utf-8"))
    targets = [(page if not file else page.parent / file, anchor) for file, anchor in links]
    dead = [
        (by_name(target), anchor)
        for target, anchor in targets
        if not target.exists() or (anchor and anchor not in anchors(target))
    ]
    assert dead == []


def test_no_word_of_the_glossary_is_explained_twice() -> None:
    page = ROOT / "docs" / "glossary.md"
    words = Counter(cells[0] for heading in sections(page) for cells in rows(heading, page))
    assert [word for word, times in words.items() if times > 1] == []


def test_the_changelog_has_an_unreleased_section() -> None:
    assert "[Unreleased]" in sections(ROOT / "CHANGELOG.md")


def test_the_readme_walks_as_the_server_does() -> None:
    readme = next(block for block in blocks(ROOT / "README.md", "sh") if block.startswith("STATEMENT="))
    assert readme.splitlines()[1:] == walk("http://127.0.0.1:8080", Prepared("", ""), None).splitlines()[2:]


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_every_catalogue_in_the_pages_can_be_applied(page: Path) -> None:
    channel = '[[programmer]]\nid = "acme"\n[[channel]]\nid = "REF"\nprogrammer = "acme"\n'
    for block in blocks(page, "toml"):
        catalogue_file.parse(block if "[[programmer]]" in block else channel + block, page.name)


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_every_command_in_the_pages_exists(page: Path) -> None:
    script = "\n".join(blocks(page, "sh")).replace("\\\n", " ")
    for called in re.findall(r"(?:^|\$\()(?:\.venv/bin/)?(temppass [^)>\n]*)", script, flags=re.MULTILINE):
        name = max((name for name in COMMANDS if f"{called} ".startswith(f"{name} ")), key=len, default=None)
        assert name is not None, called
        options = {option for param in COMMANDS[name].params for option in param.opts}
        assert set(re.findall(r" (--[a-z-]+)", called)) - options == set(), called


@pytest.mark.process
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=by_name)
def test_every_python_example_passes(page: Path, tmp_path: Path) -> None:
    """The Python of a page is one test module, run by pytest as its reader would."""
    (tmp_path / "test_examples.py").write_text("\n".join(blocks(page, "python")), "utf-8")
    run = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(run, capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False)
    assert done.returncode == 0, done.stdout


def test_every_backup_in_the_pages_is_for_its_owner_only() -> None:
    scripts = [block for page in PAGES for block in blocks(page, "sh") if ".backup" in block or "pg_dump" in block]
    assert [script.splitlines()[0] for script in scripts] == ["umask 077"]


# --- the code


def test_what_is_not_marked_as_starting_a_process_cannot() -> None:
    with pytest.raises(RuntimeError, match="mark it `process`"):
        subprocess.run([sys.executable, "-c", ""], check=True)


@pytest.mark.parametrize("path", MODULES, ids=by_name)
def test_every_module_says_what_it_keeps(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text("utf-8")))


def test_every_module_has_a_row_in_the_design_and_every_row_a_module() -> None:
    """A package's own names, where it has any, are a module of its name; `commands/*` are one a topic."""
    own = [path for path in MODULES if path.name != "__init__.py" or len(ast.parse(path.read_text("utf-8")).body) > 1]
    modules = [path.relative_to(SOURCE.parent).as_posix().removesuffix(".py") for path in own]
    modules = [name.removesuffix("/__init__").removeprefix("temppass/") for name in modules]
    told = [name for cells in rows("Modules and what they may import", DESIGN) for name in cells[0].split(", ")]
    unsaid = [name for name in modules if not any(fnmatch.fnmatch(name, pattern) for pattern in told)]
    assert (unsaid, [pattern for pattern in told if not fnmatch.filter(modules, pattern)]) == ([], [])


def test_every_exported_name_is_in_all() -> None:
    exported = [
        alias.asname or alias.name
        for node in ast.walk(ast.parse(inspect.getsource(temppass)))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("temppass.")
        for alias in node.names
    ]
    assert (sorted(exported), [name for name in temppass.__all__ if not hasattr(temppass, name)]) == (
        sorted(temppass.__all__),
        [],
    )


ALL_COMMANDS = ", ".join(f"temppass.commands.{path.stem}" for path in (SOURCE / "commands").glob("[a-z]*.py"))


@pytest.mark.process
@pytest.mark.parametrize("module", ["temppass", "temppass.cli", ALL_COMMANDS], ids=["temppass", "cli", "commands"])
def test_the_client_loads_nothing_of_the_server(module: str) -> None:
    """Nor does a command before it is called."""
    own = ["service", "store", "storage", "web", "server", "wiring", "testing", "demo"]
    server = {f"temppass.{name}" for name in own}
    server |= {"starlette", "uvicorn", "uvloop", "httptools", "structlog", "prometheus_client", "sqlite3", "tomli_w"}
    program = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert server & set(loaded) == set()


# --- the tree


def tracked() -> list[Path]:
    """Answer the files of the tree, without what `.gitignore` keeps out of it; also where there is no git."""
    ignored = {".git", ".venv", "__pycache__", "dist"}
    return [
        path
        for path in sorted(ROOT.rglob("*"))
        if path.is_file()
        and not ignored & set(path.relative_to(ROOT).parts)
        and not any(part.endswith(("_cache", ".egg-info", ".hypothesis")) for part in path.relative_to(ROOT).parts)
    ]


@pytest.mark.parametrize("name", ["constraints.txt", "constraints-lowest.txt"])
def test_constraints_are_names_and_versions(name: str) -> None:
    lines = (ROOT / name).read_text("utf-8").splitlines()
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line)] == []


def test_the_lowest_versions_that_are_allowed_are_those_that_are_tested() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    allowed = [each.partition(";")[0] for each in project["dependencies"] + extras["server"] + extras["postgres"]]
    tested = (ROOT / "constraints-lowest.txt").read_text("utf-8").splitlines()
    assert tested == sorted(each.replace(">=", "==") for each in allowed)


def test_no_file_records_where_packages_come_from() -> None:
    locks = re.compile(r"(uv|poetry|pdm)\.lock|Pipfile\.lock|(package-lock|npm-shrinkwrap)\.json|(yarn|pnpm)[-.]lock.*")
    index = re.compile(rb"--(extra-)?index[-]url|--find[-]links|\bhttps?://\S+/simple\b|--hash[=]|\"resolved[\"]")
    assert [by_name(path) for path in tracked() if locks.fullmatch(path.name) or index.search(path.read_bytes())] == []
