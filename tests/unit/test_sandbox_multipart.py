"""Uploads that are streamed into files."""

from pathlib import Path

import pytest

from aerofs.sandbox.multipart import Limits, Receiver, boundary_of, unescaped
from aerofs.sandbox.refusals import Refusal


def body(*parts: tuple[str, bytes], end: bytes = b"--B--\r\n") -> bytes:
    return b"".join(f"--B\r\n{head}\r\n\r\n".encode() + data + b"\r\n" for head, data in parts) + end


def file_head(name: str, field: str = "file") -> str:
    return f'Content-Disposition: form-data; name="{field}"; filename="{name}"\r\nContent-Type: text/x'


def receive(
    directory: Path, data: bytes, *, piece: int, limits: Limits | None = None
) -> list[tuple[str, bytes]]:
    with Receiver(b"B", directory, limits or Limits()) as receiver:
        for start in range(0, len(data), piece):
            receiver.feed(data[start : start + piece])
        return [(part.name, part.path.read_bytes()) for part in receiver.finish()]


@pytest.mark.parametrize("piece", [1, 2, 7, 64, 100_000])
def test_files_arrive_whole_however_the_body_is_cut(tmp_path: Path, piece: int) -> None:
    tricky = b"\r\n--B\r\r\n--A--\r\n-" * 30
    sent = [("a.txt", tricky), ("empty", b""), ("a.txt", b"again")]
    data = body(*((file_head(name), content) for name, content in sent))
    data = data.replace(b"\r\n--B\r\r\n", b"\r\n--C\r\r\n")
    expected = [(name, content.replace(b"--B\r\r\n", b"--C\r\r\n")) for name, content in sent]
    assert receive(tmp_path, data, piece=piece) == expected
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        (b"%22quoted%22", b'"quoted"'),
        (b"two%0Alines%0d", b"two\nlines\r"),
        (b"100%25%20%2F.txt", b"100%25%20%2F.txt"),
        ("é/..\\x".encode(), "é/..\\x".encode()),
    ],
)
def test_names_are_unescaped_as_html5_escapes_them_and_no_further(sent: bytes, meant: bytes) -> None:
    assert unescaped(sent) == meant


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (body(('Content-Disposition: form-data; name="file"', b"x")), "only files"),
        (body((file_head("x", "other"), b"x")), "must be named 'file'"),
        (body((file_head("x"), b"x"), end=b""), "ends too early"),
        (b"--B--\r\n", "no file"),
        (b"nonsense", "Body error"),
        (body((file_head("n\0"), b"")), "Body error"),
    ],
)
def test_a_body_that_is_not_files_only_is_refused(tmp_path: Path, data: bytes, complaint: str) -> None:
    with pytest.raises(Refusal, match=complaint):
        receive(tmp_path, data, piece=1000)
    assert not list(tmp_path.iterdir())


def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    data = body((file_head("NAME"), b"x")).replace(b"NAME", b"\xff")
    with pytest.raises(Refusal, match="not UTF-8"):
        receive(tmp_path, data, piece=1000)


@pytest.mark.parametrize(
    ("limits", "complaint"),
    [
        (Limits(files=1), "more than 1 files"),
        (Limits(total=5), "more than 5 bytes"),
        (Limits(single=3), "larger than 3 bytes"),
    ],
)
def test_what_is_beyond_the_limits_is_refused_and_leaves_nothing(
    tmp_path: Path, limits: Limits, complaint: str
) -> None:
    data = body((file_head("a"), b"abc"), (file_head("b"), b"abcd"))
    with pytest.raises(Refusal, match=complaint):
        receive(tmp_path, data, piece=3, limits=limits)
    assert not list(tmp_path.iterdir())


def test_any_part_name_serves_where_none_is_asked_for(tmp_path: Path) -> None:
    data = body((file_head("a", "whatever"), b"abc"))
    assert receive(tmp_path, data, piece=9, limits=Limits(part_name="")) == [("a", b"abc")]


def test_the_boundary_comes_from_the_content_type() -> None:
    assert boundary_of('multipart/form-data; charset=x; boundary="a b"') == b"a b"
    assert boundary_of("multipart/form-data; boundary=xyz") == b"xyz"
    for wrong in ("", "multipart/form-data", "application/json; boundary=x"):
        with pytest.raises(Refusal, match="Content-Type"):
            boundary_of(wrong)
