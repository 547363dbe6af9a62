"""Disk of a run, against numbers worked out by hand."""

import pytest

from fusionrun.api.tasks.demand import Demand, TrainingDemand
from fusionrun_stages.fit.architecture import Architecture
from fusionrun_stages.fit.disk import items, table

P = 8_000_000_000
LLAMA_8B = Architecture(32, 4096, 14336, 32, 8, 128, 128256, 131072)
TRAINING = {"reference": 0, "processes": 8, "zero_stage": 3, "sft_micro_batch": 1, "sft_max_length": 2048,
            "dpo_micro_batch": 1, "dpo_max_length": 2048}  # fmt: skip


def gigabytes(complete=(), parameters=P, training=None, **more):
    demand = Demand(training=TrainingDemand(**TRAINING | (training or {})), **more)
    return [
        round(item.bytes / 1e9, 1)
        for item in items(demand, {"sources[a]": 145 * 10**9}, parameters, LLAMA_8B, complete)
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        # a download, 4 checkpoints of 112 GB, and the models of sft, dpo and promote
        ({}, [145, 448, 48]),
        ({"responses": 1_000_000, "published_copies": 2}, [145, 4.1, 448, 48, 32]),
        ({"responses": 1_000_000, "complete": ("construct", "sft")}, [145, 448, 32]),
        ({"complete": ("construct", "sft", "dpo")}, [145, 16]),
        ({"complete": ("construct", "sft", "dpo", "promote"), "published_copies": 1}, [145]),
        ({"parameters": None}, [145]),
        ({"training": {"precision": "fp32"}}, [145, 512, 96]),
        ({"training": {"zero_stage": 2}}, [145, 512, 48]),
        ({"training": {"zero_stage": 0}}, [145, 384, 96]),
        # 4 checkpoints of 14 bytes for each of 41,943,040 parameters of adapters, and 2 merged ones
        ({"training": {"lora": {"rank": 16}}}, [145, 2.3, 32, 48]),
        ({"training": {"lora": {"rank": 16}}, "complete": ("construct", "sft", "dpo")}, [145, 16]),
    ],
)
def test_what_a_run_still_writes(arguments, expected):
    assert gigabytes(**arguments) == expected


def test_the_table_marks_estimates_and_starts_with_the_largest():
    demand = Demand(training=TrainingDemand(**TRAINING))
    text = table(items(demand, {"sources[a]": 145 * 10**9}, P, LLAMA_8B, ()))
    assert text.startswith("4 checkpoints of 112.0 GB 448.0 (estimate), download of sources[a] 145.0, models of")
