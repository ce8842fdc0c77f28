"""
Reads a request as somebody pasted it, a curl command line or a URL, into its parts: what words of a shell and options
of curl mean. Nothing is run, sent, or read from a file that it names.
"""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import SplitResult, parse_qsl, quote, urlsplit

from msgspec import Struct

from temppass.client.errors import InvalidTarget, TempPassError
from temppass.client.place import ENVIRONMENTS, Place, place_at

#: a command line has at most so many bytes
REQUEST_BYTES_MAX = 65_536


class NotMigrated(TempPassError):
    """A request that has no equivalent, or lacks what its equivalent needs."""


class Request(Struct, frozen=True):
    """
    What a command line asks for. Names of headers are in lower case; a value's bytes that are not UTF-8 are surrogates.
    """

    method: str
    place: Place
    host: str
    path: str
    parameters: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    body: str
    has_credentials: bool
    body_is_elsewhere: bool


#: options of curl that take a value, by letter; the ones that matter have their long name
_LETTERS = {letter: f"-{letter}" for letter in "AbcCDeEhKmoPQrtTUwxyYz"}
_LETTERS |= {"X": "--request", "H": "--header", "d": "--data", "F": "--form", "u": "--user"}
_FORM = {"--form", "--form-string"}
_DATA = {f"--data{kind}" for kind in ("", "-ascii", "-binary", "-raw", "-urlencode")} | {"--json"} | _FORM
#: ... by name, as far as they matter or their value might be taken for a URL
_VALUED = _DATA | {"--request", "--header", "--user", "--url", "--oauth2-bearer", "--cookie", "--doh-url", "--output"}
_VALUED |= {"--preproxy", "--proxy", "--referer", "--url-query", "--user-agent", "--write-out"}
_CURL = re.compile(r"(.*[/\\])?curl(\.exe)?")
_METHODS = {"", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
#: where a shell ends a command, or sends its output elsewhere
_END = re.compile(r"[|;&]{1,2}|[0-9&]?>{1,2}\S*|<")
VENDORS_HOST = re.compile(r"[a-z]+(?P<build>[.-]prequal)?\.auth(?P<profile>-staging)?\.adobe\.com")
_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")


def read(command: str | Sequence[str]) -> Request:
    """Read a text, or the words that a shell made of it. Raises InvalidTarget."""
    text = command if isinstance(command, str) else " ".join(command)
    if len(text.encode("utf-8", "surrogatepass")) > REQUEST_BYTES_MAX:
        raise InvalidTarget(f"the request has more than {REQUEST_BYTES_MAX} bytes", hint="give one curl command line")
    words = _command(_split(command) if isinstance(command, str) else list(command))
    options = list(_options(words))
    urls = [value for name, value in options if name == "--url" or (name == "" and _is_url(value))]
    if not urls:
        raise InvalidTarget("there is no URL in it", hint="give a curl command line, in quotes, or a URL")
    if len(urls) > 1 or any(name == "" and _CURL.fullmatch(value) for name, value in options):
        raise InvalidTarget("there is more than one request in it", hint="give one at a time")
    return _request(urls[0], options)


def _split(text: str) -> list[str]:
    if not text.strip():
        raise InvalidTarget("there is nothing to migrate", hint="give a curl command line, in quotes, or a URL")
    if not re.search(r"\s", text.strip()):
        return [text.strip().strip("'\"")]
    text = re.sub(r"(?m)^[ \t]*#(?!.*\bcurl\b).*$", "", text)  # a comment, and not the prompt of root
    text = re.sub(r"\\\r?\n", "", text)
    text = re.sub(r"[\\^][ \t]*\r?\n", " ", text)  # a blank after the backslash, and the shell of Windows
    text = re.sub(r"(?<!\S)\$(?=')", "", text)  # $'...', as browsers copy it
    try:
        return shlex.split(text)
    except ValueError:
        raise InvalidTarget("a quote is not closed", hint="give the whole curl command line") from None


def _command(words: Sequence[str]) -> list[str]:
    """Answer the words after the first `curl`, all where there is none, up to where a shell would end the command."""
    named = next((at for at, word in enumerate(words) if _CURL.fullmatch(word)), -1)
    rest = list(words[named + 1 :])
    end = next((at for at, word in enumerate(rest) if _END.fullmatch(word)), len(rest))
    return rest[:end]


def _options(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Answer each option by its long name, with its value; what is no option has the name ""."""
    rest = iter(words)
    for word in rest:
        if word.startswith("--"):
            name, joined, value = word.partition("=")
            yield name, (value if joined else next(rest, "")) if name in _VALUED else ""
        elif word.startswith("-") and len(word) > 1:
            for at, letter in enumerate(word[1:], 2):
                if letter in _LETTERS:
                    yield _LETTERS[letter], word[at:] or next(rest, "")
                    break
                yield {"G": "--get", "I": "--head"}.get(letter, f"-{letter}"), ""
        else:
            yield "", word


def _is_url(word: str) -> bool:
    return "://" in word or re.match(r"[\w.:-]+/(reset-tempass|api|reggie|o|oauth2|adobe-services)/", word) is not None


def _request(url: str, options: Sequence[tuple[str, str]]) -> Request:
    named: dict[str, list[str]] = {}
    for name, value in options:
        named.setdefault(name, []).append(value)
    headers = {}
    for header in named.get("--header", []):
        name, _, value = header.partition(":")
        headers[name.strip().lower()] = value.strip()
    given = [(name, value) for name, value in options if name in _DATA]
    body = "&".join(_data(name, value) for name, value in given)
    parts = _parts(url)
    sent = [parts.query]
    if body and not _is_json(body):
        sent.append(body)
    implied = "POST" if given and "--get" not in named else "HEAD" if "--head" in named else "GET"
    method = (named.get("--request") or [implied if len(options) > 1 else ""])[-1].upper()
    if method not in _METHODS:
        raise InvalidTarget("the method is none of HTTP", hint="-X takes one such as DELETE")
    return Request(
        method,
        _place(parts),
        parts.hostname or "",
        parts.path,
        tuple(_parameters("&".join(sent))),
        headers,
        body,
        any(name in named for name in ("--user", "--oauth2-bearer")) or "@" in parts.netloc,
        any(value.startswith("@") and name not in ("--data-raw", "--form-string") for name, value in given),
    )


def _data(option: str, value: str) -> str:
    if option == "--data-urlencode":
        name, joined, content = value.partition("=")
        return f"{name}={quote(content, safe='')}" if joined else quote(value, safe="")
    if option in _FORM:
        name, _, content = value.partition("=")
        return f"{quote(name)}={quote(content, safe='', errors='surrogateescape')}"
    return value


def _is_json(body: str) -> bool:
    return body.lstrip().startswith(("{", "["))


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url if "://" in url else f"https://{url}")
        parts.port  # noqa: B018 - reading it is the check
    except ValueError:
        raise InvalidTarget("the URL cannot be read") from None
    host = parts.netloc.rpartition("@")[2]
    if parts.scheme not in ("http", "https") or not _HOST.fullmatch(re.sub(r":[0-9]*$", "", host)):
        raise InvalidTarget("the URL has no host, or is not http", hint="write the whole URL, in quotes")
    return parts


def _place(parts: SplitResult) -> Place:
    vendors = VENDORS_HOST.fullmatch(parts.hostname or "")
    if vendors is None:
        return place_at(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}")
    build, profile = "prequal" if vendors["build"] else "release", "staging" if vendors["profile"] else "production"
    return ENVIRONMENTS[f"{build}-{profile}"]


def _parameters(query: str) -> list[tuple[str, str]]:
    return parse_qsl(query, keep_blank_values=True, errors="surrogateescape")


# --- its parameters


def raw(request: Request, *names: str) -> str | None:
    """Answer the value of a parameter under the first of its names that is there. Raises NotMigrated if it has two."""
    for name in names:
        values = {value for given, value in request.parameters if given == name}
        if len(values) > 1:
            raise NotMigrated(f"{name} is given twice, with different values", hint="keep the one that is meant")
        if values:
            return values.pop()
    return None


def text_of(request: Request, *names: str) -> str:
    """Answer the value of a parameter, "" where there is none. Raises NotMigrated."""
    return unicode_of(raw(request, *names) or "", names[0])


def unicode_of(value: str, name: str) -> str:
    """Answer a value that is UTF-8. Raises NotMigrated."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise NotMigrated(f"{name} is not UTF-8", hint="percent-encode it as UTF-8") from None
    return value


def needed(request: Request, *names: str) -> str:
    """Answer the value of a parameter that has to be there. Raises NotMigrated."""
    value = text_of(request, *names)
    if not value:
        raise NotMigrated(f"{names[0]} is missing or empty", hint="add it to the request, and try again")
    return value


def bytes_of(value: str) -> bytes:
    """Answer the bytes of a value, UTF-8 or not. Raises NotMigrated."""
    try:
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise NotMigrated("a device id holds what is no text and no bytes") from None
