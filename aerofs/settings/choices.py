"""The settings of one mount, with their defaults."""

import ipaddress
import os
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import platformdirs
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from aerofs.settings.kinds import BaseUrl, Deadline, Identity, Lane, Lifetime, Limit, Mask, Text, Wait

TOKEN_SOURCES = ("token", "token_file", "token_command")
PATHS = ("mountpoint", "token_file", "ca_file", "state_dir", "log_file")


class Settings(BaseModel):
    """The choices for one mount. Times are seconds, sizes bytes, paths absolute."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: BaseUrl
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

    @field_validator(*PATHS)
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        if value == Path():
            raise ValueError("is empty")
        if value is not None and not value.is_absolute():
            raise ValueError(f"{str(value)!r} is not an absolute path")
        return value

    @field_validator("mountpoint")
    @classmethod
    def _told_in_json(cls, value: Path) -> Path:
        try:
            str(value).encode()
        except UnicodeEncodeError:
            raise ValueError(f"{str(value)!r} is not UTF-8") from None
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


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
