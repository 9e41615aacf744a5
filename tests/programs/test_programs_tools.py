"""The shell and the tools of every day: what each way of writing a file leaves, and what it costs."""

import os
from pathlib import Path

import pytest

from tests.programs.desk import Desk

OLD, NEW = b"one\ntwo\n", b"three\nfour\n"
FILE = "notes.txt"
SHARED = "`exec 3>>` a file, four writes, a pause of 5.5 s"


@pytest.fixture
def source(desk: Desk) -> Path:
    """A file and a directory elsewhere, both with times of their own."""
    directory = desk.home / "source"
    directory.mkdir()
    for name, data in ((FILE, NEW), ("more.txt", b"more\n"), ("empty", b"")):
        (directory / name).write_bytes(data)
        os.utime(directory / name, ns=(10**18, 10**18))
    return directory


ONTO = {
    "`echo … >` a file": ("printf 'three\\nfour\\n' > notes.txt", NEW),
    "`echo … >>` a file": ("echo three >> notes.txt", OLD + b"three\n"),
    "`{ a; b; c; } >` a file": (
        "{ echo three; sleep 0.1; echo four; /bin/echo five; } > notes.txt",
        NEW + b"five\n",
    ),
    SHARED: (
        "exec 3>>notes.txt; echo a >&3; /bin/echo b >&3; sleep 5.5; echo c >&3; /bin/echo d >&3; exec 3>&-",
        OLD + b"a\nb\nc\nd\n",
    ),
    "`cat <<EOF >` a file": ("cat > notes.txt <<EOF\nthree\nfour\nEOF\n", NEW),
    "`tee`": ("printf 'three\\nfour\\n' | tee notes.txt > /dev/null", NEW),
    "`tee -a`": ("echo three | tee -a notes.txt > /dev/null", OLD + b"three\n"),
    "`cp` over a file": ('cp "$1/notes.txt" .', NEW),
    "`cp -a` over a file": ('cp -a "$1/notes.txt" .', NEW),
    "`cp --remove-destination`": ('cp --remove-destination "$1/notes.txt" .', NEW),
    "`mv` over a file, from another disk": ('mv "$1/notes.txt" .', NEW),
    "`install`": ('install -m 644 "$1/notes.txt" .', NEW),
    "`install -b`": ('install -b -m 644 "$1/notes.txt" .', NEW),
    "`dd`": ('dd status=none if="$1/notes.txt" of=notes.txt', NEW),
    "`dd conv=notrunc seek=1`": (
        "printf X | dd status=none of=notes.txt conv=notrunc bs=1 seek=1",
        b"oXe\ntwo\n",
    ),
    "`truncate -s`": ("truncate -s 4 notes.txt", b"one\n"),
    "`rsync -a`": ('rsync -a "$1/notes.txt" .', NEW),
    "`rsync -a --inplace`": ('rsync -a --inplace "$1/notes.txt" .', NEW),
    "`rsync -ab`": ('rsync -ab "$1/notes.txt" .', NEW),
    "`tar x`": ('tar -C "$1" -cf - notes.txt | tar xf -', NEW),
    "`sed -i`": ("sed -i s/one/three/ notes.txt", b"three\ntwo\n"),
    "`sed -i~`": ("sed -i~ s/one/three/ notes.txt", b"three\ntwo\n"),
    "`perl -pi -e`": ("perl -pi -e s/one/three/ notes.txt", b"three\ntwo\n"),
    "`sort -o`": ("sort -r -o notes.txt notes.txt", b"two\none\n"),
    "`gio copy`": ('gio copy "$1/notes.txt" notes.txt', NEW),
    "`gio save`": ('gio save notes.txt < "$1/notes.txt"', NEW),
    "`gio save -b`": ('gio save -b notes.txt < "$1/notes.txt"', NEW),
}
"""What is done to a file that is there, and what it becomes."""

BACKUPS = {"`install -b`", "`rsync -ab`", "`sed -i~`", "`gio save -b`"}
"""These leave `notes.txt~`, on this machine."""
READS = {
    *("`echo … >>` a file", SHARED, "`tee -a`", "`dd conv=notrunc seek=1`", "`truncate -s`"),
    *("`rsync -a --inplace`", "`rsync -ab`", "`sed -i`", "`sed -i~`", "`perl -pi -e`", "`sort -o`"),
    *("`install -b`", "`gio save -b`"),
}
"""These need what was there."""
SAVES = {"`{ a; b; c; } >` a file": 2, SHARED: 3}
"""Uploads, where it is not one: a shell shares one open file among its commands, each of which closes it."""


@pytest.mark.parametrize("title", ONTO)
def test_onto_a_file(desk: Desk, source: Path, title: str) -> None:
    script, expected = ONTO[title]
    desk.ready({FILE: OLD})
    desk.run(script, source)
    local = [f"{FILE}~"] if title in BACKUPS else []
    desk.saved({FILE: expected}, local=local)
    saves, read = SAVES.get(title, 1), {"list": 1, "download": 1} if title in READS else {}
    desk.costs(title, save=saves, delete=saves, **read)
    desk.stays({FILE: expected}, local=local)


def test_patch(desk: Desk) -> None:
    # Its temporary name looks like any other's, so this may take an upload more: no row in the table.
    desk.ready({FILE: OLD})
    desk.run("printf -- '--- a\\n+++ b\\n@@ -1 +1 @@\\n-one\\n+three\\n' | patch -s notes.txt")
    desk.saved({FILE: b"three\ntwo\n"})
    desk.stays({FILE: b"three\ntwo\n"})


ANEW = {
    "`touch` a new file": ("touch notes.txt", b""),
    "`echo … >` a new file": ("printf 'three\\nfour\\n' > notes.txt", NEW),
    "`cp` a new file": ('cp "$1/notes.txt" .', NEW),
    "`cp -a` a new file": ('cp -a "$1/notes.txt" .', NEW),
    "`mv` a new file from another disk": ('mv "$1/notes.txt" .', NEW),
    "`install` a new file": ('install -m 600 "$1/notes.txt" .', NEW),
    "`rsync -a` a new file": ('rsync -a "$1/notes.txt" .', NEW),
    "`rsync -a --inplace` a new file": ('rsync -a --inplace "$1/notes.txt" .', NEW),
    "`tar x` a new file": ('tar -C "$1" -cf - notes.txt | tar xf -', NEW),
    "`gio copy` a new file": ('gio copy "$1/notes.txt" notes.txt', NEW),
    "`gio save` a new file": ('gio save notes.txt < "$1/notes.txt"', NEW),
}


@pytest.mark.parametrize("title", ANEW)
def test_a_new_file(desk: Desk, source: Path, title: str) -> None:
    script, expected = ANEW[title]
    desk.ready()
    desk.run(script, source)
    desk.saved({FILE: expected})
    desk.costs(title, save=1)
    desk.stays({FILE: expected})


@pytest.mark.parametrize(
    "script", ['cp -a "$1/." .', 'rsync -a "$1/" ./', 'mv "$1"/* .', 'tar -C "$1" -cf - . | tar xf - || true']
)
def test_a_directory(desk: Desk, source: Path, script: str) -> None:
    desk.ready()
    desk.run(script, source)
    files = {FILE: NEW, "more.txt": b"more\n", "empty": b""}
    desk.saved(files)
    desk.costs(f"`{script.removesuffix(' || true')}` with three files", save=3)
    desk.stays(files)
    assert {(desk.scan / name).stat().st_mtime_ns for name in files} == {10**18}
