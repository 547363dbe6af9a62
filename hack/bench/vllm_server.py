"""A vLLM server for a benchmark: started here, on a model whose answers do not end before they are as long as allowed.

So every client gets answers of the same length without asking for it, and is measured with the requests that it always
sends. The model's end-of-sequence token is exchanged for a special token that it was never trained to say; the caller
checks that it did not say it.
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
"""Variable of the server's environment: the file that ``Watch`` writes to."""
TRY_SECONDS = 0.5
STOP_SECONDS = 30
ENVIRONMENT = {"VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}


def link_endless(model: Path, folder: Path) -> Path:
    """Link a model's files into a folder, but for those that say what its end-of-sequence token is."""
    read = {path.name: json.loads(path.read_text()) for path in model.glob("*.json") if "index" not in path.name}
    special = {token["content"]: token["id"] for token in read["tokenizer.json"]["added_tokens"] if token["special"]}
    settings = [read.get(name, {}) for name in ("config.json", "generation_config.json", "tokenizer_config.json")]
    used = {str(_words(value)) for one in settings for key, value in one.items() if key.endswith(("_token", "_id"))}
    used |= {str(end) for one in settings for end in _listed(one.get("eos_token_id"))}
    unused = [word for word, number in special.items() if not {word, str(number)} & used]
    if not unused:
        raise SystemExit(f"{model}: no special token is left to stand for an end that never comes")
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


def _words(token: Any) -> Any:
    return token["content"] if isinstance(token, dict) else token


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


class Watch:
    """Middleware of the server: note when each chat request comes in (1) and when its answer is out (-1)."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._events = Path(os.environ[EVENTS]).open("a", buffering=1)  # noqa: SIM115 - for as long as the server runs

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
    """Serve a model while the block runs; yield the server's base URL."""
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
        # A session of its own: what it starts is ended with it.
        server = subprocess.Popen(
            command, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        while not _answers(url):
            try:
                code = server.wait(TRY_SECONDS)
            except subprocess.TimeoutExpired:
                continue
            raise SystemExit(f"the server ended with {code}:\n{log.read_text()[-4000:]}")
        yield url
    finally:
        server.terminate()
        try:
            server.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)  # what it may have left


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/v1/models", timeout=5).is_success
    except httpx.TransportError:
        return False
