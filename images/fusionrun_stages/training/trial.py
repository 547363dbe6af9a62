"""A trial of SFT or DPO: a few optimizer steps on synthetic rows of the greatest length. It saves nothing."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from transformers import TrainerCallback

from fusionrun.api.tasks.training import DpoParameters, SftParameters
from fusionrun_stages.training.ranks import world_size
from fusionrun_stages.training.tokens import PLAIN_ANSWER, PLAIN_PROMPT, split_conversation

MESSAGE_BYTES = {"cuda": 2**28, "cpu": 2**22}
"""Size of the all-reduce that is measured: large enough for the bandwidth, and not the latency, to decide its time."""
REPETITIONS = 5
CONSTANT_BYTES = 4096
"""Size up to which a tensor is kept: a library may have made it as a constant."""


class Step(NamedTuple):
    """A measured optimizer step."""

    seconds: float
    """Of the slowest process."""
    gpu_memory_bytes: int | None
    """Peak of the memory that torch reserved on one GPU since the start of the trial; None on CPUs."""


class _Clock(TrainerCallback):  # type: ignore[misc]
    """Measures the seconds of the last step, from its first micro-batch to the update of the weights."""

    def __init__(self) -> None:
        self._started = 0.0
        self.seconds = 0.0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """Start the clock when the GPU is idle."""
        _synchronize()
        self._started = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Stop the clock when the GPU has finished."""
        _synchronize()
        self.seconds = time.perf_counter() - self._started


def run_trial(trainer: Any) -> Step:
    """Train for the steps of the trial, measure the last one, and free the memory of the model."""
    import torch

    clock = _Clock()
    trainer.add_callback(clock)
    trainer.train()
    memory = torch.cuda.max_memory_reserved() if torch.cuda.is_available() else 0
    numbers = torch.tensor([[clock.seconds, float(memory)]], dtype=torch.float64, device=trainer.args.device)
    seconds, peak = trainer.accelerator.gather(numbers).max(dim=0).values.tolist()
    engines: list[Any] = [trainer.model_wrapped, getattr(trainer, "ref_model", None)]
    for engine in engines:
        if hasattr(engine, "destroy"):  # of DeepSpeed
            engine.destroy()
    return Step(seconds, int(peak) or None)


def write_longest_rows(path: Path, tokenizer: Any, parameters: SftParameters | DpoParameters, count: int) -> int:
    """Write rows for SFT and DPO as long as ``max_length`` allows; return the tokens of one row.

    A pair counts with both of its sides. A row can be a few tokens shorter than ``max_length``.
    """
    import pyarrow as pa
    import pyarrow.parquet

    prompt = [{"role": "user", "content": PLAIN_PROMPT}]
    chosen, rejected = (_longest_answer(tokenizer, prompt, text, parameters.max_length) for text in _TEXTS)
    row: dict[str, Any] = {"messages": [*prompt, *chosen]}
    if isinstance(parameters, DpoParameters):
        row = {"prompt": prompt, "chosen": chosen, "rejected": rejected}
    path.parent.mkdir(parents=True, exist_ok=True)
    pa.parquet.write_table(pa.Table.from_pylist([row] * count), path)
    sides = (chosen, rejected) if isinstance(parameters, DpoParameters) else (chosen,)
    return sum(_length(tokenizer, prompt, side) for side in sides)


_TEXTS = (PLAIN_ANSWER, PLAIN_PROMPT)


def _longest_answer(tokenizer: Any, prompt: list[dict[str, str]], text: str, max_length: int) -> list[dict[str, str]]:
    """Return a message that repeats the words of a text, as long as possible, and at least one of them."""
    words = text.split()

    def answer(count: int) -> list[dict[str, str]]:
        repeated = words * (count // len(words) + 1)
        return [{"role": "assistant", "content": " ".join(repeated[:count])}]

    fits, too_long = 1, max_length + 1  # a word has at least one token
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if _length(tokenizer, prompt, answer(middle)) <= max_length:
            fits = middle
        else:
            too_long = middle
    return answer(fits)


def _length(tokenizer: Any, prompt: list[dict[str, str]], completion: list[dict[str, str]]) -> int:
    tokens = split_conversation(tokenizer, prompt, completion)
    return len(tokens.prompt) + len(tokens.completion)


@contextlib.contextmanager
def own_memory() -> Iterator[None]:
    """Measure the peak from now on, and free every larger tensor that is made until the end, also one still in use.

    DeepSpeed keeps a sharded model for ever, so that the next trial would need the memory of both: a cache of
    ``PartitionedParameterCoordinator`` and the classes of autograd functions in ``parameter_offload`` refer to it.
    Source: measured, DeepSpeed 0.19.8, stage 3, after ``engine.destroy``.
    """
    import torch

    earlier = _storages()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    yield
    for address, storage in _storages().items():
        if address not in earlier and storage.nbytes() > CONSTANT_BYTES and storage.resizable():
            storage.resize_(0)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _storages() -> dict[int, Any]:
    """Return the storages of all tensors in this process, by their address."""
    import gc

    import torch

    gc.collect()
    tensors = [each for each in gc.get_objects() if issubclass(type(each), torch.Tensor) and not each.is_meta]
    storages = [tensor.untyped_storage() for tensor in tensors]
    return {storage._cdata: storage for storage in storages}  # noqa: SLF001 - the same for all tensors of a storage


def gpu_name() -> str | None:
    """Return the name of this process's GPU; None on CPUs."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def bandwidth() -> float | None:
    """Return the bus bandwidth of an all-reduce over all processes, in bytes per second; None for one process.

    Source: NVIDIA, nccl-tests, doc/PERFORMANCE.md: ``busbw = size / time * 2 (n - 1) / n`` for an all-reduce.
    """
    import torch
    from torch import distributed

    count = world_size()
    if count == 1 or not distributed.is_initialized():
        return None
    device = "cuda" if torch.cuda.is_available() else "cpu"
    size = MESSAGE_BYTES[device]
    values = torch.zeros(size // 4, dtype=torch.float32, device=device)
    distributed.all_reduce(values)  # connects the processes
    _synchronize()
    started = time.perf_counter()
    for _ in range(REPETITIONS):
        distributed.all_reduce(values)
    _synchronize()
    seconds = (time.perf_counter() - started) / REPETITIONS
    return size / seconds * 2 * (count - 1) / count


def _synchronize() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
