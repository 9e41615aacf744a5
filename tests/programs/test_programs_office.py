"""LibreOffice: converting into the mount; opening, changing and saving a letter there, as a person at Writer does."""

import contextlib
import io
import os
import signal
import subprocess
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import pytest

from tests.mounted import eventually
from tests.programs.desk import Desk

# odfpy ships no types; imported like this it is Any throughout.
_opendocument, _text = (import_module(f"odf.{name}") for name in ("opendocument", "text"))

_PLAYER = Path(__file__).parent / "writer.py"
_PYTHON = "/usr/bin/python3"
"""Debian's own, for which python3-uno is made."""
_PIPE = f"aerofs-programs-{os.getpid()}"
LETTER = "letter.odt"
LOCK = f".~lock.{LETTER}#"


def letter(*lines: str) -> bytes:
    """An OpenDocument text."""
    document, data = _opendocument.OpenDocumentText(), io.BytesIO()
    for line in lines:
        document.text.addElement(_text.P(text=line))
    document.save(data)
    return data.getvalue()


def says(data: bytes, *lines: str) -> bool:
    """Whether an OpenDocument text contains them all."""
    text = zipfile.ZipFile(io.BytesIO(data)).read("content.xml").decode()
    return all(line in text for line in lines)


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> str:
    """LibreOffice's own affairs."""
    return f"-env:UserInstallation={(tmp_path_factory.mktemp('office')).as_uri()}"


@pytest.fixture(scope="module")
def office(profile: str) -> Iterator[None]:
    """A LibreOffice that waits for orders."""
    words = ["soffice", profile, "--headless", "--norestore", "--nologo", f"--accept=pipe,name={_PIPE};urp"]
    # A group of its own: the launcher alone, killed, would leave the real process behind.
    running = subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield
        subprocess.run([_PYTHON, _PLAYER, _PIPE, "quit"], timeout=60, check=False, stderr=subprocess.DEVNULL)
        running.wait(30)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()


class Writer:
    """A person who has a document open."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def paused(self) -> None:
        """Wait for the step `pause`."""
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "paused\n", "it ended"

    def goes_on(self) -> None:
        """End the pause."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()


@contextmanager
def writer(desk: Desk, *steps: str) -> Iterator[Writer]:
    """Somebody opens the letter and takes these steps; has closed it when the block ends."""
    words = [_PYTHON, str(_PLAYER), _PIPE, str(desk.scan / LETTER), *steps]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Writer(process)
            assert process.wait(60) == 0
        finally:
            process.kill()


def test_converting_into_the_mount(desk: Desk, profile: str) -> None:
    (desk.home / "letter.txt").write_text("Dear Madam\n")
    desk.ready()
    desk.run('soffice "$1" --headless --convert-to odt --outdir . "$2"', profile, desk.home / "letter.txt")
    data = (desk.scan / LETTER).read_bytes()
    assert says(data, "Dear Madam")
    desk.saved({LETTER: data})
    desk.costs("`soffice --convert-to odt --outdir` the mount", save=1)
    desk.stays({LETTER: data})


@pytest.mark.usefixtures("office")
def test_a_letter_is_changed_and_saved_twice(desk: Desk) -> None:
    desk.ready({LETTER: letter("Dear Madam")})
    with writer(desk, "type:once", "save", "pause", "type:twice", "pause", "save", "pause") as person:
        person.paused()
        once = (desk.scan / LETTER).read_bytes()
        assert says(once, "Dear Madam", "once")
        desk.saved({LETTER: once}, local=[LOCK])
        desk.costs("LibreOffice Writer", save=1, delete=1, list=1, download=1)
        time.sleep(5.5)
        person.goes_on()
        person.paused()
        assert desk.shown() == sorted([LETTER, LOCK])
        person.goes_on()
        person.paused()
        person.goes_on()
    twice = (desk.scan / LETTER).read_bytes()
    assert says(twice, "Dear Madam", "once", "twice")
    desk.saved({LETTER: twice})
    desk.costs("LibreOffice Writer, saved twice", save=2, delete=2, list=1, download=1)
    desk.stays({LETTER: twice})


@pytest.mark.usefixtures("office")
@pytest.mark.parametrize("later", [False, True])
def test_saving_over_a_version_that_a_colleague_replaced_keeps_both(desk: Desk, *, later: bool) -> None:
    desk.ready({LETTER: letter("Dear Madam")})
    theirs = letter("Dear Sir, says the colleague")
    desk.drive.expect("conflict")
    with writer(desk, "type:ours", "pause", "save", "pause", "type:again", "save") as person:
        person.paused()
        (base,) = desk.paper.ids()
        desk.paper.put(LETTER, theirs)
        desk.drive.platform.remove(base)
        person.goes_on()
        person.paused()
        name, ours = _ours(desk, theirs)
        assert says(ours, "Dear Madam", "ours")
        if later:
            # The name leads to the colleague's version by now. LibreOffice sees that and asks; nobody answers, so it
            # does not save.
            _name_is_theirs(desk, theirs)
        else:
            # The 404 of deleting the base, a list to see why, ours once more under its own name; the first goes.
            desk.costs(
                "LibreOffice Writer, over a version that a colleague replaced",
                save=2,
                delete=2,
                list=2,
                download=1,
            )
        person.goes_on()
    assert _ours(desk, theirs)[0] == name
    ours = _ours(desk, theirs)[1]
    assert says(ours, "again") != later
    _name_is_theirs(desk, theirs)
    desk.stays({LETTER: theirs, name: ours})


def _ours(desk: Desk, theirs: bytes) -> tuple[str, bytes]:
    """The other of the two versions that stand."""
    desk.drive.settled()
    ((name, ours),) = [each for each in desk.paper.held() if each != (LETTER, theirs)]
    assert len(desk.paper.held()) == 2
    assert name.startswith("letter (conflict ")
    return name, ours


def _name_is_theirs(desk: Desk, theirs: bytes) -> None:
    eventually(
        lambda: (desk.scan / LETTER).read_bytes() == theirs, what="the colleague's version under the name"
    )
