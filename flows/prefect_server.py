"""Prefect's server: the one that its settings name, or else one of this process, which ends when this process does."""

import contextlib
import os
import socket
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from prefect.logging.handlers import APILogHandler
from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings

from ..processes import ChildProcess

_SERVER = """
import sys, uvicorn
from prefect.server.api.server import create_app
uvicorn.run(create_app(ephemeral=True), host="127.0.0.1", port=int(sys.argv[1]), log_level="error")
"""
"""Prefect's own temporary server would outlive this process where that is killed; here a pipe ties the two."""


@contextlib.contextmanager
def prefect_server() -> Iterator[str]:
    """Give this process a Prefect server for the length of a `with`; yield its address.

    Raises:
        ProgramFailed: a server of this process ended while it started, e.g. for want of its database.
        TimeoutError: it was not ready in the time of PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS.
    """
    settings = get_current_settings()
    if settings.api.url:
        yield settings.api.url
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/api"
    command = [sys.executable, "-P", "-c", _SERVER, url.split(":")[2].removesuffix("/api")]
    env = os.environ | settings.to_environment_variables(exclude_unset=True) | {"PREFECT_UI_ENABLED": "0"}
    with (
        tempfile.TemporaryDirectory(prefix="effectpairs-prefect-") as folder,
        ChildProcess(command, Path(folder, "server.log"), env=env, guarded=True) as server,
    ):
        server.wait_until(lambda: _is_healthy(url), settings.server.ephemeral.startup_timeout_seconds)
        try:
            with temporary_settings({PREFECT_API_URL: url}):
                yield url
        finally:
            APILogHandler().flush()  # at the end of the process there would be no server to take the last lines


def _is_healthy(url: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
        return bool(answer.status == 200)
    return False
