"""A real S3 server process (moto) on loopback that survives `kill -9`, and a proxy that cuts connections at random.

moto keeps objects in memory; it records every request, and a server that is started anew replays the record.
"""

import contextlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from effectpairs.tests.fixtures_processes import free_port

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
BUCKET = "bucket"
CHANGES = ("PUT", "POST", "DELETE")


class S3Server:
    """The server's process; `kill` and `start` may follow each other."""

    def __init__(self, folder: Path) -> None:
        self._record, self.port = folder / "requests", free_port()
        self._own_url = f"http://127.0.0.1:{self.port}"
        self._door = CuttingProxy(self.port, share=0.0)
        self._door.is_open = False  # closed until the record is replayed: nobody misses an object
        self.url = self._door.url
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        if self._record.exists():  # what changed objects, whichever proxy it came through
            text = "".join(f"{json.dumps(entry)}\n" for entry in self.requests() if entry["method"] in CHANGES)
            self._record.write_text(re.sub(r"http://127\.0\.0\.1:\d+/", f"{self._own_url}/", text))
        environment = os.environ | {"MOTO_ENABLE_RECORDING": "1", "MOTO_RECORDER_FILEPATH": str(self._record)}
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        log = subprocess.DEVNULL
        self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=self._record.parent)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                replay = urllib.request.Request(f"{self._own_url}/moto-api/recorder/replay-recording", method="POST")
                if self._record.exists():
                    urllib.request.urlopen(replay, timeout=60).close()
                create = urllib.request.Request(f"{self._own_url}/{BUCKET}", method="PUT")
                urllib.request.urlopen(create, timeout=60).close()
                self._door.is_open = True
                return
            assert self._process.poll() is None, "moto did not start"
            time.sleep(0.2)
        raise TimeoutError("moto did not start")

    def requests(self) -> list[dict[str, Any]]:
        """All requests so far; two at once may stand in one line."""
        text, position, entries = self._record.read_text(), 0, []
        while position < len(text):
            entry, position = json.JSONDecoder().raw_decode(text, position)
            entries.append(entry)
            while text[position : position + 1] == "\n":
                position += 1
        return entries

    def pause(self, seconds: float) -> None:
        """Take connections and answer nothing for so long."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        assert self._process is not None
        self._door.is_open = False
        self._process.kill()
        self._process.wait()


class CuttingProxy:
    """Passes connections on to a port, and cuts a share of them after some bytes of the answer.

    Attributes:
        cuts: connections cut so far.
        is_open: whether it passes new connections on; else it closes them.
        swallows: how many of the next connections are taken and never answered.
    """

    is_open = True
    swallows = 0

    def __init__(self, port: int, *, share: float, seed: int = 0) -> None:
        self._target, self._share, self._random, self.cuts = port, share, random.Random(seed), 0
        self._swallowed: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        if not self.is_open:
            return client.close()
        if self.swallows:
            self.swallows -= 1
            return self._swallowed.append(client)
        with contextlib.suppress(OSError), client, socket.create_connection(("127.0.0.1", self._target)) as server:
            threading.Thread(target=_pump, args=(client, server), daemon=True).start()
            try:
                while content := server.recv(1 << 16):
                    if self._random.random() < self._share:
                        self.cuts += 1
                        client.sendall(content[: self._random.randrange(len(content))])
                        break
                    client.sendall(content)
            finally:
                client.shutdown(socket.SHUT_RDWR)  # to close it is not enough while a thread waits for its bytes


@contextlib.contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """A server with an empty bucket, and the environment by which all clients find it."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        server = S3Server(folder)
        patch.setenv("AWS_ENDPOINT_URL", server.url)
        try:
            yield server
        finally:
            server.kill()


def forget_connections() -> None:
    """Let the next location of this process read the environment anew."""
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while content := source.recv(1 << 16):
            target.sendall(content)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
