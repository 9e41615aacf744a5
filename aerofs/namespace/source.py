"""Whom the catalog asks: the little that it needs of the platform's client."""

from collections.abc import AsyncIterator, Mapping
from typing import Protocol

from aerofs.model import Attachment, Definition, Document, FieldRef


class Source(Protocol):
    """Who answers: the platform's client. Every method may raise the errors of `aerofs.errors`."""

    async def definitions(self) -> tuple[Definition, ...]:
        """Return all definitions that the user may see."""
        ...

    def document_pages(
        self, definition: Definition, *, query: Mapping[str, object] | None = None
    ) -> AsyncIterator[tuple[Document, ...]]:
        """Walk over the documents, a request per page, each made when it is asked for."""
        ...

    async def document(self, definition: Definition, document_id: str) -> Document:
        """Return one document by its id."""
        ...

    async def documents_by_external_id(
        self, definition: Definition, external_id: str
    ) -> tuple[Document, ...]:
        """Return the documents of that external id: usually one, several where it is shared."""
        ...

    async def attachments(self, place: FieldRef) -> tuple[Attachment, ...]:
        """Return the files of one field, with fresh URLs."""
        ...
