"""A network between a client and a server: a relay that adds a fixed time to every request, and counts them.

It passes bytes and looks at nothing but whose turn it is: what a client sends after the server had its say, and begins
with a method, is a new request. That one waits; what follows of it streams behind. Connections are what they are
without it. So it costs a fraction of a millisecond, and everybody the same. It runs as a process of its own: `Network`.
"""

import asyncio
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Self

_REQUEST = re.compile(rb"([A-Z]+) /")
_CHUNK = 256 * 1024
_ROOT = Path(__file__).parents[2]


class Relay:
    """Every connection to it is one to the server."""

    def __init__(self, port: int, seconds: float) -> None:
        self._port = port
        self._seconds = seconds
        self._counts: Counter[str] = Counter()

    async def serve(self) -> None:
        """Serve until standard input ends; every line of it is answered by the counts since the line before."""
        server = await asyncio.start_server(self._converse, "127.0.0.1", 0)
        sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
        sys.stdout.flush()
        while await asyncio.to_thread(sys.stdin.readline):
            sys.stdout.write(json.dumps(self._counts) + "\n")
            sys.stdout.flush()
            self._counts.clear()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, requests = await asyncio.open_connection("127.0.0.1", self._port)
        answered = True

        async def asked(data: bytes) -> None:
            nonlocal answered
            method = _REQUEST.match(data) if answered else None
            if method is not None:
                answered = False
                self._counts[method[1].decode()] += 1
                await asyncio.sleep(self._seconds)

        async def told(_data: bytes) -> None:
            nonlocal answered
            answered = True

        await asyncio.gather(_pass(reader, requests, asked), _pass(answers, writer, told))


async def _pass(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, before: Callable[[bytes], Awaitable[None]]
) -> None:
    try:
        while data := await reader.read(_CHUNK):
            await before(data)
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


class Network:
    """A running relay before a port of this machine."""

    def __init__(self, port: int, seconds: float) -> None:
        command = [sys.executable, "-m", "tests.benchmarks.latency", str(port), str(seconds)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, cwd=_ROOT, stdin=pipe, stdout=pipe, text=True)
        self.url = f"http://127.0.0.1:{int(self._line())}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.communicate()

    def counted(self) -> Counter[str]:
        """Requests by method, since this was asked last."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return Counter(json.loads(self._line()))

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


if __name__ == "__main__":
    asyncio.run(Relay(int(sys.argv[1]), float(sys.argv[2])).serve())
