"""Compare the requests of the harness with those of lm-eval's own client.

Both measure the same server on tasks of the package with invented rows. lm-eval's client is ``local-completions``:
texts without a chat template, likelihoods by ``echo``, tokens by ``/tokenize``. Every reply, verdict and score must be
equal. The server's tokens are characters, and its log-probabilities are hashes of the twelve characters before.
``--url`` and ``--model`` name a vLLM server instead, started with ``--enable-tokenizer-info-endpoint``. Its
log-probabilities are compared to 2 digits: they depend on the batch.

Run it with the packages of the data image and lm-eval's extra ``api``, with ``PYTHONPATH=operator:images:tests:hack``.
"""

import argparse
import hashlib
import json
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusionrun.api.artifacts import HARNESS
from fusionrun.api.tasks.harness import HarnessModel, HarnessScore, HarnessTask
from oracle import lm_eval_rows
from support.harness import BEGIN, END, Handler, server_of, serving

TASKS = (
    ("arc_easy", None), ("arc_challenge", 5), ("hellaswag", None), ("winogrande", None), ("boolq", 2),
    ("truthfulqa_mc1", None), ("truthfulqa_mc2", None), ("lambada_openai", None), ("mmlu_anatomy", 5),
    ("mmlu_stem", 3), ("gsm8k", None), ("triviaqa", None), ("mmlu_pro_law", None), ("mmlu_pro", None),
    ("ai2_arc", None),
)  # fmt: skip
DIGITS = 9
SERVER_DIGITS = 2


@dataclass(frozen=True)
class Server:
    """The server that both clients measure."""

    url: str
    model: str
    max_length: int


def number(*parts: object) -> int:
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4])


class Oracle(Handler):
    """Answers the requests of both clients; what it answers does not depend on the token that begins a text."""

    def do_GET(self) -> None:  # noqa: N802 -- the name of http.server
        self.reply({"bos_token": None, "eos_token": END, "chat_template": None, "tokenizer_class": "characters"})

    def completions(self, body: dict[str, Any]) -> dict[str, Any]:
        prompt = body["prompt"]
        tokens = prompt[0] if isinstance(prompt, list) and isinstance(prompt[0], list) else prompt
        whole = tokens if isinstance(tokens, str) else "".join(map(chr, tokens))
        text = whole.removeprefix(BEGIN)
        if not body.get("echo") and "prompt_logprobs" not in body:
            word, answer = lm_eval_rows.WORDS[number(text) % len(lm_eval_rows.WORDS)], number(text) % 4
            reply = f" {word} #### {answer} The answer is ({'ABCD'[answer]})."
            for stop in body.get("stop") or []:
                reply = reply.split(stop)[0]
            return {"choices": [{"index": 0, "text": reply, "finish_reason": "stop"}]}
        choice: dict[str, Any] = {"index": 0, "text": "", "finish_reason": "length"}
        values = [_logprobs(text, position - len(whole) + len(text)) for position in range(1, len(whole))]
        if body.get("echo"):
            tops = [{"own": own, **({"top": top} if top != own else {})} for own, top in values]
            choice["logprobs"] = {
                "token_logprobs": [None, *(own for own, _ in values), -1.0],
                "top_logprobs": [None, *tops, {"own": -1.0}],
            }
        else:
            found = [
                {str(ord(character)): {"logprob": own}, **({"0": {"logprob": top}} if top != own else {})}
                for character, (own, top) in zip(whole[1:], values, strict=True)
            ]
            choice["prompt_logprobs"] = [None, *found]
        return {"choices": [choice]}


def _logprobs(text: str, position: int) -> tuple[float, float]:
    """Return the log-probability of a character, and that of the likeliest one."""
    before, character = text[max(0, position - 12) : position], text[position]
    own = -(number(before, character) % 1000) / 250 - 0.02
    return own, own if number(before, character, "likeliest") % 9 else -0.01


def theirs(server: Server, task: str, shots: int | None, manager: Any) -> dict[str, Any]:
    """Measure with lm-eval's own client."""
    from lm_eval.evaluator import simple_evaluate  # noqa: PLC0415

    settings = {"base_url": f"{server.url}/v1/completions", "tokenizer_backend": "remote", "model": server.model}
    found = simple_evaluate(
        model="local-completions",
        model_args={**settings, "num_concurrent": 4, "max_length": server.max_length},
        tasks=[task],
        num_fewshot=shots,
        bootstrap_iters=0,
        task_manager=manager,
    )
    return dict(found or {})


def ours(server: Server, task: str, shots: int | None, catalogue: Any) -> tuple[dict[str, Any], HarnessScore]:
    """Measure with the harness, without its process."""
    from fusionrun_stages.harness.answers import StoredAnswers  # noqa: PLC0415
    from fusionrun_stages.harness.loading import load_task  # noqa: PLC0415
    from fusionrun_stages.harness.measure import evaluate_task, write_results  # noqa: PLC0415
    from fusionrun_stages.harness.model import MeasuredModel  # noqa: PLC0415

    asked = HarnessTask(name="b", task=task, few_shot=shots, chat_template=False)
    loaded = load_task(catalogue, asked, task)
    model = HarnessModel(base_url=f"{server.url}/v1", model=server.model, concurrency=4, stall_seconds=600)
    with tempfile.TemporaryDirectory() as name:
        output = Path(name)
        with StoredAnswers(output / "parts", "b", "pod") as answers:
            measured = MeasuredModel(model, answers, lambda *_, **__: None, chat=False, max_tokens=None, field=task)
            results = evaluate_task(measured, loaded, asked, 42)
            write_results(output / HARNESS, asked, loaded, results, "")
        return results, HarnessScore.model_validate_json((output / HARNESS / "b.json").read_bytes())


def equal(left: Any, right: Any, digits: int) -> bool:
    """Return whether two replies are equal, log-probabilities to a number of digits."""
    if isinstance(left, tuple) and isinstance(right, tuple):
        return abs(left[0] - right[0]) <= 10**-digits and bool(left[1]) == bool(right[1])
    return str(left) == str(right)


def replies(sample: dict[str, Any]) -> list[Any]:
    return [reply for group in sample["resps"] for reply in group]


def differences(left: dict[str, Any], right: dict[str, Any], digits: int) -> tuple[int, int]:
    """Return the number of samples, and of those with another reply or verdict."""
    count = different = 0
    for task, samples in left["samples"].items():
        others = {(one["doc_id"], one["filter"]): one for one in right["samples"][task]}
        for sample in samples:
            other = others[sample["doc_id"], sample["filter"]]
            same = all(sample[name] == other[name] for name in sample["metrics"])
            pairs = zip(replies(sample), replies(other), strict=True)
            count += 1
            different += not (same and all(equal(*pair, digits) for pair in pairs))
    return count, different


@contextmanager
def served(options: argparse.Namespace) -> Iterator[Server]:
    """Yield the server of the command line, or a stand-in."""
    if options.url:
        yield Server(options.url, options.model, options.max_length)
        return
    stand_in = server_of({})
    stand_in.RequestHandlerClass = Oracle
    stand_in.max_model_len = 100_000
    with serving(stand_in) as url:
        yield Server(url, "m", stand_in.max_model_len)


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare every task; exit with an error if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", help="a vLLM server instead of the stand-in, such as http://127.0.0.1:8000")
    parser.add_argument("--model", help="the name of its model")
    parser.add_argument("--max-length", type=int, default=2048, help="its --max-model-len (default: 2048)")
    parser.add_argument("--tasks", nargs="*", help="some of the tasks only")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    os.environ |= {"TQDM_DISABLE": "1", "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    import datasets  # noqa: PLC0415

    from fusionrun_stages.harness.catalogue import Catalogue  # noqa: PLC0415

    datasets.load_dataset = lm_eval_rows.load_dataset
    catalogue = Catalogue.open()
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    digits = SERVER_DIGITS if options.url else DIGITS
    total = 0
    with served(options) as server:
        for task, shots in TASKS:
            if options.tasks and task not in options.tasks:
                continue
            official = theirs(server, task, shots, catalogue.manager)
            own, score = ours(server, task, shots, catalogue)
            count, different = differences(official, own, digits)
            name = f"{task}, {'own' if shots is None else shots} examples"
            values = {
                metric: round(value, 4)
                for metric, value in official["results"].get(task, {}).items()
                if "," in metric and isinstance(value, float)
            }
            print(
                json.dumps(
                    {"task": name, "samples": count, "different": different, "theirs": values, "ours": score.score}
                ),
                flush=True,
            )
            total += different
    raise SystemExit(f"{total} samples differ" if total else 0)


if __name__ == "__main__":
    main()
