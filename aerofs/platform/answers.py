"""Read the envelope of an answer: is it JSON, did it work, and if not, which of our errors is it.

One table maps what the platform says to our family of errors; `parsing.py` reads the contents. Pure.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

from pydantic_core import from_json

from aerofs.errors import (
    AerofsError,
    DeniedError,
    InvalidNameError,
    NotFoundError,
    ProtocolError,
    QuotaError,
    RefusedError,
    TooLargeError,
    UnavailableError,
    UnsupportedError,
)
from aerofs.platform.address import scrubbed
from aerofs.platform.dialect import Dialect

_QUOTED = 160
_V1_CODE = re.compile(r"\[(\d{3})\]")

_BY_CODE: Mapping[int, type[AerofsError]] = {
    HTTPStatus.UNAUTHORIZED: DeniedError,
    HTTPStatus.FORBIDDEN: DeniedError,
    HTTPStatus.NOT_FOUND: NotFoundError,
    HTTPStatus.GONE: NotFoundError,
    HTTPStatus.METHOD_NOT_ALLOWED: UnsupportedError,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: TooLargeError,
    HTTPStatus.NOT_IMPLEMENTED: UnsupportedError,
}

_BY_WORDS: Sequence[tuple[re.Pattern[str], type[AerofsError]]] = tuple(
    (re.compile(words, re.IGNORECASE), error)
    for words, error in (
        (r"is required|required field", RefusedError),
        (
            r"too (large|big)|larger than|file ?size|more than [\d.]+ ?(bytes|MB)|exceeds .*(bytes|MB)",
            TooLargeError,
        ),
        (r"too many|maximum.*(attachments|files)|(at most|more than) \d+ (attachments|files)", QuotaError),
        (r"(file ?name|\bname\b).*(invalid|illegal|not allowed|too long)", InvalidNameError),
        (r"invalid (file ?)?name|illegal character", InvalidNameError),
    )
)
"""What a 400 says, in the order in which it is asked; a 400 that says nothing of these is RefusedError."""
_SLOW_QUERY = re.compile(r"quer(y|ies).*(longer|time|slow)|time limit|timed out", re.IGNORECASE)

_TEMPORARY = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.LOCKED},
)


class SlowQueryError(UnavailableError):
    """The platform stopped a query that ran too long; a smaller page may pass, the same one will not."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the status, the headers by their lower-case names, the whole body.

    Attributes:
        url: Where it came from in the end; relative URLs in it are relative to this.
    """

    status: int
    url: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


def payload(answer: Answer, *, dialect: Dialect, what: str) -> Any:
    """Return the JSON of an answer that says that it worked; None where it has no body.

    Raises:
        AerofsError: What the answer says, as the fitting class of our family; ProtocolError if it is not
        JSON.
    """
    try:
        content = from_json(answer.body) if answer.body.strip() else None
    except ValueError:
        if _worked(answer.status):
            kind = answer.headers.get("content-type", "text of no type")
            raise ProtocolError(f"{what}: not JSON but {kind}: {quote_of(answer.body)}") from None
        raise failure(answer, quote_of(answer.body), what=what) from None
    word = content.get("status") if isinstance(content, dict) else None
    refused = isinstance(word, str) and word.casefold() not in dialect.success_words
    if not _worked(answer.status) or refused:
        raise failure(answer, _said(content) or quote_of(answer.body), what=what)
    return content


def failure(answer: Answer, said: str, *, what: str) -> AerofsError:
    """Return the error that an answer stands for, `said` being the platform's own words."""
    code = answer.status
    if _worked(code):  # v1 answers 200 and tells the code in its words
        told = _V1_CODE.search(said)
        code = int(told[1]) if told else int(HTTPStatus.BAD_REQUEST)
    message = f"{what}: {said} ({code})" if said else f"{what}: status {code}"
    if code in _BY_CODE:
        return _BY_CODE[code](message)
    if code in _TEMPORARY or code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        # a 429 is given before any work is done, so even a save may be sent again
        unsent = code == HTTPStatus.TOO_MANY_REQUESTS
        error = (
            SlowQueryError
            if code == HTTPStatus.INTERNAL_SERVER_ERROR and _SLOW_QUERY.search(said)
            else UnavailableError
        )
        return error(message, retry_after=retry_after(answer.headers), unsent=unsent)
    if code < HTTPStatus.BAD_REQUEST:
        return ProtocolError(message)
    return next((kind for words, kind in _BY_WORDS if words.search(said)), RefusedError)(message)


def retry_after(
    headers: Mapping[str, str],
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> float | None:
    """Return the seconds that a Retry-After header asks for, given as a number or a date; None without one.

    Source: RFC 9110, 10.2.3.
    """
    told = headers.get("retry-after", "").strip()
    if not told:
        return None
    if told.replace(".", "", 1).isdigit():
        return float(told)
    try:
        moment = parsedate_to_datetime(told)
    except ValueError:
        return None
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - now()).total_seconds())


def entries(content: Any, keys: Sequence[str], *, what: str) -> list[dict[str, Any]]:
    """Return the objects of a list answer, wherever the envelope holds the list; what is none is left out.

    Raises:
        ProtocolError: There is no list in it.
    """
    found = entries_if_any(content, keys)
    if found is None:
        raise ProtocolError(
            f"{what}: no list under any of {', '.join(keys)}: {quote_of(repr(content).encode())}"
        )
    return found


def entries_if_any(content: Any, keys: Sequence[str]) -> list[dict[str, Any]] | None:
    """Return the objects of a list answer, None where it holds neither list nor object under the keys."""
    if isinstance(content, list):
        return [each for each in content if isinstance(each, dict)]
    if not isinstance(content, dict):
        return None
    for key in keys:
        value = content.get(key)
        if isinstance(value, list):
            return [each for each in value if isinstance(each, dict)]
        if isinstance(value, dict):
            inner = entries_if_any(value, keys)
            return [value] if inner is None else inner
    return None


def entry(content: Any, keys: Sequence[str], *, id_keys: Sequence[str], what: str) -> dict[str, Any]:
    """Return the one object of an answer, wherever the envelope holds it.

    Raises:
        ProtocolError: There is none.
    """
    if isinstance(content, dict) and id_keys[0] not in content:
        for key in keys:
            value = content.get(key)
            if isinstance(value, list) and len(value) == 1:
                value = value[0]
            if isinstance(value, dict):
                return value
    if isinstance(content, dict) and any(key in content for key in id_keys):
        return content
    raise ProtocolError(
        f"{what}: no object under any of {', '.join(keys)}: {quote_of(repr(content).encode())}"
    )


def quote_of(body: bytes) -> str:
    """Return the beginning of a body for a message: one line, no signatures of URLs; "" if empty."""
    # scrubbed before it is cut: a cut in the middle of a URL must not save its signature
    if not body.strip():
        return ""
    text = " ".join(scrubbed(body[: 16 * _QUOTED].decode(errors="replace")).split())
    return repr(text[:_QUOTED] + ("…" if len(text) > _QUOTED else ""))


def _worked(status: int) -> bool:
    return HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES


def _said(content: Any) -> str:
    """Return the platform's own words about a failure. Source: the error bodies of v2 and v1."""
    if not isinstance(content, dict):
        return ""
    texts = (content.get(key) for key in ("description", "message", "error"))
    words = dict.fromkeys(scrubbed(text) for text in texts if isinstance(text, str) and text)
    return "; ".join(words)[:500]
