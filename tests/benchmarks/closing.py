"""What close() waits for: each file is written through a mount, then sent by a plain client, in one process, in turns.

The argument tells the way there (JSON); standard output gets the seconds of all closes and all requests (JSON).
"""

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import httpx

from tests.benchmarks.origin import DEFINITION, FIELD
from tests.faults.rig import BOUND


def plain_client(url: str, token: str, environment: str) -> httpx.Client:
    """A client as a script would have it."""
    headers = {
        "Authorization": f"Bearer {token}",
        "environment-id": environment,
        "Accept": "application/json",
    }
    return httpx.Client(base_url=f"{url}/api/v2/", headers=headers, trust_env=False, timeout=BOUND)


def send(client: httpx.Client, document: str, name: str, content: bytes) -> None:
    """Save one file by one request."""
    parameters = {"valuePath": FIELD, "actionType": "append", "shouldUpdateDocument": "true"}
    path = f"document-definitions/{DEFINITION}/documents/{document}/attachments"
    client.post(path, params=parameters, files={"file": (name, content)}).raise_for_status()


def closing(target: Path, name: str, content: bytes) -> float:
    """Write a new file; returns the seconds of its close."""
    file = os.open(target / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    os.write(file, content)
    started = time.perf_counter()
    os.close(file)
    return time.perf_counter() - started


def _main(given: Mapping[str, str]) -> None:
    closes, requests = [], []
    with plain_client(given["url"], given["token"], given["environment"]) as client:
        for path in sorted(Path(given["sources"]).iterdir())[: int(given["files"])]:
            content = path.read_bytes()
            closes.append(closing(Path(given["target"]), path.name, content))
            started = time.perf_counter()
            send(client, given["document"], path.name, content)
            requests.append(time.perf_counter() - started)
    json.dump({"closes": closes, "requests": requests}, sys.stdout)


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
