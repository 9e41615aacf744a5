from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Generic, Literal, NamedTuple, TypeVar

import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from aerofs.model import (
    Attachment,
    AttachmentId,
    Definition,
    DefinitionId,
    Document,
    DocumentId,
    FieldRef,
    ValuePath,
)
from aerofs.namespace.catalog import Catalog

T = TypeVar("T")

DEFINITION = Definition(DefinitionId("d"), "invoice")
PLACES = [
    FieldRef(DEFINITION.id, DocumentId(document), ValuePath(path))
    for document, path in (("1", "picture"), ("1", "scan"), ("2", "picture"))
]


class Step(NamedTuple):
    """One thing that happens. `which` chooses among what is there at that moment."""

    what: Literal[
        "snapshot", "page", "list", "learn", "serve", "answer", "own", "tell", "outside", "expire", "settle"
    ]
    place: FieldRef
    how: Literal["add", "named", "remove", "replace"]
    which: int


STEPS = st.lists(
    st.builds(
        Step,
        st.sampled_from(
            [
                *("snapshot", "page", "list", "learn", "expire", "settle"),
                *("serve", "answer", "own", "tell", "outside") * 2,
            ]
        ),
        st.sampled_from(PLACES),
        st.sampled_from(["add", "named", "remove", "replace"]),
        st.integers(0, 5),
    ),
    min_size=10,
    max_size=60,
)


@dataclass(slots=True, eq=False)
class Request(Generic[T]):
    """A request between its beginning, the moment when the platform looks, and its answer."""

    look: Callable[[], T]
    seen: list[T] = field(default_factory=list)
    answered: trio.Event = field(default_factory=trio.Event)

    def serve(self) -> None:
        self.seen.append(self.look())


@dataclass(slots=True, eq=False)
class Change:
    """A change of ours that the platform has made and the catalog does not know yet."""

    place: FieldRef
    gone: AttachmentId | None
    new: Attachment | None
    name: str | None


class Platform:
    """The truth, and the requests that are under way."""

    def __init__(self) -> None:
        self.truth: dict[FieldRef, list[Attachment]] = {place: [] for place in PLACES}
        self.begun: list[Request[tuple[Document, ...]] | Request[tuple[Attachment, ...]]] = []
        self.served: list[Request[tuple[Document, ...]] | Request[tuple[Attachment, ...]]] = []
        self.at_once = False
        self._numbers = count()
        for listed in self.truth.values():
            listed += [self.new(), replace(self.new(), name="0.pdf")]

    def new(self) -> Attachment:
        number = next(self._numbers)
        return Attachment(AttachmentId(f"{number:08}"), f"{number % 3}.pdf", number)

    def change(self, step: Step) -> Change | None:
        """Let somebody add, remove or replace a file; None where there is none to remove."""
        listed = self.truth[step.place]
        gone = listed[step.which % len(listed)] if listed and step.how in ("remove", "replace") else None
        new = None if step.how == "remove" else self.new()
        if gone is not None:
            listed.remove(gone)
        if new is not None:
            listed.append(new)
        name = f"{step.which % 3}.pdf" if step.how == "named" else None
        if gone is None and new is None:
            return None
        return Change(step.place, None if gone is None else gone.id, new, name)

    def settle(self) -> None:
        """Answer everything that is under way, in the order of its beginning."""
        for request in self.begun:
            request.serve()
        for request in (*self.served, *self.begun):
            request.answered.set()
        self.begun, self.served = [], []

    def documents(self) -> tuple[Document, ...]:
        found: dict[DocumentId, dict[ValuePath, tuple[Attachment, ...]]] = {}
        for place, listed in self.truth.items():
            found.setdefault(place.document, {})[place.path] = tuple(listed)
        return tuple(Document(identity, fields=fields) for identity, fields in found.items())

    async def definitions(self) -> tuple[Definition, ...]:
        raise NotImplementedError

    async def document_pages(
        self, definition: Definition, *, query: Mapping[str, object] | None = None
    ) -> AsyncIterator[tuple[Document, ...]]:
        del definition, query
        yield await self._documents()

    async def document(self, definition: Definition, document_id: str) -> Document:
        del definition
        return next(each for each in await self._documents() if each.id == document_id)

    async def documents_by_external_id(
        self, definition: Definition, external_id: str
    ) -> tuple[Document, ...]:
        raise NotImplementedError

    async def attachments(self, place: FieldRef) -> tuple[Attachment, ...]:
        request = Request(lambda: tuple(self.truth[place]))
        if self.at_once:
            return request.look()
        self.begun.append(request)
        await request.answered.wait()
        return request.seen[0]

    async def _documents(self) -> tuple[Document, ...]:
        request = Request(self.documents)
        if self.at_once:
            return request.look()
        self.begun.append(request)
        await request.answered.wait()
        return request.seen[0]


class World:
    """A platform, a catalog, and what may never be otherwise."""

    def __init__(self, *, maximum: int, nursery: trio.Nursery) -> None:
        self.platform = Platform()
        self.catalog = Catalog(self.platform, maximum_documents=maximum)
        self.holds_all = maximum >= len({place.document for place in PLACES})
        self.nursery = nursery
        self.untold: list[Change] = []
        self.told: set[AttachmentId] = set()
        self.deleted: set[AttachmentId] = set()
        self.names: dict[FieldRef, dict[AttachmentId, str]] = {}

    async def step(self, step: Step) -> None:
        unsticky = False
        match step.what:
            case "snapshot":
                self.nursery.start_soon(self.catalog.snapshot, DEFINITION, step.place.document)
            case "page":
                self.catalog.expire(DEFINITION.id)
                self.nursery.start_soon(self.walk)
            case "list":
                self.nursery.start_soon(self.catalog.attachments, step.place)
            case "learn":
                self.nursery.start_soon(self.learn, step.place)
            case "expire":
                self.catalog.expire(step.place)
            case "outside":
                self.platform.change(step)
            case "own":
                change = self.platform.change(step)
                self.untold += [] if change is None else [change]
            case "tell" if self.untold:
                self.tell(self.untold.pop(step.which % len(self.untold)))
                unsticky = True
            case "serve" if self.platform.begun:
                request = self.platform.begun.pop(step.which % len(self.platform.begun))
                request.serve()
                self.platform.served.append(request)
            case "settle":
                self.platform.settle()
            case "answer" if self.platform.served:
                self.platform.served.pop(step.which % len(self.platform.served)).answered.set()
            case _:
                return
        await trio.testing.wait_all_tasks_blocked()
        self.check(sticky=not unsticky)

    async def walk(self) -> None:
        assert [entry.id async for entry in self.catalog.documents(DEFINITION)] == ["1", "2"]

    async def learn(self, place: FieldRef) -> None:
        begun = self.catalog.begin()
        self.catalog.learn(place, await self.platform.attachments(place), begun=begun)

    def tell(self, change: Change) -> None:
        if change.new is None:
            assert change.gone is not None
            self.catalog.removed(change.place, change.gone)
        elif change.gone is None:
            self.catalog.added(change.place, change.new, name=change.name)
            self.deleted.discard(change.new.id)
        else:
            self.catalog.replaced(change.place, change.gone, change.new)
        if change.gone is not None:
            self.deleted.add(change.gone)
        if change.new is not None and change.new.id not in self.deleted:
            self.told.add(change.new.id)

    def check(self, *, sticky: bool) -> None:
        for place in PLACES:
            snapshot = self.catalog.peek(DEFINITION, place.document, stale=True)
            if snapshot is None:
                self.names.pop(place, None)
                continue
            files = snapshot.fields[place.path]
            shown = {each.id for each in files.attachments}
            standing = {each.id for each in self.platform.truth[place]}
            assert not shown & self.deleted, "what we deleted came back"
            assert self.told & standing <= shown, "what we added is not shown"
            assert len(set(files)) == len(files) == len(shown)
            names = files.names
            if sticky and self.holds_all:
                before = self.names.get(place, {})
                assert all(names[identity] == before[identity] for identity in names.keys() & before.keys())
            self.names[place] = names

    async def finish(self) -> None:
        """Let everything come to rest, ask once more, and find that the catalog shows the truth."""
        while self.untold:
            self.tell(self.untold.pop(0))
        while self.platform.begun or self.platform.served:
            self.platform.settle()
            await trio.testing.wait_all_tasks_blocked()
        self.check(sticky=False)
        self.platform.at_once = True
        for place in PLACES:
            self.catalog.expire(place)
            snapshot = await self.catalog.snapshot(DEFINITION, place.document)
            assert list(snapshot.fields[place.path].attachments) == self.platform.truth[place]
        assert self.catalog.statistics()["requests"] == 0
        assert self.catalog.statistics()["changes"] == 0


async def play(steps: list[Step], maximum: int) -> None:
    async with trio.open_nursery() as nursery:
        world = World(maximum=maximum, nursery=nursery)
        for step in steps:
            await world.step(step)
        await world.finish()
        nursery.cancel_scope.cancel()


@settings(max_examples=300, deadline=None)
@given(STEPS, st.integers(1, 2))
def test_own_changes_are_never_undone_and_in_the_end_the_catalog_shows_the_truth(
    steps: list[Step], maximum: int
) -> None:
    trio.run(play, steps, maximum, clock=trio.testing.MockClock())
