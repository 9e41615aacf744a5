"""The table of PERFORMANCE.md that the tests write: what each way of saving costs, in requests by kind.

A test says what it expects to pay, and it has to be exactly that; the rows go to the table. `--costs check` fails where
the table is not what a whole run has found; `--costs write` makes it so.
"""

from collections.abc import Mapping
from pathlib import Path

_PAGE = Path(__file__).parents[2] / "PERFORMANCE.md"
_BEGIN, _END = "<!-- what saving costs: begin -->\n", "<!-- what saving costs: end -->\n"
_KINDS = ("save", "delete", "list", "download")


class Costs:
    """The rows so far."""

    def __init__(self) -> None:
        self._rows: dict[str, Mapping[str, int]] = {}

    def add(self, title: str, requests: Mapping[str, int]) -> None:
        """Note a row; in the table, the order is the one of the tests."""
        assert set(requests) <= set(_KINDS), requests
        assert self._rows.setdefault(title, requests) == requests, f"two rows are called {title}"

    def table(self) -> str:
        """In Markdown."""
        lines = [f"| way of saving | {' | '.join(_KINDS)} |", f"| --- |{' --- |' * len(_KINDS)}"]
        for title, requests in self._rows.items():
            counts = " | ".join(str(requests.get(kind, "")) for kind in _KINDS)
            lines.append(f"| {title.replace('|', '&#124;')} | {counts} |")
        return "\n".join(lines) + "\n"

    def check(self) -> None:
        """Fail where the page does not show this very table."""
        _, shown, _ = _parts()
        assert shown == self.table(), "PERFORMANCE.md shows other costs: scripts/programs --costs write"

    def write(self) -> None:
        """Show this table."""
        before, _, after = _parts()
        _PAGE.write_text(f"{before}{_BEGIN}{self.table()}{_END}{after}")


def _parts() -> tuple[str, str, str]:
    before, _, rest = _PAGE.read_text().partition(_BEGIN)
    shown, _, after = rest.partition(_END)
    return before, shown, after
