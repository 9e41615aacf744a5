"""What a user may choose about one mount: defaults < TOML profile < environment < options.

One frozen value, checked once; every room receives the part it needs through its constructor.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, SecretStr


class Settings(BaseModel):
    """The choices for one mount. Times are seconds, sizes bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    environment: str
    mountpoint: Path

    token: SecretStr | None = None
    token_file: Path | None = None
    token_command: str | None = None
    ca_file: Path | None = None
    insecure_http: bool = False
    """Admit plain http to hosts other than loopback."""

    documents_by: Literal["external-id", "id"] = "external-id"
    definitions: dict[str, tuple[str, ...]] = {}
    """Definitions and their value paths, for platforms that do not list them (line fields as `lines.*.photo`)."""
    dialect: dict[str, Any] = {}
    """Overrides of `platform.dialect.Dialect`, by attribute name."""

    read_only: bool = False
    allow_other: bool = False
    uid: int | None = None
    gid: int | None = None
    umask: int = 0o022

    definition_ttl: float = 300.0
    listing_ttl: float = 60.0
    document_ttl: float = 30.0
    negative_ttl: float = 2.0

    close_wait: float = 60.0
    rename_wait: float = 5.0

    connect_deadline: float = 10.0
    metadata_deadline: float = 30.0
    stall_deadline: float = 30.0
    metadata_lane: int = 16
    download_lane: int = 8
    upload_lane: int = 4

    state_dir: Path | None = None
    """Where journal and drafts live; None: the platform's state path, a directory per mount below it."""
    log_file: Path | None = None
    verbose: int = 0
