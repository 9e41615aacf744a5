"""After a minute: files that only look temporary are real ones, and a name without a new version has its file back."""

import time

from tests.mount.harness import names
from tests.programs.conftest import Planted

MINUTE = 60.0


def test_what_looked_temporary_for_a_minute_was_a_real_file(planted: Planted) -> None:
    paper = planted.paper
    with paper.drive.watched(100):
        time.sleep(max(0.0, planted.since + MINUTE - time.monotonic()))
        paper.drive.settled()
        expected = {**planted.files, "kept.txt": b"kept\n"}
        assert sorted(paper.held()) == sorted(expected.items())
        assert names(paper.scan) == sorted(expected)
        assert {name: (paper.scan / name).read_bytes() for name in expected} == expected
        assert not paper.drive.saves()
        # What was put aside costs nothing: its copy was there all the time.
        assert paper.drive.requests.get("save") == len(planted.files)
        assert "delete" not in paper.drive.requests
