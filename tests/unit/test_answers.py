"""Envelopes, and which of our errors an answer is."""

import json
from datetime import UTC, datetime

import pytest

from aerofs import errors
from aerofs.errors import AerofsError, ProtocolError, UnavailableError
from aerofs.platform import Dialect
from aerofs.platform.answers import (
    Answer,
    SlowQueryError,
    entries,
    entries_if_any,
    entry,
    payload,
    retry_after,
)


def raised(status: int, body: object, **headers: str) -> AerofsError:
    told = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(AerofsError) as caught:
        payload(Answer(status, headers=headers, body=told), dialect=Dialect(), what="the scan")
    return caught.value


def refusal(description: str) -> dict[str, str]:
    return {
        "status": "error",
        "error": "validation_error",
        "description": description,
        "message": description,
    }


@pytest.mark.parametrize("word", ["ok", "success", "OK"])
def test_both_words_of_success_are_understood(word: str) -> None:
    body = json.dumps({"status": word, "x": 1}).encode()
    assert payload(Answer(200, body=body), dialect=Dialect(), what="") == {"status": word, "x": 1}


def test_an_empty_body_of_a_success_is_nothing() -> None:
    assert payload(Answer(204), dialect=Dialect(), what="") is None


@pytest.mark.parametrize(
    ("status", "description", "kind"),
    [
        (401, "a valid Bearer token is required", errors.DeniedError),
        (403, "You may not view 'scan'", errors.DeniedError),
        (404, "There is no document", errors.NotFoundError),
        (405, "", errors.UnsupportedError),
        (413, "", errors.TooLargeError),
        (400, "Body error: picture; This field is required", errors.RefusedError),
        (400, "Body error: scan; The maximum of 3 allowed attachments is exceeded", errors.QuotaError),
        (400, "Too many attachments", errors.QuotaError),
        (400, "Body error: files; more than 3 files in one call", errors.QuotaError),
        (400, "Body error: a.pdf; The file is larger than 1048576 bytes", errors.TooLargeError),
        (400, "Body error: files; more than 104857600 bytes in one call", errors.TooLargeError),
        (400, "Maximum file size exceeded", errors.TooLargeError),
        (400, "The file name contains characters that are not allowed", errors.InvalidNameError),
        (400, "Query error: actionType; must be Upload or replace", errors.RefusedError),
        (409, "changed meanwhile", errors.RefusedError),
        (429, "slow down", errors.UnavailableError),
        (500, "oops", errors.UnavailableError),
        (503, "later", errors.UnavailableError),
        (302, "elsewhere", errors.ProtocolError),
    ],
)
def test_each_refusal_has_its_error(status: int, description: str, kind: type[AerofsError]) -> None:
    error = raised(status, refusal(description))
    assert type(error) is kind
    assert description in str(error)
    assert str(error).startswith("the scan: ")


def test_a_query_that_ran_too_long_is_told_apart() -> None:
    assert isinstance(raised(500, refusal("The query ran longer than 3000 ms")), SlowQueryError)
    assert isinstance(raised(500, refusal("operation exceeded time limit")), SlowQueryError)


def test_a_failure_that_calls_itself_200_is_a_failure() -> None:
    body = {"status": "error", "error": "Error: picture; This field is required [400]"}
    assert type(raised(200, body)) is errors.RefusedError
    assert (
        type(raised(200, {"status": "error", "error": "Error: no such document [404]"}))
        is errors.NotFoundError
    )


def test_a_refused_rate_did_nothing_but_an_internal_error_may_have() -> None:
    limited, failed = raised(429, {}, **{"retry-after": "7"}), raised(500, {})
    assert isinstance(limited, UnavailableError)
    assert isinstance(failed, UnavailableError)
    assert (limited.unsent, limited.retry_after) == (True, 7.0)
    assert (failed.unsent, failed.retry_after) == (False, None)


def test_a_page_instead_of_json_is_quoted_without_signatures() -> None:
    page = b'<!DOCTYPE html>\n<a href="https://s.example/a?X-Sig=abc">Sign in</a>' + b"x" * 9999
    error = raised(200, page, **{"content-type": "text/html"})
    assert isinstance(error, ProtocolError)
    assert "text/html" in str(error)
    assert "<!DOCTYPE html>" in str(error)
    assert "abc" not in str(error)
    assert len(str(error)) < 400
    assert isinstance(raised(502, page), UnavailableError)


def test_retry_after_is_seconds_or_a_date() -> None:
    now = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
    assert retry_after({"retry-after": "2.5"}) == 2.5
    assert retry_after({"retry-after": "Sun, 01 Mar 2026 08:00:30 GMT"}, now=lambda: now) == 30
    assert retry_after({"retry-after": "Sun, 01 Mar 2026 07:00:30 GMT"}, now=lambda: now) == 0
    assert retry_after({"retry-after": "soon"}) is None
    assert retry_after({}) is None


@pytest.mark.parametrize(
    "content",
    [
        [{"a": 1}, "garbage"],
        {"documents": [{"a": 1}]},
        {"data": [{"a": 1}, None]},
        {"result": {"documents": [{"a": 1}]}},
    ],
)
def test_a_list_is_found_wherever_the_envelope_holds_it(content: object) -> None:
    assert entries(content, Dialect().documents_keys, what="") == [{"a": 1}]


def test_a_single_object_counts_as_a_list_of_one() -> None:
    assert entries_if_any({"attachment": {"_id": 1}}, Dialect().attachments_keys) == [{"_id": 1}]
    assert entries_if_any({"status": "ok"}, Dialect().attachments_keys) is None
    assert entries_if_any(None, Dialect().attachments_keys) is None


def test_an_answer_without_a_list_is_an_error_that_quotes_it() -> None:
    with pytest.raises(ProtocolError, match="'files'"):
        entries({"files": []}, Dialect().documents_keys, what="the documents")


@pytest.mark.parametrize(
    "content",
    [{"document": {"_id": "1"}}, {"data": [{"_id": "1"}]}, {"_id": "1"}, {"result": {"_id": "1"}}],
)
def test_an_object_is_found_wherever_the_envelope_holds_it(content: object) -> None:
    assert entry(content, Dialect().document_keys, id_keys=("_id", "id"), what="")["_id"] == "1"


@pytest.mark.parametrize("content", [None, [], {"status": "ok"}, "text"])
def test_an_answer_without_an_object_is_an_error(content: object) -> None:
    with pytest.raises(ProtocolError):
        entry(content, Dialect().document_keys, id_keys=("_id", "id"), what="the document")


def test_a_failure_without_words_tells_its_status() -> None:
    assert str(raised(413, b"")) == "the scan: status 413"
