"""The same few calls against the sandbox and, marked live, against a real platform.

A real one is named by AEROFS_LIVE_URL, AEROFS_LIVE_ENVIRONMENT, AEROFS_LIVE_TOKEN and AEROFS_LIVE_FIELD, the last as
`definition/documentId/valuePath`: a field in which this test may save, copy and delete files of its own.
"""

import os
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import SecretStr

from aerofs.model import Attachment, DefinitionId, DocumentId, FieldRef, ValuePath
from aerofs.platform import Platform
from aerofs.sandbox import SandboxConfig, serving
from aerofs.settings import Settings
from tests.contract.content import Bytes


@dataclass(frozen=True)
class Subject:
    platform: Platform
    definition: str
    document: DocumentId
    path: ValuePath

    async def place(self) -> FieldRef:
        found = await self.platform.definition(self.definition)
        return FieldRef(DefinitionId(found.id), self.document, self.path)


def settings(url: str, environment: str, token: str) -> Settings:
    return Settings(url=url, environment=environment, token=SecretStr(token), mountpoint=Path("/nowhere"))


@pytest.fixture(params=["sandbox", pytest.param("live", marks=pytest.mark.live)])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    if request.param == "live":
        environ = os.environ
        definition, document, path = environ["AEROFS_LIVE_FIELD"].split("/", 2)
        live = settings(
            environ["AEROFS_LIVE_URL"], environ["AEROFS_LIVE_ENVIRONMENT"], environ["AEROFS_LIVE_TOKEN"]
        )
        async with Platform(live) as platform:
            yield Subject(platform, definition, DocumentId(document), ValuePath(path))
        return
    async with serving(SandboxConfig()) as sandbox:
        sandbox.platform.add_definition("invoice", fields=["scan"])
        document = sandbox.platform.add_document("invoice", external_id="2026-001")
        local = settings(sandbox.url, sandbox.environment, sandbox.token)
        async with Platform(local) as platform:
            yield Subject(platform, "invoice", DocumentId(document), ValuePath("scan"))


async def content(platform: Platform, attachment: Attachment) -> bytes:
    assert attachment.url is not None
    async with platform.download(attachment.url) as download:
        return b"".join([chunk async for chunk in download.chunks()])


async def test_the_definition_is_among_those_listed(subject: Subject) -> None:
    assert subject.definition in [definition.name for definition in await subject.platform.definitions()]


async def test_the_field_stands_in_its_document_also_when_empty(subject: Subject) -> None:
    definition = await subject.platform.definition(subject.definition)
    document = await subject.platform.document(definition, subject.document)
    assert subject.path in document.fields


async def test_a_file_is_saved_listed_read_copied_and_deleted(subject: Subject) -> None:
    platform, place = subject.platform, await subject.place()
    name, data = f"aerofs test {uuid.uuid4().hex} ü.txt", os.urandom(100_000)
    known = frozenset(each.id for each in await platform.attachments(place))
    saved = await platform.save(place, name, Bytes(data), known=known)
    assert saved is not None
    try:
        [listed] = [each for each in await platform.attachments(place) if each.id == saved.id]
        assert listed.name == name
        assert await content(platform, listed) == data
        await platform.copy(place, [saved.id], place)
        twice = [each for each in await platform.attachments(place) if each.name == name]
        assert len({each.id for each in twice}) == 2
    finally:
        for each in await platform.attachments(place):
            if each.name == name:
                await platform.delete(place, each.id)
    assert name not in [each.name for each in await platform.attachments(place)]
