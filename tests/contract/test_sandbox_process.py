"""The sandbox as a process: its command, what survives a SIGKILL, how much memory a large file takes."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from aerofs.sandbox import main

HEADERS = {
    "Authorization": "Bearer sandbox-token",
    "environment-id": "sandbox",
    "Accept": "application/json",
}
A = "document-definitions/invoice/documents/A"


class Process:
    """A sandbox that was started from the command line and has said where it is."""

    def __init__(self, *options: str) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "aerofs.sandbox", *options], stdout=subprocess.PIPE, text=True
        )
        assert self.popen.stdout is not None
        self.told = dict(self.popen.stdout.readline().split() for _ in range(3))
        self.url = self.told["URL"]
        self.client = httpx.Client(base_url=f"{self.url}/api/v2", headers=HEADERS)

    def end(self, number: signal.Signals) -> int:
        assert self.popen.stdout is not None
        self.client.close()
        self.popen.send_signal(number)
        code = self.popen.wait(timeout=10)
        self.popen.stdout.close()
        return code

    def resident(self) -> int:
        status = Path(f"/proc/{self.popen.pid}/status").read_text()
        found = re.search(r"VmHWM:\s*(\d+) kB", status)
        assert found
        return int(found[1]) * 1024


@contextmanager
def process(*options: str) -> Iterator[Process]:
    running = Process(*options)
    try:
        yield running
    finally:
        if running.popen.poll() is None:
            running.end(signal.SIGKILL)


def test_it_tells_where_it_is_and_ends_on_a_signal(tmp_path: Path) -> None:
    options = ("--port", "0", "--variant", "status-success", "--fault", "definitions:status,status=418")
    with process(*options, "--data", str(tmp_path), "--environment", "test", "--token", "t") as running:
        assert (running.told["token"], running.told["environment"]) == ("t", "test")
        own = {"Authorization": "Bearer t", "environment-id": "test"}
        assert running.client.get("document-definitions", headers=own).status_code == 418
        assert running.client.get("document-definitions", headers=own).json()["status"] == "success"
        assert running.end(signal.SIGTERM) == 0


def test_what_was_answered_survives_a_kill_and_the_ports_are_free_at_once(tmp_path: Path) -> None:
    ports = ("--port", "0", "--store-port", "0")
    with process("--sample", "--data", str(tmp_path), *ports) as first:
        client = first.client
        client.post("document-definitions/invoice/documents/new", json={"externalId": "A"}).raise_for_status()
        names = [f"file {number}" for number in range(20)]
        for name in names:
            answer = client.post(
                f"{A}/attachments",
                params={"valuePath": "attachments.invoiceFiles"},
                files={"file": (name, name.encode())},
            )
            answer.raise_for_status()
        url = answer.json()["attachments"][0]["downloadURL"]
        # Half an upload is under way when the power goes.
        half = tmp_path / "incoming"
        with socket.create_connection(("127.0.0.1", int(first.url.rpartition(":")[2]))) as upload:
            head = "".join(f"{key}: {value}\r\n" for key, value in HEADERS.items())
            part = '--B\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
            upload.sendall(
                f"POST /api/v2/{A}/attachments?valuePath=attachments.invoiceFiles HTTP/1.1\r\nHost: x\r\n{head}"
                f"Content-Type: multipart/form-data; boundary=B\r\nContent-Length: 100000\r\n\r\n{part}".encode()
                + b"x" * 5000
            )
            while not list(half.iterdir()):
                time.sleep(0.01)
            first.end(signal.SIGKILL)
        assert list(half.iterdir())
    ports = ("--port", first.url.rpartition(":")[2], "--store-port", url.split("/")[2].rpartition(":")[2])
    with process("--data", str(tmp_path), *ports) as second:
        assert second.url == first.url
        client = second.client
        listed = client.get(f"{A}/attachments", params={"valuePath": "attachments.invoiceFiles"})
        assert [file["_fileName"] for file in listed.json()["attachments"]] == names
        assert not list(half.iterdir())
        # The signature is as good as before.
        assert httpx.get(url).content == names[-1].encode()
        assert second.end(signal.SIGINT) == 0


def test_a_large_file_passes_without_being_held_in_memory(tmp_path: Path) -> None:
    size = 64 * 1024 * 1024
    piece = os.urandom(1024 * 1024)
    large = tmp_path / "large"
    with large.open("wb") as file:
        for _ in range(64):
            file.write(piece)
    with process("--sample", "--data", str(tmp_path / "data"), "--port", "0") as running:
        client = running.client
        client.post("document-definitions/invoice/documents/new", json={"externalId": "A"}).raise_for_status()
        with large.open("rb") as file:
            answer = client.post(
                f"{A}/attachments",
                params={"valuePath": "attachments.invoiceFiles"},
                files={"file": ("large", file)},
                timeout=60,
            )
        stored = answer.json()["attachments"][0]
        assert stored["_size"] == size
        target = {"ddName": "invoice", "externalId": "A", "valuePath": "scan"}
        source = {**target, "valuePath": "attachments.invoiceFiles"}
        copied = client.post("documents/copyAttachments", json=[{"source": source, "target": target}])
        assert copied.status_code == 200
        received = 0
        with httpx.stream("GET", stored["downloadURL"]) as response:
            for chunk in response.iter_bytes():
                received += len(chunk)
        assert received == size
        # The bare process with the sample's libraries takes about 75 MB of this.
        assert running.resident() < 100 * 1024 * 1024
        stats = client.get(f"{running.url}/_sandbox/stats").json()
        assert stats["bytesOut"]["store"] == size


def test_wrong_options_are_one_sentence_and_an_exit_code(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for option in ("--variant", "--fault", "--port", "--store-port", "--nonsense"):
        with pytest.raises(SystemExit) as raised:
            main([option, "nonsense"])
        assert raised.value.code == 2
        (said,) = capsys.readouterr().err.splitlines()
        assert "nonsense" in said
    for port in ("-1", "65536"):
        with pytest.raises(SystemExit):
            main(["--port", port])
        assert "from 0 to 65535" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert main(["--port", "0", "--data", str(tmp_path / "file")]) == 1
    assert f"{tmp_path}/file: Not a directory" in capsys.readouterr().err
    with process("--port", "0", "--data", str(tmp_path / "data")) as running:
        assert main(["--port", running.url.rpartition(":")[2]]) == 1
        assert "in use" in capsys.readouterr().err
        assert running.end(signal.SIGTERM) == 0
