"""A real HTTP server on loopback for the tests of captions: speaks chat completions, and misbehaves to order.

As a program (`python fixtures_llm_server.py --latency 0.2`) it is a process of its own, for benchmarks; it prints its
address.
"""

import argparse
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "stub-7b"


class StubServer:
    """Answers each request by `answer(request)`: text, a dict of extras over a completion, or a `Raw` response."""

    def __init__(self, answer: Callable[[dict[str, Any]], Any], *, latency_s: float = 0.0) -> None:
        self.answer, self.latency_s = answer, latency_s
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self._http = _Quiet(("127.0.0.1", 0), _handler_of(self))
        self.base_url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def __enter__(self) -> "StubServer":
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._http.shutdown()
        self._http.server_close()


class Raw:
    """A response as it stands."""

    def __init__(
        self, status: int, body: str = "", *, kind: str = "application/json", headers: dict[str, str] | None = None
    ) -> None:
        self.status, self.body, self.kind, self.headers = status, body, kind, headers or {}


class Endless:
    """A body that never ends: a few bytes now and then, so that no read ever times out."""


def error(status: int, message: str, **extras: Any) -> Raw:
    """An error as OpenAI's API words it; extras are fields of the error, `headers` apart."""
    headers = extras.pop("headers", None)
    return Raw(status, json.dumps({"error": {"message": message, **extras}}), headers=headers)


def completion(text: str | None, **over: Any) -> dict[str, Any]:
    """A chat completion; over replaces finish_reason, model, usage, system_fingerprint, choices."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": over.pop("finish_reason", "stop")}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": MODEL,
        "choices": [choice],
        "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
    } | over


def data_of(request: dict[str, Any]) -> dict[str, Any]:
    """The quoted data at the end of a request's user message."""
    content = request["messages"][-1]["content"]
    text = content if isinstance(content, str) else content[-1]["text"]
    return dict(json.loads(text.splitlines()[-1])["data"])


def ask_many(captioner: Any, requests: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """Ask as many at once as keep the captioner busy; yield all answers, then raise the first error."""
    with ThreadPoolExecutor(getattr(captioner, "max_concurrency", 1)) as threads:
        questions = {threads.submit(captioner.chat, request): request for request in requests}
    errors = [error for answer in questions if (error := answer.exception()) is not None]
    yield from ((question, answer.result()) for answer, question in questions.items() if answer.exception() is None)
    if errors:
        raise errors[0]


def sensible(request: dict[str, Any]) -> str:
    """What a well-behaved model might say to any of the three steps."""
    system, data = request["messages"][0]["content"], data_of(request)
    if '"captions"' in system:
        head = data["caption"].split(",")[0]
        styles = ("a faint, narrow dust", "a dense, brown dust", "a wide, pale cloud of dust", "a thick, red dust")
        return json.dumps({"effect": "dust", "captions": [f"{head}, raising {style}." for style in styles[:3]]})
    if '"caption"' in system:
        return json.dumps({"caption": "A car drives past, raising a low, pale cloud of dust behind its wheels."})
    return "A car drives past from left to right. Behind its wheels a low, pale cloud of dust rises and slowly thins."


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news."""


def _handler_of(server: StubServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # headers and body in one packet: two would wait for each other 40 ms
        disable_nagle_algorithm = True

        def log_message(self, *_: Any) -> None: ...

        def do_GET(self) -> None:
            self._send(Raw(200, json.dumps({"object": "list", "data": [{"id": MODEL, "object": "model"}]})))

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with server.lock:
                server.requests.append(request)
                server.headers.append({name.lower(): value for name, value in self.headers.items()})
                server.at_once += 1
                server.most_at_once = max(server.most_at_once, server.at_once)
            time.sleep(server.latency_s)
            found = server.answer(request)
            with server.lock:
                server.at_once -= 1
            if isinstance(found, Endless):
                self._drip()
            else:
                self._send(
                    found
                    if isinstance(found, Raw)
                    else Raw(200, json.dumps(completion(found) if isinstance(found, str) else found))
                )

        def _send(self, raw: Raw) -> None:
            body = raw.body.encode()
            self.send_response(raw.status)
            for name, value in {"Content-Type": raw.kind, "Content-Length": str(len(body)), **raw.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def _drip(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            while not server.stopping.wait(0.02):
                self.wfile.write(b" ")
                self.wfile.flush()

    return Handler


def main() -> None:
    """Serve sensible answers until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", type=float, default=0.2)
    stub = StubServer(sensible, latency_s=parser.parse_args().latency)
    stub.requests = Forgetful()  # type: ignore[assignment]
    stub.headers = Forgetful()  # type: ignore[assignment]
    with stub:
        print(stub.base_url, flush=True)
        stub.stopping.wait()


class Forgetful(list[Any]):
    """Keeps nothing: a server that runs long would grow."""

    def append(self, _: Any) -> None: ...


if __name__ == "__main__":
    main()
