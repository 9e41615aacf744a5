"""Ids as the platform makes them."""

import time
from random import Random, SystemRandom


class Ids:
    """24 hex digits: those of documents grow with time, those of attachments are random."""

    def __init__(self, random: Random | None = None) -> None:
        self._last = 0
        self._random = random or SystemRandom()

    def growing(self) -> str:
        """An id above all earlier ones of this process."""
        self._last = max(self._last + 1, int(time.time() * 2**20))
        return f"{self._last:013x}{self._random.randbytes(6).hex()[1:]}"

    def random(self) -> str:
        """Any id."""
        return self._random.randbytes(12).hex()
