"""A web server on the loopback interface: it serves files from memory, plays the hub, and can be told to fail."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath


@dataclass
class Fault:
    """What goes wrong with the answers to requests for one path.

    Attributes:
        times: how often; then all is well.
        method: GET or HEAD; None = either.
        status: answered in place of the file, such as 503.
        error: the hub's name for it, its header X-Error-Code.
        cut: bytes after which the connection is closed, fewer than were announced.
        flip: place of a byte that is sent with a flipped bit.
        shorten: bytes that are missing at the end, and aren't announced either.
        body: sent in place of the file.
    """

    times: int = 10**9
    method: str | None = "GET"
    status: int | None = None
    error: str | None = None
    cut: int | None = None
    flip: int | None = None
    shorten: int = 0
    body: bytes | None = None


@dataclass
class Request:
    """One that was made.

    Attributes:
        sent: bytes of its answer.
    """

    method: str
    path: str
    headers: dict[str, str]
    sent: int = 0


@dataclass
class Server:
    """Files by their paths, which start with a slash, and how they are answered.

    Attributes:
        files: path -> content.
        kinds: path -> Content-Type, where it isn't application/octet-stream.
        redirects: path -> where its answers lead.
        headers: path -> further headers of its answers.
        faults: path -> what goes wrong.
        ranges: whether a part of a file can be asked for.
        requests: all that were made, in order.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    faults: dict[str, Fault] = field(default_factory=dict)
    ranges: bool = True
    requests: list[Request] = field(default_factory=list)
    url: str = ""

    def asked(self, ending: str, method: str = "GET") -> list[Request]:
        """The requests for paths with some ending."""
        return [request for request in self.requests if request.method == method and request.path.endswith(ending)]

    def play_hub(self, repository: str, revision: str, files: dict[str, bytes], storage: Server | None = None) -> None:
        """Serve a data set as the hub does.

        Args:
            files: path in the repository, such as data/train-00000-of-00001.parquet -> content.
            storage: another server, which has the files and which requests for them are redirected to; None =
                this one has them.
        """
        tree = []
        for name, content in files.items():
            digest = hashlib.sha256(content).hexdigest()
            lfs = {"oid": digest, "size": len(content), "pointerSize": 134}
            tree.append({"type": "file", "path": name, "size": len(content), "oid": digest[:40], "lfs": lfs})
            path = f"/datasets/{repository}/resolve/{revision}/{name}"
            self.headers[path] = {"X-Repo-Commit": revision, "ETag": f'"{digest}"'}
            if storage is None:
                self.files[path] = content
            else:
                self.headers[path] = {"X-Repo-Commit": revision, "X-Linked-Size": str(len(content))}
                self.headers[path]["X-Linked-ETag"] = f'"{digest}"'
                self.redirects[path] = f"{storage.url}/{name}"
                storage.files[f"/{name}"] = content
        listing = f"/api/datasets/{repository}/tree/{revision}"
        for folder in {"", *(str(PurePosixPath(name).parent) for name in files)}:
            path = f"{listing}/{folder}".rstrip("/")
            inside = [entry for entry in tree if entry["path"].startswith(folder)]
            self.files[path] = json.dumps(inside).encode()
            self.kinds[path] = "application/json"

    def _fault(self, method: str, path: str) -> Fault | None:
        """What goes wrong this time."""
        fault = self.faults.get(path)
        if fault is None or fault.times <= 0 or fault.method not in (None, method):
            return None
        fault.times -= 1
        return fault


@contextmanager
def served() -> Iterator[Server]:
    """A server that runs as long as the context."""
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def _answer(self) -> None:
            path = self.path.split("?")[0]
            request = Request(self.command, path, dict(self.headers))
            server.requests.append(request)
            fault = server._fault(self.command, path) or Fault()
            if fault.status is None and path in server.redirects:
                return self._answer_without_body(
                    302, {"Location": server.redirects[path], **server.headers.get(path, {})}
                )
            if fault.status is not None or path not in server.files:
                error = {"X-Error-Code": fault.error} if fault.error else {}
                return self._answer_without_body(fault.status or 404, error)
            data = server.files[path] if fault.body is None else fault.body
            data = data[: len(data) - fault.shorten]
            if fault.flip is not None:
                data = data[: fault.flip] + bytes([data[fault.flip] ^ 1]) + data[fault.flip + 1 :]
            asked = self.headers.get("Range") if server.ranges else None
            first = int(asked.removeprefix("bytes=").split("-")[0]) if asked else 0
            if first and first >= len(data):
                return self._answer_without_body(416, {})
            self.send_response(206 if asked else 200)
            if asked:
                self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
            self.send_header("Content-Type", server.kinds.get(path, "application/octet-stream"))
            self.send_header("Content-Length", str(len(data) - first))
            for name, value in server.headers.get(path, {}).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                part = data[first:][: fault.cut]
                request.sent = len(part)
                self.wfile.write(part)
                self.close_connection |= fault.cut is not None

        def _answer_without_body(self, status: int, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server.url = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
