"""A model hub that stores repositories in memory, for tests of ``publish``."""

import base64
import hashlib
import http.server
import json
import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit


@dataclass
class Repository:
    """A repository with one commit."""

    visibility: str | None
    files: dict[str, bytes]


class HubRepositories(http.server.ThreadingHTTPServer):
    """The part of a hub that ``huggingface_hub`` uses to look up, create and fill a repository.

    Source: huggingface_hub, ``HfApi.repo_info``, ``create_repo``, ``create_commit`` and ``hf_hub_download``.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.refuses = False
        self.account = {"name": "org", "auth": {"accessToken": {"role": "write"}}}
        """The reply of ``whoami``."""
        self.read_only = set()
        """Names of the repositories that the token cannot write to."""
        self.checks_access = True
        self.tokens = []

    def add(self, kind, name, files, visibility=None):
        """Add a repository."""
        self.repositories[kind, name] = Repository(visibility, files)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):  # noqa: PLR0911 -- one per address
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.tokens.append(self.headers.get("Authorization"))
        path = unquote(urlsplit(self.path).path)
        if self.server.refuses:
            return self.reply(403, {"error": "Forbidden"})
        if path == "/api/repos/create":
            fields = json.loads(body)
            name = "/".join(filter(None, (fields.get("organization"), fields["name"])))
            self.server.add(fields.get("type") or "model", name, {}, fields.get("visibility"))
            return self.reply(200, {"url": f"{self.server.url}/{name}"})
        if path == "/api/whoami-v2":
            return self.reply(200, self.server.account)
        if found := re.fullmatch(r"/api/(?:model|dataset)s/([^/]+/[^/]+)/auth-check/write", path):
            if not self.server.checks_access:
                return self.reply(404, {"error": "Not found"})
            return self.reply(403 if found[1] in self.server.read_only else 200, {"error": "Forbidden"})
        found = re.fullmatch(r"/api/(model|dataset)s/([^/]+/[^/]+)(?:/(preupload|commit|revision|tree)/[^/]+)?", path)
        if found:
            return self.repository(found[1], found[2], found[3], body)
        if found := re.fullmatch(r"(/datasets)?/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
            content = self.server.repositories["dataset" if found[1] else "model", found[2]].files[found[3]]
            etag = f'"{hashlib.sha256(content).hexdigest()}"'
            return self.reply(200, content, {"ETag": etag, "X-Repo-Commit": "a" * 40})
        return self.reply(200, {"token_type": "x"})  # validate-yaml and the like

    do_GET = do_HEAD = do_POST = answer  # noqa: N815 -- names of http.server

    def repository(self, kind, name, action, body):
        known = self.server.repositories.get((kind, name))
        if known is None:
            return self.reply(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        if action == "preupload":
            mode = {"uploadMode": "regular", "shouldIgnore": False}
            return self.reply(200, {"files": [mode | {"path": f["path"]} for f in json.loads(body)["files"]]})
        if action == "tree":
            oid = {"type": "file", "oid": "a" * 40}
            return self.reply(200, [oid | {"path": n, "size": len(c)} for n, c in known.files.items()])
        if action == "commit":
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    known.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                elif line["key"] == "deletedFile":
                    del known.files[line["value"]["path"]]
            commit = {"commitUrl": f"{self.server.url}/{name}/commit/{'a' * 40}", "commitOid": "a" * 40}
            return self.reply(200, commit)
        siblings = [{"rfilename": name} for name in known.files]
        return self.reply(200, {"id": name, "sha": "a" * 40, "siblings": siblings, "tags": []})

    def reply(self, status, content, headers=None):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for key, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *arguments):
        pass
