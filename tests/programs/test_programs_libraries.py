"""Programs of one's own: Python's ways of writing a file, SQLite, storms of temporary files that are renamed."""

import pytest

from tests.programs.desk import Desk

OLD, NEW = b"one\ntwo\n", b"three\nfour\n"
FILE = "notes.txt"

READING = {"list": 1, "download": 1}
PYTHON = {
    "`open(…, 'w')`": ("open(NAME, 'w').write('three\\nfour\\n')", NEW, {}),
    "`open(…, 'w')`, flush and fsync": (
        "f = open(NAME, 'w'); f.write('three\\n'); f.flush(); os.fsync(f.fileno()); f.write('four\\n'); f.close()",
        NEW,
        {},
    ),
    "`open(…, 'r+')`": (
        "f = open(NAME, 'r+'); f.seek(4); f.write('2\\n'); f.truncate(); f.close()",
        b"one\n2\n",
        READING,
    ),
    "`tempfile.mkstemp` in the directory, `os.replace`": (
        "d, t = tempfile.mkstemp(dir='.'); os.write(d, DATA); os.fsync(d); os.close(d); os.replace(t, NAME)",
        NEW,
        {},
    ),
    "`tempfile.NamedTemporaryFile(delete=False)`, `os.replace`": (
        "f = tempfile.NamedTemporaryFile(dir='.', delete=False); f.write(DATA); f.close(); os.replace(f.name, NAME)",
        NEW,
        {},
    ),
    "`mmap`": (
        "f = open(NAME, 'r+b'); m = mmap.mmap(f.fileno(), 0); m[0:3] = b'ONE'; m.close(); f.close()",
        b"ONE\ntwo\n",
        READING,
    ),
    "`mmap`, written after the file was closed": (
        "f = open(NAME, 'r+b'); m = mmap.mmap(f.fileno(), 0); f.close(); m[0:3] = b'ONE'; m.flush(); m.close()",
        b"ONE\ntwo\n",
        READING,
    ),
    "`shutil.copy2`": ("shutil.copy2(sys.argv[1], NAME)", NEW, {}),
    "`shutil.move`": ("shutil.move(sys.argv[1], NAME)", NEW, {}),
}
"""What Python does, what the file becomes, and what is asked of the platform besides a save and a delete."""


@pytest.mark.parametrize("title", PYTHON)
def test_python(desk: Desk, title: str) -> None:
    script, expected, read = PYTHON[title]
    (desk.home / "new").write_bytes(NEW)
    desk.ready({FILE: OLD})
    head = f"import mmap, os, shutil, sys, tempfile; NAME, DATA = {FILE!r}, {NEW!r}; "
    desk.run('python3 -c "$1" "$2"', head + script, desk.home / "new")
    desk.saved({FILE: expected})
    desk.costs(f"Python, {title}", save=1, delete=1, **read)
    desk.stays({FILE: expected})


def test_a_temporary_file_that_is_given_up_leaves_nothing(desk: Desk) -> None:
    desk.ready()
    desk.run(
        "python3 -c \"import tempfile; f = tempfile.NamedTemporaryFile(dir='.'); f.write(b'x'); f.close()\""
    )
    desk.saved({})
    desk.costs("Python, `tempfile.NamedTemporaryFile`, deleted at the end")


SQL = """
create table if not exists t (x);
insert into t values (1); insert into t values (2);
begin; insert into t select x + 10 from t; commit;
begin; delete from t; rollback;
update t set x = x + 1;
vacuum;
"""


@pytest.mark.parametrize("mode", ["delete", "truncate", "persist", "memory", "wal"])
def test_sqlite(desk: Desk, mode: str) -> None:
    desk.ready()
    said = desk.run(f'sqlite3 books.sqlite "pragma journal_mode={mode};" "$1"', SQL)
    assert said == f"{mode}\n"
    read = desk.run("sqlite3 books.sqlite 'select group_concat(x) from t; pragma integrity_check'")
    assert read == "2,3,12,13\nok\n"
    desk.drive.settled()
    data = (desk.scan / "books.sqlite").read_bytes()
    local = ["books.sqlite-journal"] if mode in ("persist", "truncate") else []
    desk.saved({"books.sqlite": data}, local=local)
    desk.costs(f"`sqlite3`, six transactions and a vacuum, journal_mode={mode}", save=1)
    desk.stays({"books.sqlite": data}, local=local)
    (desk.home / "copy.sqlite").write_bytes(dict(desk.paper.held())["books.sqlite"])
    assert (
        desk.run('sqlite3 "$1" "select group_concat(x) from t"', desk.home / "copy.sqlite") == "2,3,12,13\n"
    )


def test_a_database_that_stays_open(desk: Desk) -> None:
    script = (
        "import sqlite3, time\n"
        "db = sqlite3.connect('books.sqlite'); db.execute('create table t (x)')\n"
        "for n in range(5):\n"
        "    db.execute('insert into t values (?)', (n,)); db.commit()\n"
        "time.sleep(6)\n"
        "db.execute('insert into t values (5)'); db.commit(); db.close()\n"
    )
    desk.ready()
    desk.run('python3 -c "$1"', script)
    assert desk.run("sqlite3 books.sqlite 'select group_concat(x) from t'") == "0,1,2,3,4,5\n"
    desk.drive.settled()
    data = (desk.scan / "books.sqlite").read_bytes()
    desk.saved({"books.sqlite": data})
    desk.costs("SQLite from Python, open for 6 s", save=1)
    desk.stays({"books.sqlite": data})


STORM = """
for number in $(seq "$1"); do
    echo "$2 $number" > "$2.tmp"
    mv "$2.tmp" "$2"
done
"""


def test_a_storm_on_one_name(desk: Desk) -> None:
    desk.ready({"news": b"old\n"})
    desk.run(STORM, 200, "news")
    desk.saved({"news": b"news 200\n"})
    desk.costs("200 times `echo … > x.tmp; mv x.tmp x`", save=200, delete=200)
    desk.stays({"news": b"news 200\n"})


def test_storms_on_several_names_at_once(desk: Desk) -> None:
    names = ["one", "two", "three", "four"]
    desk.ready(dict.fromkeys(names, b"old\n"))
    storms = " & ".join(f"storm {name}" for name in names)
    desk.run(f"storm() {{ set -- 25 $1; {STORM} }}; {storms} & wait")
    files = {name: f"{name} 25\n".encode() for name in names}
    desk.saved(files)
    desk.costs("the same, 25 times each on four names of a field at once", save=100, delete=100)
    desk.stays(files)


def test_a_storm_of_made_up_names(desk: Desk) -> None:
    script = (
        "import os, tempfile\n"
        "for n in range(50):\n"
        "    d, t = tempfile.mkstemp(dir='.'); os.write(d, b'news %d\\n' % (n + 1)); os.close(d)\n"
        "    os.replace(t, 'news')\n"
    )
    desk.ready({"news": b"old\n"})
    desk.run('python3 -c "$1"', script)
    desk.saved({"news": b"news 50\n"})
    desk.costs("50 times `tempfile.mkstemp`, `os.replace`", save=50, delete=50)
    desk.stays({"news": b"news 50\n"})
