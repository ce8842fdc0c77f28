"""
Named profiles: where a service is, for which channel and pass one works, and the software statement or the operator's
token that opens it.

    default = "local"

    [profiles.local]
    url = "http://127.0.0.1:8080"      # or environment = "prequal-staging"
    requestor = "REF"
    mvpd = "TempPassREF"
    keep = "file"                      # where the secret is: "file" (mode 0600) or "keyring"

    [profiles.desk]
    url = "http://127.0.0.1:8080"
    operator = "release-production"    # an operator's token opens it, and this is where they act

What holds is decided by option, then variable, then profile. A secret goes only to the place that it was stored for,
and no profile of the vendor's is ever the default: nothing is sent there unless a command or variable says so.
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from temppass.client.errors import InvalidTarget, ProfileError, TempPassError
from temppass.client.place import ENVIRONMENTS, Place, place_at
from temppass.client.vault import Keyring, write_private

#: variables that stand for options
VARIABLES = {
    "profile": "TEMPPASS_PROFILE",
    "url": "TEMPPASS_URL",
    "environment": "TEMPPASS_VENDOR_ENVIRONMENT",
    "statement_file": "TEMPPASS_STATEMENT_FILE",
    "requestor": "TEMPPASS_REQUESTOR",
    "mvpd": "TEMPPASS_MVPD",
}
#: a software statement has at most so many characters
STATEMENT_CHARACTERS_MAX = 16_384
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NAMING = "use at most 64 letters, digits, '.', '_' and '-', the first a letter or a digit"


class Profile(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One profile; exactly one of `url` and `environment` is set."""

    url: str | UnsetType = UNSET
    environment: str | UnsetType = UNSET
    requestor: str | UnsetType = UNSET
    mvpd: str | UnsetType = UNSET
    keep: Literal["file", "keyring"] = "file"
    #: the environment in which an operator acts, whose token is kept in place of a statement
    operator: str | UnsetType = UNSET

    @property
    def place(self) -> Place:
        """Raises ProfileError, InvalidTarget."""
        if (self.url is UNSET) == (self.environment is UNSET):
            raise ProfileError("a profile has either url or environment")
        return place_of(self.url or None, self.environment or None)

    @property
    def is_vendors(self) -> bool:
        return self.environment is not UNSET


class _File(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    default: str | UnsetType = UNSET
    profiles: dict[str, Profile] = {}


def place_of(url: str | None, environment: str | None) -> Place:
    """Answer the place of a URL, or of one of the vendor's environments. Raises InvalidTarget."""
    if url:
        return place_at(url)
    if environment not in ENVIRONMENTS:
        known = ", ".join(ENVIRONMENTS)
        raise InvalidTarget(f"{environment!r} is no environment of the vendor's", hint=f"there are {known}")
    return ENVIRONMENTS[environment]


class Profiles:
    """The profiles of this user: `folder`/profiles.toml, and the statements beside it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / "profiles.toml"

    @property
    def path(self) -> Path:
        return self._path

    def all(self) -> dict[str, Profile]:
        """Raises ProfileError."""
        return self._read().profiles

    @property
    def default(self) -> str | None:
        return self._read().default or None

    def get(self, name: str) -> Profile:
        """Raises ProfileError."""
        found = self.all().get(name)
        if found is None:
            of_default = f" ({self._path} names it as the default)" if name == self.default else ""
            hint = f"`temppass profiles` lists them; `temppass login --profile {name} --url URL` makes it"
            raise ProfileError(f"there is no profile {name!r}{of_default}", hint=hint)
        return found

    def put(self, name: str, profile: Profile, secret: str, *, default: bool) -> None:
        """
        Store a profile with its statement or its operator's token, in place of what had the name, and make it the
        default one if asked. Raises ProfileError.
        """
        if not _NAME.fullmatch(name):
            raise ProfileError(f"{name!r} is no name for a profile", hint=_NAMING)
        if default and profile.is_vendors:
            raise ProfileError("a profile of the vendor's is never the default", hint="name it each time: --profile")
        file = self._read()
        before = file.profiles.get(name)
        if before is not None and (before.keep, before.operator) != (profile.keep, profile.operator):
            self._forget(name, before)
        if profile.keep == "keyring":
            Keyring().keep(_entry(name, profile), secret)
        else:
            self._write(self._secret_path(name, profile), secret.encode())
        self._write_file(_File(name if default else file.default, {**file.profiles, name: profile}))

    def remove(self, name: str) -> None:
        """Forget a profile and its secret. Raises ProfileError."""
        profile, file = self.get(name), self._read()
        self._forget(name, profile)
        default = UNSET if file.default == name else file.default
        self._write_file(_File(default, {key: value for key, value in file.profiles.items() if key != name}))

    def statement(self, name: str) -> str:
        """Answer the statement of a profile. Raises ProfileError."""
        if self.get(name).operator is not UNSET:
            hint = "name a profile that has one, or give --statement-file"
            raise ProfileError(f"profile {name!r} is an operator's and has no software statement", hint=hint)
        return self._secret(name, "statement", "save it again with `temppass login`, or give --statement-file")

    def operator_token(self, name: str) -> str:
        """Answer the operator's token of a profile. Raises ProfileError."""
        if self.get(name).operator is UNSET:
            hint = f"`temppass login --profile NAME --operator` saves one; {name} speaks for an application"
            raise ProfileError(f"profile {name!r} is not an operator's", hint=hint)
        return self._secret(name, "operator's token", "save it again with `temppass login --operator`")

    def _secret(self, name: str, what: str, hint: str) -> str:
        profile = self.get(name)
        if profile.keep == "keyring":
            secret = Keyring().recall(_entry(name, profile)) or ""
        else:
            try:
                secret = self._secret_path(name, profile).read_text("utf-8")
            except (OSError, UnicodeDecodeError):
                secret = ""
        if not secret:
            raise ProfileError(f"the {what} of profile {name!r} cannot be read, or is gone", hint=hint)
        return secret

    def _forget(self, name: str, profile: Profile) -> None:
        if profile.keep == "keyring":
            Keyring().forget(_entry(name, profile))
        self._secret_path(name, profile).unlink(missing_ok=True)

    def _secret_path(self, name: str, profile: Profile) -> Path:
        folder, ending = ("statements", "jwt") if profile.operator is UNSET else ("operators", "token")
        return self._folder / folder / f"{name}.{ending}"

    def _read(self) -> _File:
        try:
            document = tomllib.loads(self._path.read_text("utf-8"))
            file = msgspec.convert(document, _File)
        except FileNotFoundError:
            return _File()
        except OSError as error:
            raise ProfileError(f"cannot read {self._path}: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
            raise ProfileError(f"{self._path}: {error}", hint="mend it, or remove it and log in again") from None
        for name in file.profiles:  # a name leads to a file, also where somebody wrote it by hand
            if not _NAME.fullmatch(name):
                raise ProfileError(f"{self._path}: {name!r} is no name for a profile", hint=_NAMING)
        return file

    def _write_file(self, file: _File) -> None:
        import tomli_w  # noqa: PLC0415 - only those who log in or out write

        self._write(self._path, tomli_w.dumps(msgspec.to_builtins(file)).encode())

    def _write(self, path: Path, content: bytes) -> None:
        try:
            write_private(path, content)
        except OSError as error:
            raise ProfileError(f"cannot write {path}: {error.strerror}") from None


class Chosen(Struct, frozen=True):
    """What holds after options, variables and profile were laid over each other; None where nothing says."""

    place: Place | None
    requestor: str | None
    mvpd: str | None
    #: the profile that was named, or is the default and was used
    profile: str | None
    #: where the statement comes from; None with `statement_of` None means that nothing says
    statement_file: str | None
    #: the profile whose stored secret is good for `place`
    secret_of: str | None
    #: where that profile's operator acts; None for an application's
    operator_in: str | None


def choose(options: Mapping[str, str | None], environ: Mapping[str, str], profiles: Profiles) -> Chosen:
    """Lay options over variables over the profile. `options` has the names of VARIABLES. Raises TempPassError."""
    variables = {name: environ.get(variable) or None for name, variable in VARIABLES.items()}
    name = options.get("profile") or variables["profile"]
    places = [(source.get("url"), source.get("environment")) for source in (options, variables)]
    if any(url and environment for url, environment in places):
        raise InvalidTarget("name a URL or one of the vendor's environments, not both")
    named = next(((url, environment) for url, environment in places if url or environment), None)
    if name is None and named is None:
        name = profiles.default
    profile = profiles.get(name) if name is not None else Profile()
    place = place_of(*named) if named is not None else _place_of_profile(name, profile, profiles)
    is_its_place = name is not None and place == _place_of_profile(name, profile, profiles)
    return Chosen(
        place,
        options.get("requestor") or variables["requestor"] or profile.requestor or None,
        options.get("mvpd") or variables["mvpd"] or profile.mvpd or None,
        name,
        options.get("statement_file") or variables["statement_file"],
        name if is_its_place else None,
        (profile.operator or None) if is_its_place else None,
    )


def _place_of_profile(name: str | None, profile: Profile, profiles: Profiles) -> Place | None:
    if name is None:
        return None
    try:
        return profile.place
    except TempPassError as error:
        raise ProfileError(f"{profiles.path}: profile {name!r}: {error}", hint=error.hint) from None


def clean_statement(text: str, source: str) -> str:
    """Answer a software statement without white space around it. Raises ProfileError where it can be none."""
    statement = text.strip()
    if not re.fullmatch(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", statement):
        raise ProfileError(f"{source} holds no software statement", hint="it is one line, of three parts between dots")
    if len(statement) > STATEMENT_CHARACTERS_MAX:
        raise ProfileError(f"{source} holds more than {STATEMENT_CHARACTERS_MAX} characters")
    return statement


def clean_token(text: str, source: str) -> str:
    """Answer an operator's token without white space around it. Raises ProfileError where it can be none."""
    token = text.strip()
    if not re.fullmatch(r"tpo_[A-Za-z0-9_-]{16,200}", token):
        raise ProfileError(f"{source} holds no operator's token", hint="it is one word and begins with tpo_")
    return token


def _entry(name: str, profile: Profile) -> str:
    return f"{'statement' if profile.operator is UNSET else 'operator token'} of {name}"
