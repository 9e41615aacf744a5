"""The log of a mount: where it goes and what does not get into it."""

import faulthandler
import logging
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from aerofs.cli import logs
from aerofs.errors import ConfigError
from aerofs.settings import Settings, load


def settings(tmp_path: Path, **more: object) -> Settings:
    basis = {
        "url": "https://aero.example",
        "environment": "e",
        "mountpoint": tmp_path / "mnt",
        "token": "hush",
    }
    return load(basis | more, environ={})


@pytest.fixture(autouse=True)
def _restore(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers, root.level = handlers, level
    logging.captureWarnings(False)
    faulthandler.unregister(signal.SIGUSR1)


def test_tokens_and_signed_queries_are_taken_out(tmp_path: Path) -> None:
    target = tmp_path / "aerofs.log"
    logs.configure(settings(tmp_path, log_file=target, verbose=2), foreground=False)
    log = logging.getLogger("aerofs.test")
    log.warning("GET %s with %s", "https://store.example/f?signature=abc&x=1", "Authorization: Bearer xyz")
    error = ValueError("the token hush of http://host/p?key=123 is refused")
    log.error("it failed", exc_info=error)
    text = target.read_text()
    assert "GET https://store.example/f?… with Authorization: Bearer …" in text
    assert "the token … of http://host/p?… is refused" in text
    assert not any(secret in text for secret in ("abc", "xyz", "hush", "123"))


def test_libraries_that_tell_urls_are_quiet_even_at_the_highest_level(tmp_path: Path) -> None:
    logs.configure(settings(tmp_path, log_file=tmp_path / "log", verbose=5), foreground=False)
    logging.getLogger("httpx").info("HTTP Request: GET https://store.example/f")
    logging.getLogger("aerofs").debug("a detail")
    assert "HTTP Request" not in (tmp_path / "log").read_text()
    assert "a detail" in (tmp_path / "log").read_text()


def test_a_background_mount_without_a_log_file_logs_to_the_user_s_log_path(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    logs.configure(chosen, foreground=False)
    logging.getLogger("aerofs").warning("kept")
    assert logs.log_path(chosen).is_relative_to(tmp_path / "state")
    assert "kept" in logs.log_path(chosen).read_text()


def test_the_foreground_logs_to_the_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure(settings(tmp_path), foreground=True)
    logging.getLogger("aerofs").warning("seen")
    assert "seen" in capfd.readouterr().err


def test_a_log_that_cannot_be_written_is_a_mistake_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError, match="folder cannot be written: Is a directory"):
        logs.configure(settings(tmp_path, log_file=tmp_path / "folder"), foreground=False)
    faulthandler.register(signal.SIGUSR1)
