"""The platform as the rest of the drive sees it: definitions, documents, attachments, bytes both ways.

A thin composition: `wire.py` says what to ask, `exchange.py` performs it, `answers.py` and `parsing.py`
read what comes back. No caching (that is the catalog's), no journal (that is the uploads').
"""

import unicodedata
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import replace as changed
from types import TracebackType
from typing import Self

import httpx

from aerofs.errors import DeniedError, NotFoundError, ProtocolError
from aerofs.model import Attachment, AttachmentId, Definition, DefinitionId, Document, FieldRef
from aerofs.platform import answers, downloads, paging, parsing, wire
from aerofs.platform.address import Address
from aerofs.platform.dialect import Dialect
from aerofs.platform.downloads import Download
from aerofs.platform.exchange import Exchange, Outcome
from aerofs.platform.multipart import Content, Form
from aerofs.platform.wire import Request
from aerofs.settings import Settings

_NOTHING: frozenset[AttachmentId] = frozenset()


class Platform:
    """One platform, environment and identity. Every method raises our own errors only."""

    def __init__(self, settings: Settings, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        """Prepare the client; nothing is sent yet. A `transport` stands in for the network, in tests.

        Raises:
            ConfigError: A setting that cannot work.
        """
        self._dialect = Dialect.spoken(settings.dialect)
        address = Address.parse(
            settings.url,
            prefix=self._dialect.api_prefix,
            insecure_http=settings.insecure_http,
        )
        self._exchange = Exchange(settings, address=address, dialect=self._dialect, transport=transport)
        self._habits = paging.Habits()
        self._names: dict[str, str] = {}
        self._configured = {
            name: Definition(id=DefinitionId(name), name=name, fields=parsing.configured_fields(paths))
            for name, paths in settings.definitions.items()
        }

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<Platform {self._exchange.address.base}, {self._exchange.breaker.state}>"

    async def aclose(self) -> None:
        """Close every connection."""
        await self._exchange.lanes.aclose()

    # what there is

    async def definitions(self) -> tuple[Definition, ...]:
        """Return every definition; those of the profile where the platform does not list them."""
        request = wire.definitions()
        try:
            content = (await self._exchange.perform(request)).content
        except (DeniedError, NotFoundError):
            if not self._configured:
                raise
            # one that is asked for by its name may still tell more than the profile does
            return tuple([await self.definition(name) for name in self._configured])
        raws = answers.entries(content, self._dialect.definitions_keys, what=request.what)
        found = (parsing.definition(self._dialect, raw) for raw in raws)
        return tuple(self._known(each) for each in found if each is not None)

    async def definition(self, name_or_id: str) -> Definition:
        """Return one definition by its name or id."""
        request = wire.definition(name_or_id)
        try:
            content = (await self._exchange.perform(request)).content
        except (DeniedError, NotFoundError):
            if name_or_id not in self._configured:
                raise
            return self._configured[name_or_id]
        keys = self._dialect.definition_keys
        raw = answers.entry(content, keys, id_keys=("_id", "id", "name"), what=request.what)
        found = parsing.definition(self._dialect, raw)
        if found is None:
            raise ProtocolError(f"{request.what}: an answer without id and name")
        return self._known(found)

    def _known(self, definition: Definition) -> Definition:
        """Remember a definition's name, and fill in fields that only the profile knows."""
        self._names[definition.id] = definition.name
        configured = self._configured.get(definition.name)
        if definition.fields is None and configured is not None:
            return changed(definition, fields=configured.fields)
        return definition

    async def document_pages(
        self,
        definition: Definition,
        *,
        query: Mapping[str, object] | None = None,
    ) -> AsyncGenerator[tuple[Document, ...], None]:
        """Yield the documents of a definition page by page, with all their attachment fields.

        An async generator: wrap it in `contextlib.aclosing`. `query` is a Mongo filter that a server may
        ignore: check what matters.
        """

        async def fetch(request: Request) -> paging.Batch:
            return self._documents(definition, request, await self._exchange.perform(request))

        walk = paging.pages(fetch, definition, dialect=self._dialect, habits=self._habits, query=query)
        async with aclosing(walk) as pages:
            async for page in pages:
                yield page

    async def document(self, definition: Definition, document_id: str) -> Document:
        """Return one document by its id (or an external id, which the platform takes as well)."""
        request = wire.document(definition, document_id)
        content = (await self._exchange.perform(request)).content
        raw = answers.entry(content, self._dialect.document_keys, id_keys=("_id", "id"), what=request.what)
        found = parsing.document(self._dialect, definition, raw)
        if found is None:
            raise ProtocolError(f"{request.what}: an answer without id")
        return found

    async def documents_by_external_id(
        self, definition: Definition, external_id: str
    ) -> tuple[Document, ...]:
        """Return the documents that bear an external id: none, one, or two of possibly more."""
        request = wire.documents(self._dialect, definition, query={"externalId": external_id}, limit=2)
        listed = self._documents(definition, request, await self._exchange.perform(request)).documents
        matching = tuple(each for each in listed if each.external_id == external_id)
        if matching or not listed:
            return matching
        # the server ignored the query; it still takes an external id for an id, but then prefers an equal id
        try:
            found = await self.document(definition, external_id)
        except NotFoundError:
            return ()
        return (found,) if found.external_id == external_id else ()

    def _documents(self, definition: Definition, request: Request, outcome: Outcome) -> paging.Batch:
        raws = answers.entries(outcome.content, self._dialect.documents_keys, what=request.what)
        found = (parsing.document(self._dialect, definition, raw) for raw in raws)
        return paging.Batch(tuple(each for each in found if each is not None), len(raws))

    # what stands in a field

    async def attachments(self, place: FieldRef) -> tuple[Attachment, ...]:
        """Return what stands in a field, with fresh absolute URLs."""
        request = wire.attachments(place)
        outcome = await self._exchange.perform(request)
        raws = answers.entries(outcome.content, self._dialect.attachments_keys, what=request.what)
        return self._attachments(raws, outcome)

    async def save(
        self,
        place: FieldRef,
        name: str,
        content: Content,
        *,
        replace: bool = False,
        known: frozenset[AttachmentId] = _NOTHING,
    ) -> Attachment | None:
        """Add a file to a field, or with `replace` put it in the place of ALL that the field holds.

        Never repeated after it may have done something: a lost answer is an error that is not `unsent`, and
        so may a ProtocolError be; the caller lists the field to find out.

        `known` are the ids that stood in the field before, to tell ours in an answer with the whole field.

        Returns:
            The attachment that this call added; None if the answer does not tell which one that is.
        """
        request = wire.save(self._dialect, place, name, replace=replace)
        outcome = await self._exchange.upload(
            request,
            lambda: Form(self._dialect.part_name, name, content, sent=self._exchange.tally.sent),
        )
        added = [each for each in self._named(outcome) if each.id not in known]
        return _ours(added, name, content.size)

    async def delete(
        self,
        place: FieldRef,
        attachment: AttachmentId,
        *,
        again: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Remove one attachment.

        Repeated after a lost answer; if it is gone then, that was us. `again` is asked before it is repeated: what it
        raises with a `retry_after` of infinity ends the call.

        Raises:
            NotFoundError: It was gone before.
        """
        await self._exchange.perform(wire.delete(place, attachment), again=again)

    async def copy(
        self,
        source: FieldRef,
        attachments: Sequence[AttachmentId],
        target: FieldRef,
        *,
        known: frozenset[AttachmentId] = _NOTHING,
    ) -> tuple[Attachment, ...] | None:
        """Copy attachments to another field on the platform; their bytes do not come here.

        Returns:
            The new attachments, none of which is `known` to have stood in the target before; None if the
            answer does not name as many as were asked for.
        """
        if not attachments:
            return ()
        request = wire.copy(self._dialect, source, attachments, target, names=self._names)
        outcome = await self._exchange.perform(request)
        old = known.union(attachments)
        added = tuple(each for each in self._named(outcome) if each.id not in old)
        return added if len(added) == len(attachments) else None

    def _named(self, outcome: Outcome) -> tuple[Attachment, ...]:
        raws = answers.entries_if_any(outcome.content, self._dialect.attachments_keys)
        return self._attachments(raws or [], outcome)

    def _attachments(self, raws: Sequence[object], outcome: Outcome) -> tuple[Attachment, ...]:
        found = parsing.attachments(self._dialect, raws)
        resolved = self._exchange.address.resolved
        return tuple(
            changed(each, url=each.url and resolved(each.url, against=outcome.url)) for each in found
        )

    # bytes

    def download(
        self,
        url: str,
        *,
        start: int = 0,
        stop: int | None = None,
    ) -> AbstractAsyncContextManager[Download]:
        """Open the bytes of an attachment from `start` up to, not including, `stop`.

        The server may give more: the download's own `start` and `expected` say what comes.
        """
        return downloads.opened(self._exchange, url, start=start, stop=stop)

    # how it goes

    @property
    def reachable(self) -> bool:
        """Whether the platform answered when it was last asked, or was not asked yet."""
        return self._exchange.breaker.reachable

    @property
    def outages(self) -> int:
        """How often the platform was found to be away, so far."""
        return self._exchange.breaker.openings

    async def probe(self) -> bool:
        """Ask whether the platform is there, and tell the breaker. It takes a few seconds at most."""
        return await self._exchange.probe()

    @property
    def requests(self) -> Counter[str]:
        """Requests that were begun, by kind: retries, redirects and probes included."""
        return self._exchange.tally.requests

    def statistics(self) -> dict[str, object]:
        """Return what was done and how things stand, as JSON values."""
        tally = self._exchange.tally
        return {
            "requests": dict(tally.requests),
            "retries": tally.retries,
            "token_renewals": self._exchange.tokens.renewals,
            "bytes_sent": tally.bytes_sent,
            "bytes_received": tally.bytes_received,
            "breaker": self._exchange.breaker.statistics(),
            "lanes": self._exchange.lanes.statistics(),
        }


def _ours(added: Sequence[Attachment], name: str, size: int) -> Attachment | None:
    """Return the attachment that a save added, among those that were not known before."""
    if len(added) == 1:
        return added[0]
    title = unicodedata.normalize("NFC", name)
    same_name = [each for each in added if unicodedata.normalize("NFC", each.name) == title]
    same = [each for each in same_name if each.size in {size, None}]
    for candidates in (same, same_name):
        if len(candidates) == 1:
            return candidates[0]
    return None
