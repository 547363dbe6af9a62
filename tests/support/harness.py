"""Invented tasks of lm-eval on a disk, and a server that answers their requests as vLLM does."""

import json
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from support.http_server import serving

BEGIN, USER, ASSISTANT, END = "\x01", "\x02", "\x03", "\x04"
"""Special tokens of the server's chat template."""
CUE = "Answer:"
SUMS = [{"question": f"What is {n} plus {n}?", "answer": str(2 * n), "half": n % 2} for n in range(6)]
COLOURS = [
    {"question": f"Which colour has number {n}?", "options": ["red", "green", "blue"], "right": n % 3} for n in range(5)
]


def write_tasks(folder, **changes):
    """Write the files of the tasks ``sums``, ``colours`` and of the group ``both``; return their folder."""
    data, tasks = folder / "rows", folder / "tasks"
    for path in (data, tasks):
        path.mkdir(parents=True, exist_ok=True)
    for name, rows in (("sums", SUMS), ("colours", COLOURS)):
        (data / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    common = {"dataset_path": "json", "test_split": "test", "fewshot_split": "test", "metadata": {"version": 3}}
    settings = {
        "sums": {
            "output_type": "generate_until",
            "doc_to_text": "{{question}}\n" + CUE,
            "doc_to_target": "{{answer}}",
            "generation_kwargs": {"until": ["\n\n"], "do_sample": False, "max_gen_toks": 32},
            "filter_list": [
                {"name": "strict", "filter": [
                    {"function": "regex", "regex_pattern": r"is (\d+)\."}, {"function": "take_first"}]},
                {"name": "loose", "filter": [
                    {"function": "regex", "regex_pattern": r"(\d+)", "group_select": -1}, {"function": "take_first"}]},
            ],
            "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
        },
        "colours": {
            "output_type": "multiple_choice",
            "doc_to_text": "{{question}}\n" + CUE,
            "doc_to_choice": "{{options}}",
            "doc_to_target": "right",
            "metric_list": [
                {"metric": name, "aggregation": "mean", "higher_is_better": True} for name in ("acc", "acc_norm")],
        },
    }  # fmt: skip
    for name, fields in settings.items():
        files = {"test": str(data / f"{name}.jsonl")}
        task = {"task": name, "dataset_kwargs": {"data_files": files}, **common, **fields, **changes.get(name, {})}
        (tasks / f"{name}.yaml").write_text(json.dumps(task))
    for name, fields in changes.items():
        if name not in settings:
            (tasks / f"{name}.yaml").write_text(json.dumps(fields))
    return tasks


class Handler(BaseHTTPRequestHandler):
    """Tokens are characters. The likeliest continuation of a question is the answer that the server knows."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and content in one packet

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.reply({})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        server.paths[self.path] += 1
        server.keys.add(self.headers.get("Authorization"))
        with server.lock:
            refused = server.refuse(self.path, body)
        if refused is not None:
            self.reply({"error": {"message": refused[1]}}, refused[0])
        else:
            self.reply(getattr(self, self.path.rpartition("/")[2])(body))

    def reply(self, content, status=200):
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def render(self, body):
        text = BEGIN + "".join(
            f"{USER if one['role'] == 'user' else ASSISTANT}\n{one['content']}{END}\n" for one in body["messages"]
        )
        if body.get("continue_final_message"):
            return text.removesuffix(f"{END}\n")
        return text + f"{ASSISTANT}\n"

    def tokenize(self, body):
        text = self.render(body) if "messages" in body else body["prompt"]
        special = BEGIN if body["add_special_tokens"] else ""
        tokens = [ord(character) for character in special + text]
        return {"tokens": tokens, "count": len(tokens), "max_model_len": self.server.max_model_len}

    def detokenize(self, body):
        text = "".join(map(chr, body["tokens"]))
        return {"prompt": text.replace(BEGIN, "") if self.server.loses_special_tokens else text}

    def known(self, text):
        """Return the answer to the last question of a text."""
        return max((text.rfind(question), answer) for question, answer in self.server.answers.items())[1]

    def completions(self, body):
        server = self.server
        server.bodies.append(body)
        if self.path.endswith("/chat/completions"):
            text = self.known(self.render(body))
            choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            return {"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 3}}
        if "prompt_logprobs" not in body:
            choice = {"index": 0, "text": " " + self.known(body["prompt"]), "finish_reason": "length"}
            return {"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 3}}
        text = "".join(map(chr, body["prompt"]))
        start = text.rindex(ASSISTANT) + 2 if ASSISTANT in text else text.rindex(CUE) + len(CUE) + 1
        likely = self.known(text[:start])
        logprobs = [None]
        for position, character in enumerate(text[1:], 1):
            wanted = likely[position - start : position - start + 1] if position >= start else character
            found = {str(ord(character)): {"logprob": -0.25 if wanted == character else -4.0}}
            if wanted != character:
                found[str(ord(wanted or "?"))] = {"logprob": -0.25}
            logprobs.append(found)
        return {"choices": [{"index": 0, "text": "x", "finish_reason": "length", "prompt_logprobs": logprobs}]}


def server_of(answers=None, refuse=lambda _path, _body: None):
    """Return a server that is not running; ``refuse`` returns a status and a message, or None."""
    import threading

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.answers = {row["question"]: f"It is {row['answer']}." for row in SUMS} if answers is None else answers
    server.answers |= {row["question"]: row["options"][row["right"]] for row in COLOURS} if answers is None else {}
    server.refuse, server.lock = refuse, threading.Lock()
    server.paths, server.keys, server.bodies = Counter(), set(), []
    server.max_model_len, server.loses_special_tokens = 4096, False
    return server


__all__ = ["COLOURS", "SUMS", "server_of", "serving", "write_tasks"]
