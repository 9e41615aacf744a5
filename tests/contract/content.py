"""The body of a save, from memory."""

import io
from dataclasses import dataclass
from typing import BinaryIO


@dataclass(frozen=True)
class Bytes:
    """Meets `aerofs.platform.Content`."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def open(self) -> BinaryIO:
        return io.BytesIO(self.data)
