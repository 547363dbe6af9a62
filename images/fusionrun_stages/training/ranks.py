"""The process group of a training.

torchrun sets RANK, LOCAL_RANK and WORLD_SIZE in every process; without them the world size is 1. torch is not imported
before ``join_process_group``.
"""

import contextlib
import os
import socket
import warnings
from collections.abc import Callable, Iterator
from typing import TypeVar, cast

from fusionrun.api.results.result import LOST_PEER
from fusionrun_stages.errors import InfrastructureError, StageError, UserError

T = TypeVar("T")

_LOST_PEER_SIGNS = ("closed by peer", "reset by peer", "Connection refused", "Broken pipe", "NCCL", "gloo")
_OUT_OF_MEMORY_SIGNS = ("out of memory", "can't allocate memory", "not enough memory")


def rank() -> int:
    """Return this process's rank over all nodes."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """Return the number of processes on all nodes."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def join_process_group(zero_stage: int, *, cuda: bool) -> None:
    """Set the environment of the process group, and start the group on CPUs.

    On GPUs TrainingArguments starts it. With ``use_cpu`` it does not, and ZeRO-3 would shard the model for a world size
    of 1.

    ``deepspeed_shm_comm`` is used by ``inference_all_reduce`` only. If it is on, DeepSpeed compiles it at the first
    start, needs a C++ compiler, and hangs on the lock of a start that was killed. Source: measured,
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
    # DeepSpeed 0.19 calls deprecated names of torch 2.13's collectives at every step.
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
    """Wait until every rank has called this function."""
    import torch

    if torch.distributed.is_initialized():
        torch.distributed.barrier()


def of_rank_0(compute: Callable[[], T]) -> T:
    """Compute a value on rank 0, and return it on every rank."""
    import torch

    if not torch.distributed.is_initialized():
        return compute()
    value = [compute() if rank() == 0 else None]
    torch.distributed.broadcast_object_list(value)
    return cast("T", value[0])


def leave_process_group() -> None:
    """Wait for every rank, then destroy the process group. If a rank exits early, torchrun stops the others."""
    import torch

    wait_for_all()
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@contextlib.contextmanager
def explain_torch_errors(stage: str) -> Iterator[None]:
    """Convert torch's out-of-memory errors to UserError, and its connection errors to InfrastructureError."""
    try:
        yield
    except StageError:
        raise
    except RuntimeError as error:
        text = str(error)
        line = text.strip().splitlines()[0][:200] if text.strip() else type(error).__name__
        if any(sign in text for sign in _OUT_OF_MEMORY_SIGNS):
            # The first fields are mutable (fusionrun.api.spec.mutable); checkpoints or results depend on the others.
            raise UserError(
                f"{line}: retry this run with training.gradientCheckpointing true, with training.offload Optimizer "
                "(zeroStage 2 or 3), or with training.pod and training.resources of GPUs with more memory; or create a "
                f"new run, which reuses finished data, with a lower training.{stage}.microBatchSize or "
                f"training.{stage}.maxLength, more training.nodes or training.processesPerNode, a higher "
                "training.zeroStage, or training.lora (docs/training.md)"
            ) from error
        if world_size() > 1 and any(sign in text for sign in _LOST_PEER_SIGNS):
            raise InfrastructureError(f"{LOST_PEER}: {line}") from error
        raise


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
