"""A vLLM server for a benchmark, with a model whose answers always reach the maximum length.

All clients get answers of the same length with their usual requests. The end-of-sequence token of the model is replaced
by a special token that it was not trained to generate; the caller checks the lengths.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

NAME = "endless"
EVENTS = "FUSIONRUN_BENCH_EVENTS"
"""Environment variable of the server: the file to which ``Watch`` writes."""
TRY_SECONDS = 0.5
STOP_SECONDS = 30
ENVIRONMENT = {"VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}


def link_endless(model: Path, folder: Path) -> Path:
    """Link the files of a model into a folder, except those with its end-of-sequence token."""
    read = {path.name: json.loads(path.read_text()) for path in model.glob("*.json") if "index" not in path.name}
    special = {token["content"]: token["id"] for token in read["tokenizer.json"]["added_tokens"] if token["special"]}
    settings = [read.get(name, {}) for name in ("config.json", "generation_config.json", "tokenizer_config.json")]
    used = {str(_content(value)) for one in settings for key, value in one.items() if key.endswith(("_token", "_id"))}
    used |= {str(end) for one in settings for end in _listed(one.get("eos_token_id"))}
    unused = [word for word, number in special.items() if not {word, str(number)} & used]
    if not unused:
        raise SystemExit(f"{model}: no unused special token can replace the end-of-sequence token")
    changes = {"eos_token": unused[-1], "eos_token_id": special[unused[-1]]}
    folder.mkdir()
    for path in model.iterdir():
        old = read.get(path.name, {})
        new = old | {key: value for key, value in changes.items() if key in old}
        if new == old:
            (folder / path.name).symlink_to(path.resolve())
        else:
            (folder / path.name).write_text(json.dumps(new))
    return folder


def _content(token: Any) -> Any:
    return token["content"] if isinstance(token, dict) else token


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


class Watch:
    """Middleware of the server that records the start (1) and the end (-1) of each chat request."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._events = Path(os.environ[EVENTS]).open("a", buffering=1)  # noqa: SIM115 - open until the server exits

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope.get("path") != "/v1/chat/completions":
            await self._app(scope, receive, send)
            return
        self._events.write(f"{time.monotonic()} 1\n")
        try:
            await self._app(scope, receive, send)
        finally:
            self._events.write(f"{time.monotonic()} -1\n")


@contextmanager
def served(model: Path, log: Path, events: Path, options: list[str]) -> Iterator[str]:
    """Serve a model, and yield the base URL of the server."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable, "-m", "vllm.entrypoints.cli.main", "serve", str(model), "--served-model-name", NAME,
        "--host", "127.0.0.1", "--port", str(port), "--generation-config", "vllm",
        "--middleware", f"{__name__}.{Watch.__name__}", *options,
    ]  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    environment = ENVIRONMENT | os.environ | {EVENTS: str(events), "PYTHONPATH": paths}
    with log.open("wb") as output:
        # In a new session, so that its child processes end with it.
        server = subprocess.Popen(
            command, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        while not _answers(url):
            try:
                code = server.wait(TRY_SECONDS)
            except subprocess.TimeoutExpired:
                continue
            raise SystemExit(f"the server exited with {code}:\n{log.read_text()[-4000:]}")
        yield url
    finally:
        server.terminate()
        try:
            server.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)  # remaining child processes


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/v1/models", timeout=5).is_success
    except httpx.TransportError:
        return False
