"""The control socket: both ends of a conversation, and what is left when one end is gone."""

import errno
import json
import os
import socket
from collections.abc import AsyncGenerator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from aerofs import control
from aerofs.control import ControlServer, server
from aerofs.errors import (
    AerofsError,
    ConfigError,
    DeadlineError,
    DeniedError,
    NotFoundError,
    ProtocolError,
    QuotaError,
)


async def status(request: Mapping[str, Any]) -> Any:
    await trio.lowlevel.checkpoint()
    return {"asked": dict(request)}


async def count(request: Mapping[str, Any]) -> AsyncGenerator[Any, None]:
    for number in range(request["upto"]):
        await trio.lowlevel.checkpoint()
        yield {"remaining": number}


async def refuse(request: Mapping[str, Any]) -> Any:
    raise QuotaError(f"the field is full, {request['who']}")


async def break_down(request: Mapping[str, Any]) -> Any:
    raise RuntimeError(f"a bug, {request}")


async def sleep(request: Mapping[str, Any]) -> Any:
    del request
    await trio.sleep_forever()


HANDLERS: dict[str, control.Handler] = {
    "status": status, "count": count, "refuse": refuse, "break": break_down, "sleep": sleep,
}  # fmt: skip


async def ask(path: Path, name: str, **params: Any) -> Any:
    return await trio.to_thread.run_sync(partial(control.call, path, name, **params))


@pytest.fixture
async def path(tmp_path: Path, nursery: trio.Nursery) -> Path:
    place = tmp_path / "run" / "a.sock"
    await nursery.start(ControlServer(place, HANDLERS).serve)
    return place


async def test_a_call_is_answered_with_what_the_handler_returns(path: Path) -> None:
    assert await ask(path, "status", depth=3) == {"asked": {"depth": 3}}


async def test_a_stream_yields_every_line_in_order(path: Path) -> None:
    lines = await trio.to_thread.run_sync(lambda: list(control.stream(path, "count", upto=3)))
    assert lines == [{"remaining": 0}, {"remaining": 1}, {"remaining": 2}]
    assert await ask(path, "count", upto=3) == {"remaining": 2}


async def test_a_reader_that_leaves_in_the_middle_of_a_stream_is_let_go(path: Path) -> None:
    def leave_early() -> Any:
        lines = iter(control.stream(path, "count", upto=100_000))
        return next(lines)

    assert await trio.to_thread.run_sync(leave_early) == {"remaining": 0}
    assert await ask(path, "status") == {"asked": {}}


async def test_an_error_of_the_mount_arrives_in_its_class(path: Path) -> None:
    with pytest.raises(QuotaError, match="the field is full, you"):
        await ask(path, "refuse", who="you")


async def test_a_bug_in_a_handler_is_logged_and_the_server_stays(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(AerofsError, match="its log tells why"):
        await ask(path, "break")
    assert [record.message for record in caplog.records if record.exc_info] == ["a control call failed: []"]
    caplog.clear()
    assert await ask(path, "status") == {"asked": {}}


async def test_an_unknown_call_is_refused(path: Path) -> None:
    with pytest.raises(ProtocolError, match="knows no call 'fly'"):
        await ask(path, "fly")


@pytest.mark.parametrize("line", [b"status\n", b"[1]\n", b'"x"\n', b"\xff\n", b"x" * 70_000])
async def test_what_is_no_request_is_refused(path: Path, line: bytes) -> None:
    async with await trio.open_unix_socket(str(path)) as stream:
        await stream.send_all(line)
        answer = json.loads(await stream.receive_some())
    assert answer["kind"] == "ProtocolError"


async def test_a_client_that_says_nothing_is_dropped(path: Path, autojump_clock: Any) -> None:
    del autojump_clock
    async with await trio.open_unix_socket(str(path)) as stream:
        assert await stream.receive_some() == b""


async def test_a_mount_that_gives_no_answer_is_not_waited_for_for_ever(path: Path) -> None:
    with pytest.raises(DeadlineError, match=r"no answer in 0\.05 s"):
        await ask(path, "sleep", silence=0.05)


@pytest.mark.complains
async def test_another_user_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    us = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: us + 1)
    monkeypatch.setattr(server, "_PEER", Peer(us + 2))
    with pytest.raises(AerofsError, match="only the user who mounted"):
        await ask(path, "status")


class Peer:
    """Stands in for the layout of SO_PEERCRED, telling another user."""

    size = 12

    def __init__(self, uid: int) -> None:
        self._uid = uid

    def unpack(self, data: bytes) -> tuple[int, int, int]:
        assert len(data) == self.size
        return (1, self._uid, self._uid)


async def test_the_socket_is_for_its_owner_alone_and_goes_with_the_server(tmp_path: Path) -> None:
    place = tmp_path / "run" / "a.sock"
    async with trio.open_nursery() as nursery:
        await nursery.start(ControlServer(place, HANDLERS).serve)
        assert place.stat().st_mode & 0o777 == 0o600
        assert place.parent.stat().st_mode & 0o777 == 0o700
        nursery.cancel_scope.cancel()
    assert not place.exists()
    with pytest.raises(NotFoundError, match="no running mount answers"):
        await ask(place, "status")


async def test_a_second_server_is_told_that_there_is_one(path: Path) -> None:
    with pytest.raises(ConfigError, match="another aerofs process"):
        await ControlServer(path, HANDLERS).serve()
    assert await ask(path, "status") == {"asked": {}}


def abandoned(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
    return path


async def test_a_server_takes_over_the_socket_of_a_dead_one(tmp_path: Path) -> None:
    place = abandoned(tmp_path / "run" / "a.sock")
    async with trio.open_nursery() as nursery:
        await nursery.start(ControlServer(place, HANDLERS).serve)
        assert await ask(place, "status") == {"asked": {}}
        nursery.cancel_scope.cancel()


def test_a_socket_left_behind_is_reported_and_removed(tmp_path: Path) -> None:
    place = abandoned(tmp_path / "a.sock")
    with pytest.raises(NotFoundError):
        control.call(place, "status")
    assert not place.exists()


async def test_a_directory_that_others_write_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(ConfigError, match="may be written by others"):
        await ControlServer(folder / "a.sock", HANDLERS).serve()


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "xdg"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    return folder


def test_each_mount_point_has_a_socket_of_its_own(runtime: Path, tmp_path: Path) -> None:
    first, second = control.socket_path(tmp_path / "mnt"), control.socket_path(tmp_path / "other")
    assert first != second
    assert len(first.stem) == 16
    assert first.is_relative_to(runtime) or len(os.fsencode(runtime)) > 80


@pytest.mark.usefixtures("runtime")
def test_a_socket_path_is_found_without_a_look_at_the_mount_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    truly = os.lstat

    def watched(path: Any, **more: Any) -> os.stat_result:
        looked.append(os.fspath(path))
        return truly(path, **more)

    monkeypatch.setattr(os, "lstat", watched)
    control.socket_path(tmp_path)
    assert str(tmp_path) not in looked


def test_another_user_s_socket_is_refused_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def denied(*_: object) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "is_socket", denied)
    place = control.socket_path(tmp_path, uid=os.geteuid())  # of those that cannot be seen, the best
    monkeypatch.setattr("socket.socket.connect", denied)
    with pytest.raises(DeniedError, match="only the user who mounted, and root, may ask"):
        control.call(place, "status")


def test_a_socket_path_fits_the_kernel_s_limit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    monkeypatch.setenv("TMPDIR", str(deep))
    assert len(os.fsencode(control.socket_path(tmp_path))) < 108


async def test_who_looks_for_mounts_while_one_starts_does_not_take_its_socket_away(
    runtime: Path, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    chmod = Path.chmod

    def look_and_chmod(path: Path, mode: int) -> None:
        assert place not in control.running_mounts()
        chmod(path, mode)

    place = runtime / "aerofs" / "00.sock"
    monkeypatch.setattr(Path, "chmod", look_and_chmod)
    await nursery.start(ControlServer(place, HANDLERS).serve)
    assert place in control.running_mounts()
    assert list(place.parent.iterdir()) == [place]


async def test_running_mounts_are_those_that_answer(runtime: Path, nursery: trio.Nursery) -> None:
    living = runtime / "aerofs" / "00.sock"
    await nursery.start(ControlServer(living, HANDLERS).serve)
    dead = abandoned(runtime / "aerofs" / "11.sock")
    found = await trio.to_thread.run_sync(control.running_mounts)
    assert living in found
    assert dead not in found
    assert not dead.exists()
