"""The demand in the task of ``resolve``: from the spec and, for the memory of a GPU, from the nodes."""

from dataclasses import replace

import pytest

from fusionrun.plan.build import build_plan
from fusionrun.plan.checks import check_spec
from fusionrun.plan.demand import argument, demand_of, gpu_memory, gpu_memory_of_parts, gpu_of_nodes
from fusionrun.plan.pod_size import NodeGpus
from fusionrun.plan.quantities import quantity
from support.plans import filled, pinned_of, read
from support.runs import changed, evaluation_only, make_spec, measured

GPUS = {"limits": {"nvidia.com/gpu": 2}}


def spec_with_gpus():
    spec = make_spec(publish={"uri": make_spec()["sources"][0]["served"]["model"]["uri"] + "/out"})
    spec["sources"][0]["served"] |= {
        "tensorParallelSize": 2,
        "resources": GPUS,
        "maxModelLen": 4096,
        "extraArgs": ["--gpu-memory-utilization", "0.8", "--kv-cache-dtype=fp8", "--cpu-offload-gb=1.5"],
    }
    spec["rewardModel"]["resources"] = {"limits": {"nvidia.com/gpu": 1}}
    spec["training"] |= {"nodes": 2, "processesPerNode": 2, "resources": GPUS}
    return spec


def test_the_demand_of_a_run_has_what_its_pods_hold():
    demand = demand_of(pinned_of("tiny", spec_with_gpus()))
    (served,) = demand.served
    assert (served.field, served.tensor_parallel_size, served.max_model_len) == ("sources[ada].served", 2, 4096)
    assert (served.gpu_memory_utilization, served.kv_cache_bytes, served.offloaded_bytes) == (0.8, 1, 1.5 * 2**30)
    references = build_plan(read(spec_with_gpus())).references
    assert references[served.reference].field == "sources[ada].served.model"
    assert references[demand.reward.reference].field == "rewardModel.model"
    assert references[demand.training.reference].field == "target.model"
    assert (demand.training.processes, demand.training.on_gpus, demand.published_copies) == (4, True, 2)


def test_a_run_on_cpus_has_no_servers_to_compare_with_a_gpu():
    demand = demand_of(pinned_of("tiny", make_spec()))
    assert (demand.served, demand.reward, demand.training.on_gpus) == ([], None, False)


@pytest.mark.parametrize(
    ("arguments", "value"),
    [(["--x", "1", "--x=2"], "2"), (["--x=2", "--x", "1"], "1"), (["--x"], None), (["--xy=1"], None), ([], None)],
)
def test_the_last_value_of_an_argument_counts(arguments, value):
    assert argument(arguments, "--x") == value


NODES = [
    NodeGpus({"pool": "a", "nvidia.com/gpu.memory": "24576"}, {"nvidia.com/gpu": 8}),
    NodeGpus({"pool": "b", "nvidia.com/gpu.memory": "81559"}, {"nvidia.com/gpu": 8}),
    NodeGpus({"pool": "c"}, {"nvidia.com/gpu": 8}),
    NodeGpus({"pool": "c", "nvidia.com/gpu.memory": "unknown"}, {"nvidia.com/gpu": 8}),
]


@pytest.mark.parametrize(
    ("scheduling", "nodes", "size"),
    [
        ({}, [], None),
        ({}, NODES, 81559 * 2**20),
        ({"nodeSelector": {"pool": "a"}}, NODES, 24576 * 2**20),
        ({"nodeSelector": {"pool": "c"}}, NODES, None),
        ({"gpuMemory": "40Gi"}, NODES, 40 * 2**30),
    ],
)
def test_the_memory_of_a_gpu_is_that_of_the_field_or_of_the_largest_selected_node(scheduling, nodes, size):
    assert gpu_memory(filled(scheduling=scheduling), nodes) == size


MEMORY, PRODUCT = "nvidia.com/gpu.memory", "nvidia.com/gpu.product"
H100_NODE = NodeGpus({"pool": "b", PRODUCT: "NVIDIA-H100-80GB-HBM3", MEMORY: "81559"}, {"nvidia.com/gpu": 8})
L4_NODE = NodeGpus({"pool": "a", PRODUCT: "NVIDIA-L4", MEMORY: "23034"}, {"nvidia.com/gpu": 8})


@pytest.mark.parametrize(
    ("own", "scheduling", "nodes", "size"),
    [
        (None, {}, [H100_NODE], None),
        ({"pool": "a"}, {}, [H100_NODE, L4_NODE], None),
        ({MEMORY: "23034"}, {"gpuMemory": "80Gi"}, [], 23034 * 2**20),
        ({PRODUCT: "NVIDIA-L4"}, {"gpuMemory": "80Gi"}, [H100_NODE, L4_NODE], 23034 * 2**20),
        ({PRODUCT: "NVIDIA-L4"}, {"nodeSelector": {"pool": "b"}}, [H100_NODE, L4_NODE], 0),
        ({PRODUCT: "NVIDIA-L4"}, {"nodeSelector": {"pool": "b"}, "gpuMemory": "80Gi"}, [H100_NODE, L4_NODE], None),
        ({PRODUCT: "NVIDIA-H100-80GB-HBM3"}, {}, [], 80 * 2**30),
        ({PRODUCT: "NVIDIA-A100-SXM4-80GB-MIG-1g.10gb"}, {}, [], 10 * 2**30),
        ({"cloud.google.com/gke-accelerator": "nvidia-h100-80gb"}, {}, [L4_NODE], 80 * 2**30),
    ],
    ids=[
        "no settings", "no label of GPUs", "the label of the memory", "the selected node", "unknown",
        "unknown, with that of the run", "the name", "the name of a MIG device", "the name of GKE",
    ],
)  # fmt: skip
def test_the_memory_of_a_part_is_that_of_the_gpus_that_its_pods_select(own, scheduling, nodes, size):
    data = spec_with_gpus() | {"scheduling": scheduling}
    pod = {} if own is None else {"pod": {"nodeSelector": own}}
    data["sources"][0]["served"] |= pod
    data["rewardModel"] |= pod
    data["training"] |= pod
    found = gpu_memory_of_parts(read(data), nodes)
    fields = ("sources[ada].served.pod", "rewardModel.pod", "training.pod")
    assert found == ({} if size is None else dict.fromkeys(fields, size))
    demand = demand_of(replace(pinned_of("tiny", data), gpu_memory_of_parts=found))
    assert [part.gpu_memory_bytes for part in (*demand.served, demand.reward, demand.training)] == [size] * 3


@pytest.mark.parametrize(
    ("own", "part"), [(False, "evaluation.server.pod"), (True, "evaluateOnly.models[ada].server.pod")]
)
def test_the_memory_of_an_evaluated_model_is_that_of_the_server_whose_pod_settings_apply(own, part):
    pod = {"pod": {"nodeSelector": {MEMORY: "81559"}}}
    model = measured("ada") | ({"server": pod} if own else {})
    server = {"resources": GPUS, "tensorParallelSize": 2} | ({} if own else pod)
    data = evaluation_only(model)
    data["evaluation"] |= {"server": server}
    found = gpu_memory_of_parts(read(data), [])
    assert found == {part: 81559 * 2**20}
    (served,) = demand_of(replace(pinned_of("tiny", data), gpu_memory_of_parts=found)).served
    assert served.gpu_memory_bytes == 81559 * 2**20


def test_a_memory_without_a_unit_is_refused():
    (error,) = check_spec(read(changed(make_spec(), "scheduling.gpuMemory", "80")))
    assert (error.field, error.value) == ("scheduling.gpuMemory", "80")
    assert check_spec(read(changed(make_spec(), "scheduling.gpuMemory", "80Gi"))) == []


@pytest.mark.parametrize(
    ("text", "value"),
    [("80Gi", 80 * 2**30), ("80G", 80 * 10**9), ("1.5Ki", 1536), ("2e3", 2000), ("1E", 10**18), ("1500m", 1),
     ("+.5k", 500), ("3.", 3), (7, 7)],
)  # fmt: skip
def test_quantities(text, value):
    assert quantity(text) == value


H100, A100, L4 = ({"nvidia.com/gpu.product": f"NVIDIA-{name}"} for name in ("H100-80GB-HBM3", "A100-SXM4-80GB", "L4"))
GKE = {"cloud.google.com/gke-accelerator": "nvidia-l4"}


@pytest.mark.parametrize(
    ("selector", "nodes", "name"),
    [
        ({}, [H100, A100], "A100 SXM4 80GB"),
        ({}, [H100, {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB-MIG-1g.10gb"}, {}], "H100"),
        ({"pool": "a"}, [H100 | {"pool": "a"}, L4], "H100"),
        (L4, [], "L4"),
        ({}, [GKE], "L4"),
        ({}, [{"nvidia.com/gpu.product": "Tesla-T4"}], None),
        ({}, [], None),
    ],
    ids=["the slowest", "others unknown", "selected", "named by the selector", "GKE", "not in the table", "no nodes"],
)
def test_the_gpu_of_a_run_is_that_of_its_selector_or_the_slowest_of_the_selected_nodes(selector, nodes, name):
    found = gpu_of_nodes(
        filled(scheduling={"nodeSelector": selector}), [NodeGpus(n, {"nvidia.com/gpu": 8}) for n in nodes]
    )
    assert (found and found.name) == name
