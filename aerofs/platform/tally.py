"""What was done: requests by kind, retries, bytes both ways."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Tally:
    """Counters of one platform; every request that was begun counts, retries and redirects too."""

    requests: Counter[str] = field(default_factory=Counter)
    retries: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0

    def sent(self, size: int) -> None:
        """Count bytes of content that the network took."""
        self.bytes_sent += size

    def received(self, size: int) -> None:
        """Count bytes of a body that arrived."""
        self.bytes_received += size
