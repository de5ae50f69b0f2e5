"""A stand-in of a Hugging Face hub on loopback, as far as pushing a data set asks it: trees, LFS uploads, commits."""

import base64
import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "hf_" + "secret" * 6


class Hub:
    """Files of one data set repository, and every request that came."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] | None = None
        self.objects: dict[str, bytes] = {}
        self.commits: list[list[str]] = []
        self.requests: list[tuple[str, str]] = []
        self.visibility = ""
        self.refuse_uploads_after = 10**9
        self.url = ""

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, object]:
        path = path.partition("?")[0]
        if method == "PUT":
            if sum(m == "PUT" for m, _ in self.requests) > self.refuse_uploads_after:
                return 403, {"error": "enough"}
            self.objects[path.rpartition("/")[2]] = body
            return 200, {}
        if path == "/api/repos/create":
            self.files, self.visibility = {}, json.loads(body).get("visibility", "public")
            return 200, {"url": f"{self.url}/datasets/owner/name"}
        if self.files is None:
            return 404, {"error": "Repository not found"}
        if "/tree/" in path:
            return 200, [_entry(name, content) for name, content in sorted(self.files.items())]
        if "/preupload/" in path:
            files = json.loads(body)["files"]
            modes = [{"path": f["path"], "uploadMode": _mode(f["path"]), "shouldIgnore": False} for f in files]
            return 200, {"files": modes}
        if path.endswith("/info/lfs/objects/batch"):
            objects = json.loads(body)["objects"]
            upload = [{**o, "actions": {"upload": {"href": f"{self.url}/lfs/{o['oid']}"}}} for o in objects]
            return 200, {"transfer": "basic", "objects": upload}
        if "/commit/" in path:
            lines = [json.loads(line) for line in body.splitlines()]
            self.commits.append([f"{line['key']} {line['value'].get('path', '')}" for line in lines])
            for line in lines:
                self._apply(line["key"], line["value"])
            return 200, {"commitUrl": f"{self.url}/datasets/owner/name/commit/0", "commitOid": "0" * 40}
        return 200, {}

    def _apply(self, key: str, value: dict) -> None:
        assert self.files is not None
        if key == "lfsFile":
            self.files[value["path"]] = self.objects[value["oid"]]
        elif key == "file":
            self.files[value["path"]] = base64.b64decode(value["content"])
        elif key == "deletedFile":
            del self.files[value["path"]]


def _mode(name: str) -> str:
    return "lfs" if name.endswith(".parquet") else "regular"


def _entry(name: str, content: bytes) -> dict:
    entry: dict = {
        "type": "file",
        "path": name,
        "size": len(content),
        "oid": hashlib.sha1(b"blob %d\0%b" % (len(content), content)).hexdigest(),
    }
    if _mode(name) == "lfs":
        entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
    return entry


@contextlib.contextmanager
def serve_hub() -> Iterator[Hub]:
    """Serve a hub that asks every request but an upload for the token."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            hub.requests.append((self.command, self.path))
            is_known = self.command == "PUT" or self.headers.get("Authorization") == f"Bearer {TOKEN}"
            status, value = hub.answer(self.command, self.path, body) if is_known else (401, {"error": "who are you?"})
            content = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            if status == 404:
                self.send_header("X-Error-Code", "RepoNotFound")
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _serve  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
