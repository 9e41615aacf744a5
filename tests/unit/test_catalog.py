from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from functools import partial

import pytest
import trio
import trio.testing

from aerofs.errors import AerofsError, DeniedError, NotFoundError, ProtocolError, UnavailableError
from aerofs.model import (
    Attachment,
    AttachmentId,
    Definition,
    DefinitionId,
    Document,
    DocumentId,
    Field,
    FieldRef,
    ValuePath,
)
from aerofs.namespace.catalog import Catalog, DocumentEntry

PICTURE = ValuePath("picture")
INVOICE = Definition(DefinitionId("def1"), "invoice", fields=(Field("picture"),))


def attachment(identity: str, name: str = "x.pdf", *, size: int | None = 1) -> Attachment:
    return Attachment(AttachmentId(identity), name, size, url=f"https://store.example/{identity}?sig=1")


def document(number: int, external_id: str | None = None, *attachments: Attachment) -> Document:
    fields = {PICTURE: attachments}
    return Document(DocumentId(f"{number:024x}"), external_id, modified_ns=number, fields=fields)


def place(of: Document) -> FieldRef:
    return FieldRef(INVOICE.id, of.id, PICTURE)


class Platform:
    """A platform in memory that counts its requests, can be away, and can hold back its answers."""

    def __init__(self, *documents: Document, page: int = 500) -> None:
        self.known: tuple[Definition, ...] = (INVOICE,)
        self.held = {each.id: each for each in documents}
        self.page = page
        self.requests: Counter[str] = Counter()
        self.failure: Exception | None = None
        self.gate: trio.Event | None = None

    async def _served(self, kind: str) -> None:
        self.requests[kind] += 1
        await trio.lowlevel.checkpoint()
        if self.failure is not None:
            raise self.failure

    async def _answered(self) -> None:
        if self.gate is not None:
            await self.gate.wait()

    async def definitions(self) -> tuple[Definition, ...]:
        await self._served("definitions")
        await self._answered()
        return self.known

    async def document_pages(
        self, definition: Definition, *, query: Mapping[str, object] | None = None
    ) -> AsyncIterator[tuple[Document, ...]]:
        assert definition == INVOICE
        assert query is None
        listed = sorted(self.held)
        for start in range(0, len(listed), self.page):
            await self._served("page")
            answer = tuple(self.held[each] for each in listed[start : start + self.page])
            await self._answered()
            yield answer

    async def document(self, definition: Definition, document_id: str) -> Document:
        assert definition == INVOICE
        await self._served("document")
        answer = self.held.get(DocumentId(document_id))
        await self._answered()
        if answer is None:
            raise NotFoundError(document_id)
        return answer

    async def documents_by_external_id(
        self, definition: Definition, external_id: str
    ) -> tuple[Document, ...]:
        assert definition == INVOICE
        await self._served("query")
        return tuple(each for each in self.held.values() if each.external_id == external_id)[:2]

    async def attachments(self, place: FieldRef) -> tuple[Attachment, ...]:
        await self._served("list")
        answer = self.held[place.document].fields[place.path]
        await self._answered()
        return answer

    def put(self, of: Document, *attachments: Attachment) -> None:
        self.held[of.id] = replace(of, fields={PICTURE: attachments})


async def names(catalog: Catalog) -> list[str]:
    return [entry.name async for entry in catalog.documents(INVOICE)]


async def files(catalog: Catalog, of: Document) -> dict[str, str]:
    snapshot = await catalog.snapshot(INVOICE, of.id)
    return {name: each.id for name, each in snapshot.fields[PICTURE].items()}


# Definitions


async def test_definitions_cost_one_request_until_their_time_is_over(
    mock_clock: trio.testing.MockClock,
) -> None:
    platform = Platform()
    catalog = Catalog(platform, definition_ttl=300)
    assert await catalog.definitions() == {"invoice": INVOICE}
    assert await catalog.definition("invoice") is INVOICE
    assert catalog.remaining() == 300
    assert platform.requests.total() == 1
    mock_clock.jump(300)
    assert catalog.remaining() == 0
    assert catalog.definition_of(INVOICE.id) is INVOICE
    await catalog.definitions()
    assert platform.requests.total() == 2


@pytest.mark.parametrize("away", [UnavailableError("away"), ProtocolError("a page of HTML")])
async def test_definitions_are_served_however_old_when_the_platform_is_away(
    mock_clock: trio.testing.MockClock, away: AerofsError
) -> None:
    platform = Platform()
    catalog = Catalog(platform)
    await catalog.definitions()
    mock_clock.jump(1000)
    platform.failure = away
    assert await catalog.definition("invoice") is INVOICE
    assert catalog.statistics()["stale_answers"] == 1
    platform.failure = DeniedError("no longer yours")
    with pytest.raises(DeniedError):
        await catalog.definitions()


async def test_an_unknown_or_probed_definition_is_not_found() -> None:
    platform = Platform()
    catalog = Catalog(platform)
    with pytest.raises(NotFoundError):
        await catalog.definition(".git")
    assert platform.requests.total() == 0
    with pytest.raises(NotFoundError):
        await catalog.definition("order")


async def test_definitions_of_awkward_names_have_directories() -> None:
    platform = Platform()
    cafe = Definition(DefinitionId("def2"), "caf\u00e9")
    platform.known = (
        INVOICE,
        cafe,
        Definition(DefinitionId("def3"), "a/b"),
        replace(INVOICE, id=DefinitionId("ffffffff")),
    )
    catalog = Catalog(platform)
    assert list(await catalog.definitions()) == ["invoice", "caf\u00e9", "a\u2215b", "invoice (ffffff)"]
    assert await catalog.definition("cafe\u0301") is cafe


# Listings


async def test_a_listing_brings_whole_trees_and_lookups_below_it_cost_nothing() -> None:
    documents = [document(n, f"INV-{n}", attachment(f"a{n}")) for n in range(1000)]
    platform = Platform(*documents)
    catalog = Catalog(platform)
    listed = [entry async for entry in catalog.documents(INVOICE)]
    assert listed[7] == DocumentEntry("INV-7", documents[7].id, 7)
    assert len(listed) == 1000
    for each in listed:
        assert await catalog.find_document(INVOICE, each.name) == each
        assert list((await catalog.snapshot(INVOICE, each.id)).fields[PICTURE]) == ["x.pdf"]
    with pytest.raises(NotFoundError):
        await catalog.find_document(INVOICE, "INV-1000")
    assert platform.requests == {"page": 2}
    assert catalog.remaining(INVOICE) > 0


async def test_the_first_entries_are_shown_before_later_pages_are_asked_for() -> None:
    platform = Platform(*(document(n) for n in range(9)), page=3)
    reading = Catalog(platform).documents(INVOICE)
    for _ in range(3):
        await anext(reading)
    assert platform.requests == {"page": 1}
    await anext(reading)
    assert platform.requests == {"page": 2}


async def test_readers_at_the_same_time_share_the_pages() -> None:
    platform = Platform(*(document(n) for n in range(10)), page=3)
    catalog = Catalog(platform)
    read: list[list[str]] = []

    async def reader() -> None:
        read.append(await names(catalog))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(reader)
    assert read == [[f"{n:024x}" for n in range(10)]] * 5
    assert platform.requests == {"page": 4}


async def test_a_listing_that_a_reader_left_is_read_on_by_the_next(
    mock_clock: trio.testing.MockClock,
) -> None:
    platform = Platform(*(document(n) for n in range(4)), page=2)
    catalog = Catalog(platform, listing_ttl=60)
    await anext(catalog.documents(INVOICE))
    assert len(await names(catalog)) == 4
    assert platform.requests == {"page": 2}
    mock_clock.jump(60)
    await anext(catalog.documents(INVOICE))
    mock_clock.jump(60)
    assert len(await names(catalog)) == 4
    assert platform.requests == {"page": 5}


async def test_a_cancelled_reader_leaves_the_listing_to_the_others() -> None:
    platform = Platform(*(document(n) for n in range(4)), page=2)
    catalog = Catalog(platform)
    platform.gate = trio.Event()
    read: list[list[str]] = []

    async def other() -> None:
        read.append(await names(catalog))

    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        async def first() -> None:
            with scope:
                await names(catalog)

        nursery.start_soon(first)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(other)
        await trio.testing.wait_all_tasks_blocked()
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        platform.gate.set()
    assert len(read[0]) == 4
    assert platform.requests == {"page": 3}


async def test_readers_of_one_page_share_its_failure_and_the_next_reader_tries_again() -> None:
    platform = Platform(*(document(n) for n in range(4)), page=2)
    catalog = Catalog(platform)
    reading, other = catalog.documents(INVOICE), catalog.documents(INVOICE)
    assert [(await anext(reading)).name for _ in range(2)] == [(await anext(other)).name for _ in range(2)]
    platform.failure = UnavailableError("away", retry_after=3)
    errors: list[UnavailableError] = []

    async def read_on(one: AsyncIterator[DocumentEntry]) -> None:
        with pytest.raises(UnavailableError) as caught:
            await anext(one)
        errors.append(caught.value)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read_on, reading)
        nursery.start_soon(read_on, other)
    assert platform.requests == {"page": 2}
    assert errors[0] is not errors[1]
    assert [error.retry_after for error in errors] == [3, 3]
    platform.failure = None
    assert len(await names(catalog)) == 4


@pytest.mark.parametrize("away", [UnavailableError("away"), ProtocolError("a page of HTML")])
async def test_an_old_listing_is_served_when_the_platform_is_away(
    mock_clock: trio.testing.MockClock, away: AerofsError
) -> None:
    platform = Platform(*(document(n) for n in range(4)), page=2)
    catalog = Catalog(platform, listing_ttl=60)
    complete = await names(catalog)
    mock_clock.jump(60)
    platform.failure = away
    assert await names(catalog) == complete
    platform.failure = None
    reading = catalog.documents(INVOICE)
    begun = [(await anext(reading)).name for _ in range(2)]
    platform.failure = UnavailableError("away again")
    assert begun + [entry.name async for entry in reading] == complete
    assert catalog.statistics()["stale_answers"] == 2
    entry = await catalog.find_document(INVOICE, complete[3])
    assert list((await catalog.snapshot(INVOICE, entry.id)).fields) == [PICTURE]


async def test_documents_that_share_a_name_are_told_apart_for_good(
    mock_clock: trio.testing.MockClock,
) -> None:
    twins = [document(n, "v1.2") for n in (0xAAAAAA, 0xBBBBBB, 0xCCCCCC)]
    platform = Platform(*twins)
    catalog = Catalog(platform, listing_ttl=60)
    expected = ["v1.2", "v1.2 (bbbbbb)", "v1.2 (cccccc)"]
    assert await names(catalog) == expected
    assert (await catalog.find_document(INVOICE, "v1.2 (cccccc)")).id == twins[2].id
    mock_clock.jump(60)
    earlier = document(0x111111, "v1.2")
    platform.held[earlier.id] = earlier
    assert await names(catalog) == ["v1.2 (111111)", *expected]
    mock_clock.jump(60)
    del platform.held[twins[0].id]
    assert await names(catalog) == ["v1.2 (111111)", *expected[1:]]


async def test_an_external_id_may_equal_the_id_of_another_document() -> None:
    plain = document(0xAAAAAA)
    imitator = document(0xBBBBBB, plain.id)
    catalog = Catalog(Platform(plain, imitator))
    assert await names(catalog) == [plain.id, f"{plain.id} (bbbbbb)"]
    cold = Catalog(Platform(plain, imitator))
    assert (await cold.find_document(INVOICE, plain.id)).id == plain.id
    assert (await cold.find_document(INVOICE, f"{plain.id} (bbbbbb)")).id == imitator.id


async def test_documents_can_be_named_by_their_ids_alone() -> None:
    one = document(1, "INV-1")
    platform = Platform(one)
    catalog = Catalog(platform, documents_by="id")
    assert (await catalog.find_document(INVOICE, one.id)).id == one.id
    with pytest.raises(NotFoundError):
        await catalog.find_document(INVOICE, "INV-1")
    assert platform.requests == {"document": 2}
    assert await names(catalog) == [one.id]


# One document


async def test_a_document_is_found_by_one_request_and_then_by_none(
    mock_clock: trio.testing.MockClock,
) -> None:
    one = document(1, "bdr:200¡adm:05¡prj:6", attachment("a1"))
    platform = Platform(one)
    catalog = Catalog(platform, document_ttl=30)
    for _ in range(3):
        assert await catalog.find_document(INVOICE, "bdr:200¡adm:05¡prj:6") == (one.external_id, one.id, 1)
        assert await files(catalog, one) == {"x.pdf": "a1"}
    assert platform.requests == {"query": 1}
    mock_clock.jump(30)
    await catalog.find_document(INVOICE, "bdr:200¡adm:05¡prj:6")
    assert platform.requests == {"query": 1, "document": 1}


async def test_a_document_without_an_external_id_is_found_by_its_id() -> None:
    one, other = document(1), document(2, "INV-2")
    platform = Platform(one, other)
    catalog = Catalog(platform)
    assert (await catalog.find_document(INVOICE, one.id)).id == one.id
    assert platform.requests == {"document": 1}
    with pytest.raises(NotFoundError):
        await catalog.find_document(INVOICE, other.id)


async def test_a_told_apart_name_is_found_without_a_listing() -> None:
    twins = [document(n, "INV (old)") for n in (0xAAAAAA, 0xBBBBBB)]
    platform = Platform(*twins)
    catalog = Catalog(platform)
    assert (await catalog.find_document(INVOICE, "INV (old) (bbbbbb)")).id == twins[1].id
    assert platform.requests == {"query": 1}
    assert (await catalog.find_document(INVOICE, "INV (old)")).id == twins[0].id
    with pytest.raises(NotFoundError):
        await catalog.find_document(INVOICE, "INV (old) (cccccc)")


async def test_an_unknown_name_costs_nothing_for_two_seconds(mock_clock: trio.testing.MockClock) -> None:
    platform = Platform()
    catalog = Catalog(platform, negative_ttl=2)
    for _ in range(3):
        with pytest.raises(NotFoundError):
            await catalog.find_document(INVOICE, "INV-1")
    assert platform.requests == {"query": 1}
    mock_clock.jump(2)
    one = document(1, "INV-1")
    platform.held[one.id] = one
    assert (await catalog.find_document(INVOICE, "INV-1")).id == one.id


async def test_a_probed_name_costs_nothing_unless_a_listing_knows_it() -> None:
    one = document(1, ".hidden")
    platform = Platform(one)
    catalog = Catalog(platform)
    with pytest.raises(NotFoundError):
        await catalog.find_document(INVOICE, ".hidden")
    assert platform.requests.total() == 0
    await names(catalog)
    assert (await catalog.find_document(INVOICE, ".hidden")).id == one.id


async def test_a_name_that_no_file_can_have_costs_nothing() -> None:
    platform = Platform(document(1, "a\nb"))
    catalog = Catalog(platform)
    with pytest.raises(NotFoundError):
        await catalog.find_document(INVOICE, "a\nb")
    assert platform.requests.total() == 0
    assert (await catalog.find_document(INVOICE, "a\u240ab")).modified_ns == 1


async def test_a_name_that_looks_the_same_leads_to_the_document() -> None:
    one = document(1, "caf\u00e9")
    cold = Catalog(Platform(one))
    assert (await cold.find_document(INVOICE, "cafe\u0301")).id == one.id
    other = document(2, "cafe\u0301")
    catalog = Catalog(Platform(one, other, document(3, "nai\u0308f")))
    assert len(await names(catalog)) == 3
    assert (await catalog.find_document(INVOICE, "caf\u00e9")).id == one.id
    assert (await catalog.find_document(INVOICE, "cafe\u0301")).id == other.id
    assert (await catalog.find_document(INVOICE, "na\u00eff")).name == "nai\u0308f"


async def test_who_asks_for_one_document_at_the_same_time_shares_one_request() -> None:
    one = document(1, "INV-1")
    platform = Platform(one)
    catalog = Catalog(platform)

    async def find() -> None:
        assert (await catalog.find_document(INVOICE, "INV-1")).id == one.id

    async def snap() -> None:
        assert (await catalog.snapshot(INVOICE, one.id)).document == one.id

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(find)
            nursery.start_soon(snap)
    assert platform.requests == {"query": 1, "document": 1}


async def test_when_the_first_to_ask_is_cancelled_another_takes_over() -> None:
    one = document(1)
    platform = Platform(one)
    platform.gate = trio.Event()
    catalog = Catalog(platform)
    answers: list[DocumentId] = []

    async def ask(scope: trio.CancelScope) -> None:
        with scope:
            answers.append((await catalog.snapshot(INVOICE, one.id)).document)

    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()
        nursery.start_soon(ask, scope)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ask, trio.CancelScope())
        await trio.testing.wait_all_tasks_blocked()
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        platform.gate.set()
    assert answers == [one.id]
    assert catalog.statistics()["requests"] == 0


async def test_a_document_that_is_gone_is_not_asked_for_again_at_once(
    mock_clock: trio.testing.MockClock,
) -> None:
    one = document(1, "INV-1")
    platform = Platform(one)
    catalog = Catalog(platform, document_ttl=30)
    await catalog.find_document(INVOICE, "INV-1")
    del platform.held[one.id]
    mock_clock.jump(30)
    for _ in range(2):
        with pytest.raises(NotFoundError):
            await catalog.find_document(INVOICE, "INV-1")
        with pytest.raises(NotFoundError):
            await catalog.snapshot(INVOICE, one.id)
    assert platform.requests == {"query": 2, "document": 1}
    assert catalog.peek(INVOICE, one.id, stale=True) is None


async def test_a_document_is_served_however_old_when_the_platform_is_away(
    mock_clock: trio.testing.MockClock,
) -> None:
    one = document(1, "INV-1", attachment("a1"))
    platform = Platform(one)
    catalog = Catalog(platform, document_ttl=30)
    await catalog.find_document(INVOICE, "INV-1")
    mock_clock.jump(1000)
    platform.failure = UnavailableError("away")
    assert (await catalog.find_document(INVOICE, "INV-1")).id == one.id
    assert await files(catalog, one) == {"x.pdf": "a1"}
    with pytest.raises(UnavailableError):
        await catalog.find_document(INVOICE, "INV-2")
    assert catalog.peek(INVOICE, one.id) is None
    assert catalog.peek(INVOICE, one.id, stale=True) is not None


async def test_an_expired_document_is_asked_for_again_whatever_is_under_way() -> None:
    one = document(1, None, attachment("a1"))
    platform = Platform(one)
    catalog = Catalog(platform)
    platform.gate = trio.Event()
    early: list[dict[str, str]] = []

    async def ask() -> None:
        early.append(await files(catalog, one))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        platform.put(one, attachment("a2"))
        catalog.expire(place(one))
        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        platform.gate.set()
    assert await files(catalog, one) == {"x.pdf": "a2"}
    assert platform.requests == {"document": 2}
    assert {"x.pdf": "a2"} in early


async def test_everything_can_be_expired() -> None:
    one = document(1, "INV-1")
    platform = Platform(one)
    catalog = Catalog(platform)
    for _ in range(2):
        await catalog.definitions()
        await names(catalog)
        catalog.expire()
    assert platform.requests == {"definitions": 2, "page": 2}
    assert catalog.remaining() == catalog.remaining(INVOICE) == catalog.remaining(INVOICE, one.id) == 0
    assert catalog.peek(INVOICE, one.id) is None


async def test_only_so_many_documents_are_held_and_others_are_asked_for_again() -> None:
    documents = [document(n, None, attachment(f"a{n}")) for n in range(20)]
    platform = Platform(*documents)
    catalog = Catalog(platform, maximum_documents=10)
    assert len(await names(catalog)) == 20
    assert catalog.statistics()["documents"] == 10
    assert await files(catalog, documents[0]) == {"x.pdf": "a0"}
    assert platform.requests == {"page": 1, "document": 1}


async def test_a_snapshot_shows_empty_fields_and_no_signed_addresses() -> None:
    one = document(1, None, attachment("a1"))
    lines = ValuePath("orderLines.l1.photo")
    one = replace(one, created_ns=5, fields={**one.fields, lines: ()})
    snapshot = await Catalog(Platform(one)).snapshot(INVOICE, one.id)
    assert dict(snapshot.fields[lines]) == {}
    assert snapshot.created_ns == 5
    assert snapshot.fields[PICTURE]["x.pdf"].url is None


# Own changes


async def test_a_field_tells_its_files_by_name_by_id_and_by_look() -> None:
    one = document(1, None, *(attachment(f"{n:08}", f"caf\u00e9 {n}.pdf") for n in range(30)))
    found = (await Catalog(Platform(one)).snapshot(INVOICE, one.id)).fields[PICTURE]
    assert found["caf\u00e9 7.pdf"].id == "00000007"
    assert found.by_id[AttachmentId("00000007")].name == "caf\u00e9 7.pdf"
    assert found.name_of(AttachmentId("00000007")) == "caf\u00e9 7.pdf"
    assert found.name_of(AttachmentId("nobody")) is None
    assert found.find("cafe\u0301 7.pdf") == ("caf\u00e9 7.pdf", found["caf\u00e9 7.pdf"])
    assert found.find("cafe 7.pdf") is None
    assert "nothing" not in found


async def test_own_changes_are_seen_at_once_and_cost_nothing() -> None:
    one = document(1, None, attachment("a0000001", "x.pdf"), attachment("a0000002", "y.pdf"))
    platform = Platform(one)
    catalog = Catalog(platform)
    await catalog.snapshot(INVOICE, one.id)
    assert catalog.added(place(one), attachment("a0000003", "x.pdf")) == "x (000003).pdf"
    assert (
        catalog.replaced(place(one), AttachmentId("a0000001"), attachment("a0000004", "other.pdf")) == "x.pdf"
    )
    catalog.removed(place(one), AttachmentId("a0000002"))
    assert list((await files(catalog, one)).items()) == [
        ("x.pdf", "a0000004"),
        ("x (000003).pdf", "a0000003"),
    ]
    assert platform.requests == {"document": 1}


async def test_own_changes_to_a_document_that_is_not_held_are_no_mistake() -> None:
    one = document(1, None, attachment("a1", "a/b"))
    catalog = Catalog(Platform(one))
    assert catalog.added(place(one), attachment("a1", "a/b")) == "a\u2215b"
    catalog.removed(place(one), AttachmentId("a0"))
    assert catalog.replaced(place(one), AttachmentId("a0"), attachment("a1"), name="mine") == "mine"
    assert await files(catalog, one) == {"a\u2215b": "a1"}


async def test_a_name_chosen_here_stays_and_who_had_it_gets_it_back_when_ours_is_taken_back() -> None:
    one = document(1, None, attachment("a0000001"))
    platform = Platform(one)
    catalog = Catalog(platform)
    await catalog.snapshot(INVOICE, one.id)
    assert catalog.added(place(one), attachment("a0000002"), name="x.pdf") == "x.pdf"
    assert await files(catalog, one) == {"x (000001).pdf": "a0000001", "x.pdf": "a0000002"}
    platform.put(one, attachment("a0000001"), attachment("a0000002"))
    catalog.expire(place(one))
    assert await files(catalog, one) == {"x (000001).pdf": "a0000001", "x.pdf": "a0000002"}
    catalog.removed(place(one), AttachmentId("a0000002"))
    assert await files(catalog, one) == {"x.pdf": "a0000001"}


@pytest.mark.parametrize("kind", ["document", "page", "list"])
async def test_a_late_answer_never_undoes_an_own_change(kind: str) -> None:
    one = document(1, None, attachment("a0000001"), attachment("a0000002", "y.pdf"))
    platform = Platform(one)
    catalog = Catalog(platform)
    await catalog.snapshot(INVOICE, one.id)
    catalog.expire(place(one))
    platform.gate = trio.Event()

    async def ask() -> None:
        match kind:
            case "document":
                await catalog.snapshot(INVOICE, one.id)
            case "page":
                await names(catalog)
            case _:
                await catalog.attachments(place(one))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        catalog.replaced(place(one), AttachmentId("a0000001"), attachment("a0000003", "z.pdf"))
        catalog.removed(place(one), AttachmentId("a0000002"))
        assert catalog.statistics()["changes"] == 2
        platform.gate.set()
    held = catalog.peek(INVOICE, one.id, stale=True)
    assert held is not None
    assert {name: each.id for name, each in held.fields[PICTURE].items()} == {"x.pdf": "a0000003"}
    assert catalog.statistics()["changes"] == 0
    catalog.expire(place(one))
    assert await files(catalog, one) == {}, (
        "the platform lost ours, and what was deleted here never comes back"
    )


async def test_the_answer_of_a_list_made_elsewhere_is_learnt() -> None:
    one = document(1, None, attachment("a1"))
    platform = Platform(one)
    catalog = Catalog(platform)
    await catalog.snapshot(INVOICE, one.id)
    begun = catalog.begin()
    catalog.removed(place(one), AttachmentId("a1"))
    learnt = catalog.learn(place(one), [attachment("a1"), attachment("a2", "y.pdf")], begun=begun)
    assert dict(learnt) == {"y.pdf": Attachment(AttachmentId("a2"), "y.pdf", 1)}
    assert await files(catalog, one) == {"y.pdf": "a2"}
    assert platform.requests == {"document": 1}
    catalog.learn(place(one), [attachment("a3")], begun=begun)
    platform.put(one, attachment("a4"))
    assert await files(catalog, one) == {"x.pdf": "a4"}, "an answer that came after its end is not used"


async def test_an_answer_does_not_replace_what_a_later_request_told() -> None:
    one = document(1, None, attachment("a1"))
    catalog = Catalog(Platform(one))
    await catalog.snapshot(INVOICE, one.id)
    early, late = catalog.begin(), catalog.begin()
    catalog.learn(place(one), [attachment("a2")], begun=late)
    catalog.learn(place(one), [attachment("a1")], begun=early)
    assert await files(catalog, one) == {"x.pdf": "a2"}


async def test_a_late_document_does_not_replace_a_field_that_a_later_list_told() -> None:
    one = document(1, None, attachment("a1"))
    platform = Platform(one)
    catalog = Catalog(platform)
    await catalog.snapshot(INVOICE, one.id)
    catalog.expire(place(one))
    platform.gate = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(catalog.snapshot, INVOICE, one.id)
        await trio.testing.wait_all_tasks_blocked()
        catalog.learn(place(one), [attachment("a2")], begun=catalog.begin())
        platform.gate.set()
    assert await files(catalog, one) == {"x.pdf": "a2"}
    assert platform.requests == {"document": 2}


async def test_a_file_keeps_its_name_as_long_as_its_document_is_held() -> None:
    one = document(1, None, attachment("a0000001"), attachment("a0000002"))
    platform = Platform(one)
    catalog = Catalog(platform)
    assert await files(catalog, one) == {"x.pdf": "a0000001", "x (000002).pdf": "a0000002"}
    platform.put(one, attachment("a0000002"), attachment("a0000003"))
    catalog.expire(place(one))
    assert await files(catalog, one) == {"x (000002).pdf": "a0000002", "x.pdf": "a0000003"}


async def test_what_was_said_to_be_replaced_comes_back_when_it_is_said_to_stand_after_all() -> None:
    one = document(1, None, attachment("a0000001"))
    platform = Platform(one)
    catalog = Catalog(platform)
    await catalog.snapshot(INVOICE, one.id)
    catalog.replaced(place(one), AttachmentId("a0000001"), attachment("a0000002"))
    catalog.removed(place(one), AttachmentId("a0000002"))
    catalog.added(place(one), attachment("a0000001"))
    assert await files(catalog, one) == {"x.pdf": "a0000001"}
    catalog.expire(place(one))
    assert await files(catalog, one) == {"x.pdf": "a0000001"}


async def test_a_deleted_file_that_an_answer_still_names_long_after_is_believed_to_stand(
    mock_clock: trio.testing.MockClock,
) -> None:
    one = document(1, None, attachment("a0000001"))
    catalog = Catalog(Platform(one))
    catalog.removed(place(one), AttachmentId("a0000001"))
    assert await files(catalog, one) == {}
    mock_clock.jump(3600)
    assert await files(catalog, one) == {"x.pdf": "a0000001"}


async def test_a_file_deleted_before_its_save_was_noted_stays_deleted() -> None:
    one = document(1, None, attachment("a0000001"), attachment("a0000002", "y.pdf"))
    catalog = Catalog(Platform(one))
    await catalog.snapshot(INVOICE, one.id)
    catalog.removed(place(one), AttachmentId("a0000002"))
    catalog.replaced(place(one), AttachmentId("a0000001"), attachment("a0000002", "y.pdf"))
    assert await files(catalog, one) == {}


async def test_a_list_asked_for_anew_does_not_join_one_under_way() -> None:
    one = document(1, None, attachment("a1"))
    platform = Platform(one)
    catalog = Catalog(platform)
    platform.gate = trio.Event()

    async def ask(*, anew: bool) -> None:
        assert (await catalog.attachments(place(one), anew=anew))[0].url is not None

    async with trio.open_nursery() as nursery:
        for anew in (False, False, True):
            nursery.start_soon(partial(ask, anew=anew))
        await trio.testing.wait_all_tasks_blocked()
        platform.gate.set()
    assert platform.requests == {"list": 2}


async def test_a_request_that_nobody_ends_is_given_up_in_time(mock_clock: trio.testing.MockClock) -> None:
    one = document(1, None, attachment("a1"))
    platform = Platform(one)
    catalog = Catalog(platform)
    begun = catalog.begin()
    catalog.removed(place(one), AttachmentId("a1"))
    platform.put(one)
    assert catalog.statistics()["changes"] == 1
    mock_clock.jump(3600)
    catalog.end(catalog.begin())
    assert catalog.statistics()["changes"] == catalog.statistics()["requests"] == 0
    catalog.learn(place(one), [attachment("a1")], begun=begun)
    assert await files(catalog, one) == {}


async def test_the_catalog_tells_its_state() -> None:
    catalog = Catalog(Platform(document(1)))
    assert repr(catalog).startswith("<Catalog: <Definitions: not read>")
    await names(catalog)
    assert catalog.statistics()["listed"] == 1
    await catalog.aclose()
