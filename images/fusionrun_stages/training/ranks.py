"""The processes that train together: who this one is, how they meet, how they wait for each other.

torchrun gives every process its RANK, LOCAL_RANK and WORLD_SIZE; a process without them is alone. Nothing heavy
is imported before ``join``.
"""

import contextlib
import os
import socket
import warnings
from collections.abc import Iterator

from fusionrun.api.result import LOST_PEER
from fusionrun_stages.errors import InfrastructureError, StageError, UserError

_LOST_PEER_SIGNS = ("closed by peer", "reset by peer", "Connection refused", "Broken pipe", "NCCL", "gloo")
_OUT_OF_MEMORY_SIGNS = ("out of memory", "can't allocate memory", "not enough memory")


def rank() -> int:
    """Return this process's rank over all nodes."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """Return how many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def join(zero_stage: int, *, cuda: bool) -> None:
    """Meet the other ranks.

    On CPUs this starts the process group itself: with ``use_cpu`` TrainingArguments does not, and then ZeRO-3
    shards the model for a world of one. On GPUs TrainingArguments starts it.

    Notes
    -----
    ``deepspeed_shm_comm`` serves ``inference_all_reduce`` only; left on, DeepSpeed compiles it at the first start,
    needs a C++ compiler, and hangs on the lock of a start that was killed meanwhile. Source: measured,
    DeepSpeed 0.19.8, ``deepspeed/comm/torch.py``.
    """
    for name, value in {
        "RANK": "0",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1",
        "TQDM_DISABLE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    }.items():
        os.environ.setdefault(name, value)
    if "MASTER_PORT" not in os.environ:
        os.environ["MASTER_PORT"] = str(_free_port())
    # DeepSpeed 0.19 calls torch 2.13's collectives by their old names, at every step.
    warnings.filterwarnings("ignore", message=".* is deprecated. Please use `torch.distributed", category=FutureWarning)

    import torch

    if cuda or torch.distributed.is_initialized():
        return
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    if zero_stage == 0:
        torch.distributed.init_process_group("gloo")
        return
    import deepspeed.ops

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed(dist_backend="gloo", auto_mpi_discovery=False)


def wait_for_all() -> None:
    """Return when every rank is here."""
    import torch

    if torch.distributed.is_initialized():
        torch.distributed.barrier()


def leave() -> None:
    """Leave the process group, after everybody has come: the rank that ends first would end the others' job."""
    import torch

    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


@contextlib.contextmanager
def explained(stage: str) -> Iterator[None]:
    """Turn the errors of torch into words for a person: memory that ran out, and a peer that died.

    Raises
    ------
    UserError
        If the memory of the device does not suffice.
    InfrastructureError
        If another rank has gone.
    """
    try:
        yield
    except StageError:
        raise
    except RuntimeError as error:
        text = str(error)
        line = text.strip().splitlines()[0][:200] if text.strip() else type(error).__name__
        if any(sign in text for sign in _OUT_OF_MEMORY_SIGNS):
            raise UserError(
                f"{line}: lower training.{stage}.microBatchSize or maxLength, turn gradientCheckpointing on, raise "
                "zeroStage, or give more processes"
            ) from error
        if world_size() > 1 and any(sign in text for sign in _LOST_PEER_SIGNS):
            raise InfrastructureError(f"{LOST_PEER}: {line}") from error
        raise


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
