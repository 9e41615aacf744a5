"""From the name of a document's directory to the document, with as few questions as can be.

Only for names that no listing answers; `catalog.py` asks here last. What a name may mean: an external id, a
document's own id where it has no external one, or either of them with a tag that tells it apart from another.
So an ordinary name costs one question. Names that were shortened to fit 255 bytes cannot be traced back: a
listing finds them.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from aerofs.errors import NotFoundError
from aerofs.model import Document, DocumentId
from aerofs.namespace.names import composed, decode, encode, tell_apart, told_apart

_ID: Final = re.compile(r"[0-9a-f]{24}|[23456789A-HJ-NP-Za-km-z]{17}")
_DIGITS: Final = re.compile(r"[0-9a-f]{6,24}")


def looks_like_id(title: str) -> bool:
    """Tell whether a text could be an id of the platform: 24 hexadecimal digits, or 17 unlike letters."""
    return _ID.fullmatch(title) is not None


def title_of(document: Document, *, by_id: bool) -> str:
    """Return what the document's directory is called before names are told apart."""
    return document.id if by_id or not document.external_id else document.external_id


def meanings(name: str, *, only_ids: bool) -> list[tuple[str, str]]:
    """Return the titles that a directory's name may stand for, likeliest first, and how the id then ends."""
    if encode(decode(name)) != name:
        return []
    plain = [(decode(name), "")]
    if only_ids:
        return plain
    if composed(name) != name:
        plain.append((decode(composed(name)), ""))
    tag = told_apart(name)
    if tag is None:
        return plain
    tagged = [(decode(tag[0]), tag[1])]
    return tagged + plain if _DIGITS.fullmatch(tag[1]) else plain + tagged


async def find(
    name: str,
    *,
    by_id: Callable[[DocumentId], Awaitable[Document]],
    by_external_id: Callable[[str], Awaitable[tuple[Document, ...]]],
    only_ids: bool,
    known: Mapping[DocumentId, str],
) -> tuple[DocumentId, dict[DocumentId, str]]:
    """Return the id of the document of this name, and the names of all documents that were seen on the way.

    Args:
        name: The directory's name.
        by_id: Asks for one document by its id.
        by_external_id: Asks for the documents that share an external id.
        only_ids: Directories are named by ids alone.
        known: Names that ids have already, and keep.

    Raises:
        NotFoundError: No document has this name.
    """
    for title, digits in meanings(name, only_ids=only_ids):
        found: list[Document] = []
        if only_ids or looks_like_id(title):
            try:
                document = await by_id(DocumentId(title))
            except NotFoundError:
                pass
            else:
                if title_of(document, by_id=only_ids) == title:
                    found.append(document)
        if not only_ids and (digits or not found):
            found += [document for document in await by_external_id(title) if document.external_id == title]
        names = tell_apart([(document.id, title) for document in found], known, extensions=False)
        exact = [identity for identity, own in names.items() if own == name]
        fitting = exact or [document.id for document in found if document.id.endswith(digits)]
        if fitting:
            return fitting[0], {**names, fitting[0]: name}
    raise NotFoundError(f"there is no document {name!r}")
