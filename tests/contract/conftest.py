"""A composed filesystem without a kernel: real store, client and sandbox."""

import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Never

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from aerofs.content.store import Store
from aerofs.errors import DeniedError, NoSpaceError, NotFoundError, UnavailableError
from aerofs.filesystem import Filesystem
from aerofs.filesystem.attributes import Attributes
from aerofs.filesystem.nodes import FileNode
from aerofs.filesystem.outcomes import BESIDE_WAIT
from aerofs.mount import compose
from aerofs.namespace.inodes import ROOT
from aerofs.platform import Platform
from aerofs.sandbox import Access, FieldSpec, Sandbox, SandboxConfig, serving
from aerofs.settings import Settings
from tests.contract.network import Network

WRITE_NEW = os.O_WRONLY | os.O_CREAT
DEFINITION = "invoice"
FIELDS = (
    FieldSpec("scan"),
    FieldSpec("copies"),
    FieldSpec("single", maximum_attachments=1),
    FieldSpec("few", maximum_attachments=2),
    FieldSpec("contract", required=True),
    FieldSpec("passport", required=True, maximum_attachments=1),
    FieldSpec("small", maximum_megabytes=0.01),
    FieldSpec("picture", maximum_image_width=20),
    FieldSpec("photo", maximum_image_width=64),
)


@dataclass
class Caches:
    """What the kernel would have been told."""

    entries: list[tuple[int, str]] = field(default_factory=list)
    pages: list[int] = field(default_factory=list)

    def forget_entry(self, parent: int, name: str) -> None:
        self.entries.append((parent, name))

    def forget_pages(self, inode: int) -> None:
        self.pages.append(inode)

    def forget_attributes(self, inode: int) -> None:
        del inode


class Drive:
    """One mount of the office, as programs use it."""

    def __init__(
        self, office: "Office", filesystem: Filesystem, store: Store, platform: Platform, network: Network
    ) -> None:
        self.office = office
        self.filesystem = filesystem
        self.store = store
        self.platform = platform
        self.network = network
        self.caches = Caches()
        self._seen: list[int] = []

    async def find(self, path: str) -> Attributes:
        """lookup(2), part by part; the kernel remembers what it saw."""
        found = self.filesystem.attributes(ROOT)
        for name in path.split("/"):
            found = await self.filesystem.lookup(found.inode, name)
            self.filesystem.remember(found.inode)
            self._seen.append(found.inode)
        return found

    async def node(self, path: str) -> FileNode:
        node = self.filesystem._tree.node((await self.find(path)).inode)
        assert isinstance(node, FileNode)
        return node

    async def open(self, path: str, flags: int) -> int:
        """open(2), with O_CREAT and O_TRUNC as the kernel passes them."""
        parent, _, name = path.rpartition("/")
        if flags & os.O_CREAT:
            inode = (await self.find(parent)).inode
            attributes, handle = await self.filesystem.create(inode, name, flags, 0o644)
            self.filesystem.remember(attributes.inode)
            self._seen.append(attributes.inode)
            return handle
        return await self.filesystem.open((await self.find(path)).inode, flags)

    async def close(self, handle: int) -> None:
        """close(2) of the only descriptor."""
        try:
            await self.filesystem.flush(handle)
        finally:
            await self.filesystem.release(handle)

    async def write(self, path: str, data: bytes) -> None:
        """`cp` from elsewhere: create or truncate, write, close."""
        try:
            await self.find(path)
            handle = await self.open(path, os.O_WRONLY | os.O_TRUNC)
        except NotFoundError:
            handle = await self.open(path, WRITE_NEW)
        try:
            await self.filesystem.write(handle, 0, data)
        finally:
            await self.close(handle)

    async def read(self, path: str) -> bytes:
        handle = await self.open(path, os.O_RDONLY)
        try:
            return await self.filesystem.read(handle, 0, 1 << 20)
        finally:
            await self.close(handle)

    async def rename(self, old: str, new: str, flags: int = 0) -> None:
        """rename(2); the kernel looks both names up before."""
        places = []
        for path in (old, new):
            parent, _, name = path.rpartition("/")
            with suppress(NotFoundError):
                await self.find(path)
            places.append(((await self.find(parent)).inode, name))
        await self.filesystem.rename(places[0], places[1], flags)

    async def remove(self, path: str) -> None:
        parent, _, name = path.rpartition("/")
        await self.find(path)
        await self.filesystem.unlink((await self.find(parent)).inode, name)

    async def names(self, path: str) -> list[str]:
        number = self.filesystem.open_directory((await self.find(path)).inode)
        listed = [entry.name async for _, entry in self.filesystem.read_directory(number, 0)]
        self.filesystem.close_directory(number)
        return sorted(listed)

    async def shown(self, path: str) -> dict[str, bytes]:
        """The files of a directory, by name."""
        return {name: await self.read(f"{path}/{name}") for name in await self.names(path)}

    def states(self) -> dict[str, str]:
        """The saves that `aerofs status` would show."""
        return {save["path"].rpartition("/")[2]: save["state"] for save in self.filesystem.saves()}

    async def drained(self) -> None:
        with trio.fail_after(30):
            await self.filesystem.drain()

    async def back(self) -> None:
        """The platform is back; what waits is tried at once."""
        self.network.away = False
        await self.platform.probe()
        await self.drained()

    def assert_nothing_left(self) -> None:
        """Everything is on the platform and everything that was held for it was let go."""
        tree = self.filesystem._tree
        for inode in self._seen:
            self.filesystem.forget(inode, 1)
        assert self.filesystem.saves() == []
        assert tree.overlay.statistics() == {"hidden": 0, "placed": 0}
        assert tree.placed() == []
        pinned = [tree.inodes.node(inode) for inode in tree.inodes if inode in self._pinned()]
        assert pinned == []
        assert self.store.journal.load() == []
        assert list(self.store.drafts.iterdir()) == []
        drafts = [fd for fd in _open_files() if fd.endswith(".draft") and str(self.store.directory) in fd]
        assert drafts == []

    def _pinned(self) -> set[int]:
        entries = self.filesystem._tree.inodes._entries
        return {inode for inode, entry in entries.items() if entry.pins and inode != ROOT}


def _open_files() -> list[str]:
    files = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            files.append(str(link.readlink()))
        except FileNotFoundError:
            continue
    return files


class Office:
    """A sandbox with two documents, and the disk of one machine."""

    def __init__(self, sandbox: Sandbox, disk: Path) -> None:
        self.sandbox = sandbox
        self.disk = disk
        platform = sandbox.platform
        platform.add_definition(DEFINITION, fields=FIELDS)
        self.documents = {name: platform.add_document(DEFINITION, external_id=name) for name in ("1", "2")}

    @asynccontextmanager
    async def mounted(self, state: str = "state", **given: object) -> AsyncIterator[Drive]:
        """A drive, with what the journal holds taken up; left as by the death of its process."""
        values = {
            "url": self.sandbox.url,
            "environment": self.sandbox.environment,
            "token": self.sandbox.token,
            "mountpoint": Path("/nowhere/mnt"),
            "document_ttl": 3600.0,
            **given,
        }
        settings = Settings.model_validate(values)
        network = Network()
        with Store(self.disk / state) as store:
            async with Platform(settings, transport=network) as platform, trio.open_nursery() as nursery:
                caches = Caches()
                filesystem, catalog = compose(settings, store, platform, caches, nursery)
                drive = Drive(self, filesystem, store, platform, network)
                drive.caches = caches
                await catalog.definitions()
                await filesystem.recover()
                yield drive
                await catalog.aclose()
                nursery.cancel_scope.cancel()

    def add(self, path: str, data: bytes) -> str:
        """Somebody else adds a file."""
        document, value_path, name = path.split("/")[1:]
        return self.sandbox.platform.add_attachment(
            DEFINITION, self.documents[document], value_path, name, data
        )

    def tidy_up(self, place: str, data: bytes) -> None:
        """Somebody else deletes what has these bytes in a field (`1/scan`, …)."""
        document, value_path = place.split("/")
        platform = self.sandbox.platform
        for each in platform.attachments(DEFINITION, self.documents[document], value_path):
            if each.data == data:
                platform.remove_attachment(each.id)

    def permit(self, access: Access) -> None:
        """What the token of the drives may do from now on."""
        self.sandbox.tokens[self.sandbox.token] = access

    def stored(self, *fields: str) -> list[tuple[str, bytes]]:
        """What the platform holds of the fields (`1/scan`, …), in the order of names; without any: of all."""
        found = []
        for place in fields or [f"{document}/{spec.name}" for document in self.documents for spec in FIELDS]:
            document, value_path = place.split("/")
            files = self.sandbox.platform.attachments(DEFINITION, self.documents[document], value_path)
            found += [(f"{place}/{each.name}", each.data) for each in files]
        return sorted(found)

    def take_requests(self) -> Mapping[str, int]:
        """Requests by kind, counted anew from now on; documents that were read to find names are not counted."""
        counts = {
            kind: count
            for kind, count in self.sandbox.requests.items()
            if kind not in ("definitions", "documents", "document", "other") and count
        }
        self.sandbox.reset_counts()
        return counts

    def clear(self) -> None:
        """Everybody's files are gone."""
        platform = self.sandbox.platform
        for document in self.documents.values():
            for spec in FIELDS:
                for each in platform.attachments(DEFINITION, document, spec.name):
                    platform.remove_attachment(each.id)

    def forget_disk(self, state: str) -> None:
        """Start with an empty disk."""
        shutil.rmtree(self.disk / state, ignore_errors=True)

    def start_over(self, files: Iterable[tuple[str, bytes]]) -> None:
        """Nothing is left of a process and of the one that came after its death; the platform has these files."""
        for state in ("alive", "dead"):
            self.forget_disk(state)
        self.clear()
        for path, data in files:
            self.add(f"{DEFINITION}/{path}", data)

    def copy_disk(self, state: str, other: str) -> None:
        """What the disk held at this very moment."""
        shutil.copytree(self.disk / state, self.disk / other, ignore=shutil.ignore_patterns("blobs", "lock"))


@pytest.fixture
def clock() -> MockClock:
    """A clock that may be moved on; it counts only in a test that asks for it by this name."""
    return MockClock(rate=1.0)


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    async with serving(SandboxConfig()) as sandbox:
        yield Office(sandbox, tmp_path)


async def later(clock: MockClock, seconds: float) -> None:
    """Let time pass, once every task that waits for it does so."""
    await wait_all_tasks_blocked(0.02)
    clock.jump(seconds)


async def settled_down(clock: MockClock) -> None:
    """Let the time pass for which a name leads to what was saved under it, though a stranger's file has it."""
    await later(clock, BESIDE_WAIT + 1)
    await wait_all_tasks_blocked(0.02)


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition that nobody announces."""
    with trio.fail_after(20):
        while not condition():  # noqa: ASYNC110 -- that is what it is for
            await trio.sleep(0.05)


async def queued(drive: Drive, path: str, data: bytes) -> None:
    """A save that waits for the platform: close() told of it."""
    with pytest.raises(UnavailableError):
        await drive.write(path, data)


async def saved_while_away(drive: Drive, path: str, data: bytes) -> None:
    """A save that waits for the platform, which is away from now on."""
    drive.network.away = True
    await queued(drive, path, data)


async def refused(drive: Drive, path: str, data: bytes, *, told: bool = False) -> None:
    """A save that the platform refused: after close() accepted it (at a `close_wait` of 0), or `told` by close()."""
    drive.office.permit(Access(read_only=True))
    with pytest.raises(DeniedError) if told else nullcontext():
        await drive.write(path, data)
    await until(lambda: drive.states().get(path.rpartition("/")[2]) == "held")
    drive.office.permit(Access())


async def journal_full(*_given: object, **_named: object) -> Never:
    """In the place of whatever writes to the journal."""
    raise NoSpaceError("the journal: the local disk is full")
