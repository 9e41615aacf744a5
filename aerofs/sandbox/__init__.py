"""A local aero platform: what a newcomer mounts, what tests and benchmarks run against.

It speaks the v2 REST API on one address and serves downloads from a second one, an object store with signed,
expiring URLs. What the API documents it speaks exactly and strictly; what is not documented it speaks as
aerofs reads it, and in every other way on demand (`Variants`). It breaks on demand (`Fault`, `Sandbox.hold`)
and counts everything (`Sandbox.requests`, `bytes_in`, `bytes_out`). It imports nothing of the drive, so that
the two test each other.

In a test:

    async with serving(SandboxConfig(variants=Variants.named("short-urls"))) as sandbox:
        sandbox.platform.add_definition("invoice", fields=["scan"])
        document = sandbox.platform.add_document("invoice", external_id="2026-001")
        sandbox.platform.add_attachment("invoice", document, "scan", "a.pdf", b"%PDF")
        sandbox.add_fault(Fault("save", "drop_answer"))
        ...
        assert sandbox.requests["save"] == 2

On the command line:

    python -m aerofs.sandbox --sample --data DIRECTORY --variant short-urls --fault list:delay,seconds=1

From other processes: the control path, see `aerofs.sandbox.control`.
Requests have one of the kinds of `KINDS`; a fault names one of them, or "*".
"""

from aerofs.sandbox.access import Access
from aerofs.sandbox.command import main
from aerofs.sandbox.definitions import FieldSpec
from aerofs.sandbox.faults import Fault, Hold
from aerofs.sandbox.platform import Platform, StoredFile
from aerofs.sandbox.serving import serving
from aerofs.sandbox.state import Sandbox, SandboxConfig
from aerofs.sandbox.traffic import KINDS
from aerofs.sandbox.variants import PRESETS, Variants

__all__ = [
    "KINDS",
    "PRESETS",
    "Access",
    "Fault",
    "FieldSpec",
    "Hold",
    "Platform",
    "Sandbox",
    "SandboxConfig",
    "StoredFile",
    "Variants",
    "main",
    "serving",
]
