"""The sample company."""

from aerofs.sandbox.definitions import FieldSpec
from aerofs.sandbox.platform import Platform


def fill(platform: Platform) -> None:
    """Add the sample company to an empty platform."""
    platform.add_definition(
        "invoice", fields=["attachments.invoiceFiles", FieldSpec("scan", maximum_attachments=1)]
    )
