"""Going to the background, with a stand-in for the mount, in a process of its own each time.

The scripts below run in a fresh interpreter: a fork of the test runner would take its threads' locks along.
"""

import os
import select
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

PRELUDE = """
import os, signal, sys
from aerofs.cli import _guarded, background
from aerofs.errors import ConfigError, DeniedError

def finish(code):
    sys.exit(code)

def start(work):
    def run():
        print("child", background.start(work), flush=True)
        return 0
    finish(_guarded(run, verbose=False))
"""

SILENT = " before the mount was ready, without saying why"


def run(body: str, tmp_path: Path) -> "subprocess.CompletedProcess[str]":
    script = tmp_path / "script.py"
    script.write_text(PRELUDE + textwrap.dedent(body))
    return subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=20, check=False)


def test_the_parent_leaves_once_the_child_is_ready_and_the_child_goes_on(tmp_path: Path) -> None:
    fifo = tmp_path / "go"
    os.mkfifo(fifo)
    result = run(
        f"""
        def work(ready):
            ready()
            with open({str(fifo)!r}) as go:
                word = go.read()
            with open({str(tmp_path / "told")!r}, "w") as told:
                leader, output = os.getsid(0) == os.getpid(), os.readlink("/proc/self/fd/1")
                told.write(f"{{word}} {{os.getcwd()}} {{leader}} {{output}}")
            os.rename({str(tmp_path / "told")!r}, {str(tmp_path / "done")!r})
        start(work)
        """,
        tmp_path,
    )
    assert (result.returncode, result.stderr) == (0, "")
    child = os.pidfd_open(int(result.stdout.split()[1]))
    fifo.write_text("go")
    assert select.select([child], [], [], 10)[0]
    os.close(child)
    assert (tmp_path / "done").read_text() == "go / True /dev/null"


@pytest.mark.parametrize(
    ("body", "code", "sentence"),
    [
        ("raise ConfigError('no FUSE here')", 2, "aerofs: no FUSE here"),
        ("raise DeniedError('the token is not valid')", 1, "aerofs: the token is not valid"),
        ("1 / 0", 1, "aerofs: unexpected ZeroDivisionError: division by zero"),
        ("return", 1, "aerofs: the mount ended before it was ready"),
        (
            "os._exit(7)",
            1,
            "aerofs: the mount's process ended with exit status 7" + SILENT,
        ),
        (
            "os.kill(os.getpid(), signal.SIGKILL)",
            1,
            "aerofs: the mount's process was killed by SIGKILL" + SILENT,
        ),
    ],
)
def test_a_child_that_never_becomes_ready_is_one_sentence_and_an_exit_code(
    tmp_path: Path, body: str, code: int, sentence: str
) -> None:
    result = run(
        f"""
        import logging
        logging.disable()  # where the log goes is not the matter here
        def work(ready):
            {body}
        start(work)
        """,
        tmp_path,
    )
    assert (result.returncode, result.stdout, result.stderr) == (code, "", sentence + "\n")


def test_an_error_after_readiness_goes_to_the_log(tmp_path: Path) -> None:
    result = run(
        f"""
        import logging
        def work(ready):
            logging.basicConfig(filename={str(tmp_path / "log")!r})
            ready()
            raise DeniedError("the token has expired")
        def run():
            child = background.start(work)
            _, status = os.waitpid(child, 0)
            return os.waitstatus_to_exitcode(status)
        finish(_guarded(run, verbose=False))
        """,
        tmp_path,
    )
    assert (result.returncode, result.stdout, result.stderr) == (1, "", "")
    assert "the mount ended: the token has expired" in (tmp_path / "log").read_text()


def test_a_child_whose_parent_is_gone_lives_on(tmp_path: Path) -> None:
    fifo = tmp_path / "alive"
    os.mkfifo(fifo)
    result = run(
        f"""
        import select
        def work(ready):
            parent = os.pidfd_open(os.getppid())
            os.kill(os.getppid(), signal.SIGKILL)
            select.select([parent], [], [])
            ready()
            with open({str(fifo)!r}, "w") as alive:
                alive.write("alive")
        start(work)
        """,
        tmp_path,
    )
    assert result.returncode == -9
    assert fifo.read_text() == "alive"


def test_the_child_keeps_nothing_open_that_its_caller_had(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    script = tmp_path / "script.py"
    script.write_text(PRELUDE + "def work(ready):\n    ready()\n    signal.pause()\nstart(work)\n")
    done = subprocess.run(
        [sys.executable, script], pass_fds=[writing], capture_output=True, text=True, timeout=20, check=True
    )
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert pipe.read() == b""
    os.kill(int(done.stdout.split()[1]), signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_whoever_stops_the_waiting_parent_stops_the_child(tmp_path: Path, number: signal.Signals) -> None:
    result = run(
        f"""
        def work(ready):
            os.kill(os.getppid(), {int(number)})
            signal.pause()
        start(work)
        """,
        tmp_path,
    )
    assert (result.returncode, result.stderr) == (130, "aerofs: stopped\n")
