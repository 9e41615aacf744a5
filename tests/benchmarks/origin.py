"""What the contestants work on: one platform, seeded in process, and the sizes of everything in it."""

import contextlib
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aerofs.sandbox import Platform
from aerofs.sandbox.records import Content

if TYPE_CHECKING:
    from aerofs.sandbox.database import AttachmentRow

MIB = 1 << 20
DEFINITION, FIELD = "file", "files"
CATALOGUE, PHOTOS = "catalogue", "photos"
_NAMES = ("offer.pdf", "order.pdf", "invoice.pdf", "notes.txt")


@dataclass(frozen=True)
class Sizes:
    """How much there is of everything. Sizes in bytes."""

    large: int = 256 * MIB
    huge: int = 2048 * MIB
    documents: int = 1000
    photos: int = 100
    photo: int = MIB
    small_files: int = 200
    overwritten: int = 50
    removed: int = 50
    small: int = 8192


QUICK = Sizes(
    large=16 * MIB, huge=64 * MIB, documents=50, photos=10, small_files=10, overwritten=5, removed=5
)


def large_document(contestant: str, turn: int) -> str:
    """The document from which a contestant reads its large file of a round."""
    return f"large {contestant} {turn}"


def inbox(contestant: str, turn: int) -> str:
    """The document into which a contestant writes in a round."""
    return f"inbox {contestant} {turn}"


def archive(contestant: str, turn: int) -> str:
    """The document to which a contestant moves."""
    return f"archive {contestant} {turn}"


def photo_document(number: int) -> str:
    """The document of a photo: ten in each."""
    return f"album {number // 10}"


def seed(data: Path, sizes: Sizes, *, contestants: list[str], rounds: int) -> None:
    """Fill a platform. Large files of different ids share their bytes on the platform's disk."""
    with contextlib.closing(Platform.open(data)) as platform, platform.transaction():
        for definition in (DEFINITION, CATALOGUE, PHOTOS):
            platform.add_definition(definition, fields=[FIELD])
        for number in range(sizes.documents):
            document = platform.add_document(CATALOGUE, external_id=f"C-{number:04}")
            files = [(name, f"{name} {number}".encode()) for name in _NAMES]
            platform.add_attachments(CATALOGUE, document, FIELD, files)
        for number in range(sizes.photos):
            external_id = photo_document(number)
            if number % 10 == 0:
                document = platform.add_document(PHOTOS, external_id=external_id)
            photo = secrets.token_bytes(sizes.photo)
            platform.add_attachment(PHOTOS, document, FIELD, f"photo {number:03}.jpg", photo)
        _add_large(platform, sizes, contestants, rounds)


def _add_large(platform: Platform, sizes: Sizes, contestants: list[str], rounds: int) -> None:
    incoming = platform.database.incoming / "large"
    write_random(incoming, sizes.large)
    content: AttachmentRow | None = None
    for contestant in contestants:
        for turn in range(rounds):
            platform.add_document(DEFINITION, external_id=inbox(contestant, turn))
            platform.add_document(DEFINITION, external_id=archive(contestant, turn))
            document = platform.add_document(DEFINITION, external_id=large_document(contestant, turn))
            if content is None:
                first = Content("large.bin", "application/octet-stream", incoming, sizes.large)
                (content,) = platform.attach(document, FIELD, [first])
            else:
                platform.attach(document, FIELD, [content])
    huge = platform.database.incoming / "huge"
    with huge.open("wb") as file:
        file.truncate(sizes.huge)
    document = platform.add_document(DEFINITION, external_id="huge")
    platform.attach(document, FIELD, [Content("huge.bin", "application/octet-stream", huge, sizes.huge)])


def write_random(path: Path, size: int) -> None:
    """A file that nothing compresses."""
    with path.open("wb") as file:
        for _ in range(size // MIB):
            file.write(secrets.token_bytes(MIB))
