"""Twenty loops of cp, mv, overwrite and rm leave the platform and the mount in agreement, file for file.

Ten seconds each; AEROFS_STORM_SECONDS for longer (`scripts/storm`), AEROFS_STORM_SEED to repeat the same acts. What is
known is stale after a second, so that the platform is asked in between.
"""

import contextlib
import json
import os
import secrets
import sys
from collections import Counter
from pathlib import Path

import pytest

from aerofs.sandbox import Platform
from tests.faults.rig import BOUND, Drive, Server, running

SECONDS = float(os.environ.get("AEROFS_STORM_SECONDS", "10"))
SEED = os.environ.get("AEROFS_STORM_SEED") or secrets.token_hex(4)


def a_company(data: Path) -> None:
    """Five documents with two fields each."""
    with contextlib.closing(Platform.open(data)) as platform:
        platform.add_definition("order", fields=["photos", "papers"])
        for number in range(5):
            platform.add_document("order", external_id=f"O-{number}")


@pytest.mark.parametrize("kind", ["storm", "quarrel"])
@pytest.mark.timeout(SECONDS + 6 * BOUND)
def test_twenty_loops_leave_mount_and_platform_in_agreement(tmp_path: Path, kind: str) -> None:
    a_company(tmp_path / "data")
    server = Server(tmp_path / "data")
    drive = Drive(server, tmp_path / "one", AEROFS_DOCUMENT_TTL="1", AEROFS_LISTING_TTL="1")
    other = Drive(server, tmp_path / "other")
    with running(server, drive, later=[other]):
        done = drive.run(
            sys.executable,
            "-m",
            "tests.faults.storm",
            drive.place,
            str(SECONDS),
            SEED,
            kind,
            bound=SECONDS + 2 * BOUND,
        )
        assert done.code == 0, f"seed {SEED}"
        told = json.loads(done.out)
        assert told["failures"] == [], f"seed {SEED}"
        drive.ask("drain", timeout=BOUND)
        assert drive.saves() == [], f"seed {SEED}"
        shown = drive.tree()
        drive.ask("refresh")
        assert drive.tree() == shown
        other.mount()
        assert other.tree() == shown
        other.umount()
        drive.umount()
        server.close()
        stored = server.stored()
    assert_agreement(told["left"], shown, {file.path: file.md5 for file in stored})
    twice = [path for path, count in Counter(file.path for file in stored).items() if count > 1]
    assert twice == [], f"seed {SEED}"
    assert list((drive.state / "drafts").iterdir()) == []
    assert [*drive.complaints(), *other.complaints()] == []
    acts, lost = told["acts"], told["lost races"]
    sys.stdout.write(f"{sum(acts.values())} acts in {SECONDS:g} s, {lost} lost races: {acts}\n")


def assert_agreement(left: dict[str, str], shown: dict[str, str], stored: dict[str, str]) -> None:
    assert shown == stored, f"seed {SEED}: the mount and the platform do not agree"
    own = {path: digest for path, digest in stored.items() if "/loop " in path}
    assert own == left, f"seed {SEED}: a loop's files are not what it left"
