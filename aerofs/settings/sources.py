"""Where settings come from: defaults < TOML profile < environment < options.

Every mistake becomes one `ConfigError` that names the setting, its source and the reason, and never a token. Nothing
here touches the mount point or the network.
"""

import json
import os
import stat
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import platformdirs
from pydantic import ValidationError

from aerofs.errors import ConfigError
from aerofs.settings.choices import PATHS, TOKEN_SOURCES, Settings, is_below

_JSON_VALUES = ("definitions", "dialect")


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
        yield f"{setting} (from {source}): {reason}" if source else f"{setting} {reason}"


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
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"the configuration file {file} cannot be read: {reason}") from None
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
    for name in PATHS:
        value = values.get(name)
        if isinstance(value, str | Path) and str(value):
            path = os.path.join(base, Path(value).expanduser())  # noqa: PTH118 -- both functions below take text
            final = os.path.realpath if name == "mountpoint" else os.path.abspath
            values[name] = Path(final(path))
    return values


def _optional_path(text: str | None) -> Path | None:
    return Path(text).expanduser() if text else None
