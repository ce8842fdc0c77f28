"""
The catalogue file: all of it is read or all of its mistakes are told; what is shown is read again as the same.
"""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

import temppass
from temppass.core import catalogue_file
from temppass.core.catalogue import EMPTY, Application, Catalogue, Channel, Pass, Programmer, ResetAll
from temppass.core.catalogue_file import CatalogueError, difference, document_of, duration_text, parse
from temppass.core.model import PassKind

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000

#: the file of design §6
DESIGN = """
[[programmer]]
id = "acme"
name = "Acme Media"

[[channel]]
id = "REF"                      # requestor_id
programmer = "acme"
name = "Reference channel"
domains = ["acme.example"]
timezone = "America/New_York"   # default UTC

[[pass]]
id = "TempPassREF"              # mvpd_id
kind = "basic"
name = "Free half hour"
ttl = "30m"                     # s, m, h, d; compound such as 1h30m
channels = ["REF"]              # the integrations; { id = "REF", enabled = false } disables one
resources_per_call_max = 5      # optional, titles in one authorize or preauthorize

[[pass]]
id = "flexibleTempPass"
kind = "promotional"
ttl = "28d"
resources_max = 5
identity_key = "email"
channels = ["REF"]

[[pass]]
id = "TempPass2"
kind = "basic"
ttl = "10m"
resets = "0 0 * * *"            # cron, in the channel's time zone
channels = ["REF"]

[[application]]
id = "ops"
name = "Support desk"
channels = ["REF"]              # or channels = "all"
scopes = ["api:client:v2", "temporary:passes:owner"]
domains = ["acme.example"]
"""

_REF = {"REF": True}
PARSED = Catalogue(
    {"acme": Programmer("acme", "Acme Media")},
    {"REF": Channel("REF", "acme", "Reference channel", ("acme.example",), "America/New_York")},
    {
        "TempPassREF": Pass("TempPassREF", PassKind.BASIC, "Free half hour", 30 * MINUTE, _REF),
        "flexibleTempPass": Pass(
            "flexibleTempPass", PassKind.PROMOTIONAL, "flexibleTempPass", 28 * DAY, _REF, 5, "email"
        ),
        "TempPass2": Pass("TempPass2", PassKind.BASIC, "TempPass2", 10 * MINUTE, _REF, resets="0 0 * * *"),
    },
    {
        "ops": Application(
            "ops", "Support desk", ("REF",), ("api:client:v2", "temporary:passes:owner"), ("acme.example",)
        )
    },
)


def a_pass(keys: str) -> str:
    """Write a catalogue with one pass of these keys."""
    return f"""
        [[programmer]]
        id = "acme"
        [[channel]]
        id = "REF"
        programmer = "acme"
        [[pass]]
        id = "P"
        {keys}
        """


def problems(text: str) -> list[str]:
    with pytest.raises(CatalogueError) as caught:
        parse(text, "acme.toml")
    return [f"{problem.where}: {problem.key}" for problem in caught.value.problems]


# --- parse


def test_the_file_of_the_design() -> None:
    assert parse(DESIGN, "design.toml") == PARSED


def test_the_demo_catalogue_holds_the_documented_ids() -> None:
    demo = parse((Path(temppass.__file__).parent / "demo.toml").read_text(), "demo.toml")
    curls = (Path(__file__).parents[1] / "examples" / "seed_curls.txt").read_text()
    documented = {
        *re.findall(r"requestor_id=(\w+)&mvpd_id=(\w+)", curls),
        # the older samples of the reset
        ("REF", "FlexibleTempPass"),
        # the samples of the Temp Pass page and of REST v2
        ("REF30", "TempPass"),
        *((channel, pass_) for channel in ("REF30", "apasstest1") for pass_ in ("TempPass_TEST40", "flexibleTempPass")),
        ("REF30", "TempPass_5mins"),
        ("REF30", "TempPass_TEST44"),
    }
    assert (len(documented), {pair for pair in documented if not demo.passes[pair[1]].channels.get(pair[0])}) == (
        10,
        set(),
    )


def test_an_empty_file_is_an_empty_catalogue() -> None:
    assert parse("", "empty.toml") == EMPTY


@pytest.mark.parametrize(
    ("written", "ttl_ms"),
    [
        ("1s", 1_000),
        ("30m", 30 * MINUTE),
        ("1h30m", 90 * MINUTE),
        ("28d", 28 * DAY),
        ("1d1h1m1s", DAY + HOUR + MINUTE + 1_000),
        ("90m", 90 * MINUTE),
        ("3650d", 3650 * DAY),
    ],
)
def test_durations(written: str, ttl_ms: int) -> None:
    catalogue = parse(a_pass(f'kind = "basic"\nttl = "{written}"\nchannels = ["REF"]'), "acme.toml")
    assert catalogue.passes["P"].ttl_ms == ttl_ms


@pytest.mark.parametrize(
    "written", ['""', '"30"', '"m"', '"30 m"', '"1.5h"', '"-1m"', '"30min"', '"30M"', '"٣m"', "30", "true", '"3651d"']
)
def test_bad_durations(written: str) -> None:
    assert "acme.toml: pass P: ttl" in problems(a_pass(f'kind = "basic"\nttl = {written}\nchannels = ["REF"]'))


@given(st.integers(1, 3650 * 86_400).map(lambda seconds: seconds * 1_000))
@settings(max_examples=50, deadline=None)
def test_a_duration_is_read_as_it_is_shown(ms: int) -> None:
    keys = f'kind = "basic"\nttl = "{duration_text(ms)}"\nchannels = []'
    assert parse(a_pass(keys), "acme.toml").passes["P"].ttl_ms == ms


def test_every_mistake_is_told_at_once() -> None:
    """File, entry and key of each; one file, every kind of mistake."""
    told = problems("""
        [[programmer]]
        name = ""
        [[programmer]]
        id = "acme"
        nmae = "Acme"
        [[programmer]]
        id = "acme"
        [[channel]]
        id = "REF"
        programmer = "acne"
        domains = ["https://acme.example"]
        timezone = "America/Gotham"
        [[channel]]
        id = "NO/SLASH"
        programmer = 5
        [[channel]]
        programmer = "acne"
        [[pass]]
        id = "basic"
        kind = "basic"
        resources_max = 5
        identity_key = "email"
        channels = ["REF", "REF31", { id = "REF30", enabled = false }]
        [[pass]]
        id = "promotional"
        kind = "promotional"
        ttl = "0s"
        resources_max = 0
        channels = ["REF", "REF"]
        resets = "61 * * * *"
        [[pass]]
        id = "unkind"
        kind = "flexible"
        ttl = "half an hour"
        resources_max = "5"
        resources_per_call_max = 0
        channels = [{ id = "REF", enabled = "no" }]
        allow_invalid = "yes"
        [[application]]
        id = "ops"
        channels = ["REF", "REF32"]
        scopes = ["two words", "a,comma"]
        [[application]]
        id = "other"
        channels = "some"
        [settings]
        """)
    assert set(told) == {
        "acme.toml: " + mistake
        for mistake in (
            "programmer number 1: id",
            "programmer number 1: name",
            "programmer acme: nmae",
            "programmer acme: id",
            "channel REF: programmer",
            "channel REF: domains",
            "channel REF: timezone",
            "channel NO/SLASH: id",
            "channel NO/SLASH: programmer",
            "channel number 3: id",
            "channel number 3: programmer",
            "pass basic: ttl",
            "pass basic: resources_max",
            "pass basic: identity_key",
            "pass basic: channels",
            "pass promotional: ttl",
            "pass promotional: resources_max",
            "pass promotional: identity_key",
            "pass promotional: channels",
            "pass promotional: resets",
            "pass unkind: kind",
            "pass unkind: ttl",
            "pass unkind: resources_max",
            "pass unkind: resources_per_call_max",
            "pass unkind: channels",
            "pass unkind: allow_invalid",
            "application ops: channels",
            "application ops: scopes",
            "application other: channels",
            "application other: scopes",
            "top level: settings",
        )
    }


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ('kind = "basic"\nttl = "soon"', ["ttl"]),
        ('kind = "flexible"\nttl = "1h"\nresources_max = 5\nidentity_key = "email"', ["kind"]),
        ('kind = "promotional"\nttl = "1h"\nresources_max = -1\nidentity_key = "email"', ["resources_max"]),
    ],
)
def test_a_mistake_is_told_once(keys: str, told: list[str]) -> None:
    assert problems(a_pass(keys + "\nchannels = []")) == [f"acme.toml: pass P: {key}" for key in told]


def test_every_kind_of_pass_says_what_it_needs() -> None:
    assert [*catalogue_file._NEEDED] == [*PassKind]


def test_two_entries_without_an_id_are_not_two_of_one_id() -> None:
    assert problems("[[programmer]]\n[[programmer]]") == [f"acme.toml: programmer number {n}: id" for n in (1, 2)]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[pass]", "acme.toml: "),
        ('pass = "P"', "acme.toml: top level: pass"),
        ("pass = [1]", "acme.toml: top level: pass"),
        ("[pass]\nid = 'P'", "acme.toml: top level: pass"),
    ],
)
def test_files_without_the_shape_of_a_catalogue(text: str, told: str) -> None:
    assert problems(text) == [told]


def test_a_message_names_file_entry_key_and_what_is_wanted() -> None:
    with pytest.raises(CatalogueError) as caught:
        parse(a_pass('kind = "basic"\nttl = "soon"\nchannels = ["REF"]'), "acme.toml")
    assert str(caught.value) == "acme.toml: pass P: ttl: a duration such as 30m, 28d or 1h30m is wanted, not 'soon'"


@pytest.mark.parametrize(
    "cron",
    ["", "0 0 * *", "0 0 * * * *", "60 0 * * *", "0 0 30 2 *", "@daily", "0 0 * * 9", "0 0 x * *", "0 0 1/0 * *"],
)
def test_a_cron_that_never_comes_due_or_is_none(cron: str) -> None:
    keys = f'kind = "basic"\nttl = "1h"\nchannels = ["REF"]\nresets = "{cron}"'
    assert problems(a_pass(keys)) == ["acme.toml: pass P: resets"]


@pytest.mark.parametrize(
    ("keys", "wanting"),
    [
        ('kind = "basic"', ["ttl"]),
        ('kind = "basic"\nttl = "0s"', ["ttl"]),
        ('kind = "promotional"', ["ttl", "resources_max", "identity_key"]),
        ('kind = "promotional"\nttl = "1h"\nresources_max = 0\nidentity_key = ""', ["resources_max", "identity_key"]),
    ],
)
def test_a_pass_that_cannot_decide_is_stored_only_on_purpose(keys: str, wanting: list[str]) -> None:
    keys += '\nchannels = ["REF"]\n'
    stored = parse(a_pass(keys + "allow_invalid = true"), "acme.toml").passes["P"]
    assert (problems(a_pass(keys)), stored.usable) == ([f"acme.toml: pass P: {key}" for key in wanting], False)


@pytest.mark.parametrize(
    ("titles", "told"),
    [
        ("resources_max = 32", []),
        ("resources_max = 33", ["33 titles of up to 2048 bytes", "set resource_bytes_max to 1985 or less"]),
        ("resources_max = 1000", ["1000 titles of up to 2048 bytes", "set resource_bytes_max to 65 or less"]),
        ("resources_max = 1000\nresource_bytes_max = 65", []),
        ("resources_max = 1000\nresource_bytes_max = 66", ["1000 titles of up to 66 bytes", "65 or less"]),
    ],
)
def test_what_a_ledger_may_hold_is_bounded(titles: str, told: list[str]) -> None:
    """File, entry and key, and what to do."""
    keys = f'kind = "promotional"\nttl = "1h"\nidentity_key = "email"\nchannels = ["REF"]\n{titles}'
    try:
        parse(a_pass(keys), "acme.toml")
    except CatalogueError as error:
        (problem,) = str(error).splitlines()
    else:
        problem = ""
    assert (
        problem.startswith("acme.toml: pass P: resources_max: "),
        [part for part in told if part not in problem],
    ) == (
        bool(told),
        [],
    )


def guarded(channel: str = "", of_pass: str = "", application: str = "") -> str:
    """Write a catalogue of one entry of each kind, with these keys beside those that are needed."""
    return f"""
        [[programmer]]
        id = "acme"
        [[channel]]
        id = "REF"
        programmer = "acme"
        {channel}
        [[pass]]
        id = "P"
        kind = "basic"
        ttl = "30m"
        channels = ["REF"]
        {of_pass}
        [[application]]
        id = "ops"
        channels = "all"
        scopes = []
        {application}
        """


@pytest.mark.parametrize(
    ("keys", "wants"),
    [
        (("", "", ""), (ResetAll.IMPLICIT, False, 1, True)),
        (('reset_all = "implicit"', "approvals = 1", "reset_all = true"), (ResetAll.IMPLICIT, False, 1, True)),
        (('reset_all = "explicit"', "", ""), (ResetAll.EXPLICIT, False, 1, True)),
        (("", "reason_required = true\napprovals = 2", ""), (ResetAll.IMPLICIT, True, 2, True)),
        (("", "", "reset_all = false"), (ResetAll.IMPLICIT, False, 1, False)),
    ],
)
def test_what_guards_resets_is_declared_and_else_nothing_does(
    keys: tuple[str, str, str], wants: tuple[ResetAll, bool, int, bool]
) -> None:
    read = parse(guarded(*keys), "acme.toml")
    of_pass = read.passes["P"]
    assert (
        read.channels["REF"].reset_all, of_pass.reason_required, of_pass.approvals, read.applications["ops"].reset_all,
    ) == wants  # fmt: skip


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        (('reset_all = "all"', "", ""), "channel REF: reset_all: implicit or explicit is wanted, not 'all'"),
        (("reset_all = true", "", ""), "channel REF: reset_all: implicit or explicit is wanted, not True"),
        (("", "approvals = 0", ""), "pass P: approvals: a whole number from 1 to 2 is wanted, not 0"),
        (("", "approvals = 3", ""), "pass P: approvals: a whole number from 1 to 2 is wanted, not 3"),
        (("", "approvals = true", ""), "pass P: approvals: a whole number from 1 to 2 is wanted, not True"),
        (("", 'reason_required = "yes"', ""), "pass P: reason_required: true or false is wanted"),
        (("", "", 'reset_all = "explicit"'), "application ops: reset_all: true or false is wanted"),
    ],
)
def test_what_cannot_guard_resets_is_a_mistake(keys: tuple[str, str, str], told: str) -> None:
    with pytest.raises(CatalogueError) as caught:
        parse(guarded(*keys), "acme.toml")
    assert str(caught.value) == f"acme.toml: {told}"


@pytest.mark.parametrize(
    ("keys", "bounds"),
    [("", (3_000, 5_000_000)), ("registrations_per_minute = 60000\nclients_max = 1", (60_000, 1))],
)
def test_how_many_clients_register_is_declared_or_as_many_as_is_usual(keys: str, bounds: tuple[int, int]) -> None:
    read = parse(guarded(application=keys), "acme.toml")
    ops = read.applications["ops"]
    assert (ops.registrations_per_minute, ops.clients_max) == bounds


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ("clients_max = 0", "clients_max: a whole number from 1 to 100000000 is wanted, not 0"),
        (
            "registrations_per_minute = 60001",
            "registrations_per_minute: a whole number from 1 to 60000 is wanted, not 60001",
        ),
    ],
)
def test_a_bound_that_cannot_be_counted_is_a_mistake(keys: str, told: str) -> None:
    with pytest.raises(CatalogueError) as caught:
        parse(guarded(application=keys), "acme.toml")
    assert str(caught.value) == f"acme.toml: application ops: {told}"


# --- show and compare

_text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(
    lambda text: bool(text.strip())
)
_ids = st.from_regex(r"[A-Za-z0-9._~-]{1,8}", fullmatch=True)
_domains = st.lists(st.sampled_from(["acme.example", "tv.acme.example", "localhost"]), unique=True).map(tuple)


@st.composite
def catalogues(draw: st.DrawFn) -> Catalogue:
    """Any catalogue that can be applied."""
    programmers = {
        id_: Programmer(id_, draw(_text)) for id_ in draw(st.lists(_ids, min_size=1, max_size=2, unique=True))
    }
    channels = {
        id_: Channel(
            id_,
            draw(st.sampled_from(list(programmers))),
            draw(_text),
            draw(_domains),
            draw(st.sampled_from(["UTC", "America/New_York", "Asia/Kathmandu"])),
            draw(st.sampled_from(ResetAll)),
        )
        for id_ in draw(st.lists(_ids, max_size=3, unique=True))
    }
    some_channels: Callable[[], list[str]] = lambda: (  # noqa: E731
        draw(st.lists(st.sampled_from(list(channels)), unique=True)) if channels else []
    )
    passes = {}
    for id_ in draw(st.lists(_ids, max_size=3, unique=True)):
        promotional = draw(st.booleans())
        titles = draw(st.integers(0, 1_000)) if promotional else None
        passes[id_] = Pass(
            id_,
            PassKind.PROMOTIONAL if promotional else PassKind.BASIC,
            draw(_text),
            draw(st.integers(0, 3650 * 86_400)) * 1_000,
            {channel: draw(st.booleans()) for channel in some_channels()},
            titles,
            draw(st.just("") | _text) if promotional else None,
            draw(st.integers(1, 1_000)),
            draw(st.sampled_from([None, "0 0 * * *", "*/5 1-3 1 JAN MON"])),
            draw(st.just("") | _text),
            draw(st.none() | st.integers(0, 3650 * 86_400).map(lambda seconds: seconds * 1_000)),
            allow_invalid=True,
            resource_bytes_max=draw(st.integers(1, min(2_048, 65_536 // (titles or 1)))),
            reason_required=draw(st.booleans()),
            approvals=draw(st.integers(1, 2)),
        )
    applications = {
        id_: Application(
            id_,
            draw(_text),
            draw(st.none() | st.just(tuple(some_channels()))),
            draw(st.lists(st.sampled_from(["api:client:v2", "x"]), unique=True).map(tuple)),
            draw(_domains),
            draw(st.booleans()),
        )
        for id_ in draw(st.lists(_ids, max_size=2, unique=True))
    }
    return Catalogue(programmers, channels, passes, applications)


@given(catalogues())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_shown_is_read_again_as_the_same(catalogue: Catalogue) -> None:
    assert parse(tomli_w.dumps(document_of(catalogue)), "shown.toml") == catalogue


@given(catalogues(), catalogues())
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_there_is_a_difference_only_between_different_ones(old: Catalogue, new: Catalogue) -> None:
    assert (difference(old, old), difference(old, new) == []) == ([], document_of(old) == document_of(new))


def test_a_difference_is_told_a_line_each_in_the_order_of_the_file() -> None:
    passes = {
        "TempPassREF": replace(PARSED.passes["TempPassREF"], ttl_ms=HOUR, logo_url="logo.png"),
        "TempPass3": replace(PARSED.passes["TempPass2"], id="TempPass3"),
    }
    assert difference(PARSED, replace(PARSED, passes=passes, applications={})) == [
        "- pass flexibleTempPass",
        "- pass TempPass2",
        "~ pass TempPassREF: logo_url: (none) -> logo.png",
        "~ pass TempPassREF: ttl: 30m -> 1h",
        "+ pass TempPass3",
        "- application ops",
    ]


def test_what_guards_resets_is_shown_where_it_is_declared() -> None:
    """So that a catalogue of before is shown as before."""
    some = guarded('reset_all = "explicit"', "reason_required = true\napprovals = 2", "reset_all = false")
    assert difference(parse(guarded(), "old.toml"), parse(some, "new.toml")) == [
        "~ channel REF: reset_all: (none) -> explicit",
        "~ pass P: approvals: (none) -> 2",
        "~ pass P: reason_required: (none) -> True",
        "~ application ops: reset_all: (none) -> False",
    ]


def test_bounds_are_shown_where_they_are_declared() -> None:
    some = guarded(application="registrations_per_minute = 9\nclients_max = 90")
    assert difference(parse(guarded(), "old.toml"), parse(some, "new.toml")) == [
        "~ application ops: clients_max: (none) -> 90",
        "~ application ops: registrations_per_minute: (none) -> 9",
    ]
