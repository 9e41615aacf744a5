"""The one table of errnos: what the errors carry is what SEMANTICS.md tells."""

import errno
import re
from pathlib import Path

from aerofs.errors import AerofsError

SEMANTICS = Path(__file__).parents[2] / "SEMANTICS.md"


def family(error: type[AerofsError] = AerofsError) -> set[type[AerofsError]]:
    return {error}.union(*(family(child) for child in error.__subclasses__()))


def told() -> set[str]:
    table = SEMANTICS.read_text().split("## Errors", 1)[1].split("## Limits", 1)[0]
    return {
        name
        for row in re.findall(r"^\| (E[^|]*)", table, re.MULTILINE)
        for name in re.findall(r"E[A-Z]+", row)
    }


def test_the_table_of_errnos_tells_exactly_what_the_errors_carry() -> None:
    assert {errno.errorcode[error.errno].replace("ENOTSUP", "EOPNOTSUPP") for error in family()} == told()
