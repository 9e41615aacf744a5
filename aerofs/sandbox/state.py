"""The sandbox as tests and origins share it: what it was told, data, counters, variants, faults."""

from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from aerofs.sandbox.access import Access
from aerofs.sandbox.faults import Fault, Faults, Hold
from aerofs.sandbox.platform import Platform
from aerofs.sandbox.signing import Signer
from aerofs.sandbox.traffic import Traffic
from aerofs.sandbox.variants import Variants

DOWNLOAD_LIFE = 15 * 60.0


@dataclass
class SandboxConfig:
    """What a sandbox is told when it starts.

    Attributes:
        data_dir: Where its data lasts; None: in memory, gone at the end.
        token: The token that may do everything.
        environment: What the header `environment-id` must say.
        sample: Fill an empty platform with the sample company.
        url_life: Seconds that a downloadURL lasts.
        port: Of the API; 0 picks a free one.
        store_port: Of the object store.
        tokens: Further tokens, and what they may do.
        faults: Faults that stand from the beginning.
    """

    data_dir: Path | None = None
    token: str = "sandbox-token"  # noqa: S105 - the well-known token of a local sandbox
    environment: str = "sandbox"
    variants: Variants = field(default_factory=Variants)
    sample: bool = False
    url_life: float = DOWNLOAD_LIFE
    host: str = "127.0.0.1"
    port: int = 0
    store_port: int = 0
    tokens: Mapping[str, Access] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()


class Sandbox:
    """A running sandbox.

    Attributes:
        url: The base URL of the API.
        store_url: The base URL of the object store.
        platform: The data: add to it and look at it directly.
        tokens: What each token may do; may be changed while it runs.
        traffic: All counters.
        faults: The faults on order, and `hold`.
    """

    def __init__(self, config: SandboxConfig, platform: Platform, *, url: str, store_url: str) -> None:
        self.config = config
        self.platform = platform
        self.url = url
        self.store_url = store_url
        self.token = config.token
        self.environment = config.environment
        self.tokens: dict[str, Access] = {config.token: Access(), **config.tokens}
        self.traffic = Traffic()
        self.faults = Faults()
        self.signer = Signer(platform.secret)
        for fault in config.faults:
            self.faults.add(fault)
        self._variants = Variants()
        self.variants = config.variants

    def __repr__(self) -> str:
        return f"<Sandbox {self.url}, {sum(self.traffic.requests.values())} requests>"

    @property
    def variants(self) -> Variants:
        """The readings that it plays; assign to change them while it runs."""
        return self._variants

    @variants.setter
    def variants(self, variants: Variants) -> None:
        if variants.clashing_external_ids and not self._variants.clashing_external_ids:
            _add_clashing_documents(self.platform)
        self._variants = variants

    @property
    def requests(self) -> Counter[str]:
        """Requests per kind since the last reset."""
        return self.traffic.requests

    @property
    def bytes_in(self) -> Counter[str]:
        """Bytes of request bodies, for "api" and "store"."""
        return self.traffic.bytes_in

    @property
    def bytes_out(self) -> Counter[str]:
        """Bytes of answer bodies, for "api" and "store"."""
        return self.traffic.bytes_out

    @property
    def url_life(self) -> float:
        """Seconds that a downloadURL lasts now."""
        return self.config.url_life if self._variants.url_life is None else self._variants.url_life

    def reset_counts(self) -> None:
        """Start counting anew."""
        self.traffic.reset()

    def add_fault(self, fault: Fault) -> None:
        """Order a fault."""
        self.faults.add(fault)

    def clear_faults(self) -> None:
        """Forget all faults on order."""
        self.faults.clear()

    def hold(self, kind: str, *, path: str = "", answered: bool = False) -> AbstractContextManager[Hold]:
        """Hold requests of a kind while a block runs; see `Faults.hold`."""
        return self.faults.hold(kind, path=path, answered=answered)


def _add_clashing_documents(platform: Platform) -> None:
    """Two documents of one external id, and one whose external id is another's `_id`, in every definition."""
    with platform.transaction():
        for spec in platform.definitions.values():
            if platform.database.documents("definition = ? AND external_id = 'twin'", (spec.id,), limit=1):
                continue
            first = platform.add_document(spec.name, external_id="twin")
            platform.add_document(spec.name, external_id="twin")
            platform.add_document(spec.name, external_id=first)
