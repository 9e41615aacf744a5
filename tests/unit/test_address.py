"""Where the API is, and who may see the token."""

import pytest

from aerofs.errors import ConfigError, ProtocolError
from aerofs.platform.address import Address, bare, is_loopback, quoted, scrubbed


def address(url: str = "https://aero.example", *, insecure_http: bool = False) -> Address:
    return Address.parse(url, prefix="api/v2", insecure_http=insecure_http)


@pytest.mark.parametrize(
    "url",
    [
        "https://aero.example/shop",
        "https://aero.example/shop/",
        "https://aero.example/shop/api/v2",
        "https://aero.example/shop/api/v2//",
    ],
)
def test_the_prefix_of_the_api_may_be_given_or_left_out(url: str) -> None:
    assert address(url).url("documents") == "https://aero.example/shop/api/v2/documents"


@pytest.mark.parametrize(
    "url",
    [
        "aero.example",
        "ftp://aero.example",
        "https://",
        "https://me:secret@aero.example",
        "https://aero.example?x=1",
    ],
)
def test_what_is_no_url_of_a_platform_is_a_mistake_of_the_user(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        address(url)
    assert "secret" not in str(caught.value)


def test_plain_http_is_for_loopback_only_unless_allowed() -> None:
    with pytest.raises(ConfigError, match="plain http"):
        address("http://aero.example")
    assert address("http://aero.example", insecure_http=True).base.startswith("http://aero.example")
    for host in ("127.0.0.1:8080", "localhost", "[::1]:1", "127.9.9.9", "aero.localhost"):
        assert address(f"http://{host}").base.endswith("/api/v2")


@pytest.mark.parametrize("host", ["localhost.example", "127.0.0.1.example", "0.0.0.0", "10.0.0.1", ""])
def test_other_hosts_are_not_loopback(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("url", "own"),
    [
        ("https://aero.example/files/1?sig=x", True),
        ("https://AERO.example:443/files/1", True),
        ("https://aero.example:8443/files/1", False),
        ("http://aero.example/files/1", False),
        ("https://aero.example.evil.example/files/1", False),
        ("https://store.aero.example/files/1", False),
        ("https://aero.example@evil.example/", False),
        ("nonsense", False),
    ],
)
def test_the_token_is_for_the_very_same_origin(url: str, *, own: bool) -> None:
    assert address().owns(url) is own


def test_a_relative_url_is_resolved_against_the_answer() -> None:
    asked = "https://aero.example/api/v2/document-definitions/a/documents/b/attachments?valuePath=c"
    assert address().resolved("/files/1?s=2", against=asked) == "https://aero.example/files/1?s=2"


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "http://store.example/x", "https://u:p@store.example/"]
)
def test_a_url_that_we_would_not_fetch_is_refused(url: str) -> None:
    with pytest.raises(ProtocolError):
        address().resolved(url, against="https://aero.example/api/v2/x")


def test_every_path_segment_is_quoted_whole() -> None:
    assert quoted("bdr:200¡adm:05¡prj:6") == "bdr%3A200%C2%A1adm%3A05%C2%A1prj%3A6"
    assert quoted("a/b%2Fc?d#e") == "a%2Fb%252Fc%3Fd%23e"
    assert quoted("..") == "%2E%2E"


def test_signatures_never_stand_in_texts() -> None:
    assert bare("https://s.example/a?X-Sig=abc#f") == "https://s.example/a"
    text = scrubbed('{"downloadURL":"https://s.example/a?X-Sig=abc&y=1","n":1} http://t.example/?k=v end')
    assert "abc" not in text
    assert "k=v" not in text
    assert text.endswith(" end")


@pytest.mark.parametrize("url", ["http://[", "https://aero.example:port", "https://[::1"])
def test_a_broken_url_is_a_mistake_and_not_a_crash(url: str) -> None:
    with pytest.raises(ConfigError):
        address(url)
    with pytest.raises(ProtocolError):
        address().resolved(url, against="https://aero.example/api/v2/x")
    assert not address().owns(url)
