"""HTTP servers with planned failures, for tests of the stages' clients."""

import hashlib
import http.server
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Replies(http.server.ThreadingHTTPServer):
    """An OpenAI-compatible server whose response is a hash of the request."""

    path = "/v1"
    daemon_threads = True
    request_queue_size = 128

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests = []
        self.lock = threading.Lock()
        self.plan = lambda body, number: None
        self.delay = 0.0
        self.metrics = None
        self.in_flight = 0
        self.max_in_flight = 0
        self.hanging = threading.Event()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}{self.path}"

    def answer_to(self, body):
        count, choices = body.pop("n"), []
        ids = body.pop("return_token_ids", False)
        for index in range(count):
            # Like vLLM: sample i of a request has the seed plus i.
            text, finish = self.sample(body | {"seed": body["seed"] + index})
            choice = {"index": index, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
            choices.append(choice | ({"token_ids": [1] * 7} if ids else {}))
        return {"choices": choices, "usage": {"prompt_tokens": 5, "completion_tokens": 7 * count}}

    def sample(self, body):
        """Return the text and the finish reason of one sample."""
        text = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        return text, "length" if text[0] in "01" else "stop"

    def handle_error(self, *arguments):
        pass


@contextmanager
def running(server: Replies) -> Iterator[Replies]:
    """Run a server inside the block."""
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.hanging.set()
            server.shutdown()
            thread.join()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.server.metrics is None:
            self.reply(404, {}, {})
        else:
            self.send(200, {}, self.server.metrics(self.server).encode())

    def do_POST(self):
        with self.server.lock:
            self.server.in_flight += 1
            self.server.max_in_flight = max(self.server.max_in_flight, self.server.in_flight)
        try:
            self.answer()
        finally:
            with self.server.lock:
                self.server.in_flight -= 1

    def answer(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.requests.append((self.path, self.headers, dict(body)))
            number = len(self.server.requests)
        time.sleep(self.server.delay)
        planned = self.server.plan(body, number)
        if planned == "hang":
            self.server.hanging.wait(30)
            planned = "drop"
        if planned == "drop":
            self.close_connection = True
            return
        if planned is not None:
            status, headers, answer = planned
            self.reply(status, headers, answer)
            return
        self.reply(200, {}, self.server.answer_to(body))

    def reply(self, status, headers, answer):
        """Send an answer: an object as JSON, or bytes."""
        self.send(status, headers, answer if isinstance(answer, bytes) else json.dumps(answer).encode())

    def send(self, status, headers, text):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *arguments):
        pass
