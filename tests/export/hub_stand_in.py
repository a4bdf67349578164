"""A local stand-in for the Hugging Face Hub: the few requests of its HTTP interface that upload and download make."""

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class HubStandIn(ThreadingHTTPServer):
    """A server on localhost that keeps repositories in memory.

    Attributes:
        repositories: content of the files by repository and file name.
        tokens: the tokens that requests were made with.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.tokens: set[str] = set()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def commit_of(self, repository: str) -> str:
        """A digest of the files of a repository, in place of a commit's."""
        digest = hashlib.sha1()
        for name, content in sorted(self.repositories[repository].items()):
            digest.update(name.encode() + content)
        return digest.hexdigest()


class _Handler(BaseHTTPRequestHandler):
    server: HubStandIn
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self, content: Any, status: int = 200, **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _missing(self, code: str) -> None:
        self._answer({"error": "not found"}, 404, X_Error_Code=code, X_Error_Message="not found")

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/main)?", self.path.partition("?")[0]):
            files = self.server.repositories.get(found[1])
            if files is None:
                return self._missing("RepoNotFound")
            siblings = [{"rfilename": name} for name in sorted(files)]
            return self._answer({"id": found[1], "sha": self.server.commit_of(found[1]), "siblings": siblings})
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/[0-9a-f]{40}", self.path.partition("?")[0]):
            files = self.server.repositories[found[1]]
            entries = [
                {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                for name, content in sorted(files.items())
            ]
            return self._answer(entries)
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([0-9a-f]{40})/(.+)", self.path):
            content = self.server.repositories[found[1]][found[3]]
            tag = f'"{hashlib.sha256(content).hexdigest()}"'
            return self._answer(content, ETag=tag, X_Repo_Commit=found[2], Accept_Ranges="bytes")
        return self._missing("EntryNotFound")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.tokens.add(self.headers.get("authorization", ""))
        if self.path == "/api/repos/create":
            values = json.loads(body)
            name = f"{values['organization']}/{values['name']}"
            self.server.repositories.setdefault(name, {})
            return self._answer({"url": f"{self.server.address}/{name}", "id": name})
        if self.path == "/api/validate-yaml":
            return self._answer({"errors": [], "warnings": []})
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/(preupload|commit)/main", self.path.partition("?")[0]):
            if found[2] == "preupload":
                files = [
                    {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                    for file in json.loads(body)["files"]
                ]
                return self._answer({"files": files})
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    content = base64.b64decode(line["value"]["content"])
                    self.server.repositories[found[1]][line["value"]["path"]] = content
            commit = self.server.commit_of(found[1])
            return self._answer({"commitUrl": f"{self.server.address}/{found[1]}/commit/{commit}", "commitOid": commit})
        return self._missing("EntryNotFound")
