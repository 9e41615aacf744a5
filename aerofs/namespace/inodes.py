"""Inode numbers: which node has which, how often the kernel looked it up, and when it may go.

Pure bookkeeping, generic over the nodes. The numbers are hashes of keys (the first id that a node had), so
they are the same after a remount; an entry lives while the kernel remembers it, something here pinned it, or
it is the root.

Invariants: every number is at least `ROOT` and below 2**63; no two nodes share one; a key has one number.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final, Generic, TypeVar

T = TypeVar("T")

ROOT: Final = 1
_MASK: Final = (1 << 63) - 1


def hashed(key: str) -> int:
    """Return 63 bits of a hash that is the same in every process."""
    return int.from_bytes(blake2b(key.encode(errors="surrogatepass"), digest_size=8).digest()) & _MASK


@dataclass(slots=True)
class _Entry(Generic[T]):
    keys: list[str] = field(default_factory=list)
    node: T | None = None
    lookups: int = 0
    pins: int = 0


class InodeTable(Generic[T]):
    """The nodes that have a number now.

    Args:
        root: The node of number `ROOT`, which never goes.
        number_of: Where the search for a key's number starts.
    """

    def __init__(self, root: T, *, number_of: Callable[[str], int] = hashed) -> None:
        self._number_of = number_of
        self._numbers: dict[str, int] = {}
        self._entries: dict[int, _Entry[T]] = {ROOT: _Entry(node=root, pins=1)}

    def __repr__(self) -> str:
        return f"<InodeTable of {len(self._entries)}>"

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[int]:
        return iter(self._entries)

    def __contains__(self, number: int) -> bool:
        return number in self._entries

    def number_for(self, key: str) -> int:
        """Return the number of a key, reserving the next free one from its hash on where it has none yet.

        A reserved number lasts until a `forget`, `unpin` or `release` finds that nobody needs it any more.
        """
        number = self._numbers.get(key)
        if number is None:
            number = self._number_of(key)
            while number <= ROOT or number in self._entries:
                number = (number + 1) & _MASK
            self._reserve(number, key)
        return number

    def claim(self, number: int, key: str) -> bool:
        """Give the key a number that was remembered elsewhere. Returns False where either is in use."""
        if not ROOT < number <= _MASK or number in self._entries or key in self._numbers:
            return False
        self._reserve(number, key)
        return True

    def also(self, number: int, key: str) -> None:
        """Let one more key lead to a number: what the node stands for got a new id. A used key moves here."""
        old = self._numbers.get(key)
        if old == number:
            return
        if old is not None:
            self._entries[old].keys.remove(key)
        self._numbers[key] = number
        self._entries[number].keys.append(key)

    def bind(self, number: int, node: T) -> None:
        """Let the number lead to a node; it must have been reserved."""
        self._entries[number].node = node

    def node(self, number: int) -> T | None:
        """Return the node of a number, None where there is none (any more)."""
        entry = self._entries.get(number)
        return None if entry is None else entry.node

    def remember(self, number: int, n: int = 1) -> None:
        """Count lookups that the kernel was told of."""
        self._entries[number].lookups += n

    def forget(self, number: int, n: int) -> bool:
        """Take back lookups. Returns whether the entry was dropped: unknown numbers never are."""
        entry = self._entries.get(number)
        if entry is None:
            return False
        entry.lookups = max(0, entry.lookups - n)
        return self.release(number)

    def pin(self, number: int) -> None:
        """Keep the entry, whatever the kernel forgets, until `unpin` was called as often as this."""
        self._entries[number].pins += 1

    def unpin(self, number: int) -> bool:
        """Take back one `pin`. Returns whether the entry was dropped."""
        entry = self._entries.get(number)
        if entry is None:
            return False
        entry.pins = max(1 if number == ROOT else 0, entry.pins - 1)
        return self.release(number)

    def release(self, number: int) -> bool:
        """Drop the entry if nobody needs it (a reservation that came to nothing). Returns whether it was."""
        entry = self._entries.get(number)
        if entry is None or entry.lookups or entry.pins:
            return False
        del self._entries[number]
        for key in entry.keys:
            del self._numbers[key]
        return True

    def lookups(self, number: int) -> int:
        """Return how many lookups the kernel has not forgotten."""
        entry = self._entries.get(number)
        return 0 if entry is None else entry.lookups

    def statistics(self) -> dict[str, int]:
        """Return how many entries there are, and how many are pinned."""
        return {
            "inodes": len(self._entries),
            "pinned": sum(entry.pins > 0 for entry in self._entries.values()),
        }

    def _reserve(self, number: int, key: str) -> None:
        self._numbers[key] = number
        self._entries[number] = _Entry(keys=[key])
