"""What kinds of values settings have, and how they are read from text."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

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
    plain = text.strip().lower()
    number = plain.rstrip("abcdefghijklmnopqrstuvwxyz ")
    try:
        return int(float(number) * _SIZE_UNITS[plain[len(number) :].strip()])
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


_LARGEST_MASK = 0o777


def _octal(value: object) -> object:
    """A mode mask from octal text, as mount(8) and the shell write it; numbers (TOML's 0o022) pass."""
    if not isinstance(value, str):
        return value
    try:
        mask = int(value, 8)
    except ValueError:
        mask = -1
    if not 0 <= mask <= _LARGEST_MASK:
        raise ValueError(f"{value!r} is not an octal number such as 022")
    return mask


def _base_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018 -- reading it is what checks it
        (parts.hostname or "").encode("idna")
    except ValueError:
        raise ValueError("is not a URL") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError("carries a user name or password; the token has its own settings")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{value!r} is not an http or https URL such as https://company.example")
    if parts.query or parts.fragment:
        raise ValueError("has a query or fragment; give the base URL alone")
    return value.rstrip("/")


def _filled(value: str) -> str:
    if not value:
        raise ValueError("is empty")
    return value


BaseUrl = Annotated[str, AfterValidator(_base_url)]
"""Where the platform is, without a slash at the end."""
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
Mask = Annotated[int, BeforeValidator(_octal), Field(ge=0, le=_LARGEST_MASK)]
Text = Annotated[str, AfterValidator(_filled)]
