"""The body of a save."""

import errno
import io
from typing import BinaryIO

import pytest

from aerofs.errors import InvalidNameError, LocalIOError
from aerofs.platform.multipart import Form, media_type


class Bytes:
    """Content in memory that may claim another size, and remembers its readers."""

    def __init__(self, data: bytes, *, size: int | None = None) -> None:
        self.data = data
        self.size = len(data) if size is None else size
        self.readers: list[io.BytesIO] = []

    def open(self) -> BinaryIO:
        self.readers.append(io.BytesIO(self.data))
        return self.readers[-1]


class Unreadable:
    size = 5

    def open(self) -> BinaryIO:
        raise PermissionError(errno.EACCES, "no")


async def sent(form: Form) -> bytes:
    return b"".join([piece async for piece in form])


async def test_a_form_holds_the_file_under_its_part_name_and_its_size_is_exact() -> None:
    content = Bytes(b"x" * 3_000_000)
    form = Form("file", "a ü.pdf", content)
    body = await sent(form)
    assert len(body) == form.size
    boundary = form.content_type.partition("boundary=")[2].encode()
    head, _, rest = body.partition(b"\r\n\r\n")
    assert head == (
        b"--" + boundary + b'\r\nContent-Disposition: form-data; name="file"; filename="a \xc3\xbc.pdf"'
        b"\r\nContent-Type: application/pdf"
    )
    assert rest == content.data + b"\r\n--" + boundary + b"--\r\n"
    assert content.readers[0].closed


async def test_an_empty_file_is_a_form_too() -> None:
    form = Form("file", "empty", Bytes(b""))
    assert len(await sent(form)) == form.size


async def test_content_that_grew_is_sent_as_long_as_it_was() -> None:
    form = Form("file", "a", Bytes(b"12345678", size=5))
    body = await sent(form)
    assert len(body) == form.size
    assert b"12345\r\n" in body


async def test_content_that_shrank_is_an_error_and_not_a_short_file() -> None:
    content = Bytes(b"123", size=5)
    with pytest.raises(LocalIOError, match="shorter"):
        await sent(Form("file", "a", content))
    assert content.readers[0].closed


async def test_content_that_cannot_be_read_is_our_error() -> None:
    with pytest.raises(LocalIOError):
        await sent(Form("file", "a", Unreadable()))


async def test_a_form_that_is_given_up_closes_its_reader() -> None:
    content = Bytes(b"x" * 10)
    form = Form("file", "a", content)
    await anext(form)
    form.close()
    assert content.readers[0].closed


async def test_what_the_network_took_is_counted() -> None:
    sizes: list[int] = []
    await sent(Form("file", "a", Bytes(b"x" * 1_000_000), sent=sizes.append))
    assert sum(sizes) == 1_000_000


def test_a_backslash_stands_for_itself_and_a_quote_is_refused() -> None:
    with pytest.raises(InvalidNameError):
        Form("file", 'a"', Bytes(b""))
    assert b'filename="a\\b"' in Form("file", "a\\b", Bytes(b""))._head


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.pdf", "application/pdf"),
        ("a.JPG", "image/jpeg"),
        ("a.tar.gz", "application/gzip"),
        ("a.tar.xz", "application/octet-stream"),
        ("a", "application/octet-stream"),
    ],
)
def test_the_type_follows_the_name(name: str, kind: str) -> None:
    assert media_type(name) == kind
