"""A stand-in for the Hugging Face hub: the endpoints that huggingface_hub calls to list, fetch and commit files.

It speaks as the hub does: X-Error-Code with refusals, X-Repo-Commit with files, large files (LFS) by a redirect with
X-Linked-Etag, uploads by preupload, LFS batch, PUT and one commit of ndjson. Not spoken: xet, multipart uploads, pull
requests, gated repositories, rate limits.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import yaml

TOKEN = "hf_standin"
LARGE = (".safetensors", ".onnx", ".bin", ".jpg", ".pth")  # what .gitattributes sends to LFS
LICENSES = ("unknown", "other", "apache-2.0", "cc-by-nc-4.0")  # those of the hub's list that the tests use


@dataclass
class Repo:
    """Commit -> its files, the newest last; names of commits."""

    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    refs: dict[str, str] = field(default_factory=dict)

    def commit(self, files: dict[str, bytes], message: str = "") -> str:
        """A new commit on main: the files before, and these."""
        self.messages.append(message)
        before = self.commits.get(self.refs.get("main", ""), {})
        name = hashlib.sha1(f"{len(self.commits)}{sorted(files)}".encode()).hexdigest()
        self.commits[name] = {**before, **files}
        self.refs["main"] = name
        return name

    def resolved(self, revision: str) -> str | None:
        name = self.refs.get(revision, revision)
        return name if name in self.commits else None


class Hub(ThreadingHTTPServer):
    """The server; `requests` is what it was asked for, as ("GET", "/path")."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repos: dict[str, Repo] = {}
        self.stored: dict[str, bytes] = {}  # LFS: sha256 -> content
        self.requests: list[tuple[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def add(self, repository: str, files: dict[str, bytes], **options: Any) -> str:
        return self.repos.setdefault(repository, Repo(**options)).commit(files)

    def fetched(self) -> list[str]:
        """The files that were downloaded, in order."""
        return [path.rpartition("/")[2] for method, path in self.requests if method == "GET" and "/resolve/" in path]


@contextmanager
def running() -> Iterator[Hub]:
    hub = Hub()
    thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.serve()

    def do_GET(self) -> None:
        self.serve()

    def do_POST(self) -> None:
        self.serve()

    def do_PUT(self) -> None:
        self.serve()

    def log_message(self, format: str, *args: object) -> None:
        pass

    def serve(self) -> None:
        path = unquote(self.path.partition("?")[0])
        self.server.requests.append((self.command, path))
        self.body = self.read_body()
        parts = path.strip("/").split("/")
        match (self.command, *parts):
            case ("GET", "api", "models", org, name, *rest):
                self.model_info(f"{org}/{name}", "/".join(rest[1:]) or "main")
            case ("HEAD" | "GET", "cdn", oid):
                self.answer(200, self.server.stored[oid], ETag=f'"{oid}"')
            case ("HEAD" | "GET", org, name, "resolve", revision, *file):
                self.resolve(f"{org}/{name}", revision, "/".join(file))
            case ("POST", "api", "validate-yaml"):
                self.validate_yaml(json.loads(self.body)["content"])
            case ("POST", "api", "repos", "create"):
                self.create(json.loads(self.body))
            case ("POST", "api", "models", org, name, "preupload", _):
                self.preupload(f"{org}/{name}")
            case ("POST", _, _, "info", "lfs", "objects", "batch"):
                self.lfs_batch()
            case ("PUT", "lfs", oid):
                self.store(oid)
            case ("POST", "lfs", "verify"):
                self.json({}, 200 if json.loads(self.body)["oid"] in self.server.stored else 404)
            case ("POST", "api", "models", org, name, "commit", "main"):
                self.commit(f"{org}/{name}")
            case _:
                self.answer(404, b"no such endpoint")

    def read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def answer(self, status: int, content: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def json(self, value: object, status: int = 200, **headers: str) -> None:
        self.answer(status, json.dumps(value).encode(), Content_Type="application/json", **headers)

    @property
    def known(self) -> bool:
        """Whether the token is one that may read and write all."""
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def seen(self, repository: str) -> Repo | None:
        """The repository; None, and the refusal is sent, where there is none that the asker may see."""
        repo = self.server.repos.get(repository)
        if repo is None or (repo.private and not self.known):
            status = 404 if self.known else 401  # the hub does not tell strangers which
            self.json({}, status, X_Error_Code="RepoNotFound", X_Error_Message="Repository not found")
            return None
        return repo

    def model_info(self, repository: str, revision: str) -> None:
        repo = self.seen(repository)
        if repo is None:
            return
        commit = repo.resolved(revision)
        if commit is None and repo.commits:
            self.json({}, 404, X_Error_Code="RevisionNotFound", X_Error_Message=f"Invalid rev id: {revision}")
            return
        files = repo.commits.get(commit or "", {})
        siblings = [{"rfilename": name} for name in sorted(files)]
        self.json({"id": repository, "sha": commit, "private": repo.private, "siblings": siblings, "tags": []})

    def resolve(self, repository: str, revision: str, name: str) -> None:
        repo = self.seen(repository)
        if repo is None:
            return
        commit = repo.resolved(revision)
        if commit is None:
            self.json({}, 404, X_Error_Code="RevisionNotFound")
        elif name not in repo.commits[commit]:
            self.json({}, 404, X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
        elif name.endswith(LARGE):
            content = repo.commits[commit][name]
            oid = hashlib.sha256(content).hexdigest()
            self.server.stored[oid] = content
            linked = {"X_Linked_Etag": f'"{oid}"', "X_Linked_Size": str(len(content))}
            store = self.server.url.replace("127.0.0.1", "localhost")  # another host, which sees no token
            self.answer(302, X_Repo_Commit=commit, Location=f"{store}/cdn/{oid}", **linked)
        else:
            content = repo.commits[commit][name]
            self.answer(200, content, X_Repo_Commit=commit, ETag=f'"{git_hash(content)}"')

    def validate_yaml(self, content: str) -> None:
        _, front, _ = content.split("---\n", 2)
        license = yaml.safe_load(front).get("license")
        if license in LICENSES:
            self.json({"errors": [], "warnings": []})
        else:
            self.json({"errors": [{"message": f'"license" must be one of {LICENSES}'}], "warnings": []}, 400)

    def create(self, asked: dict[str, Any]) -> None:
        repository = f"{asked['organization']}/{asked['name']}"
        url = f"{self.server.url}/{repository}"
        if not self.known:
            self.json({"error": "Invalid username or password."}, 401)
        elif repository in self.server.repos:
            self.json({"error": "You already created this model repo", "url": url}, 409)
        else:  # older clients say private, newer ones visibility
            private = asked.get("private", False) or asked.get("visibility") == "private"
            self.server.repos[repository] = Repo(private)
            self.json({"url": url, "name": repository})

    def preupload(self, repository: str) -> None:
        repo = self.seen(repository)
        if repo is None:
            return
        before = repo.commits.get(repo.refs.get("main", ""), {})
        modes = []
        for file in json.loads(self.body)["files"]:
            large, old = file["path"].endswith(LARGE), before.get(file["path"])
            oid = None if old is None else hashlib.sha256(old).hexdigest() if large else git_hash(old)
            mode = "lfs" if large else "regular"
            modes.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self.json({"files": modes})

    def lfs_batch(self) -> None:
        href = f"{self.server.url}/lfs"
        actions = [
            {"oid": oid, "size": item["size"]}
            if (oid := item["oid"]) in self.server.stored
            else {**item, "actions": {"upload": {"href": f"{href}/{oid}"}, "verify": {"href": f"{href}/verify"}}}
            for item in json.loads(self.body)["objects"]
        ]
        self.json({"transfer": "basic", "objects": actions})

    def store(self, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() == oid:
            self.server.stored[oid] = self.body
            self.answer(200)
        else:
            self.answer(400, b"the content is another")

    def commit(self, repository: str) -> None:
        repo = self.seen(repository)
        if repo is None:
            return
        if not self.known:
            self.json({"error": "Forbidden"}, 403)
            return
        files, message = {}, ""
        for line in self.body.splitlines():
            match json.loads(line):
                case {"key": "header", "value": header}:
                    message = header["summary"]
                case {"key": "file", "value": file}:
                    files[file["path"]] = base64.b64decode(file["content"])
                case {"key": "lfsFile", "value": file}:
                    files[file["path"]] = self.server.stored[file["oid"]]
        oid = repo.commit(files, message)
        self.json({"success": True, "commitOid": oid, "commitUrl": f"{self.server.url}/{repository}/commit/{oid}"})


def git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
