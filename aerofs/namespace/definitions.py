"""The definitions that the user may see, by the names of their directories: one request, kept for minutes."""

from collections.abc import Callable, Mapping
from math import inf
from types import MappingProxyType

from aerofs.errors import AerofsError, NotFoundError
from aerofs.model import Definition, DefinitionId
from aerofs.namespace.flights import Flights
from aerofs.namespace.names import composed, probed, tell_apart
from aerofs.namespace.source import Source


class Definitions:
    """The cached answer, served however old it is while there is no newer one to be had.

    Args:
        source: Whom to ask.
        ttl: For how many seconds the answer is fresh.
        clock: The time in seconds.
        on_stale: Is told when an old answer is served in place of a new one.
    """

    def __init__(
        self, source: Source, *, ttl: float, clock: Callable[[], float], on_stale: Callable[[], None]
    ) -> None:
        self._source = source
        self._ttl = ttl
        self._clock = clock
        self._on_stale = on_stale
        self._held: Mapping[str, Definition] | None = None
        self._fresh_until = -inf
        self._flights: Flights[Mapping[str, Definition]] = Flights()

    def __len__(self) -> int:
        return len(self._held or ())

    def __repr__(self) -> str:
        return f"<Definitions: {'not read' if self._held is None else len(self._held)}>"

    async def all(self) -> Mapping[str, Definition]:
        """Return the definitions by the names of their directories."""
        if self._held is not None and self._clock() < self._fresh_until:
            return self._held
        try:
            return await self._flights.share(self._fresh_until, self._ask)
        except AerofsError as error:
            if self._held is None or not error.no_answer:
                raise
            self._on_stale()
            return self._held

    async def named(self, name: str) -> Definition:
        """Return the definition of exactly this directory name, else one that looks the same.

        Raises:
            NotFoundError: There is none, or only programs that look everywhere would ask for such a name.
        """
        known = (self._held or {}) if probed(name) else await self.all()
        if name in known:
            return known[name]
        for own, definition in known.items():
            if composed(own) == composed(name):
                return definition
        raise NotFoundError(f"there is no definition {name!r}")

    def of(self, definition: DefinitionId) -> Definition | None:
        """Return the definition of this id, if it was read."""
        return next((one for one in (self._held or {}).values() if one.id == definition), None)

    def remaining(self) -> float:
        """Return for how many seconds the answer stays fresh."""
        return max(0.0, self._fresh_until - self._clock())

    def expire(self) -> None:
        """Ask the platform the next time."""
        self._fresh_until = -inf

    async def _ask(self) -> Mapping[str, Definition]:
        answer = await self._source.definitions()
        known = {definition.id: name for name, definition in (self._held or {}).items()}
        names = tell_apart([(one.id, one.name) for one in answer], known, extensions=False)
        self._held = MappingProxyType({names[one.id]: one for one in answer})
        self._fresh_until = self._clock() + self._ttl
        return self._held
