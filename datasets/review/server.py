"""The review in a browser: one page, its pictures, and the way of a decision to the disk.

It listens on this machine alone unless asked. The address holds a random token; requests that name another host, or
decisions that come from another site's page, are refused; the page loads nothing from elsewhere and no text of data is
ever markup in it.
"""

import hashlib
import hmac
import json
import os
import secrets
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ...untrusted_input import parse_json
from ..store.atomic_io import atomic_write
from .session import Conflict, PlaceMissing, ReviewSession

LOOPBACK = "127.0.0.1"
MAX_BODY_BYTES = 16 * 2**20
"""Size of a decision: a painting on 85 frames has under 1 MB."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # the address is the key
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
FILES = {"": ("review.html", "text/html"), "review.js": ("review.js", "text/javascript"),
         "review.css": ("review.css", "text/css")}  # fmt: skip
STATUS = {
    Conflict: 409,
    PlaceMissing: 410,
    CancelledError: 503,
    ValueError: 400,
    KeyError: 400,
    TypeError: 400,
    OSError: 507,
}
"""Status of an answer by the error that it tells of."""


@dataclass(frozen=True, kw_only=True)
class Address:
    """Address of a review: a killed one that is started again has the same, so that its pages go on."""

    host: str
    port: int
    token: str

    @property
    def origin(self) -> str:
        """Scheme, host and port, as browsers name a page's origin."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def url(self) -> str:
        """Address of the page."""
        return f"{self.origin}/{self.token}/"


class Guard:
    """Lets requests with the token pass, of this origin alone, and adds the headers of safety to every answer."""

    def __init__(self, app: ASGIApp, address: Address) -> None:
        self._app, self._address = app, address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] += [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
            await send(message)

        refusal = self._refusal(scope)
        app = self._app if refusal is None else PlainTextResponse(*refusal)
        await app(scope, receive, send_guarded)

    def _refusal(self, scope: Scope) -> tuple[str, int] | None:
        headers = {name.decode("latin1"): value.decode("latin1") for name, value in scope["headers"]}
        # A site whose name was turned to this machine's address still names itself here.
        if headers.get("host") != self._address.origin.removeprefix("http://"):
            return "this host is not served here", 421
        token = scope["path"].split("/")[1]
        if not hmac.compare_digest(token.encode(), self._address.token.encode()):
            return "not found", 404
        if scope["method"] == "POST":
            if headers.get("origin") != self._address.origin:
                return "decisions come from this review's own page alone", 403
            if headers.get("content-type") != "application/json":
                return "a decision is JSON", 415
        return None


def make_app(session: ReviewSession, address: Address) -> ASGIApp:
    """The web application of a review."""
    answer = partial(_answer, session)
    routes = [Route(f"/{name}", partial(_file, *file)) for name, file in FILES.items()]
    routes += [
        Route("/index", answer(lambda session, _: session.index())),
        Route("/changes/{since:int}", answer(lambda session, path: session.changes(path["since"]))),
        Route("/clip/{name}", answer(lambda session, path: session.details(path["name"]))),
        Route("/frames/{name}", answer(lambda session, path: session.film(path["name"]).values())),
        Route("/film/{name}", answer(lambda session, path: session.film(path["name"]).mp4, "video/mp4")),
        Route("/still/{name}", answer(lambda session, path: session.still(path["name"]), "image/jpeg")),
        Route("/frame/{name}/{layer}/{frame:int}", answer(_frame, "image/png")),
        Route("/decide", _decide(session), methods=["POST"]),
    ]
    return Guard(Starlette(routes=[Mount(f"/{address.token}", routes=routes)]), address)


def serve(place: str, *, host: str = LOOPBACK, port: int = 0, announce: Callable[[str], None]) -> None:
    """Serve the review of a corpus or workspace until it is interrupted.

    Args:
        place: folder of a corpus or a workspace.
        host: address to listen on.
        port: 0 takes a free one.
        announce: called with the page's address once it can be opened.

    Raises:
        ValueError: the place cannot be reviewed, or the host stands for all addresses.
        OSError: the port is taken, or the host is none of this machine.
    """
    if host in ("", "0.0.0.0", "::"):
        raise ValueError(
            f"--host {host or 'of nothing'} stands for every address, and the page answers to one name alone; give the "
            "address by which browsers are to reach it"
        )
    session = ReviewSession(place)
    memory = _memory_of(session.place.folder)
    listener, address = _listen(host, port, memory)
    config = uvicorn.Config(
        make_app(session, address), log_level="warning", access_log=False, server_header=False, lifespan="off"
    )
    with listener:
        try:
            announce(address.url)
            uvicorn.Server(config).run(sockets=[listener])
        finally:
            memory.unlink(missing_ok=True)  # stopped, not killed: the next one has another token


def _listen(host: str, port: int, memory: Path) -> tuple[socket.socket, Address]:
    """Open the port: that of a killed review of the same place, with its token, if it is free."""
    try:
        before = Address(**json.loads(memory.read_bytes()))
        if before.host == host and port in (0, before.port):
            return _bind(host, before.port), before
    except (OSError, ValueError, TypeError):  # none was killed, or somebody else is there now
        pass
    try:
        listener = _bind(host, port)
    except OSError as problem:
        raise OSError(
            problem.errno, f"cannot listen on {host}:{port} ({problem.strerror}); choose another --port or --host"
        ) from problem
    address = Address(host=host, port=listener.getsockname()[1], token=secrets.token_urlsafe(32))
    memory.parent.mkdir(parents=True, exist_ok=True)
    memory.parent.chmod(0o700)  # the token is for its user alone
    atomic_write(memory, json.dumps(vars(address)).encode())
    return listener, address


def _bind(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()  # whoever comes before the server is up waits
    except OSError:
        listener.close()
        raise
    return listener


def _memory_of(folder: Path) -> Path:
    """File of the user's own that keeps the address of a review that was not stopped."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    return home / "effectpairs" / "review" / f"{name}.json"


def _frame(session: ReviewSession, path: Mapping[str, Any]) -> bytes:
    if path["layer"] not in ("gt", "over", "background", "effect_mask", "subject_mask"):
        raise Conflict(f"{path['layer']} is not shown by itself")
    return session.frame(path["name"], path["layer"], path["frame"])


def _answer(
    session: ReviewSession, ask: Callable[[ReviewSession, Mapping[str, Any]], Any], media_type: str = ""
) -> Callable[[Request], Response]:
    """A route that tells what a session says; it runs on a thread of its own."""

    def answer(request: Request) -> Response:
        try:
            value = ask(session, request.path_params)
        except tuple(STATUS) as problem:
            return _complaint(problem)
        return Response(value, media_type=media_type) if media_type else JSONResponse(value)

    return answer


def _decide(session: ReviewSession) -> Callable[[Request], Any]:
    async def decide(request: Request) -> Response:
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                return JSONResponse({"error": f"a decision has at most {MAX_BODY_BYTES:,} bytes"}, status_code=413)
        try:
            values = parse_json(body)
            if not isinstance(values, dict):
                raise ValueError("a decision is a JSON object")
            return JSONResponse(await run_in_threadpool(session.decide, values))
        except tuple(STATUS) as problem:
            return _complaint(problem)

    return decide


def _file(name: str, media_type: str, request: Request) -> Response:
    return Response((Path(__file__).parent / name).read_bytes(), media_type=media_type)


def _complaint(problem: BaseException) -> Response:
    status = next(status for kind, status in STATUS.items() if isinstance(problem, kind))
    sentence = f"the decision lacks {problem}" if isinstance(problem, KeyError) else str(problem)
    return JSONResponse({"error": sentence or type(problem).__name__}, status_code=status)
