"""Run stages in processes that are forked from one with all libraries imported: a start takes milliseconds.

Reads a request per line: ``kind``, ``environment`` and ``log``. Answers with the child's PID, then its wait status.
"""

import json
import os
import sys

import math_verify  # noqa: F401
import polars as pl  # noqa: F401
import pyarrow.parquet  # noqa: F401
import torch
from transformers import AutoTokenizer, LlamaForSequenceClassification  # noqa: F401

from fusionrun_stages import construct, generate, score, verify  # noqa: F401
from fusionrun_stages.__main__ import main
from fusionrun_stages.grading import coding, mathematics  # noqa: F401

torch.set_num_threads(1)
print("ready", flush=True)  # noqa: T201
for line in sys.stdin:
    request = json.loads(line)
    child = os.fork()
    if child == 0:
        os.environ.update(request["environment"])
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os._exit(main([request["kind"]]))
    print(child, flush=True)  # noqa: T201
    print(os.waitpid(child, 0)[1], flush=True)  # noqa: T201
