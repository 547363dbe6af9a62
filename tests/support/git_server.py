"""A Git repository behind HTTP on this machine, as Flux reads one."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from support.http_server import serving

BACKEND = ["git", "http-backend"]
IDENTITY = {f"GIT_{who}_{part}": "test@example" for who in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}


@dataclass(frozen=True)
class GitRepository:
    """A repository with the branch ``main``."""

    work_tree: Path
    url: str

    def commit(self, files: Mapping[str, str | None]) -> str:
        """Write files, or delete those that are None, and push a commit; return its SHA."""
        for name, text in files.items():
            path = self.work_tree / name
            if text is None:
                path.unlink()
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        self._git("add", "--all")
        self._git("commit", "--quiet", "--allow-empty", "--message", "change")
        self._git("push", "--quiet", "origin", "HEAD:main")
        return self._git("rev-parse", "HEAD").strip()

    def _git(self, *arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments],
            cwd=self.work_tree,
            env=os.environ | IDENTITY,
            capture_output=True,
            text=True,
            check=True,
        ).stdout


@contextmanager
def git_repository(folder: Path) -> Iterator[GitRepository]:
    """Serve an empty repository for reading."""
    bare, work_tree = folder / "served" / "repository.git", folder / "work"
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", bare], check=True)
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main", work_tree], check=True)
    subprocess.run(["git", "remote", "add", "origin", bare], cwd=work_tree, check=True)
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), _handler(bare.parent))) as url:
        yield GitRepository(work_tree, f"{url}/{bare.name}")


def _handler(root: Path) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Passes requests to ``git http-backend``, a CGI program."""

        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            environment = {
                "GIT_PROJECT_ROOT": str(root),
                "GIT_HTTP_EXPORT_ALL": "1",
                "REQUEST_METHOD": self.command,
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            }
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            done = subprocess.run(BACKEND, input=body, env=os.environ | environment, capture_output=True, check=True)
            head, _, content = done.stdout.partition(b"\r\n\r\n")
            headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
            self.send_response(int(headers.pop("Status", "200").split()[0]))
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET  # noqa: N815 -- http.server calls it

        def log_message(self, *_: object) -> None:
            """Write no log."""

    return Handler
