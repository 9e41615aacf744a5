"""The steps of a put against a platform that answers by word of the test: what is asked, in which order, and why."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from socket import gethostname

import pytest

from aerofs.content.conflicts import conflict_title
from aerofs.content.operations import Operation, Retire, Role, Secured
from aerofs.content.puts import FileContent, Put
from aerofs.content.steps import Performer
from aerofs.content.store import Store
from aerofs.errors import (
    AerofsError,
    DeniedError,
    DoubtError,
    NotFoundError,
    ProtocolError,
    QuotaError,
    RefusedError,
    UnavailableError,
)
from aerofs.model import Attachment, AttachmentId, DefinitionId, DocumentId, FieldRef, ValuePath

HERE = FieldRef(DefinitionId("d"), DocumentId("1"), ValuePath("scan"))
THERE = FieldRef(DefinitionId("d"), DocumentId("2"), ValuePath("scan"))
DENIED = DeniedError("not you")
LOST = UnavailableError("the connection broke")
UNSENT = UnavailableError("no connection", unsent=True)


@dataclass
class Bytes:
    """A download."""

    data: bytes
    start: int = 0
    ranged: bool = False

    @property
    def expected(self) -> int:
        return len(self.data)

    @property
    def total(self) -> int:
        return len(self.data)

    etag: str | None = None
    size: int | None = None

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self.data


@dataclass
class Remote:
    """A platform in memory. `failing` raises before the work is done, `losing` after it."""

    files: dict[FieldRef, list[tuple[Attachment, bytes]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    failing: dict[str, list[AerofsError | None]] = field(default_factory=dict)
    losing: dict[str, list[AerofsError | None]] = field(default_factory=dict)
    silent: bool = False
    after: Callable[[str], object] | None = None
    count: int = 0

    def add(self, place: FieldRef, name: str, data: bytes) -> Attachment:
        self.count += 1
        attachment = Attachment(AttachmentId(f"id{self.count}"), name, len(data), url=f"url{self.count}")
        self.files.setdefault(place, []).append((attachment, data))
        return attachment

    def remove(self, attachment: Attachment) -> None:
        for files in self.files.values():
            files[:] = [entry for entry in files if entry[0].id != attachment.id]

    def names(self, place: FieldRef) -> list[tuple[str, bytes]]:
        return [(each.name, data) for each, data in self.files.get(place, [])]

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        self._raise(self.failing.get(what))

    def _answer(self, what: str) -> None:
        if self.after is not None:
            self.after(what)
        self._raise(self.losing.get(what))

    def _raise(self, errors: list[AerofsError | None] | None) -> None:
        error = errors.pop(0) if errors else None
        if error is not None:
            raise error

    async def attachments(self, place: FieldRef) -> tuple[Attachment, ...]:
        self._ask("list")
        return tuple(each for each, _ in self.files.get(place, []))

    async def save(
        self,
        place: FieldRef,
        name: str,
        content: FileContent,
        *,
        replace: bool = False,
        known: frozenset[AttachmentId] = frozenset(),
    ) -> Attachment | None:
        del known
        self._ask("replace" if replace else "save")
        if replace:
            self.files[place] = []
        with content.open() as reader:
            added = self.add(place, name, reader.read())
        self._answer("save")
        return None if self.silent else added

    async def delete(
        self, place: FieldRef, attachment: AttachmentId, *, again: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        del again
        self._ask("delete")
        standing = [entry for entry in self.files.get(place, []) if entry[0].id == attachment]
        if not standing:
            raise NotFoundError("no such attachment")
        self.files[place].remove(standing[0])
        self._answer("delete")

    async def copy(
        self,
        source: FieldRef,
        attachments: Sequence[AttachmentId],
        target: FieldRef,
        *,
        known: frozenset[AttachmentId] = frozenset(),
    ) -> tuple[Attachment, ...] | None:
        del known
        self._ask("copy")
        found = [entry for entry in self.files.get(source, []) if entry[0].id in attachments]
        added = tuple(self.add(target, each.name, data) for each, data in found)
        self._answer("copy")
        return None if self.silent else added

    @asynccontextmanager
    async def download(self, url: str, *, start: int = 0, stop: int | None = None) -> AsyncIterator[Bytes]:
        del start, stop
        self._ask("download")
        for files in self.files.values():
            for each, data in files:
                if each.url == url:
                    yield Bytes(data)
                    return
        raise NotFoundError("gone")


class Ledger:
    """A catalog that knows nothing."""

    def begin(self) -> int:
        return 1

    def end(self, begun: int) -> None: ...

    def learn(self, place: FieldRef, attachments: Sequence[Attachment], *, begun: int) -> object: ...

    def added(self, place: FieldRef, attachment: Attachment, *, name: str | None = None) -> object: ...

    def removed(self, place: FieldRef, attachment_id: AttachmentId) -> object: ...

    def replaced(
        self, place: FieldRef, old_id: AttachmentId, attachment: Attachment, *, name: str | None = None
    ) -> object: ...

    def expire(self, what: FieldRef) -> None: ...


class Bench:
    """A performer, its platform and its disk."""

    def __init__(self, store: Store, directory: Path) -> None:
        self.store = store
        self.remote = Remote()
        self._directory = directory
        self.performer = Performer(self.remote, Ledger(), store.journal, store.drafts, self._fetch)

    @asynccontextmanager
    async def _fetch(self, place: FieldRef, attachment: Attachment) -> AsyncIterator[Path]:
        self.remote.asked.append("fetch")
        for each, data in self.remote.files.get(place, []):
            if each.id == attachment.id:
                path = self._directory / "fetched"
                path.write_bytes(data)
                yield path
                return
        raise NotFoundError("gone")

    def known(self, place: FieldRef = HERE) -> frozenset[AttachmentId]:
        return frozenset(each.id for each, _ in self.remote.files.get(place, []))

    async def save(self, data: bytes = b"new", *bases: Attachment, maximum: int | None = None) -> Put:
        """The save of a.txt that stands for those."""
        path = self.store.drafts / "x.draft"
        path.write_bytes(data)
        row = Operation(
            place=HERE,
            path="d/1/scan/a.txt",
            file_name="a.txt",
            title="a.txt",
            size=len(data),
            content=path.name,
            sha256=sha256(data).hexdigest(),
            retire=tuple(Retire(HERE, base.id, base.name, Role.BASE) for base in bases),
            known=self.known(),
            maximum=maximum,
        )
        return Put(await self.store.journal.record(row))

    async def move(self, source: Attachment, *over: Attachment, title: str = "a.txt") -> Put:
        """The move of a file from HERE to THERE."""
        row = Operation(
            place=THERE,
            path=f"d/2/scan/{title}",
            file_name=title,
            title=title,
            size=source.size or 0,
            copy_of=(HERE, source.id),
            source_title=source.name,
            retire=(
                Retire(HERE, source.id, source.name, Role.SOURCE),
                *(Retire(THERE, each.id, each.name, Role.OVER) for each in over),
            ),
            known=self.known(THERE),
        )
        return Put(await self.store.journal.record(row))

    async def fails(self, put: Put, error: type[AerofsError]) -> None:
        with pytest.raises(error) as raised:
            await self.performer.perform(put)
        assert type(raised.value) is error

    async def again(self, put: Put) -> Put:
        """The same put as another process finds it, which cannot know whether the last request was carried out."""
        (row,) = self.store.journal.load()
        put = Put(replace(row, maybe_sent=row.added is None))
        await self.performer.perform(put)
        return put


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(Store(tmp_path / "state"), tmp_path)


@pytest.fixture(autouse=True)
def _closed(bench: Bench) -> object:
    yield
    bench.store.close()


# -- saves -----------------------------------------------------------------------------------------------------------


async def test_a_new_file_is_one_request(bench: Bench) -> None:
    put = await bench.save()
    await bench.performer.perform(put)
    assert bench.remote.asked == ["save"]
    assert put.row.added is not None


async def test_an_overwrite_is_a_save_and_a_delete(bench: Bench) -> None:
    put = await bench.save(b"new", bench.remote.add(HERE, "a.txt", b"old"))
    await bench.performer.perform(put)
    assert bench.remote.asked == ["save", "delete"]
    assert bench.remote.names(HERE) == [("a.txt", b"new")]


async def test_the_new_file_is_announced_before_the_old_one_goes(bench: Bench) -> None:
    put = await bench.save(b"new", bench.remote.add(HERE, "a.txt", b"old"))
    heard: list[list[str]] = []
    put.announced = lambda _added: heard.append(list(bench.remote.asked))
    await bench.performer.perform(put)
    assert heard == [["save"]]


@pytest.mark.parametrize("done", [False, True])
async def test_after_a_lost_answer_the_field_tells(bench: Bench, *, done: bool) -> None:
    put = await bench.save(b"new", bench.remote.add(HERE, "a.txt", b"old"))
    (bench.remote.losing if done else bench.remote.failing)["save"] = [LOST]
    await bench.fails(put, UnavailableError)
    assert put.row.maybe_sent
    bench.remote.asked.clear()
    await bench.performer.perform(put)
    assert bench.remote.asked == (["list", "download", "delete"] if done else ["list", "save", "delete"])
    assert bench.remote.names(HERE) == [("a.txt", b"new")]


async def test_what_was_certainly_not_sent_is_sent_again_without_a_question(bench: Bench) -> None:
    put = await bench.save()
    bench.remote.failing["save"] = [UNSENT]
    await bench.fails(put, UnavailableError)
    await bench.performer.perform(put)
    assert bench.remote.asked == ["save", "save"]


async def test_an_answer_that_cannot_be_read_counts_as_lost(bench: Bench) -> None:
    put = await bench.save()
    bench.remote.losing["save"] = [ProtocolError("<html>")]
    await bench.fails(put, UnavailableError)
    bench.remote.failing["list"] = [ProtocolError("<html>")]
    await bench.fails(put, UnavailableError)
    await bench.performer.perform(put)
    assert bench.remote.names(HERE) == [("a.txt", b"new")]


@pytest.mark.parametrize("theirs", [b"six", b"longer"])
async def test_a_strangers_file_of_our_name_is_not_ours(bench: Bench, theirs: bytes) -> None:
    put = await bench.save(b"our")
    bench.remote.failing["save"] = [LOST]
    await bench.fails(put, UnavailableError)
    bench.remote.add(HERE, "a.txt", theirs)
    await bench.performer.perform(put)
    assert bench.remote.names(HERE) == [("a.txt", theirs), ("a.txt", b"our")]


async def test_the_version_that_was_opened_is_never_taken_for_ours(bench: Bench) -> None:
    base = bench.remote.add(HERE, "a.txt", b"same")
    put = await bench.save(b"same", base)
    put.row = replace(put.row, known=frozenset(), maybe_sent=True)
    await bench.performer.perform(put)
    assert bench.remote.names(HERE) == [("a.txt", b"same")]
    assert put.row.added is not None
    assert put.row.added.id != base.id


async def test_ours_is_found_though_the_platform_composes_accents_in_another_way(bench: Bench) -> None:
    put = await bench.save()
    put.row = replace(put.row, title="e\N{COMBINING ACUTE ACCENT}.txt", maybe_sent=True)
    bench.remote.add(HERE, "\N{LATIN SMALL LETTER E WITH ACUTE}.txt", b"new")
    await bench.performer.perform(put)
    assert len(bench.remote.names(HERE)) == 1


@pytest.mark.parametrize("strangers", [0, 1])
async def test_a_yes_that_names_nothing_is_proven_by_the_bytes(bench: Bench, strangers: int) -> None:
    put = await bench.save()
    bench.remote.silent = True
    if strangers:
        bench.remote.add(HERE, "a.txt", b"six")
    await bench.performer.perform(put)
    assert bench.remote.asked == ["save", "list", "download"] + ["download"] * strangers
    assert put.row.added is not None
    assert dict(bench.remote.names(HERE))["a.txt"] == b"new"


async def test_a_yes_that_names_nothing_is_looked_after_once_more_where_that_failed(bench: Bench) -> None:
    put = await bench.save()
    bench.remote.silent = True
    bench.remote.failing["list"] = [LOST]
    await bench.fails(put, UnavailableError)
    await bench.performer.perform(put)
    assert bench.remote.asked == ["save", "list", "list", "download"]


async def test_a_yes_of_which_nothing_is_seen_is_not_repeated_for_ever(bench: Bench) -> None:
    put = await bench.save()
    bench.remote.silent = True
    bench.remote.after = lambda what: bench.remote.files.clear() if what == "save" else None
    await bench.fails(put, ProtocolError)
    assert put.row.maybe_sent


async def test_in_a_field_that_resizes_what_has_our_bytes_is_ours(bench: Bench) -> None:
    put = await bench.save()
    put.row = replace(put.row, resizes=True, maybe_sent=True)
    bench.remote.add(HERE, "a.txt", b"six")
    bench.remote.add(HERE, "a.txt", b"new")
    await bench.performer.perform(put)
    assert bench.remote.asked == ["list", "fetch", "fetch"]
    assert len(bench.remote.names(HERE)) == 2


@pytest.mark.parametrize("strangers", [1, 2])
async def test_in_a_field_that_resizes_what_cannot_be_told_is_for_the_user(
    bench: Bench, strangers: int
) -> None:
    put = await bench.save()
    put.row = replace(put.row, resizes=True, maybe_sent=True)
    for _ in range(strangers):
        bench.remote.add(HERE, "a.txt", b"smaller")
    await bench.fails(put, DoubtError)
    assert bench.remote.asked == ["list"] + ["fetch"] * strangers
    await bench.performer.perform(put)  # who lets it be tried again has looked
    assert ("a.txt", b"new") in bench.remote.names(HERE)
    assert len(bench.remote.names(HERE)) == strangers + 1


@pytest.mark.parametrize("mark", ["cancelled", "superseded"])
async def test_in_a_field_that_resizes_what_cannot_be_told_is_not_touched(bench: Bench, mark: str) -> None:
    put = await bench.save()
    put.row = replace(put.row, resizes=True, maybe_sent=True)
    put.row = replace(put.row, cancelled=mark == "cancelled", superseded=mark == "superseded")
    bench.remote.add(HERE, "a.txt", b"smaller")
    await bench.performer.perform(put)
    assert bench.remote.names(HERE) == [("a.txt", b"smaller")]
    assert put.row.added is None


# -- somebody else was faster ----------------------------------------------------------------------------------------


async def test_a_strangers_newer_version_stays_beside_ours(bench: Bench) -> None:
    base = bench.remote.add(HERE, "a.txt", b"old")
    put = await bench.save(b"our", base)
    bench.remote.remove(base)
    bench.remote.add(HERE, "a.txt", b"theirs")
    await bench.performer.perform(put)
    assert bench.remote.asked == ["save", "delete", "list", "save", "delete"]
    (theirs, ours) = bench.remote.names(HERE)
    assert theirs == ("a.txt", b"theirs")
    assert ours[0].startswith("a (conflict ")
    assert ours[1] == b"our"
    assert put.row.added is not None
    assert put.row.added.name == ours[0]


@pytest.mark.parametrize("step", range(5))
async def test_a_failure_on_the_way_beside_a_stranger_leaves_one_copy_each(bench: Bench, step: int) -> None:
    base = bench.remote.add(HERE, "a.txt", b"old")
    put = await bench.save(b"our", base)
    bench.remote.remove(base)
    bench.remote.add(HERE, "a.txt", b"theirs")
    kind = ["save", "delete", "list", "save", "delete"][step]
    before = ["save", "delete", "list", "save", "delete"][:step].count(kind)
    answers = bench.remote.losing if kind == "save" else bench.remote.failing
    answers[kind] = [*[None] * before, LOST]
    await bench.fails(put, UnavailableError)
    put = await bench.again(put)
    assert sorted(data for _, data in bench.remote.names(HERE)) == [b"our", b"theirs"]
    assert "conflict" in put.row.title


async def test_a_twin_that_stood_there_before_is_no_newer_version(bench: Bench) -> None:
    base = bench.remote.add(HERE, "a.txt", b"old")
    bench.remote.add(HERE, "a.txt", b"twin")
    put = await bench.save(b"our", base)
    bench.remote.remove(base)
    await bench.performer.perform(put)
    assert bench.remote.names(HERE) == [("a.txt", b"twin"), ("a.txt", b"our")]


def test_a_conflict_title_keeps_the_suffix() -> None:
    when = datetime(2026, 11, 23, 14, 5, tzinfo=UTC)
    assert conflict_title("report.odt", when) == f"report (conflict {gethostname()} 2026-11-23 14.05).odt"
    assert conflict_title("backup.tar.gz", when).endswith(" 2026-11-23 14.05).tar.gz")
    assert conflict_title("README", when).endswith(" 2026-11-23 14.05)")
    assert conflict_title(".profile", when).startswith(".profile (conflict ")


def test_a_conflict_title_that_is_taken_is_counted_on() -> None:
    when = datetime(2026, 11, 23, 14, 5, tzinfo=UTC)
    taken: set[str] = set()
    for _ in range(3):
        taken.add(conflict_title("report.odt", when, taken=frozenset(taken)))
    assert len(taken) == 3
    assert f"report (conflict {gethostname()} 2026-11-23 14.05 3).odt" in taken


@pytest.mark.parametrize("letter", ["x", "é", "€", "😀"])
def test_a_conflict_title_fits_into_a_name(letter: str) -> None:
    when = datetime(2026, 11, 23, 14, 5, tzinfo=UTC)
    title = (letter * 255).encode()[:251].decode(errors="ignore") + ".odt"
    found = conflict_title(title, when)
    assert 250 <= len(found.encode()) <= 255
    assert found.startswith(letter * 10)
    assert found.endswith(" 2026-11-23 14.05).odt")
    assert conflict_title(title, when, taken=frozenset({found})).endswith(" 2).odt")


# -- what cannot be deleted ------------------------------------------------------------------------------------------


async def test_a_base_that_may_not_go_sends_ours_back(bench: Bench) -> None:
    put = await bench.save(b"new", bench.remote.add(HERE, "a.txt", b"old"))
    retracted: list[bool] = []
    put.retracted = lambda: retracted.append(True)
    bench.remote.failing["delete"] = [DENIED]
    await bench.fails(put, DeniedError)
    assert bench.remote.names(HERE) == [("a.txt", b"old")]
    assert put.row.added is None
    assert retracted == [True]
    assert [row.added for row in bench.store.journal.load()] == [None]


async def test_a_take_back_that_fails_for_now_is_done_again(bench: Bench) -> None:
    put = await bench.save(b"new", bench.remote.add(HERE, "a.txt", b"old"))
    bench.remote.failing["delete"] = [DENIED, LOST, DENIED]
    await bench.fails(put, UnavailableError)
    assert put.row.added is not None
    await bench.fails(put, DeniedError)
    assert bench.remote.names(HERE) == [("a.txt", b"old")]


async def test_where_neither_may_go_both_stand_and_are_remembered(bench: Bench) -> None:
    put = await bench.save(b"new", bench.remote.add(HERE, "a.txt", b"old"))
    bench.remote.failing["delete"] = [DENIED, DENIED]
    await bench.fails(put, DeniedError)
    assert len(bench.remote.names(HERE)) == 2
    assert put.row.added is not None
    await bench.performer.perform(put)
    assert bench.remote.names(HERE) == [("a.txt", b"new")]


async def test_a_target_that_may_not_go_never_costs_the_moved_file(bench: Bench) -> None:
    source, over = bench.remote.add(HERE, "a.txt", b"our"), bench.remote.add(THERE, "a.txt", b"old")
    put = await bench.move(source, over)
    bench.remote.failing["delete"] = [None, DENIED]
    await bench.fails(put, DeniedError)
    assert bench.remote.names(THERE) == [("a.txt", b"old"), ("a.txt", b"our")]
    await bench.again(put)
    assert bench.remote.names(THERE) == [("a.txt", b"our")]


# -- full fields -----------------------------------------------------------------------------------------------------


async def test_the_only_file_of_a_field_for_one_is_replaced(bench: Bench) -> None:
    put = await bench.save(b"new", bench.remote.add(HERE, "a.txt", b"old"), maximum=1)
    await bench.performer.perform(put)
    assert bench.remote.asked == ["list", "replace"]
    assert bench.remote.names(HERE) == [("a.txt", b"new")]


async def test_a_field_for_one_that_holds_another_version_is_not_replaced(bench: Bench) -> None:
    base = bench.remote.add(HERE, "a.txt", b"old")
    put = await bench.save(b"our", base, maximum=1)
    bench.remote.remove(base)
    bench.remote.add(HERE, "a.txt", b"theirs")
    await bench.fails(put, QuotaError)
    assert bench.remote.names(HERE) == [("a.txt", b"theirs")]
    assert bench.remote.asked == ["list"]


async def test_a_field_for_one_that_is_empty_by_now_takes_ours(bench: Bench) -> None:
    base = bench.remote.add(HERE, "a.txt", b"old")
    put = await bench.save(b"our", base, maximum=1)
    bench.remote.remove(base)
    await bench.performer.perform(put)
    assert bench.remote.asked[:2] == ["list", "save"]
    assert bench.remote.names(HERE) == [("a.txt", b"our")]


async def full(bench: Bench) -> Put:
    base = bench.remote.add(HERE, "a.txt", b"old")
    bench.remote.add(HERE, "b.txt", b"other")
    return await bench.save(b"new", base, maximum=2)


async def test_in_a_full_field_the_old_version_is_kept_here_and_makes_room(bench: Bench) -> None:
    put = await full(bench)
    await bench.performer.perform(put)
    assert bench.remote.asked == ["list", "fetch", "delete", "save"]
    assert sorted(bench.remote.names(HERE)) == [("a.txt", b"new"), ("b.txt", b"other")]
    assert [path.name for path in bench.store.drafts.iterdir()] == ["x.draft"]


@pytest.mark.parametrize("lost", [False, True])
async def test_what_made_room_stands_again_after_a_refusal(bench: Bench, *, lost: bool) -> None:
    put = await full(bench)
    bench.remote.failing["save"] = [DENIED]
    if lost:
        bench.remote.losing["save"] = [LOST]
        await bench.fails(put, UnavailableError)
        bench.remote.failing["save"] = [DENIED]
    await bench.fails(put, DeniedError)
    assert sorted(bench.remote.names(HERE)) == [("a.txt", b"old"), ("b.txt", b"other")]
    assert put.row.secured is None
    await bench.performer.perform(put)
    assert sorted(bench.remote.names(HERE)) == [("a.txt", b"new"), ("b.txt", b"other")]


async def test_what_was_full_when_we_looked_need_not_be_full_any_more(bench: Bench) -> None:
    put = await full(bench)
    bench.remote.remove(bench.remote.files[HERE][1][0])
    await bench.performer.perform(put)
    assert bench.remote.asked == ["list", "save", "delete"]


async def test_a_maximum_that_nobody_told_is_learnt_from_the_refusal(bench: Bench) -> None:
    base = bench.remote.add(HERE, "a.txt", b"old")
    bench.remote.add(HERE, "b.txt", b"other")
    put = await bench.save(b"new", base)
    bench.remote.failing["save"] = [QuotaError("too many")]
    await bench.performer.perform(put)
    assert sorted(bench.remote.names(HERE)) == [("a.txt", b"new"), ("b.txt", b"other")]


async def test_a_withdrawn_save_that_had_made_room_leaves_nothing(bench: Bench) -> None:
    put = await full(bench)
    bench.remote.failing["save"] = [UNSENT]
    await bench.fails(put, UnavailableError)
    assert isinstance(put.row.secured, Secured)
    put.row = replace(put.row, cancelled=True)
    await bench.performer.perform(put)
    assert bench.remote.names(HERE) == [("b.txt", b"other")]
    assert [path.name for path in bench.store.drafts.iterdir()] == ["x.draft"]


# -- moves -----------------------------------------------------------------------------------------------------------


async def test_a_move_of_the_same_name_is_a_copy_and_a_delete(bench: Bench) -> None:
    put = await bench.move(bench.remote.add(HERE, "a.txt", b"our"))
    await bench.performer.perform(put)
    assert bench.remote.asked == ["copy", "delete"]
    assert bench.remote.names(THERE) == [("a.txt", b"our")]
    assert bench.remote.names(HERE) == []


async def test_a_move_to_another_name_brings_the_bytes_up(bench: Bench) -> None:
    put = await bench.move(bench.remote.add(HERE, "a.txt", b"our"), title="b.txt")
    await bench.performer.perform(put)
    assert bench.remote.asked == ["fetch", "save", "delete"]
    assert bench.remote.names(THERE) == [("b.txt", b"our")]


async def test_a_silent_copy_costs_one_list_and_the_bytes_that_tell_it_from_a_strangers(bench: Bench) -> None:
    bench.remote.silent = True
    put = await bench.move(bench.remote.add(HERE, "a.txt", b"our"))
    await bench.performer.perform(put)
    assert bench.remote.asked == ["copy", "list", "fetch", "download", "delete"]


@pytest.mark.parametrize("done", [False, True])
async def test_a_copy_whose_answer_was_lost_is_told_by_its_bytes(bench: Bench, *, done: bool) -> None:
    put = await bench.move(bench.remote.add(HERE, "a.txt", b"our"))
    (bench.remote.losing if done else bench.remote.failing)["copy"] = [LOST]
    await bench.fails(put, UnavailableError)
    bench.remote.add(THERE, "a.txt", b"six")  # a stranger's, of the same name and size
    await bench.performer.perform(put)
    assert sorted(bench.remote.names(THERE)) == [("a.txt", b"our"), ("a.txt", b"six")]
    assert bench.remote.names(HERE) == []


@pytest.mark.parametrize("error", [DENIED, RefusedError("This field is required")])
async def test_a_source_that_may_not_go_sends_the_copy_back(bench: Bench, error: AerofsError) -> None:
    put = await bench.move(bench.remote.add(HERE, "a.txt", b"our"))
    bench.remote.failing["delete"] = [error]
    await bench.fails(put, type(error))
    assert bench.remote.names(THERE) == []
    assert bench.remote.names(HERE) == [("a.txt", b"our")]


async def test_the_target_of_a_rename_goes_last(bench: Bench) -> None:
    source, over = bench.remote.add(HERE, "a.txt", b"our"), bench.remote.add(THERE, "a.txt", b"old")
    put = await bench.move(source, over)
    left: list[int] = []
    bench.remote.after = lambda _what: left.append(len(bench.remote.names(THERE)))
    await bench.performer.perform(put)
    assert left == [2, 2, 1]  # copied, source deleted, target deleted


# -- marks from outside ----------------------------------------------------------------------------------------------


async def test_a_cancelled_save_takes_back_what_was_brought_up_and_its_base(bench: Bench) -> None:
    put = await bench.save(b"new", bench.remote.add(HERE, "a.txt", b"old"))

    def cancel(what: str) -> None:
        if what == "save":
            put.row = replace(put.row, cancelled=True)

    bench.remote.after = cancel
    await bench.performer.perform(put)
    assert bench.remote.names(HERE) == []
    assert put.row.added is None


async def test_a_cancelled_save_whose_answer_was_lost_is_found_and_taken_back(bench: Bench) -> None:
    put = await bench.save()
    bench.remote.losing["save"] = [LOST]
    await bench.fails(put, UnavailableError)
    put.row = replace(put.row, cancelled=True)
    await bench.performer.perform(put)
    assert bench.remote.names(HERE) == []


async def test_a_superseded_save_brings_nothing_up_but_finds_what_it_did(bench: Bench) -> None:
    put = await bench.save()
    bench.remote.losing["save"] = [LOST]
    await bench.fails(put, UnavailableError)
    put.row = replace(put.row, superseded=True)
    await bench.performer.perform(put)
    assert put.row.added is not None
    other = await bench.save(b"another")
    other.row = replace(other.row, superseded=True)
    await bench.performer.perform(other)
    assert other.row.added is None


async def test_a_mark_that_comes_while_the_journal_is_written_is_kept(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = await full(bench)
    record = bench.store.journal.record

    async def marking(row: Operation) -> Operation:
        put.row = replace(put.row, cancelled=True)
        return await record(row)

    monkeypatch.setattr(bench.store.journal, "record", marking)
    bench.remote.failing["save"] = [UNSENT]
    await bench.fails(put, UnavailableError)
    assert put.row.cancelled
    await bench.performer.perform(put)
    assert bench.remote.names(HERE) == [("b.txt", b"other")]
