"""The client on the network: certificates and proxies."""

import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from aerofs import errors
from aerofs.platform import Platform
from aerofs.sandbox import SandboxConfig, serving
from aerofs.settings import Settings

ANSWER = b'{"status":"ok","documentDefinitions":[]}'


def platform(url: str, **given: object) -> Platform:
    values = {"url": url, "environment": "sandbox", "mountpoint": Path("/nowhere/mnt"), "token": "t", **given}
    return Platform(Settings.model_validate(values))


async def answer_once(stream: trio.abc.Stream) -> None:
    """Answer one request, whatever it is; show what a proxy would see in the definition's name."""
    head = b""
    try:
        while b"\r\n\r\n" not in head:
            piece = await stream.receive_some()
            if not piece:
                return
            head += piece
        line = head.partition(b"\r\n")[0].decode().replace('"', "")
        body = ANSWER.replace(b"[]", b'[{"name":"%s"}]' % line.encode())
        length = b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body)
        await stream.send_all(b"HTTP/1.1 200 OK\r\n" + length + body)
        await stream.aclose()
    except trio.BrokenResourceError:
        pass


@asynccontextmanager
async def listening(context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    async with trio.open_nursery() as nursery:
        serve = (
            partial(trio.serve_tcp, answer_once, 0, host="127.0.0.1")
            if context is None
            else partial(trio.serve_ssl_over_tcp, answer_once, 0, context, host="127.0.0.1")
        )
        (listener,) = await nursery.start(serve)
        inner = getattr(listener, "transport_listener", listener)
        yield inner.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that nobody vouches for, with its key in the same file."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the command openssl")
    path = tmp_path_factory.mktemp("tls") / "own.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=aero "
        f"-addext subjectAltName=IP:127.0.0.1 -keyout {path}.key -out {path}.crt"
    )
    subprocess.run(command.split(), check=True, capture_output=True)
    path.write_text(Path(f"{path}.key").read_text() + Path(f"{path}.crt").read_text())
    return path


async def test_a_certificate_is_checked_and_the_users_own_authority_is_trusted(certificate: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    async with listening(context) as port:
        url = f"https://127.0.0.1:{port}"
        async with platform(url, ca_file=Path(f"{certificate}.crt")) as client:
            assert len(await client.definitions()) == 1
        async with platform(
            url.replace("127.0.0.1", "localhost"), ca_file=Path(f"{certificate}.crt")
        ) as client:
            with pytest.raises(errors.UnavailableError, match=r"not trusted.*(localhost|mismatch)"):
                await client.definitions()


async def test_a_certificate_that_nobody_vouches_for_is_named_as_the_reason(certificate: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]

    async def refuse(stream: trio.SocketStream) -> None:
        with pytest.raises(trio.BrokenResourceError):
            await trio.SSLStream(stream, context, server_side=True).do_handshake()

    async with trio.open_nursery() as nursery, platform(f"https://127.0.0.1:{port}") as client:
        nursery.start_soon(trio.serve_listeners, refuse, listeners)
        with pytest.raises(errors.UnavailableError, match=r"certificate is not trusted.*ca_file") as caught:
            await client.definitions()
        assert caught.value.unsent
        nursery.cancel_scope.cancel()


async def test_a_proxy_of_the_environment_is_used_but_never_for_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("NO_PROXY", "no_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    async with listening() as port:
        for name in ("HTTP_PROXY", "http_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
        async with platform("http://aero.invalid", insecure_http=True) as client:
            (seen,) = await client.definitions()
            assert "GET http://aero.invalid/api/v2/document-definitions" in seen.name
        async with serving(SandboxConfig(token="t")) as sandbox, platform(sandbox.url) as client:
            assert await client.definitions() == ()
