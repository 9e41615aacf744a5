"""A drive and its platform in one thread, on a clock of their own, without a socket or a kernel.

Everything that usually makes a run differ from the next is taken out: requests are handed to the sandbox's own
application, what would run in threads runs inline, time passes only while a call waits for it, and trio's scheduler and
all randomness follow hypothesis. So a failure found once is found again, can be shrunk, and an hour passes in no time.
"""

import os
import shutil
import tempfile
import threading
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from random import Random
from typing import Any, TypeVar
from unittest import mock

import trio
from outcome import Outcome, Value, acapture, capture
from trio.testing import MockClock, wait_all_tasks_blocked

from aerofs.content.store import Store
from aerofs.errors import AerofsError
from aerofs.filesystem.attributes import Changes
from aerofs.mount import compose
from aerofs.platform import Platform
from aerofs.sandbox import Fault, Sandbox, SandboxConfig
from aerofs.settings import Settings
from tests.contract.conftest import Caches, Drive
from tests.properties.simulated_platform import API, STORE, SameIds, WatchedRecords, Wire
from tests.properties.world import DEFINITION, FIELDS, DiedError, Seen, Standing, Watch, specs

T = TypeVar("T")

BOUND = 300.0
"""Seconds after which a call hangs: more than any bound that a call may have (close_wait and a stall after it)."""


def _uuid(numbers: Random) -> uuid.UUID:
    return uuid.UUID(int=numbers.getrandbits(128))


async def _inline(
    function: Callable[..., T], *args: Any, limiter: trio.CapacityLimiter | None = None, **_: Any
) -> T:
    """`trio.to_thread.run_sync` without a thread; other tasks have their turn before and after."""
    await trio.lowlevel.checkpoint()
    if limiter is None:
        result = function(*args)
    else:
        async with limiter:
            result = function(*args)
    await trio.lowlevel.cancel_shielded_checkpoint()
    return result


@contextmanager
def _in_memory() -> Iterator[Path]:
    """A directory on a disk without a disk, where there is one."""
    memory = Path("/dev/shm")
    parent = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
    directory = Path(tempfile.mkdtemp(prefix="aerofs-simulation-", dir=parent))
    try:
        with mock.patch.object(tempfile, "tempdir", str(directory)):
            yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


class Simulation:
    """The world of a state machine, whose methods are plain calls: the loop runs in a thread, and only in a call."""

    def __init__(self, **given: object) -> None:
        self._given = given
        self._clock = MockClock()
        self._orders: SimpleQueue[Callable[[], Awaitable[Any]] | None] = SimpleQueue()
        self._outcomes: SimpleQueue[Outcome[Any]] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._outcomes.get().unwrap()

    # -- the loop ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        with (
            _in_memory() as self._disk,
            mock.patch.object(trio.to_thread, "run_sync", _inline),
            mock.patch.object(uuid, "uuid4", partial(_uuid, Random(0))),
        ):
            self._outcomes.put(capture(partial(trio.run, self._main, clock=self._clock)))

    async def _main(self) -> None:
        config = SandboxConfig()
        with closing(WatchedRecords.open(None)) as self.records:
            self.records.ids = SameIds(Random(0))
            self.sandbox = Sandbox(config, self.records, url=API, store_url=STORE)
            self.records.add_definition(DEFINITION, fields=specs())
            names = sorted({field.partition("/")[0] for field in FIELDS})
            self._documents = {
                name: self.records.add_document(DEFINITION, external_id=name) for name in names
            }
            async with trio.open_nursery() as self._nursery:
                await self._mount("0")
                self._outcomes.put(Value(None))
                # Blocking on purpose: between two calls nothing moves at all.
                while (order := self._orders.get()) is not None:
                    self._outcomes.put(await acapture(order))
                self._clock.autojump_threshold = 0  # a request that is under way takes its time
                await self._unmount()
                self._nursery.cancel_scope.cancel()

    async def _mount(self, state: str) -> None:
        self._state = state
        self._stack = await AsyncExitStack().__aenter__()
        values = {
            "url": self.sandbox.url,
            "environment": self.sandbox.environment,
            "token": self.sandbox.token,
            "mountpoint": Path("/nowhere/mnt"),
            **self._given,
        }
        settings = Settings.model_validate(values)
        self.wire = Wire(self.sandbox, self._nursery)
        disk = self._stack.enter_context(Store(self._disk / state))
        platform = await self._stack.enter_async_context(Platform(settings, transport=self.wire))
        self._alive = trio.CancelScope()
        self._dead = trio.Event()
        composed: list[Any] = []
        ready = trio.Event()

        async def live() -> None:
            try:
                with self._alive:
                    async with trio.open_nursery() as nursery:
                        caches = Caches()
                        composed.extend((*compose(settings, disk, platform, caches, nursery), caches))
                        ready.set()
                        await trio.sleep_forever()
            finally:
                self._dead.set()

        self._nursery.start_soon(live)
        await ready.wait()
        filesystem, self._catalog, caches = composed
        self.drive = Drive(None, filesystem, disk, platform, self.wire)  # type: ignore[arg-type]
        self.drive.caches = caches
        await self._catalog.definitions()
        await filesystem.recover()
        self._directories = {
            field: (await self.drive.find(f"{DEFINITION}/{field}")).inode for field in FIELDS
        }

    async def _unmount(self) -> None:
        """The end of the process, at this very moment."""
        self.wire.dead = True
        self._alive.cancel()
        await self._dead.wait()
        await self.wire.arrived()
        await self._stack.aclose()

    def _call(self, call: Callable[[], Awaitable[T]], *, patient: bool = True, bound: float = BOUND) -> T:
        """Run a call to its end, as far as it takes in the time of the simulation."""

        async def bounded() -> T:
            # Time passes while nothing else is left to do.
            self._clock.autojump_threshold = 0 if patient else float("inf")
            wire = self.wire
            wire.scope = trio.CancelScope()
            try:
                with trio.fail_after(bound), wire.scope:
                    result = await call()
            except AerofsError as error:
                if wire.dead:
                    raise DiedError from error
                raise OSError(error.errno, f"{type(error).__name__}: {error}") from error
            except trio.TooSlowError:
                raise AssertionError("it hangs") from None
            finally:
                self._clock.autojump_threshold = float("inf")
            if wire is self.wire and wire.dead:
                raise DiedError
            return result

        self._orders.put(bounded)
        result: T = self._outcomes.get().unwrap()
        return result

    def end(self) -> None:
        """Stop everything; the disk is forgotten."""
        self._orders.put(None)
        self._outcomes.get().unwrap()
        self._thread.join(30)

    # -- what programs do ----------------------------------------------------------------------------------------

    def look(self, field: str, name: str) -> Seen:
        return self._call(lambda: self._look(field, name))

    async def _look(self, field: str, name: str) -> Seen:
        found = await self.drive.filesystem.lookup(self._directories[field], name)
        self.drive.filesystem.remember(found.inode)
        self.drive._seen.append(found.inode)
        return self._seen(found.inode)

    def _seen(self, inode: int) -> Seen:
        filesystem = self.drive.filesystem
        attributes = filesystem.attributes(inode)
        told = filesystem._attributes_of(inode).get("user.aero.id")
        return Seen(
            inode,
            attributes.size,
            attributes.mtime_ns,
            attributes.mode & 0o7777,
            told.decode() if told else None,
        )

    def names(self, field: str) -> list[str]:
        return self._call(lambda: self._names(field))

    async def _names(self, field: str) -> list[str]:
        filesystem = self.drive.filesystem
        number = filesystem.open_directory(self._directories[field])
        try:
            return [entry.name async for _, entry in filesystem.read_directory(number, 0)]
        finally:
            filesystem.close_directory(number)

    def create(self, field: str, name: str, flags: int) -> tuple[int, int]:
        async def call() -> tuple[int, int]:
            attributes, handle = await self.drive.filesystem.create(
                self._directories[field], name, flags | os.O_CREAT, 0o644
            )
            self.drive.filesystem.remember(attributes.inode)
            self.drive._seen.append(attributes.inode)
            return handle, attributes.inode

        return self._call(call)

    def open(self, field: str, name: str, flags: int) -> int:
        async def call() -> int:
            return await self.drive.filesystem.open((await self._look(field, name)).inode, flags)

        return self._call(call)

    def read(self, handle: int, offset: int, length: int) -> bytes:
        return self._call(lambda: self.drive.filesystem.read(handle, offset, length))

    def write(self, handle: int, offset: int, data: bytes) -> None:
        self._call(lambda: self.drive.filesystem.write(handle, offset, data))

    def stat(self, handle: int) -> Seen:
        async def call() -> Seen:
            return self._seen(self.drive.filesystem._files.node(handle).inode)

        return self._call(call)

    def resize(self, place: tuple[str, str], handle: int | None, size: int) -> None:
        self._change(place, handle, Changes(size=size))

    def adorn(self, place: tuple[str, str], *, mtime_ns: int | None = None, mode: int | None = None) -> None:
        self._change(place, None, Changes(mtime_ns=mtime_ns, mode=mode))

    def _change(self, place: tuple[str, str], handle: int | None, changes: Changes) -> None:
        async def call() -> None:
            filesystem = self.drive.filesystem
            inode = (
                (await self._look(*place)).inode if handle is None else filesystem._files.node(handle).inode
            )
            await filesystem.change(inode, changes, handle)

        self._call(call)

    def fsync(self, handle: int) -> None:
        self._call(lambda: self.drive.filesystem.fsync(handle))

    def flush(self, handle: int) -> None:
        self._call(lambda: self.drive.filesystem.flush(handle))

    def release(self, handle: int) -> None:
        self._call(lambda: self.drive.filesystem.release(handle))

    def rename(self, old: tuple[str, str], new: tuple[str, str], flags: int) -> None:
        (here, old_name), (there, new_name) = old, new
        places = (self._directories[here], old_name), (self._directories[there], new_name)
        self._call(lambda: self.drive.filesystem.rename(*places, flags))

    def unlink(self, field: str, name: str) -> None:
        self._call(lambda: self.drive.filesystem.unlink(self._directories[field], name))

    # -- what happens to them ------------------------------------------------------------------------------------

    def rest(self) -> None:
        """Let everything go on that can without time passing."""
        self._call(wait_all_tasks_blocked, patient=False)

    def sleep(self, seconds: float) -> None:
        """Time passes."""
        self._call(partial(trio.sleep, seconds), bound=seconds + BOUND)

    def away(self, *, away: bool) -> None:
        """The platform cannot be reached, or can again."""
        self.wire.away = away
        if not away:
            self._call(self._back)

    async def _back(self) -> None:
        if await self.drive.platform.probe():
            self.drive.filesystem.retry()

    def fault(self, fault: Fault) -> None:
        self.sandbox.add_fault(fault)

    def clear(self) -> None:
        self.sandbox.clear_faults()

    def faulty(self) -> bool:
        return any(True for _ in self.sandbox.faults)

    def drain(self) -> None:
        self._call(self.drive.filesystem.drain)

    def refresh(self) -> None:
        self._call(self._refresh, patient=False)

    async def _refresh(self) -> None:
        self.drive.filesystem.refresh()

    def retry_held(self) -> None:
        async def call() -> None:
            self.drive.filesystem._uploads.retry(held=True)
            await wait_all_tasks_blocked()

        self._call(call)
        self.drain()

    def saves(self) -> list[dict[str, Any]]:
        async def call() -> list[dict[str, Any]]:
            return self.drive.filesystem.saves()

        return self._call(call, patient=False)

    def assert_nothing_left(self) -> None:
        async def call() -> None:
            self.drive.assert_nothing_left()

        self._call(call, patient=False)

    def remount(self, *, crashed: bool) -> None:
        """Mount what the disk holds: after an orderly end, or as it was left at this moment."""

        async def call() -> None:
            if not crashed:
                await self.drive.filesystem.settle()
            elif not self.wire.dead:
                self._copy_disk()
            old, new = self._state, str(int(self._state) + 1)
            await self._unmount()
            if crashed:
                shutil.rmtree(self._disk / old)
            else:
                (self._disk / old).rename(self._disk / new)
            await self._mount(new)

        self._call(call)

    def _copy_disk(self) -> None:
        new = str(int(self._state) + 1)
        shutil.copytree(
            self._disk / self._state, self._disk / new, ignore=shutil.ignore_patterns("blobs", "lock")
        )

    def die_at(self, request: int, *, answered: bool) -> None:
        """The process dies at the request after so many."""
        self.wire.die_at(request, answered=answered, died=self._copy_disk)

    # -- what others see and do ----------------------------------------------------------------------------------

    def standing(self, field: str) -> list[Standing]:
        """What the platform holds of a field."""
        document, _, path = field.partition("/")
        found = self.records.attachments(DEFINITION, self._documents[document], path)
        return [Standing(each.id, field, each.name, each.data) for each in found]

    def meddle(self, remove: str | None, add: tuple[str, str, bytes] | None) -> None:
        """A colleague removes a file, or adds one, or replaces one by another in the same moment."""

        async def call() -> None:
            self.records.colleague = True
            try:
                if add is not None:
                    document, _, path = add[0].partition("/")
                    self.records.add_attachment(DEFINITION, self._documents[document], path, add[1], add[2])
                if remove is not None:
                    self.records.remove_attachment(remove)
            finally:
                self.records.colleague = False

        self._call(call, patient=False)

    def watched_by(self, watch: Watch) -> None:
        self.records.watch = watch
