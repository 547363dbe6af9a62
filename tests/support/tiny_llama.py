"""A Llama with 90,000 random weights and a byte tokenizer, training data for it, and stage programs as in a pod."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
import transformers
from pyarrow import Table, parquet
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from fusionrun.api.results.result import decode_result
from fusionrun.api.tasks.task import StageTask, encode_task

REPOSITORY = Path(__file__).parents[2]
TEMPLATE = (
    "<bos>{% for m in messages %}{{ '<' + m.role + '>' + m.content + '<eot>' }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
CHATML = (
    "{% for m in messages %}{{ '<user>' + m.role + '\n' + m.content + '<eot>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<user>assistant\n' }}{% endif %}"
)
SPECIAL = ["<bos>", "<eot>", "<pad>", "<user>", "<assistant>", "<system>"]
SUMS = [(a, b) for a in range(3, 13) for b in range(5, 15)]


def make_tokenizer(template=TEMPLATE, bos="<bos>", pad="<pad>"):
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    model = Tokenizer(models.BPE(vocab={text: i for i, text in enumerate(SPECIAL + letters)}, merges=[]))
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = decoders.ByteLevel()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=model, bos_token=bos, eos_token="<eot>", pad_token=pad, additional_special_tokens=SPECIAL[3:]
    )
    tokenizer.chat_template = template
    return tokenizer


def make_model(folder: Path, kind="LlamaForCausalLM", *, config=None, tokenizer=None, **tokenizer_arguments) -> Path:
    """Save a model of a class of transformers; ``config`` changes its configuration."""
    tokenizer = tokenizer or make_tokenizer(**tokenizer_arguments)
    torch.manual_seed(0)
    fields = {
        "vocab_size": len(tokenizer), "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32, "max_position_embeddings": 512,
        "tie_word_embeddings": True, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": tokenizer.pad_token_id,
    }  # fmt: skip
    model = getattr(transformers, kind)
    model(model.config_class(**fields | (config or {}))).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_reward_model(folder: Path, labels: int = 1, kind="LlamaForSequenceClassification", **more) -> Path:
    """Save an untrained reward model whose scores differ."""
    return make_model(folder, kind, config={"num_labels": labels, "initializer_range": 0.3}, **more)


def message(role: str, content: str) -> list[dict[str, str]]:
    return [{"role": role, "content": content}]


def write_rows(path: Path, rows: list[dict]) -> Path:
    parquet.write_table(Table.from_pylist(rows), path)
    return path


QUOTING = [
    ("Does <eot> end it?", "Yes."), ("How does it end?", "With <eot> at the end."), ("Hi", "Hello<eot>"),
    ("Hi<eot><assistant>Hello<eot><user>Go on", "No."), ("What is <bos>?", "A token."),
]  # fmt: skip
"""Prompts and responses that quote special tokens."""


def write_sft(path: Path, long_rows: int = 0, *, quoting: bool = False) -> Path:
    """Write the sums, after rows that quote special tokens and before rows that are too long."""
    rows = [{"messages": message("user", f"{a}+{b}=?") + message("assistant", str(a + b))} for a, b in SUMS]
    quotes = [{"messages": message("user", q) + message("assistant", a)} for q, a in QUOTING] if quoting else []
    long = {"messages": message("user", "x" * 300) + message("assistant", "y")}
    return write_rows(path, quotes + rows + [long] * long_rows)


def write_pairs(path: Path, count: int = len(SUMS), *, quoting: bool = False) -> Path:
    """Write pairs of sums, after pairs of which one side quotes special tokens."""
    quotes = [
        {"prompt": message("user", question), "chosen": message("assistant", sides[0]),
         "rejected": message("assistant", sides[1])}
        for question, answer in QUOTING for sides in ((answer, "No."), ("No.", answer))
    ]  # fmt: skip
    rows = [
        {"prompt": message("user", f"{a}+{b}=?"), "chosen": message("assistant", str(a + b)),
         "rejected": message("assistant", "I do not know"[: 4 + (a + b) % 9].strip())}
        for a, b in SUMS[:count]
    ]  # fmt: skip
    return write_rows(path, (quotes if quoting else []) + rows)


LAST_DIGIT = 1.1e-5
"""Largest difference of two equal losses: the log has five decimals, which rounding may change by one."""


def train_parameters(kind: str, model: Path, data: Path, **changed) -> dict:
    parameters = {
        "kind": kind, "modelPath": str(model), "dataPath": str(data), "epochs": 2.0, "learningRate": 1e-3,
        "globalBatchSize": 16, "microBatchSize": 4, "maxLength": 64, "warmupRatio": 0.1, "saveSteps": 4,
        "zeroStage": 3, "precision": "fp32", "gradientCheckpointing": False, "seed": 42,
    }  # fmt: skip
    if kind == "dpo":
        parameters |= {"beta": 10.0, "lengthNormalized": True, "learningRate": 1e-4}
    return parameters | changed


class StagePod:
    """A stage program as in its pod: under torchrun with ``processes``, or as one process with 0."""

    def __init__(self, folder: Path, parameters: dict, processes: int = 2, gpus: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.output = folder / "artifact"
        self.termination = folder / "termination"
        self.log = folder / "log"
        self.termination.write_text("")
        names = {"run": "r", "namespace": "n", "stage": parameters["kind"], "digest": "d" * 20}
        task = StageTask(**names, output_dir=str(self.output), parameters=parameters, gpus=gpus)
        (folder / "task.json").write_text(encode_task(task))
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("RANK", "WORLD", "LOCAL", "MASTER"))}
        environment |= {
            "FUSIONRUN_TASK": str(folder / "task.json"),
            "FUSIONRUN_TERMINATION": str(self.termination),
            "PYTHONPATH": f"{REPOSITORY / 'images'}:{REPOSITORY / 'operator'}",
            "OMP_NUM_THREADS": "1",
            "HF_HOME": str(folder / "hf"),
        }
        command = [sys.executable, "-m"]
        if processes:
            # A separate rendezvous on a free port, so that tests can run in parallel.
            command += ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"]
        command += ["fusionrun_stages", parameters["kind"]]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)

    def wait(self) -> int:
        try:
            return self.process.wait(timeout=540)
        finally:
            self.process.terminate()  # torchrun terminates its ranks

    @property
    def text(self) -> str:
        return self.log.read_text()

    @property
    def result(self):
        return decode_result(self.termination.read_text())

    @property
    def manifest(self) -> dict:
        return json.loads((self.output / "manifest.json").read_text())

    def kill_rank(self, rank: int, when) -> int:
        """Kill a rank, a child of torchrun, as soon as ``when`` is true; return the exit code of torchrun."""
        while not when():
            assert self.process.poll() is None, self.text
            time.sleep(0.002)
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        variable = f"RANK={rank}".encode()
        (child,) = (c for c in children if variable in Path(f"/proc/{c}/environ").read_bytes().split(b"\0"))
        os.kill(int(child), signal.SIGKILL)
        return self.wait()
