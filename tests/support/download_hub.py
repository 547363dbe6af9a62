"""A model hub that serves the commits of repositories from memory, for tests of downloads."""

import hashlib
import http.server
import json
import re
from urllib.parse import unquote, urlsplit

COMMITS = ["a" * 40, "b" * 40]


class DownloadHub(http.server.ThreadingHTTPServer):
    """The part of a model hub that ``huggingface_hub`` uses.

    Source: huggingface_hub, ``HfApi.repo_info`` and ``file_download.get_hf_file_metadata``.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.repos = {}
        """(kind, name) to a list of commits, the newest last: file name to content."""
        self.requests = []
        self.gated = {}
        """Names of gated repositories: the tokens that may download from each."""
        self.hashes = {}
        """SHA-256 that the hub states for a file, where it is not that of the content."""

    def lfs(self, name, content):
        if not name.endswith((".safetensors", ".jsonl")):
            return {}
        sha256 = self.hashes.get(name) or hashlib.sha256(content).hexdigest()
        return {"lfs": {"size": len(content), "sha256": sha256, "pointerSize": 134}}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def find(self, kind, name, revision):
        commits = self.server.repos.get((kind, name))
        if commits is None:
            return None, "RepoNotFound"
        if revision in (None, "main"):
            return len(commits) - 1, None
        return (COMMITS.index(revision), None) if revision in COMMITS[: len(commits)] else (None, "RevisionNotFound")

    def answer(self):  # noqa: PLR0911 -- one per address
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append((self.command, path))
        if found := re.fullmatch(r"/api/(?:models|datasets)/([^/]+/[^/]+)/auth-check", path):
            return self.reply(200, b"OK", {}) if self.may_read(found[1]) else self.refuse()
        if found := re.fullmatch(r"/api/(models|datasets)/([^/]+/[^/]+)/tree/([^/]+)", path):
            kind, name, revision = found.groups()
            files = self.server.repos[kind, name][self.find(kind, name, revision)[0]]
            tree = [
                {"type": "file", "path": n, "size": len(c), "oid": hashlib.sha1(c).hexdigest()}
                for n, c in files.items()
            ]
            return self.reply(200, json.dumps(tree).encode(), {"Content-Type": "application/json"})
        if found := re.fullmatch(r"/api/(models|datasets)/([^/]+/[^/]+?)(?:/revision/(.+))?", path):
            kind, name, revision = found.groups()
            index, error = self.find(kind, name, revision)
            if error:
                return self.reply(404, json.dumps({"error": error}).encode(), {"X-Error-Code": error})
            files = self.server.repos[kind, name][index]
            siblings = [{"rfilename": n, "size": len(c), **self.server.lfs(n, c)} for n, c in files.items()]
            card = {"license": "mit \ud83d"}  # not Unicode
            info = {"id": name, "sha": COMMITS[index], "siblings": siblings, "cardData": card, "tags": []}
            info["gated"] = "auto" if name in self.server.gated else False
            return self.reply(200, json.dumps(info).encode(), {"Content-Type": "application/json"})
        if found := re.fullmatch(r"(?:/(datasets))?/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            kind, name, revision, file = found.groups()
            if not self.may_read(name):
                return self.refuse()
            index, error = self.find(kind or "models", name, revision)
            if error or file not in self.server.repos[kind or "models", name][index]:
                return self.reply(404, b"", {"X-Error-Code": error or "EntryNotFound"})
            content = self.server.repos[kind or "models", name][index][file]
            headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMITS[index]}
            return self.reply(200, content, headers)
        return self.reply(404, b"{}", {})

    do_GET = do_HEAD = answer  # noqa: N815 - http.server's names

    def may_read(self, name):
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        return name not in self.server.gated or token in self.server.gated[name]

    def refuse(self):
        return self.reply(403, b'{"error": "gated"}', {"X-Error-Code": "GatedRepo"})

    def reply(self, status, content, headers):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *arguments):
        pass
