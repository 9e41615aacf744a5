"""What a user may choose about one mount: defaults < TOML profile < environment < options.

One frozen value, checked once; every room receives the part it needs through its constructor. `load` puts it
together from its sources; every mistake becomes one `ConfigError` that names the setting, its source and the
reason, and never a token. Nothing here touches the mount point or the network.
"""

import ipaddress
import json
import math
import os
import stat
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import platformdirs
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from aerofs.errors import ConfigError

TOKEN_SOURCES = ("token", "token_file", "token_command")
_PATHS = ("mountpoint", "token_file", "ca_file", "state_dir", "log_file")
_JSON_VALUES = ("definitions", "dialect")
_DURATION_UNITS: Mapping[str, float] = MappingProxyType(
    {"": 1, "ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
)


def duration(text: str) -> float:
    """Seconds, from text like `30`, `30s`, `5m`, `1.5h`, `2d`, `inf`.

    Raises:
        ValueError: It is none.
    """
    text = text.strip().lower()
    if text == "inf":
        return math.inf
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz ")
    unit = text[len(number) :].strip()
    try:
        return float(number) * _DURATION_UNITS[unit]
    except (KeyError, ValueError):
        raise ValueError(f"{text!r} is not a duration (write 30, 30s, 5m, 2h, 1d)") from None


_SIZE_UNITS: Mapping[str, int] = MappingProxyType(
    {"": 1, "b": 1}
    | {unit + tail: 1000**power for power, unit in enumerate("kmgt", start=1) for tail in ("", "b")}
    | {unit + "ib": 1024**power for power, unit in enumerate("kmgt", start=1)}
)


def size(text: str) -> int:
    """Bytes, from text like `500000`, `500k`, `20 MB`, `1.5G`, `2GiB`.

    Raises:
        ValueError: It is none.
    """
    text = text.strip().lower()
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz ")
    try:
        return int(float(number) * _SIZE_UNITS[text[len(number) :].strip()])
    except (KeyError, ValueError, OverflowError):
        raise ValueError(f"{text!r} is not a size (write 500000, 20M, 1.5G, 2GiB)") from None


def _bytes(value: object) -> object:
    """None also as text: an option can take a profile's limit away."""
    if isinstance(value, bool):
        return ""  # pydantic would take True for a byte
    return (None if value.strip().lower() == "none" else size(value)) if isinstance(value, str) else value


def _seconds(value: object) -> object:
    if isinstance(value, bool):
        return None  # pydantic would take True for a second
    return duration(value) if isinstance(value, str) else value


def _octal(value: object) -> object:
    """A mode mask from octal text, as mount(8) and the shell write it; numbers (TOML's 0o022) pass."""
    if not isinstance(value, str):
        return value
    try:
        return int(value, 8)
    except ValueError:
        raise ValueError(f"{value!r} is not an octal number such as 022") from None


def _base_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018 -- reading it is what checks it
    except ValueError:
        raise ValueError("is not a URL") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError("carries a user name or password; the token has its own settings")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{value!r} is not an http or https URL such as https://company.example")
    if parts.query or parts.fragment:
        raise ValueError("has a query or fragment; give the base URL alone")
    return value.rstrip("/")


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


Lifetime = Annotated[float, BeforeValidator(_seconds), Field(ge=0, allow_inf_nan=False)]
"""How long something stays fresh; 0 never."""
Deadline = Annotated[float, BeforeValidator(_seconds), Field(gt=0, allow_inf_nan=False)]
"""A bound that must exist, for nothing may hang."""
Wait = Annotated[float, BeforeValidator(_seconds), Field(ge=0)]
"""How long a caller waits; `inf` for as long as it takes."""
Limit = Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(_bytes)]
"""At most so many bytes; None (as text: `none`) as many as there is room for."""
Lane = Annotated[int, Field(ge=1)]
Identity = Annotated[int, Field(ge=0, lt=2**32 - 1)]
Mask = Annotated[int, BeforeValidator(_octal), Field(ge=0, le=0o777)]
Text = Annotated[str, Field(min_length=1)]


class Settings(BaseModel):
    """The choices for one mount. Times are seconds, sizes bytes, paths absolute."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: Annotated[str, AfterValidator(_base_url)]
    environment: Text
    mountpoint: Path

    token: SecretStr | None = None
    token_file: Path | None = None
    token_command: Text | None = None
    ca_file: Path | None = None
    insecure_http: bool = False
    """Admit plain http to hosts other than loopback."""

    documents_by: Literal["external-id", "id"] = "external-id"
    definitions: dict[str, tuple[str, ...]] = {}
    """Definitions and their value paths, for platforms that do not list them (of lines: `lines.*.photo`)."""
    dialect: dict[str, Any] = {}
    """Overrides of `platform.dialect.Dialect`, by attribute name."""

    read_only: bool = False
    allow_other: bool = False
    uid: Identity | None = None
    gid: Identity | None = None
    umask: Mask = 0o022

    definition_ttl: Lifetime = 300.0
    listing_ttl: Lifetime = 60.0
    document_ttl: Lifetime = 30.0
    negative_ttl: Lifetime = 2.0

    spool_limit: Limit = None
    """What all files together that wait to be saved may take on the local disk."""
    close_wait: Wait = 60.0
    rename_wait: Deadline = 5.0

    connect_deadline: Deadline = 10.0
    metadata_deadline: Deadline = 30.0
    stall_deadline: Deadline = 30.0
    metadata_lane: Lane = 16
    download_lane: Lane = 8
    upload_lane: Lane = 4

    state_dir: Path | None = None
    """Where journal and drafts live; None: the platform's state path, a directory per mount below it."""
    log_file: Path | None = None
    verbose: Annotated[int, Field(ge=0)] = 0

    @field_validator(*_PATHS)
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_absolute():
            raise ValueError(f"{str(value)!r} is not an absolute path")
        return value

    @field_validator("token_file", "ca_file", "state_dir", "log_file")
    @classmethod
    def _beside_the_mount(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        mountpoint = info.data.get("mountpoint")
        if value is not None and mountpoint is not None and is_below(value, mountpoint):
            raise ValueError(f"{value} lies below the mount point {mountpoint}, which would hide it")
        return value

    @model_validator(mode="after")
    def _together(self) -> "Settings":
        if urlsplit(self.url).scheme == "http" and not self.insecure_http and not _is_loopback(self.url):
            reason = "plain http would show the token to the network; use https, or set insecure_http"
            raise _mistake("url", reason)
        given = [name for name in TOKEN_SOURCES if getattr(self, name) is not None]
        if not given:
            raise _mistake("token", "is not set: give AEROFS_TOKEN, token_file or token_command")
        if len(given) > 1:
            raise _mistake(given[-1], f"is given together with {given[0]}; one source of the token is enough")
        if self.state_dir is None and is_below(default_state_dir(), self.mountpoint):
            reason = f"would hide {default_state_dir()}, where saves wait; set state_dir to another place"
            raise _mistake("mountpoint", reason)
        return self


def _mistake(setting: str, reason: str) -> PydanticCustomError:
    return PydanticCustomError("aerofs", "{reason}", {"setting": setting, "reason": reason})


def default_state_dir() -> Path:
    """Where the state of all mounts lives unless `state_dir` says otherwise."""
    return platformdirs.user_state_path("aerofs")


def is_below(path: Path, directory: Path) -> bool:
    """Whether `path` is `directory` or would be hidden by a mount on it. Follows symbolic links."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(directory))


def load(
    options: Mapping[str, object],
    *,
    environ: Mapping[str, str],
    config: Path | None = None,
    profile: str | None = None,
) -> Settings:
    """Put the settings of one mount together: defaults < profile < environment < options.

    Args:
        options: By setting name; a None is an option that was not given.
        environ: `AEROFS_<SETTING>`, and `AEROFS_CONFIG`, `AEROFS_PROFILE` where the next two are not given.
        config: The TOML file; without it the user's `aerofs/config.toml`, which may be missing.
        profile: Which `[profile.NAME]` of it; without it `default`, if there is one.

    Returns:
        Checked settings. A source of the token replaces the sources of the layers below it.

    Raises:
        ConfigError: One sentence with every mistake found.
    """
    given = config or _optional_path(environ.get("AEROFS_CONFIG"))
    file = given or platformdirs.user_config_path("aerofs") / "config.toml"
    named = profile or environ.get("AEROFS_PROFILE")
    values, sources = _merged(
        (_from_profile(file, named, must_exist=given is not None), str(file)),
        (_from_environment(environ), "the environment"),
        (_from_options(options), "the options"),
    )
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise ConfigError("; ".join(_sentences(error, sources))) from None
    if file.exists() and is_below(file, settings.mountpoint):
        raise ConfigError(f"{file} lies below the mount point {settings.mountpoint}, which would hide it")
    return settings


def _merged(*layers: tuple[Mapping[str, object], str]) -> tuple[dict[str, object], dict[str, str]]:
    """The values of all layers, each with its source; the later layer counts."""
    values: dict[str, object] = {}
    sources: dict[str, str] = {}
    for layer, source in layers:
        if any(name in layer for name in TOKEN_SOURCES):
            values = {name: value for name, value in values.items() if name not in TOKEN_SOURCES}
        values.update(layer)
        sources.update(dict.fromkeys(layer, source))
    return values, sources


def _sentences(error: ValidationError, sources: Mapping[str, str]) -> Iterator[str]:
    for detail in error.errors(include_url=False, include_input=False):
        context = detail.get("ctx", {})
        setting = str(detail["loc"][0]) if detail["loc"] else str(context.get("setting", "the settings"))
        if detail["type"] == "missing":
            yield f"{setting} is not set: give it as an argument, as AEROFS_{setting.upper()} or in a profile"
            continue
        reason = str(context.get("error", context.get("reason", detail["msg"])))
        if detail["type"] == "extra_forbidden":
            reason = "there is no such setting"
        source = sources.get(setting)
        yield f"{setting} (from {source}): {reason}" if source else f"{setting}: {reason}"


def _from_profile(file: Path, profile: str | None, *, must_exist: bool) -> dict[str, object]:
    try:
        with file.open("rb") as stream:
            content = tomllib.load(stream)
            others_may_read = bool(os.fstat(stream.fileno()).st_mode & (stat.S_IRGRP | stat.S_IROTH))
    except (FileNotFoundError, NotADirectoryError):
        if must_exist:
            raise ConfigError(f"the configuration file {file} does not exist") from None
        content, others_may_read = {}, False
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"the configuration file {file} cannot be read: {error}") from None
    profiles = content.pop("profile", {})
    if content or not isinstance(profiles, dict):
        stray = next(iter(content), "profile")
        raise ConfigError(
            f"the configuration file {file} has {stray!r} where only [profile.NAME] tables belong"
        )
    chosen = profiles.get(profile or "default", None if profile else {})
    if not isinstance(chosen, dict):
        known = ", ".join(sorted(profiles)) or "none"
        raise ConfigError(f"there is no profile {profile!r} in {file} (profiles there: {known})")
    values = {str(name).replace("-", "_"): value for name, value in chosen.items()}
    if "token" in values and others_may_read:
        raise ConfigError(
            f"{file} holds a token and may be read by others: chmod 600 {file}, or use token_file"
        )
    return _with_paths(values, base=file.parent)


def _from_environment(environ: Mapping[str, str]) -> dict[str, object]:
    values: dict[str, object] = {}
    for name in Settings.model_fields:
        variable = f"AEROFS_{name.upper()}"
        text = environ.get(variable)
        if not text:
            continue
        values[name] = text
        if name in _JSON_VALUES:
            try:
                values[name] = json.loads(text)
            except json.JSONDecodeError as error:
                raise ConfigError(f"{variable} is not JSON: {error}") from None
    return _with_paths(values, base=Path.cwd())


def _from_options(options: Mapping[str, object]) -> dict[str, object]:
    values = {name.replace("-", "_"): value for name, value in options.items() if value is not None}
    return _with_paths(values, base=Path.cwd())


def _with_paths(values: dict[str, object], *, base: Path) -> dict[str, object]:
    """The same values, paths made absolute from `base` (the background process works in /), `~` expanded."""
    for name in _PATHS:
        value = values.get(name)
        if isinstance(value, str | Path) and str(value):
            path = os.path.join(base, Path(value).expanduser())  # noqa: PTH118 -- both functions below take text
            final = os.path.realpath if name == "mountpoint" else os.path.abspath
            values[name] = Path(final(path))
    return values


def _optional_path(text: str | None) -> Path | None:
    return Path(text).expanduser() if text else None
