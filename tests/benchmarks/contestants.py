"""Who is measured: each does the same work in its own way. A new one is a class with the methods that it can do.

A method does one piece of work, whole: when it returns, what it changed is on the platform. `turn` is the number of the
round. A contestant without a method takes no part in that work.
"""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from tests.benchmarks.origin import (
    CATALOGUE,
    DEFINITION,
    FIELD,
    MIB,
    PHOTOS,
    Sizes,
    archive,
    inbox,
    large_document,
    photo_document,
    write_random,
)
from tests.faults.rig import Drive, Server

BOUND = 600.0
_PAGE = 500
_TICKS = os.sysconf("SC_CLK_TCK")


class Sources:
    """Local files to be copied up, the same for all contestants."""

    def __init__(self, home: Path, sizes: Sizes) -> None:
        self.sizes = sizes
        self.large, self.huge = home / "new.bin", home / "huge.bin"
        write_random(self.large, sizes.large)
        with self.huge.open("wb") as file:
            file.truncate(sizes.huge)
        self.small = [home / f"small {number:03}.txt" for number in range(sizes.small_files)]
        for path in self.small:
            path.write_bytes(os.urandom(sizes.small))


class Contestant:
    """One of those measured."""

    name = ""

    def cpu(self) -> float:
        """CPU seconds spent so far by whoever does the work for it."""
        return 0.0

    def peak(self) -> int | None:
        """Bytes that it held resident at most since `forget_peak`; None where nobody looks."""
        return None

    def forget_peak(self) -> None:
        """Begin to look anew."""

    def fresh(self, turn: int) -> None:
        """Nothing of this round is known yet."""

    def settled(self) -> None:
        """Wait until nothing is under way."""


class Shell(Contestant):
    """Works on directories by the usual commands."""

    def __init__(self, root: Path, sources: Sources) -> None:
        self._root = root
        self._sources = sources

    def _run(self, script: str, *words: str | Path) -> None:
        subprocess.run(["sh", "-c", script, "sh", *map(str, words)], check=True, timeout=BOUND)

    def _field(self, document: str, definition: str = DEFINITION) -> Path:
        return self._root / definition / document / FIELD

    def find(self, turn: int) -> None:
        """Every file of the catalogue."""
        del turn
        self._run('find "$1" -type f > /dev/null', self._root / CATALOGUE)

    def list_again(self, turn: int) -> None:
        """The same with all attributes, just after."""
        del turn
        self._run('ls -lR "$1" > /dev/null', self._root / CATALOGUE)

    def sniff(self, turn: int) -> None:
        """The beginning of every photo."""
        del turn
        numbers = range(self._sources.sizes.photos)
        paths = [self._field(photo_document(number), PHOTOS) / f"photo {number:03}.jpg" for number in numbers]
        self._run('head -q -c 4096 "$@" > /dev/null', *paths)

    def _large(self, turn: int) -> Path:
        return self._field(large_document(self.name, turn)) / "large.bin"

    def read(self, turn: int) -> None:
        """A large file that was never read before."""
        self._run('cat "$1" > /dev/null', self._large(turn))

    def read_again(self, turn: int) -> None:
        """The same, just after."""
        self.read(turn)

    def read_dropped(self, turn: int) -> None:
        """The same, after the kernel forgot its pages."""
        self.read(turn)

    def drop_pages(self, turn: int) -> None:
        """Let the kernel forget the pages of the large file."""
        script = "import os, sys; f = os.open(sys.argv[1], os.O_RDONLY); os.posix_fadvise(f, 0, 0, 4)"
        self._run('exec python3 -c "$1" "$2"', script, self._large(turn))

    def write(self, turn: int) -> None:
        """A large file, until close has returned."""
        self._run('cp "$1" "$2"', self._sources.large, self._field(inbox(self.name, turn)))

    def move(self, turn: int) -> None:
        """The large file that was written, to another document."""
        old, new = inbox(self.name, turn), archive(self.name, turn)
        self._run('mv "$1" "$2"', self._field(old) / "new.bin", self._field(new))

    def copy_small(self, turn: int) -> None:
        """Many small files."""
        self._copy(self._sources.small, turn)

    def overwrite_small(self, turn: int) -> None:
        """Some of them again."""
        self._copy(self._sources.small[: self._sources.sizes.overwritten], turn)

    def _copy(self, paths: list[Path], turn: int) -> None:
        self._run('for last; do :; done; cp "$@"', *paths, self._field(inbox(self.name, turn)))

    def remove_small(self, turn: int) -> None:
        """Some of them."""
        names = self._sources.small[: self._sources.sizes.removed]
        self._run('rm "$@"', *(self._field(inbox(self.name, turn)) / path.name for path in names))


class Aerofs(Shell):
    """A real mount, by the command."""

    name = "aerofs"

    def __init__(self, drive: Drive, sources: Sources) -> None:
        super().__init__(drive.place, sources)
        self._drive = drive

    def _run(self, script: str, *words: str | Path) -> None:
        done = self._drive.run("sh", "-c", script, "sh", *words, bound=BOUND)
        if done.code:
            raise AssertionError(f"{script} failed")

    def cpu(self) -> float:
        """Of the mount's process."""
        fields = Path(f"/proc/{self._drive.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def peak(self) -> int | None:
        """Of the mount's process."""
        for line in Path(f"/proc/{self._drive.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        return None

    def forget_peak(self) -> None:
        """Source: proc_pid_clear_refs(5)."""
        Path(f"/proc/{self._drive.pid}/clear_refs").write_text("5")

    def fresh(self, turn: int) -> None:
        """Another mount: it holds neither names nor bytes."""
        if turn:
            self._drive.umount()
            self._drive.mount()

    def settled(self) -> None:
        """No save is under way."""
        self._drive.drained()

    def read_huge(self, turn: int) -> None:
        """For its memory."""
        del turn
        self._run('cat "$1" > /dev/null', self._field("huge") / "huge.bin")

    def write_huge(self, turn: int) -> None:
        """For its memory."""
        self._run('cp --sparse=never "$1" "$2"', self._sources.huge, self._field(inbox(self.name, turn)))


class Local(Shell):
    """The same commands on the local disk: the limit."""

    name = "local"

    def __init__(self, root: Path, sources: Sources, *, rounds: int) -> None:
        super().__init__(root, sources)
        for number in range(sources.sizes.documents):
            folder = self._field(f"C-{number:04}", CATALOGUE)
            folder.mkdir(parents=True)
            for name in ("offer.pdf", "order.pdf", "invoice.pdf", "notes.txt"):
                (folder / name).write_text(f"{name} {number}")
        for number in range(sources.sizes.photos):
            folder = self._field(photo_document(number), PHOTOS)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"photo {number:03}.jpg").write_bytes(os.urandom(sources.sizes.photo))
        for turn in range(rounds):
            for document in (inbox(self.name, turn), archive(self.name, turn)):
                self._field(document).mkdir(parents=True)

    def fresh(self, turn: int) -> None:
        """The large file of this round, on the disk and not in memory."""
        path = self._large(turn)
        path.parent.mkdir(parents=True)
        write_random(path, self._sources.sizes.large)
        with path.open("rb") as file:
            os.fsync(file.fileno())
        self.drop_pages(turn)

    def write(self, turn: int) -> None:
        """Also until it is on the disk, as the drive's draft is."""
        super().write(turn)
        with (self._field(inbox(self.name, turn)) / "new.bin").open("rb") as file:
            os.fsync(file.fileno())


class Plain(Contestant):
    """What a script would do: one httpx client, one request after the other, nothing kept."""

    name = "plain"

    def __init__(self, server: Server, sources: Sources) -> None:
        self._sources = sources
        self._client = httpx.Client(
            base_url=f"{server.url}/api/v2/",
            headers={
                "Authorization": f"Bearer {server.token}",
                "environment-id": server.environment,
                "Accept": "application/json",
            },
            trust_env=False,
            timeout=BOUND,
        )
        self._store = httpx.Client(trust_env=False, timeout=BOUND)

    def cpu(self) -> float:
        """Of this process, in which it works."""
        return time.process_time()

    def _attachments(self, document: str, definition: str = DEFINITION) -> list[dict[str, Any]]:
        answer = self._client.get(_place(document, definition), params={"valuePath": FIELD})
        files = answer.raise_for_status().json()["attachments"]
        assert isinstance(files, list)
        return files

    def _pages(self) -> Iterator[list[dict[str, Any]]]:
        last = ""
        while True:
            query = {"_id": {"$gt": last}} if last else {}
            options = {"sort": {"_id": 1}, "limit": _PAGE, "fields": {FIELD: 1}}
            parameters = {"query": json.dumps(query), "options": json.dumps(options)}
            answer = self._client.get(f"document-definitions/{CATALOGUE}/documents", params=parameters)
            page = answer.raise_for_status().json()["documents"]
            yield page
            if len(page) < _PAGE:
                return
            last = page[-1]["_id"]

    def find(self, turn: int) -> None:
        """Pages of 500 documents bring all names."""
        del turn
        found = [file["_fileName"] for page in self._pages() for document in page for file in document[FIELD]]
        assert len(found) == 4 * self._sources.sizes.documents

    def list_again(self, turn: int) -> None:
        """A script that keeps nothing asks again."""
        self.find(turn)

    def sniff(self, turn: int) -> None:
        """One list per document, one range per photo."""
        del turn
        for first in range(0, self._sources.sizes.photos, 10):
            for photo in self._attachments(photo_document(first), PHOTOS):
                answer = self._store.get(photo["downloadURL"], headers={"Range": "bytes=0-4095"})
                assert len(answer.content) == 4096

    def read(self, turn: int) -> None:
        """One list, one download."""
        (file,) = self._attachments(large_document(self.name, turn))
        with self._store.stream("GET", file["downloadURL"]) as answer:
            assert sum(map(len, answer.iter_raw())) == self._sources.sizes.large

    def read_again(self, turn: int) -> None:
        """A script that keeps nothing downloads again."""
        self.read(turn)

    def read_dropped(self, turn: int) -> None:
        """As before."""
        self.read(turn)

    def _save(self, document: str, path: Path) -> None:
        parameters = {"valuePath": FIELD, "actionType": "append", "shouldUpdateDocument": "true"}
        with path.open("rb") as file:
            files = {"file": (path.name, file)}
            self._client.post(_place(document), params=parameters, files=files).raise_for_status()

    def _delete(self, document: str, attachment: str) -> None:
        parameters = {"valuePath": FIELD, "attachmentId": attachment}
        self._client.delete(_place(document), params=parameters).raise_for_status()

    def _ids(self, document: str) -> dict[str, str]:
        return {file["_fileName"]: file["_id"] for file in self._attachments(document)}

    def write(self, turn: int) -> None:
        """One save."""
        self._save(inbox(self.name, turn), self._sources.large)

    def move(self, turn: int) -> None:
        """One list, one copy on the platform, one delete."""
        old, new = inbox(self.name, turn), archive(self.name, turn)
        attachment = self._ids(old)["new.bin"]
        place = {"ddName": DEFINITION, "valuePath": FIELD}
        order = {
            "source": place | {"externalId": old, "fileIds": [attachment]},
            "target": place | {"externalId": new, "actionType": "append"},
        }
        self._client.post("documents/copyAttachments", json=[order]).raise_for_status()
        self._delete(old, attachment)

    def copy_small(self, turn: int) -> None:
        """A save for each."""
        for path in self._sources.small:
            self._save(inbox(self.name, turn), path)

    def overwrite_small(self, turn: int) -> None:
        """One list, then a save and a delete for each."""
        document = inbox(self.name, turn)
        ids = self._ids(document)
        for path in self._sources.small[: self._sources.sizes.overwritten]:
            self._save(document, path)
            self._delete(document, ids[path.name])

    def remove_small(self, turn: int) -> None:
        """One list, then a delete for each."""
        document = inbox(self.name, turn)
        ids = self._ids(document)
        for path in self._sources.small[: self._sources.sizes.removed]:
            self._delete(document, ids[path.name])


def _place(document: str, definition: str = DEFINITION) -> str:
    return f"document-definitions/{definition}/documents/{document}/attachments"


def megabytes(size: float) -> str:
    """Bytes as a table shows them."""
    return f"{size / MIB:.1f}" if size < 10 * MIB else f"{size / MIB:.0f}"
