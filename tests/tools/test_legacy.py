"""
A retired request becomes the present one, everybody is spelled out, and no secret is repeated.
"""

import json
import re
import shlex
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from temppass.client.errors import InvalidTarget, TempPassError
from temppass.commands.legacy import migrate_request
from temppass.core.identity import device_from_header
from temppass.failure import Failure
from temppass.tools.curl import curl
from temppass.tools.legacy import migrate
from temppass.tools.pasted import REQUEST_BYTES_MAX, NotMigrated

MGMT, API, SP = "https://mgmt.auth.adobe.com", "https://api.auth.adobe.com", "https://sp.auth.adobe.com"
PAIR = "requestor_id=REF&mvpd_id=TempPassREF"
ONE = f"{MGMT}/reset-tempass/v2/reset?{PAIR}&device_id=tv"
V1 = "requestor=REF&deviceId=tv&mso_id=TempPassREF"
HASH = "6505054d62861944b4cee5193e7466f592e9deeeb2467d1a6ff021843d0babb2"
IDENTITY = "eyJlbWFpbCI6IjY1MDUwNTRkNjI4NjE5NDRiNGNlZTUxOTNlNzQ2NmY1OTJlOWRlZWViMjQ2N2QxYTZmZjAyMTg0M2QwYmFiYjIifQ=="
EXAMPLES = Path(__file__).parent.parent / "examples"
HEADERS = """-H 'Accept: application/json' -H 'Authorization: Bearer '"$ACCESS_TOKEN\""""
RESET, V2 = "temporary:passes:owner", "api:client:v2"


def sent(command: str) -> list[str]:
    return [f"{request.method} {request.url}" for request in migrate(command).requests]


# --- what becomes of each call

TABLE = [
    # resets, by every way to prove who one is
    (
        f'curl -X DELETE -H "ApiKey: s" "{MGMT}/reset-tempass/v2/reset?{PAIR}&device_id=tv"',
        f"DELETE {MGMT}/reset-tempass/v3/reset?device_id=tv&{PAIR}",
        RESET,
    ),
    (
        f"curl -XDELETE -H 'apiKey: s' '{MGMT}/reset-tempass/v2.1/reset?device_id=tv&{PAIR}'",
        f"DELETE {MGMT}/reset-tempass/v3/reset?device_id=tv&{PAIR}",
        RESET,
    ),
    (
        f"{MGMT}/reset-tempass/v1/reset/?{PAIR}&device_id=a%20b&apikey=s",
        f"DELETE {MGMT}/reset-tempass/v3/reset?device_id=a%20b&{PAIR}",
        RESET,
    ),
    (
        f'curl --request DELETE -H "ApiKey: s" --url "{MGMT}/reset-tempass/v2.1/reset/generic?{PAIR}&key={HASH}"',
        f"DELETE {MGMT}/reset-tempass/v3/reset/generic?key={HASH}&{PAIR}",
        RESET,
    ),
    (
        f'curl -X DELETE "{MGMT}/reset-tempass/v2/reset/generic?{PAIR}&key=viewer@example.net"',
        f"DELETE {MGMT}/reset-tempass/v3/reset/generic?key={HASH}&{PAIR}",
        RESET,
    ),
    (
        f'curl -X DELETE "{MGMT}/reset-tempass/v2/reset?{PAIR}"',
        f"DELETE {MGMT}/reset-tempass/v3/reset?device_id=all&{PAIR}",
        RESET,
    ),
    (
        f'curl -X DELETE "{MGMT}/reset-tempass/v2/reset/generic?{PAIR}&key="',
        f"DELETE {MGMT}/reset-tempass/v3/reset/generic?key=all&{PAIR}",
        RESET,
    ),
    # REST v1
    (f"{API}/api/v1/config/REF?deviceType=x", f"GET {SP}/api/v2/REF/configuration", V2),
    (f"curl '{API}/api/v1/config/REF.json'", f"GET {SP}/api/v2/REF/configuration", V2),
    (
        f"curl '{API}/api/v1/authenticate/freepreview' -d requestor_id=REF -d 'deviceId=tv&mso_id=TempPassREF'",
        f"GET {SP}/api/v2/REF/profiles/TempPassREF",
        V2,
    ),
    (f"curl '{API}/api/v1/checkauthn?{V1}'", f"GET {SP}/api/v2/REF/profiles/TempPassREF", V2),
    (f"curl '{API}/api/v1/checkauthn/K7Q2MXA?requestor=REF'", f"GET {SP}/api/v2/REF/profiles/code/K7Q2MXA", V2),
    (f"curl '{API}/api/v1/tokens/authn.xml?{V1}'", f"GET {SP}/api/v2/REF/profiles/TempPassREF", V2),
    (f"curl '{API}/api/v1/tokens/usermetadata?{V1}'", f"GET {SP}/api/v2/REF/profiles/TempPassREF", V2),
    (f"{API}/api/v1/authorize?{V1}&resource=R1", f"POST {SP}/api/v2/REF/decisions/authorize/TempPassREF", V2),
    (
        f"{API}/api/v1/authorize?requestor=REF&deviceId=tv&resource=R1",
        f"POST {SP}/api/v2/REF/decisions/authorize/MVPD_ID",
        V2,
    ),
    (f"{API}/api/v1/tokens/authz?{V1}&resource=R1", f"POST {SP}/api/v2/REF/decisions/authorize/TempPassREF", V2),
    (f"{API}/api/v1/tokens/media?{V1}&resource=R1", f"POST {SP}/api/v2/REF/decisions/authorize/TempPassREF", V2),
    (f"{API}/api/v1/mediatoken?{V1}&resource=R1", f"POST {SP}/api/v2/REF/decisions/authorize/TempPassREF", V2),
    (f"{API}/api/v1/preauthorize?{V1}&resource=A,B", f"POST {SP}/api/v2/REF/decisions/preauthorize/TempPassREF", V2),
    (f"curl -X DELETE '{API}/api/v1/logout?deviceId=tv'", f"GET {SP}/api/v2/REQUESTOR_ID/logout/MVPD_ID", V2),
    (f"curl '{API}/reggie/v1/REF/regcode' -d deviceId=tv", f"POST {SP}/api/v2/REF/sessions", V2),
    (f"curl '{API}/reggie/v1/REF/regcode/K7Q2MXA'", f"GET {SP}/api/v2/REF/sessions/K7Q2MXA", V2),
]


@pytest.mark.parametrize(("command", "request_", "scope"), TABLE)
def test_a_retired_request_becomes_the_present_one(command: str, request_: str, scope: str) -> None:
    migrated = migrate(command)
    assert (sent(command), migrated.scope, migrated.is_current) == ([request_], scope, False)


@pytest.mark.parametrize("command", [command for command, _, _ in TABLE])
def test_what_was_migrated_is_current_and_stays_as_it_is(command: str) -> None:
    first = migrate(command)
    again = migrate(curl(first.requests[0]))
    assert (again.requests, again.is_current) == (first.requests, True)


def test_the_permanent_token_becomes_a_registration_and_a_token() -> None:
    migrated = migrate(f"curl -u key:secret -X POST {MGMT}/oauth2/permanent_accesstoken")
    register, token = migrated.requests
    assert (register.url, register.body, token.url, token.body, migrated.scope) == (
        f"{SP}/o/client/register",
        b'{"software_statement": "$SOFTWARE_STATEMENT"}',
        f"{SP}/o/client/token",
        b"grant_type=client_credentials&client_id=$CLIENT_ID&client_secret=$CLIENT_SECRET",
        RESET,
    )


@pytest.mark.parametrize(
    "path",
    [
        f"reset-tempass/v3/reset?{PAIR}&device_id=tv",
        "o/client/register",
        "o/client/token?client_id=s",
        "api/v2/REF/configuration",
        "api/v2/REF/profiles/TempPassREF",
        "api/v2/sessions/REF/K7Q2MXA",
    ],
)
def test_a_present_request_is_current(path: str) -> None:
    migrated = migrate(f"https://pass.example/{path}")
    assert (migrated.is_current, migrated.requests[0].url.partition("?")[0]) == (
        True,
        f"https://pass.example/{path.partition('?')[0]}",
    )


def test_a_present_authorize_keeps_viewer_and_titles() -> None:
    line = (
        f"curl -X POST {SP}/api/v2/REF/decisions/authorize/TempPassREF -H 'AP-Device-Identifier: fingerprint dHY'"
        f" -H 'Authorization: Bearer s' -H 'AP-TempPass-Identity: {IDENTITY}' -H 'X-Forwarded-For: 203.0.113.7'"
        """ --data-raw $'{"resources":["R1","R2"]}'"""
    )
    request = migrate(line).requests[0]
    assert (request.headers, request.body) == (
        {
            "Accept": "application/json;charset=utf-8",
            "AP-Device-Identifier": "fingerprint dHY=",
            "AP-TempPass-Identity": IDENTITY,
            "X-Forwarded-For": "203.0.113.7",
            "Content-Type": "application/json;charset=utf-8",
            "Authorization": "Bearer $ACCESS_TOKEN",
        },
        b'{"resources": ["R1", "R2"]}',
    )


@pytest.mark.parametrize(
    "line",
    [line for line in (EXAMPLES / "seed_curls.txt").read_text().splitlines() if "curl " in line and "http" in line],
)
def test_every_curl_of_the_vendors_pages_is_read(line: str) -> None:
    migrated = migrate(line)
    assert (migrated.is_current, len(migrated.requests), migrated.scope) == (True, 1, RESET)


# --- where it goes


@pytest.mark.parametrize(
    ("host", "management"),
    [
        ("https://mgmt.auth.adobe.com", "https://mgmt.auth.adobe.com"),
        ("http://mgmt.auth.adobe.com", "https://mgmt.auth.adobe.com"),
        ("https://mgmt.auth-staging.adobe.com", "https://mgmt.auth-staging.adobe.com"),
        ("https://MGMT-prequal.auth.adobe.com", "https://mgmt-prequal.auth.adobe.com"),
        ("https://mgmt.prequal.auth.adobe.com", "https://mgmt-prequal.auth.adobe.com"),
        ("https://sp-prequal.auth-staging.adobe.com", "https://mgmt-prequal.auth-staging.adobe.com"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("https://user:pass@pass.example", "https://pass.example"),
        ("mgmt.auth.adobe.com", "https://mgmt.auth.adobe.com"),
    ],
)
def test_the_environment_and_a_host_of_ones_own_are_kept(host: str, management: str) -> None:
    assert sent(f"{host}/reset-tempass/v2/reset?{PAIR}&device_id=tv") == [
        f"DELETE {management}/reset-tempass/v3/reset?device_id=tv&{PAIR}"
    ]


# --- how it is written


@pytest.mark.parametrize(
    "command",
    [
        f'$ curl -H "ApiKey: s" -X DELETE -v "{ONE}"',
        f'KEY=s /usr/bin/curl -sSX DELETE -H "ApiKey: $KEY" "{ONE}" | jq .',
        f'curl \\\n -X DELETE \\\r\n -H "ApiKey: s" \\ \n "{ONE}" > /x 2>&1',
        f'# nightly\ncurl -X DELETE -H "ApiKey: s"\n"{ONE}" || exit 1',
        f"curl -k -m 5 -A x://y -e http://z --proxy http://p -o f -XDELETE {ONE}",
        f"curl -G -d {PAIR} --data-urlencode device_id=tv -X DELETE {MGMT}/reset-tempass/v2/reset",
        f"'{ONE}'\n",
    ],
)
def test_a_command_line_is_read_as_a_shell_would(command: str) -> None:
    assert sent(command) == [f"DELETE {MGMT}/reset-tempass/v3/reset?device_id=tv&{PAIR}"]


def test_words_that_a_shell_has_split_are_read_as_they_are() -> None:
    words = ["curl", "-X", "DELETE", "-H", "ApiKey: s", f"{MGMT}/reset-tempass/v2/reset?{PAIR}&device_id=it's"]
    assert migrate(words).requests[0].url == f"{MGMT}/reset-tempass/v3/reset?device_id=it%27s&{PAIR}"


@given(st.binary(min_size=1, max_size=64).filter(lambda device_id: device_id != b"all"))
@settings(max_examples=100, deadline=None)
def test_any_device_id_arrives_as_the_same_bytes(device_id: bytes) -> None:
    encoded = quote(device_id, safe="")
    reset = migrate(f"{MGMT}/reset-tempass/v2/reset?{PAIR}&device_id={encoded}").requests[0].url
    authorize = migrate(f"{API}/api/v1/authorize?requestor=REF&deviceId={encoded}&resource=R").requests[0]
    found = re.search("device_id=([^&]*)", reset)
    assert found is not None
    assert (unquote_to_bytes(found[1]), device_from_header(authorize.headers["AP-Device-Identifier"])) == (
        device_id,
        device_id,
    )


@pytest.mark.parametrize(
    "generic_data",
    [
        f'{{"email":"{HASH}"}}',
        f'{{"email":"{HASH.upper()}","other":"x"}}',
        f'("email":"{HASH}")',
        quote(f'{{"email":"{HASH}"}}', safe=""),
        '{"email":"viewer@example.net"}',
    ],
)
def test_generic_data_becomes_an_identity(generic_data: str) -> None:
    url = f"{API}/api/v1/authorize?{V1}&resource=R1&generic_data={quote(generic_data, safe='')}"
    assert migrate(url).requests[0].headers["AP-TempPass-Identity"] == IDENTITY


def test_device_information_loses_its_url_encoding() -> None:
    """Base64 of {"model":"Box?","osName":"Linux"}, which has a character that a URL encodes."""
    line = f"curl '{API}/api/v1/checkauthn?{V1}' -H 'X-Device-Info: eyJtb2RlbCI6IkJveD8iLCJvc05hbWUiOiJMaW51eCJ9%3D%3D'"
    migrated = migrate(line)
    assert (migrated.requests[0].headers["X-Device-Info"], migrated.warnings) == (
        "eyJtb2RlbCI6IkJveD8iLCJvc05hbWUiOiJMaW51eCJ9",
        ("the device information lacks version, osVersion, connectionType, which REST v2 asks for",),
    )


def test_titles_are_a_list() -> None:
    assert migrate(f"{API}/api/v1/preauthorize?{V1}&resource=A,B%20b,,C").requests[0].body == (
        b'{"resources": ["A", "B b", "C"]}'
    )


def test_a_title_that_looks_like_a_secret_is_no_variable() -> None:
    migrated = migrate(f"{API}/api/v1/authorize?{V1}&resource=$CLIENT_SECRET")
    line = curl(migrated.requests[0])
    assert (json.loads(shlex.split(line)[-1]), "$CLIENT_SECRET" in line, len(migrated.warnings)) == (
        {"resources": ["$CLIENT_SECRET"]},
        False,
        1,
    )


# --- everybody


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("reset", "it names no device_id"),
        ("reset?device_id=", "its device_id is empty"),
        ("reset?device_id=all", "it says device_id=all"),
        ("reset/generic", "it names no key"),
        ("reset/generic?key=", "its key is empty"),
        ("reset/generic?key=all", "it says key=all"),
    ],
)
@pytest.mark.parametrize("version", ["v1", "v2", "v2.1", "v3"])
def test_everybody_is_said_aloud_and_spelled_out(version: str, query: str, said: str) -> None:
    migrated = migrate(f"{MGMT}/reset-tempass/{version}/{query}{'&' if '?' in query else '?'}{PAIR}")
    warning = migrated.warnings[0]
    assert ("EVERYBODY" in warning, said in warning, "=all&" in migrated.requests[0].url) == (True, True, True)


@pytest.mark.parametrize(
    "query",
    [
        "reset?deviceId=tv",
        "reset?Device-Id=tv",
        "reset?device_id=&key=tv",
        "reset/generic?device_id=tv",
        "reset/generic?Key=x",
    ],
)
def test_a_target_that_no_service_reads_is_not_taken_for_everybody(query: str) -> None:
    with pytest.raises(NotMigrated, match="would reset everybody"):
        migrate(f"{MGMT}/reset-tempass/v2/{query}&{PAIR}")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("&device_id=all&appId=x", "appId narrowed the reset"),
        ("&device_id=tv&deviceUser=x", "deviceUser narrowed the reset"),
        ("&device_id=tv&environment=staging", "environment and host may not mean the same"),
        ("&device_id=$DEV", "a variable of the shell was read as text"),
        ("&device_id=fingerprint%20dHY%3D", "looks like base64"),
        ("&device_id=dHZib3gtNGYxOWMyYTA%3D", "looks like base64"),
        ("&device_id=tv -d @body.txt", "a file that the request names was not read"),
    ],
)
def test_what_may_mean_something_else_is_warned_of(more: str, words: str) -> None:
    assert words in migrate(f"curl {MGMT}/reset-tempass/v2/reset?{PAIR}{more}").warnings[-1]


# --- what cannot be migrated


@pytest.mark.parametrize(
    ("command", "kind", "words"),
    [
        ("", InvalidTarget, "nothing to migrate"),
        (" \n", InvalidTarget, "nothing to migrate"),
        ("curl", InvalidTarget, "no URL"),
        ("curl -X DELETE -H 'ApiKey: s'", InvalidTarget, "no URL"),
        (f'curl "{MGMT}/reset-tempass/v2/reset', InvalidTarget, "quote"),
        (f"curl {MGMT}/a {MGMT}/b", InvalidTarget, "more than one"),
        (f"curl {MGMT}/reset-tempass/v3/reset\ncurl -v", InvalidTarget, "more than one"),
        (f"curl -X 'DELETE; ls' {MGMT}/reset-tempass/v3/reset", InvalidTarget, "method"),
        ("ftp://host/reset-tempass/v2/reset", InvalidTarget, "not http"),
        ("https:///reset-tempass/v2/reset", InvalidTarget, "no host"),
        ("https://[::1/reset-tempass/v2/reset", InvalidTarget, "cannot be read"),
        ("https://host:99999/reset-tempass/v2/reset", InvalidTarget, "cannot be read"),
        ("https://a'b/reset-tempass/v2/reset", InvalidTarget, "no host"),
        (f"{MGMT}/{'x' * REQUEST_BYTES_MAX}", InvalidTarget, "more than 65536 bytes"),
        (f"{MGMT}/reset-tempass/v4/reset?{PAIR}", NotMigrated, "path"),
        (f"{MGMT}/esm/v3/media-company", NotMigrated, "path"),
        (f"{MGMT}/reset-tempass/v2/reset?mvpd_id=T&device_id=tv", NotMigrated, "requestor_id is missing"),
        (f"{MGMT}/reset-tempass/v2/reset?requestor_id=R&device_id=tv&mvpd_id=", NotMigrated, "mvpd_id is missing"),
        (f"{MGMT}/reset-tempass/v2/reset?{PAIR}&device_id=a&device_id=b", NotMigrated, "device_id is given twice"),
        (f"{MGMT}/reset-tempass/v2/reset?{PAIR}&device_id={'a' * 1025}", NotMigrated, "more than 1024 bytes"),
        (f"{MGMT}/reset-tempass/v2/reset/generic?{PAIR}&key={'a' * 1025}", NotMigrated, "at most 1024 bytes"),
        (f"{MGMT}/reset-tempass/v2/reset/generic?{PAIR}&key={IDENTITY}", NotMigrated, "whole identity"),
        (f"{MGMT}/reset-tempass/v2/reset?requestor_id=%FF&mvpd_id=T&device_id=tv", NotMigrated, "not UTF-8"),
        (f"{API}/api/v1/authorize?requestor=REF&resource=R1", NotMigrated, "deviceId is missing"),
        (f"{API}/api/v1/authorize?{V1}", NotMigrated, "resource is missing"),
        (f"{API}/api/v1/authorize?{V1}&resource=R&generic_data=x", NotMigrated, "generic_data is no JSON object"),
        (f"{API}/api/v1/authorize?{V1}&resource=R&generic_data=%7B%22a%22:1%7D", NotMigrated, "generic_data"),
        (f"{API}/api/v1/authenticate?reg_code=x", NotMigrated, "no single equivalent"),
        (f"curl -X DELETE {API}/reggie/v1/REF/regcode/K7Q2MXA", NotMigrated, "ends a code"),
        (f"curl -d '{{}}' {SP}/api/v2/REF/decisions/authorize/T", NotMigrated, "resources"),
        (f'curl -d \'{{"resources":["R"]}}\' {SP}/api/v2/REF/decisions/authorize/T', NotMigrated, "AP-Device-Id"),
    ],
)
def test_what_cannot_be_migrated_says_why(command: str, kind: type[TempPassError], words: str) -> None:
    with pytest.raises(kind, match=words) as caught:
        migrate(command)
    assert bool(caught.value.hint) or "1024" in words or words == "cannot be read"


# --- secrets


def everything(result: Result) -> str:
    failure = result.exception
    told = f"{failure} {failure.hint} {failure.__context__} {failure.__cause__}" if isinstance(failure, Failure) else ""
    return f"{result.stdout} {result.stderr} {told}".lower()


PLACES = [
    "-H 'ApiKey: {}'",
    "-H'apiKey:{}'",
    "-H 'Authorization: Bearer {}'",
    "-H 'Authorization: Basic {}'",
    "-H 'Authorization: GET requestor_id=REF, signature={}, public_key={}'",
    "-H {}",
    "-u key:{}",
    "-ukey:{}",
    "--user=key:{}",
    "--oauth2-bearer {}",
    "--proxy http://user:{}@proxy",
    "--proxy-user user:{}",
    "-b session={}",
    "-d apikey={}",
    "-d client_secret={} -d client_id={}",
    '--json \'{{"client_secret":"{}"}}\'',
    "-X {}",
    "--unknown {}",
    "--unknown={}",
    "{}",
    "-d @{}",
    "| grep {}",
    "'{}",
]
PATHS = [
    f"reset-tempass/v2/reset?{PAIR}&device_id=tv&",
    f"reset-tempass/v2.1/reset/generic?{PAIR}&",
    f"reset-tempass/v3/reset?{PAIR}&",
    "reset-tempass/v2/reset?",
    f"api/v1/authorize?{V1}&resource=R1&",
    f"api/v1/authenticate/freepreview?{V1}&",
    "api/v1/authorize?",
    "api/v1/authenticate?",
    "reggie/v1/REF/regcode?deviceId=tv&",
    "api/v2/REF/configuration?",
    "api/v2/REF/sessions?",
    "oauth2/permanent_accesstoken?",
    "o/client/token?",
    "o/client/register?",
    "elsewhere?",
]


@given(
    st.from_regex(r"[q-z]{4}[0-9]{6}", fullmatch=True),
    st.sampled_from(PATHS),
    st.lists(st.sampled_from(PLACES), max_size=3),
    st.sampled_from(["", "apikey={}", "access_token={}", "client_secret={}", "{}", "other={}", "environment={}"]),
    st.sampled_from(["", "user:{}@"]),
    st.sampled_from([[], ["--json"]]),
)
@settings(max_examples=400, deadline=None)
def test_no_secret_is_repeated(
    secret: str, path: str, places: list[str], query: str, login: str, options: list[str]
) -> None:
    url = f"https://{login}mgmt.auth.adobe.com/{path}{query}"
    line = " ".join(["curl", f"'{url}'", *places]).replace("{}", secret).replace("{{", "{").replace("}}", "}")
    result = CliRunner().invoke(migrate_request, [*options, line])
    assert (secret in everything(result), isinstance(result.exception, Failure | None)) == (False, True)


@given(st.text(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_text_is_read_or_refused(text: str) -> None:
    result = CliRunner().invoke(migrate_request, ["-"], input=text)
    assert isinstance(result.exception, Failure | None)


@given(st.text(min_size=1, max_size=40).filter(lambda text: text.isprintable()))
@settings(max_examples=100, deadline=None)
def test_what_is_written_is_one_command_for_a_shell(title: str) -> None:
    url = f"{API}/api/v1/authorize?requestor={quote(title)}&deviceId=tv&resource={quote(title)}"
    words = shlex.split(curl(migrate(url).requests[0]))
    assert (words[:4], json.loads(words[-1])) == (["curl", "-sS", "-X", "POST"], {"resources": [title]})


# --- the command


EVERYBODY = """
this resets EVERYBODY: it names no device_id, which means EVERY device of the pass; it is written as device_id=all
""".strip()


def test_the_command_prints_curl_on_stdout_and_words_on_stderr() -> None:
    line = f'curl -X DELETE -H "ApiKey: s3cret" "{MGMT}/reset-tempass/v2/reset?{PAIR}"'
    result = CliRunner().invoke(migrate_request, [line])
    assert (result.exit_code, result.stdout.splitlines(), result.stderr.splitlines()) == (
        0,
        [
            f"curl -sS -X DELETE '{MGMT}/reset-tempass/v3/reset?device_id=all&{PAIR}' {HEADERS}",
        ],
        [
            f"warning: {EVERYBODY}",
            "reset v2 becomes reset v3 of EVERY device",
            "- the API key is gone: the access token of a registered application takes its place",
            "scope: temporary:passes:owner",
        ],
    )


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [
        (["--json", f"{MGMT}/reset-tempass/v3/reset?{PAIR}&device_id=tv"], ""),
        ([f"{MGMT}/reset-tempass/v3/reset?{PAIR}&device_id=tv", "--json"], ""),
        (["--json", "curl", "-X", "DELETE", f"{MGMT}/reset-tempass/v3/reset?{PAIR}&device_id=tv", "-v"], ""),
        (["--json"], f"curl -X DELETE \\\n '{MGMT}/reset-tempass/v3/reset?{PAIR}&device_id=tv'\n"),
        (["--json", "-"], f"{MGMT}/reset-tempass/v3/reset?{PAIR}&device_id=tv"),
        (["-", "--json"], f"{MGMT}/reset-tempass/v3/reset?{PAIR}&device_id=tv"),
    ],
)
def test_the_command_takes_an_argument_words_or_stdin(arguments: list[str], stdin: str) -> None:
    result = CliRunner().invoke(migrate_request, arguments, input=stdin)
    assert json.loads(result.stdout) == {
        "was": "reset v3",
        "becomes": "reset v3 of one device",
        "is_current": True,
        "scope": RESET,
        "curl": [
            f"curl -sS -X DELETE '{MGMT}/reset-tempass/v3/reset?device_id=tv&{PAIR}' {HEADERS}",
        ],
        "notes": [],
        "warnings": [],
    }


@pytest.mark.parametrize(
    ("arguments", "stdin", "code"),
    [
        ([], b"", 2),
        (["-"], b"\xff", 2),
        (["-"], b"x" * (REQUEST_BYTES_MAX + 2), 2),
        (["curl", "-v"], b"", 2),
        ([f"{MGMT}/elsewhere"], b"", 1),
    ],
)
def test_what_is_wrong_exits_with_its_code(arguments: list[str], stdin: bytes, code: int) -> None:
    result = CliRunner().invoke(migrate_request, arguments, input=stdin)
    assert isinstance(result.exception, Failure)
    assert (result.exception.code, result.stdout) == (code, "")
