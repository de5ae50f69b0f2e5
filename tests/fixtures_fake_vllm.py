"""Stands in for vLLM: a real HTTP server that behaves as `vllm serve` does, well or badly by the name of its model.

`install` puts it into an environment of its own, under the module that vLLM's server has.
"""

import argparse
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

MODULES = ("vllm", "vllm/entrypoints", "vllm/entrypoints/openai")


def install(folder: Path) -> str:
    """Return the path of a python in folder that finds the false vLLM, even when it is told to look nowhere else."""
    site = folder / "site"
    for module in MODULES:
        (site / module).mkdir(parents=True)
        (site / module / "__init__.py").touch()
    (site / MODULES[-1] / "api_server.py").write_text(Path(__file__).read_text())
    python = folder / "python"
    # `python -I -m MODULE ...` becomes `python -I -c LEAD ...`.
    lead = f"import runpy, sys; sys.path.insert(0, {str(site)!r}); "
    run = "runpy.run_module('vllm.entrypoints.openai.api_server', run_name='__main__', alter_sys=True)"
    python.write_text(f'#!/bin/sh\nshift 3\nexec {sys.executable} -I -c "{lead}{run}" "$@"\n')
    python.chmod(0o755)
    return str(python)


class Engine:
    """What the handlers share: the options, and how many requests are in flight."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.lock, self.in_flight = options, threading.Lock(), 0
        self.is_stuck = False

    def complete(self, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        content = request["messages"][-1]["content"]
        text = content if isinstance(content, str) else content[-1]["text"]
        if "too long" in text:
            message = "The decoder prompt (length 9000) is longer than the maximum model length of 8192."
            return 400, {"error": {"message": message, "type": "BadRequestError", "code": 400}}
        if "die now" in text:
            print("RuntimeError: CUDA error: device-side assert triggered", file=sys.stderr, flush=True)
            os._exit(1)
        if "hang now" in text:
            self.is_stuck = True
            time.sleep(60)
        with self.lock:
            self.in_flight += 1
        time.sleep(0.1)  # as long as a batch takes
        with self.lock:
            batch = self.in_flight
        time.sleep(0.02)
        with self.lock:
            self.in_flight -= 1
        answer = {
            "caption": "A dog runs.",
            "batch": batch,
            "parts": 0 if isinstance(content, str) else len(content) - 1,
            "seed": request["seed"],
            "guided": "response_format" in request,
            "options": sorted(name for name, value in vars(self.options).items() if value not in (None, False)),
        }
        message = {"role": "assistant", "content": json.dumps(answer)}
        return 200, {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 0,
            "model": self.options.model,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13},
        }


class Server(ThreadingHTTPServer):
    """The server with its engine."""

    request_queue_size = 128
    daemon_threads = True

    def __init__(self, engine: Engine) -> None:
        super().__init__((engine.options.host, engine.options.port), Handler)
        self.engine = engine


class Handler(BaseHTTPRequestHandler):
    """The paths of vLLM's server that matter; all but /health want the key."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    server: Server

    def log_message(self, *_: Any) -> None: ...

    def do_GET(self) -> None:
        if self.server.engine.is_stuck:
            time.sleep(60)
        self.respond(200 if self.path == "/health" else 404, {})

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers.get("Authorization") != f"Bearer {os.environ['VLLM_API_KEY']}":
            self.respond(401, {"error": "Unauthorized"})
        elif self.path != "/v1/chat/completions":
            self.respond(404, {})
        else:
            self.respond(*self.server.engine.complete(request))

    def respond(self, status: int, body: dict[str, Any]) -> None:
        encoded = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)


def main() -> None:
    """Serve until killed; some models never get so far."""
    parser = argparse.ArgumentParser()
    for name in ("model", "revision", "host", "dtype", "limit-mm-per-prompt", "media-io-kwargs"):
        parser.add_argument(f"--{name}")
    for name in ("port", "max-model-len"):
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--gpu-memory-utilization", type=float)
    for name in ("trust-remote-code", "enforce-eager"):
        parser.add_argument(f"--{name}", action="store_true")
    options = parser.parse_args()
    print("INFO loading", options.model, flush=True)
    if options.model == "too/large":
        print("(EngineCore) torch.OutOfMemoryError: CUDA out of memory: 80 GB wanted", file=sys.stderr)
        sys.exit("RuntimeError: Engine core initialization failed. See root cause above.")
    if options.model == "dies/early":
        print("Segmentation fault", file=sys.stderr, flush=True)
        os._exit(139)
    if options.model == "hangs":
        time.sleep(60)
    time.sleep(1.0 if options.model == "slow/start" else 0.0)
    Server(Engine(options)).serve_forever(poll_interval=0.02)


if __name__ == "__main__":
    main()
