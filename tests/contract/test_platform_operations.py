"""Every operation of the client against a platform that speaks as we read the API, and in every other way."""

import io
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio
from PIL import Image

from aerofs import errors
from aerofs.model import Attachment, AttachmentId, Definition, Document, DocumentId, FieldRef, ValuePath
from aerofs.platform import ExpiredUrlError, Platform
from aerofs.sandbox import PRESETS, Access, FieldSpec, Sandbox, SandboxConfig, Variants, serving
from aerofs.settings import Settings
from tests.contract.content import Bytes

EXTERNAL = "bdr:200¡adm:05¡prj:6"
AWKWARD = "a/b%2F..?#& 100%"
PROFILE: Mapping[str, Mapping[str, Any]] = {
    "action-upload": {"dialect": {"append_action": "Upload"}},
    "other-part-name": {"dialect": {"part_name": "attachments"}},
    "lines-by-index": {"dialect": {"lines_by": "index"}},
    "no-definitions-list": {
        "definitions": {"invoice": ("scan", "papers.letters", "single", "rows.*.photo")},
    },
}
"""What a user writes into the profile for variants that no answer tells apart."""


@dataclass(frozen=True)
class Bench:
    """A sandbox with a few documents, and a client of it."""

    sandbox: Sandbox
    client: Platform
    documents: tuple[str, ...]

    async def definition(self) -> Definition:
        (found,) = [each for each in await self.client.definitions() if each.name == "invoice"]
        return found

    async def listed(self, definition: Definition) -> dict[str, Document]:
        found: dict[str, Document] = {}
        async with aclosing(self.client.document_pages(definition)) as pages:
            async for page in pages:
                found |= {each.id: each for each in page}
        return found

    async def read(self, place: FieldRef, attachment: AttachmentId, *, start: int = 0) -> bytes:
        (url,) = [each.url for each in await self.client.attachments(place) if each.id == attachment]
        assert url is not None
        async with self.client.download(url, start=start) as download:
            body = b"".join([chunk async for chunk in download.chunks()])
            return body[start - download.start :]

    def held(self, place: FieldRef) -> list[tuple[str, bytes]]:
        files = self.sandbox.platform.attachments(place.definition, place.document, place.path)
        return [(each.name, each.data) for each in files]


@asynccontextmanager
async def connected(sandbox: Sandbox, **given: object) -> AsyncIterator[Platform]:
    values = {
        "url": sandbox.url,
        "environment": sandbox.environment,
        "token": sandbox.token,
        "mountpoint": Path("/nowhere/mnt"),
        **given,
    }
    async with Platform(Settings.model_validate(values)) as client:
        yield client


@asynccontextmanager
async def bench(*names: str, variants: Variants | None = None, **given: object) -> AsyncIterator[Bench]:
    dialect: dict[str, Any] = {}
    for name in names:
        profile = PROFILE.get(name, {})
        dialect |= profile.get("dialect", {})
        given |= {**profile, "dialect": dialect}
    async with serving(SandboxConfig()) as sandbox:
        platform = sandbox.platform
        platform.add_definition(
            "invoice",
            fields=[
                FieldSpec("number", type="text"),
                FieldSpec("scan"),
                FieldSpec("papers.letters"),
                FieldSpec("single", maximum_attachments=1, maximum_megabytes=1, required=True),
            ],
            lines={"rows": [FieldSpec("photo")]},
        )
        rows = {"rows": [{"_id": "r1"}, {"_id": "r2"}]}
        documents = (
            platform.add_document("invoice", external_id=EXTERNAL, lines=rows),
            platform.add_document("invoice", external_id=AWKWARD, lines=rows),
            platform.add_document("invoice"),
        )
        platform.add_attachment("invoice", documents[0], "papers.letters", "first.txt", b"first")
        platform.add_attachment("invoice", documents[0], "rows.r2.photo", "photo.txt", b"photo")
        sandbox.variants = variants or Variants.named(*names)
        async with connected(sandbox, **given) as client:
            yield Bench(sandbox, client, documents)


def place(definition: Definition, document: str, path: str) -> FieldRef:
    return FieldRef(definition.id, DocumentId(document), ValuePath(path))


ALONE = [(name,) for name in PRESETS if name not in {"slow-queries", "short-urls"}]
TOGETHER = [
    ("plain-keys", "bare-lists", "no-sizes", "relative-urls", "no-range", "status-success", "query-ignored"),
    ("result-envelope", "redirect-urls", "capped-pages", "skip-only", "save-answers-field", "silent-copy"),
    (
        "action-upload",
        "other-part-name",
        "lines-by-index",
        "no-definitions-list",
        "v1-limits",
        "data-envelope",
    ),
]


@pytest.mark.parametrize("names", [(), *ALONE, *TOGETHER], ids="+".join)
async def test_every_operation_works(names: tuple[str, ...]) -> None:
    async with bench(*names) as here:
        client, held, (first, second, third) = here.client, here.held, here.documents
        definition = await here.definition()
        row = "rows.1.photo" if "lines-by-index" in names else "rows.r2.photo"
        letters, target, photos = (
            place(definition, first, "papers.letters"),
            place(definition, second, "papers.letters"),
            place(definition, first, row),
        )

        # what there is
        assert await client.definition("invoice") == definition
        documents = await here.listed(definition)
        assert {first, second, third} <= set(documents)
        assert documents[first].external_id == EXTERNAL
        assert documents[first] == await client.document(definition, first)
        for external, own in ((EXTERNAL, first), (AWKWARD, second)):
            (found,) = await client.documents_by_external_id(definition, external)
            assert found.id == own
        assert await client.documents_by_external_id(definition, "nobody's") == ()
        known = documents[first].fields[letters.path]
        assert [each.name for each in known] == ["first.txt"]
        assert [each.name for each in documents[first].fields[photos.path]] == ["photo.txt"]
        if definition.fields is not None:
            assert documents[third].fields[letters.path] == ()

        # save, and read what was saved
        ids = frozenset(each.id for each in known)
        added = await client.save(letters, "ü {1}.txt", Bytes(b"0123456789"), known=ids)
        assert added is not None
        assert added.name == "ü {1}.txt"
        assert added.size == (None if "no-sizes" in names else 10)
        assert await here.read(letters, added.id) == b"0123456789"
        assert await here.read(letters, added.id, start=4) == b"456789"
        assert await client.save(photos, "more.txt", Bytes(b""), replace=True) is not None
        (empty,) = await client.attachments(photos)
        assert await here.read(photos, empty.id) == b""

        # copy, delete
        copied = await client.copy(letters, [added.id], target)
        if "silent-copy" in names:
            assert copied is None
            copied = await client.attachments(target)
        assert copied is not None
        assert [each.name for each in copied] == ["ü {1}.txt"]
        assert copied[0].id != added.id
        await client.delete(letters, added.id)
        with pytest.raises(errors.NotFoundError):
            await client.delete(letters, added.id)
        assert held(letters) == [("first.txt", b"first")]
        assert held(target) == [("ü {1}.txt", b"0123456789")]


async def test_each_operation_costs_one_request() -> None:
    async with bench() as here:
        definition = await here.definition()
        letters = place(definition, here.documents[0], "papers.letters")
        await here.listed(definition)
        added = await here.client.save(letters, "a", Bytes(b"x"))
        assert added is not None
        await here.client.copy(letters, [added.id], place(definition, here.documents[1], "scan"))
        await here.client.delete(letters, added.id)
        assert here.sandbox.requests == {"definitions": 1, "documents": 1, "save": 1, "copy": 1, "delete": 1}
        assert here.client.requests == here.sandbox.requests


@pytest.mark.parametrize(
    "names", [(), ("capped-pages",), ("query-ignored",), ("skip-only",), ("capped-pages", "skip-only")]
)
async def test_every_document_is_listed_once(names: tuple[str, ...]) -> None:
    async with bench() as here:
        with here.sandbox.platform.transaction():
            own = {here.sandbox.platform.add_document("invoice") for _ in range(997)} | set(here.documents)
        here.sandbox.variants = Variants.named(*names)
        definition = await here.definition()
        here.sandbox.reset_counts()
        assert set(await here.listed(definition)) == own
        assert here.sandbox.requests["documents"] <= (3 if not names else 13)


async def test_pages_that_take_the_platform_too_long_get_smaller() -> None:
    variants = Variants(query_seconds_per_document=0.001, query_limit=0.2)
    async with bench(variants=variants) as here:
        with here.sandbox.platform.transaction():
            own = {here.sandbox.platform.add_document("invoice") for _ in range(297)} | set(here.documents)
        assert set(await here.listed(await here.definition())) == own
        assert here.sandbox.requests["documents"] <= 5


async def test_a_query_narrows_the_pages() -> None:
    async with bench() as here:
        definition = await here.definition()
        query = {"_lastModifiedOn": {"$gte": "2999-01-01T00:00:00Z"}}
        async with aclosing(here.client.document_pages(definition, query=query)) as pages:
            assert [page async for page in pages] == []


async def test_external_ids_that_clash_are_told_apart() -> None:
    async with bench("clashing-external-ids") as here:
        definition = await here.definition()
        twins = await here.client.documents_by_external_id(definition, "twin")
        assert len({each.id for each in twins}) == 2
        (third,) = await here.client.documents_by_external_id(definition, twins[0].id)
        assert third.id not in {each.id for each in twins}


async def test_a_definition_tells_the_limits_of_its_fields() -> None:
    async with bench() as here:
        fields = {each.name: each for each in (await here.definition()).fields or ()}
        assert set(fields) == {"scan", "papers.letters", "single", "photo"}
        assert fields["photo"].line == "rows"
        single = fields["single"]
        assert (single.maximum_attachments, single.maximum_size, single.required) == (1, 1024 * 1024, True)


async def test_refusals_of_the_platform_have_their_errors() -> None:
    async with bench() as here:
        client, (first, *_) = here.client, here.documents
        definition = await here.definition()
        single = place(definition, first, "single")
        added = await client.save(single, "a", Bytes(b"x"))
        assert added is not None
        with pytest.raises(errors.QuotaError):
            await client.save(single, "b", Bytes(b"x"))
        with pytest.raises(errors.RefusedError, match="required"):
            await client.delete(single, added.id)
        with pytest.raises(errors.TooLargeError):
            await client.save(single, "b", Bytes(bytes(1024 * 1024 + 1)), replace=True)
        with pytest.raises(errors.QuotaError):
            await client.copy(
                place(definition, first, "papers.letters"), [await _only(here, definition)], single
            )
        with pytest.raises(errors.NotFoundError):
            await client.attachments(place(definition, "nobody's", "scan"))
        with pytest.raises(errors.RefusedError):
            await client.attachments(place(definition, first, "number"))
        with pytest.raises(errors.NotFoundError):
            await client.definition("nobody's")
        replaced = await client.save(single, "c", Bytes(b"y"), replace=True)
        assert replaced is not None
        assert here.held(single) == [("c", b"y")]


async def _only(here: Bench, definition: Definition) -> AttachmentId:
    (found,) = await here.client.attachments(place(definition, here.documents[0], "papers.letters"))
    return found.id


async def test_the_limits_of_one_call_have_their_errors() -> None:
    async with bench(variants=Variants(call_bytes=1000)) as here:
        scan = place(await here.definition(), here.documents[0], "scan")
        with pytest.raises(errors.TooLargeError):
            await here.client.save(scan, "a", Bytes(bytes(1001)))


async def test_what_the_user_may_not_do_is_denied() -> None:
    async with bench() as here:
        definition = await here.definition()
        scan = place(definition, here.documents[0], "scan")
        here.sandbox.tokens[here.sandbox.token] = Access(
            read_only_fields=frozenset({"scan"}),
            hidden_fields=frozenset({"papers.letters"}),
        )
        with pytest.raises(errors.DeniedError):
            await here.client.save(scan, "a", Bytes(b"x"))
        with pytest.raises(errors.DeniedError):
            await here.client.attachments(place(definition, here.documents[0], "papers.letters"))
        here.sandbox.tokens.clear()
        with pytest.raises(errors.DeniedError):
            await here.client.attachments(scan)


async def test_fields_that_the_user_may_not_see_are_not_there() -> None:
    async with bench("hidden-fields") as here:
        definition = await here.definition()
        assert "scan" not in {each.name for each in definition.fields or ()}
        document = await here.client.document(definition, here.documents[0])
        assert "scan" not in document.fields


async def test_another_token_or_environment_is_denied() -> None:
    async with bench() as here:
        for given in ({"token": "other"}, {"environment": "other"}):
            async with connected(here.sandbox, **given) as client:
                with pytest.raises(errors.DeniedError):
                    await client.definitions()


async def test_a_token_that_was_replaced_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("first")
    async with serving(SandboxConfig(tokens={"first": Access()})) as sandbox:
        sandbox.platform.add_definition("invoice", fields=["scan"])
        async with connected(sandbox, token=None, token_command=f"cat {path}") as client:
            await client.definitions()
            sandbox.tokens.clear()
            sandbox.tokens["second"] = Access()
            path.write_text("second")
            await client.definitions()
            assert client.requests == {"definitions": 3}


async def test_a_url_that_expired_is_replaced_by_listing_again() -> None:
    async with bench(variants=Variants(url_life=0.3)) as here:
        letters = place(await here.definition(), here.documents[0], "papers.letters")
        (found,) = await here.client.attachments(letters)
        assert found.url is not None
        with trio.fail_after(10):
            while True:
                try:
                    async with here.client.download(found.url):
                        await trio.sleep(0.05)
                except ExpiredUrlError:
                    break
        assert await here.read(letters, found.id) == b"first"


async def test_a_resized_image_comes_back_as_the_platform_keeps_it() -> None:
    picture = io.BytesIO()
    Image.new("RGB", (1600, 40), "red").save(picture, "PNG")
    async with bench("images-resized") as here:
        scan = place(await here.definition(), here.documents[0], "scan")
        added = await here.client.save(scan, "a.png", Bytes(picture.getvalue()))
        assert added is not None
        kept = await here.read(scan, added.id)
        assert Image.open(io.BytesIO(kept)).size == (800, 20)
        assert added.size == len(kept)


@pytest.mark.parametrize(
    "name",
    [
        "a\\b",
        "a\\",
        "..",
        "a/b.pdf",
        "ein Ü\u0308 %41 'x' ;.pdf",
        "x" * 300,
        "日本.tar.gz",
        " lead",
        "tab\there",
        "a;b=c",
    ],
    ids=range(10),
)
async def test_names_arrive_as_they_were_sent(name: str) -> None:
    async with bench() as here:
        scan = place(await here.definition(), here.documents[0], "scan")
        added = await here.client.save(scan, name, Bytes(b"x"))
        assert added is not None
        assert added.name == name
        assert here.held(scan) == [(name, b"x")]


def test_an_attachment_does_not_show_its_url() -> None:
    assert "Sig" not in repr(Attachment(AttachmentId("f"), "a", url="https://s.example/?Sig=x"))
