"""The objects of each kind of stage. tests/golden has complete objects of every kind."""

import copy
from dataclasses import replace
from typing import Any

import pytest

from fusionrun import names
from fusionrun.api.pod import EXIT_SERVER_WEDGED, EXIT_SIGTERM, EXIT_USER_ERROR, STALL_SECONDS_ENV
from fusionrun.api.sandbox import (
    JUDGE_OWN_BYTES,
    PROGRAM_FOLDER_BYTES,
    PROGRAM_MEMORY_BYTES,
    PROGRAMS_AT_ONCE,
    PROGRAMS_AT_ONCE_ENV,
    RUNNER_OWN_BYTES,
    RUNTIME_CLASS_ENV,
    TESTS_MEMORY_BYTES,
)
from fusionrun.api.tasks.task import decode_task
from fusionrun.objects.avoided_nodes import avoid_nodes
from fusionrun.objects.render import render
from fusionrun.plan.pinned import Feature
from fusionrun.settings import Images, Settings
from support.golden import SETTINGS
from support.plans import pinned_of
from support.pod_security import containers
from support.runs import CLAIM, UID, called_reward, external_source, make_spec


def objects(
    stage: str,
    attempt: int = 0,
    settings: Settings = SETTINGS,
    features: frozenset[Feature] = frozenset(Feature),
    **changes: Any,
) -> dict[str, dict[str, Any]]:
    pinned = replace(pinned_of("tiny", make_spec(**changes)), features=features)
    return {m["kind"]: m for m in render(pinned, pinned.plan[stage], attempt, settings)}


def pod_of(workload: dict[str, Any]) -> dict[str, Any]:
    spec = workload["spec"]
    template = spec["pytorchReplicaSpecs"]["Master"]["template"] if "pytorchReplicaSpecs" in spec else spec["template"]
    return template["spec"]


# Jobs


def test_a_user_error_ends_a_job_and_a_disruption_is_ignored():
    job = objects("prepare/prompts", backoffLimit=5)["Job"]["spec"]
    assert job["backoffLimit"] == 5
    assert job["podReplacementPolicy"] == "Failed"
    assert job["podFailurePolicy"]["rules"] == [
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [EXIT_USER_ERROR]}},
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {
            "action": "Ignore",
            "onExitCodes": {"operator": "In", "values": [EXIT_SIGTERM], "containerName": "prepare"},
        },
    ]
    assert pod_of(objects("prepare/prompts")["Job"])["restartPolicy"] == "Never"


def test_a_hung_server_ends_the_job_that_it_serves():
    def ending(stage, **changes):
        return objects(stage, **changes)["Job"]["spec"]["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"]

    assert ending("generate/ada") == [EXIT_USER_ERROR, EXIT_SERVER_WEDGED]
    assert ending("generate/far", sources=[external_source()]) == [EXIT_USER_ERROR]


@pytest.mark.parametrize("stage", ["generate/ada", "verify/ada.mathematics", "verify/ada.coding"])
def test_a_stage_with_shards_is_an_indexed_job(stage):
    job = objects(stage, generation={"shards": 5, "parallelism": 9})["Job"]["spec"]
    assert (job["completionMode"], job["completions"]) == ("Indexed", 5)
    assert 1 <= job["parallelism"] <= 5


@pytest.mark.parametrize(("shards", "failed"), [(2, 0), (10, 1), (64, 6)])
def test_each_shard_has_its_own_limit_of_retries(shards, failed):
    job = objects("generate/ada", generation={"shards": shards}, backoffLimit=5)["Job"]["spec"]
    assert (job["backoffLimitPerIndex"], job["maxFailedIndexes"], job["backoffLimit"]) == (5, failed, 2**31 - 1)
    # The runner of the sandbox gets SIGTERM whenever the judge ends.
    rules = objects("verify/ada.coding")["Job"]["spec"]["podFailurePolicy"]["rules"]
    assert rules[-1]["onExitCodes"]["containerName"] == "judge"


@pytest.mark.parametrize(("replicas", "pods"), [(1, 1), (3, 3), (8, 5)])
def test_pods_that_take_shards_in_turn_are_at_most_as_many_as_shards(replicas, pods):
    reward = make_spec()["rewardModel"] | {"replicas": replicas}
    found = objects("score/ada", generation={"shards": 5}, rewardModel=reward)
    job, task = found["Job"]["spec"], decode_task(found["ConfigMap"]["data"]["task.json"])
    assert (job["completions"], job["parallelism"], task.workers, task.shards) == (pods, pods, pods, 5)


def test_a_run_of_an_earlier_release_keeps_its_objects():
    found = objects("score/ada", features=frozenset())
    job = found["Job"]["spec"]
    assert job["backoffLimit"] == 3
    assert "backoffLimitPerIndex" not in job
    assert len(job["podFailurePolicy"]["rules"]) == 2
    (container,) = pod_of(objects("serve/ada", features=frozenset())["Deployment"])["containers"]
    assert "livenessProbe" not in container
    assert STALL_SECONDS_ENV not in variables(pod_of(found["Job"]))


@pytest.mark.parametrize(
    ("deadlines", "expected"),
    [([], "7200"), ([{"kind": "score", "stallSeconds": 60}], "60"), ([{"kind": "score", "stallSeconds": 0}], None)],
)
def test_a_pod_gets_the_time_without_progress_after_which_it_ends(deadlines, expected):
    pod = pod_of(objects("score/ada", stageDeadlines=deadlines)["Job"])
    assert variables(pod).get(STALL_SECONDS_ENV) == expected


def variables(pod: dict[str, Any]) -> dict[str, str]:
    return {v["name"]: v.get("value", "") for v in pod["containers"][0]["env"]}


# Retries


AFFINITY = {"podAffinity": {}, "nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1}]}}


@pytest.mark.parametrize("affinity", [None, AFFINITY])
def test_the_nodes_of_earlier_attempts_are_avoided_in_addition_to_other_affinity(affinity):
    pod = {"containers": []} | ({"affinity": copy.deepcopy(affinity)} if affinity else {})
    template = {"metadata": {}, "spec": pod}
    replicas = {"Master": {"template": template}, "Worker": {"template": template}}
    avoid_nodes([{"kind": "PyTorchJob", "spec": {"pytorchReplicaSpecs": replicas}}, {"kind": "ConfigMap"}], ["a", "b"])
    *others, added = pod["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert others == ([{"weight": 1}] if affinity else [])
    fields = [{"key": "metadata.name", "operator": "NotIn", "values": [node]} for node in ("a", "b")]
    assert added == {"weight": 100, "preference": {"matchFields": fields}}
    assert ("podAffinity" in pod["affinity"]) is bool(affinity)


def test_a_pod_reads_its_own_task():
    found = objects("generate/ada")
    task = decode_task(found["ConfigMap"]["data"]["task.json"])
    assert (task.stage, task.run, task.shards) == ("generate/ada", "tiny", 2)
    server = objects("serve/ada")["Service"]["metadata"]["name"]
    assert task.parameters.base_url == f"http://{server}.lab.svc:8000/v1"
    mounts = pod_of(found["Job"])["containers"][0]["volumeMounts"]
    assert {"name": "task", "mountPath": "/etc/fusionrun", "readOnly": True} in mounts


def test_resources_are_those_of_the_spec_or_the_defaults_of_the_operator():
    given = {"requests": {"memory": "2Gi"}, "limits": {"example.com/disk": 1}}
    reward = {**make_spec()["rewardModel"], "resources": given}
    assert pod_of(objects("score/ada", rewardModel=reward)["Job"])["containers"][0]["resources"] == given
    default = pod_of(objects("construct")["Job"])["containers"][0]["resources"]
    assert default == {"requests": SETTINGS.default_requests, "limits": SETTINGS.default_limits}


@pytest.mark.parametrize(
    ("given", "requests"),
    [
        ({"limits": {"nvidia.com/gpu": 2, "memory": "9Gi"}}, {"cpu": "6"}),
        ({"limits": {"nvidia.com/mig-1g.10gb": 3}, "requests": {"memory": "1Gi"}}, {"cpu": "2", "memory": "1Gi"}),
        ({"limits": {"nvidia.com/gpu": 2}, "requests": {"cpu": "100m"}}, {"cpu": "100m"}),
        ({"limits": {"nvidia.com/gpu": 2, "cpu": 8}}, None),
        ({"limits": {"memory": "9Gi"}}, None),
    ],
)
def test_a_pod_with_gpus_and_without_cpus_requests_some_per_gpu(given, requests):
    served = make_spec()["sources"]
    served[0]["served"] |= {"resources": given}
    for features, expected in ((frozenset(Feature), requests), (frozenset(), given.get("requests"))):
        (container,) = pod_of(objects("serve/ada", sources=served, features=features)["Deployment"])["containers"]
        assert container["resources"].get("requests") == expected
        assert container["resources"]["limits"] == given["limits"]


DATA_STAGES = ["resolve", "prepare/prompts", "generate/ada", "verify/ada.mathematics", "construct", "evaluate/final"]


@pytest.mark.parametrize("reward", [make_spec()["rewardModel"], called_reward()], ids=["model", "endpoint"])
def test_only_data_stages_have_the_resources_of_data_stages(reward):
    given = {"limits": {"memory": "32Gi"}}
    changes = {"publish": {"uri": f"pvc://{CLAIM}/out"}, "dataStages": {"resources": given}, "rewardModel": reward}
    score = {"score/ada"} if "endpoint" in reward else set()
    for stage in (*DATA_STAGES, "publish", "score/ada", "promote", "verify/ada.coding"):
        found = [c["resources"] for c in containers(pod_of(objects(stage, **changes)["Job"]))]
        assert (given in found) is (stage in {*DATA_STAGES, "publish", *score}), stage


def test_score_with_an_endpoint_needs_neither_torch_nor_a_gpu():
    reward = called_reward(apiKeySecretRef={"name": "judge", "key": "token"})
    pod = pod_of(objects("score/ada", rewardModel=reward)["Job"])
    (container,) = pod["containers"]
    assert container["image"] == SETTINGS.images.data
    assert container["resources"] == {"requests": SETTINGS.default_requests, "limits": SETTINGS.default_limits}
    assert not [v for v in pod["volumes"] if v["name"] == "shm"]
    (key,) = [e for e in container["env"] if e["name"] == "FUSIONRUN_API_KEY"]
    assert key["valueFrom"] == {"secretKeyRef": {"name": "judge", "key": "token"}}
    (other,) = pod_of(objects("construct", rewardModel=reward)["Job"])["containers"]
    assert "FUSIONRUN_API_KEY" not in [e["name"] for e in other["env"]]


def test_pull_secrets_and_policy_are_settings_of_the_operator():
    images = Images("d", "s", "t", "r", "x", pull_policy="Always", pull_secrets=("registry",))
    pod = pod_of(objects("construct", settings=Settings(images=images))["Job"])
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert pod["containers"][0]["imagePullPolicy"] == "Always"
    environment = [e["name"] for e in pod["containers"][0]["env"]]
    assert "FUSIONRUN_PROGRESS_URL" not in environment


# Training


def test_training_has_a_master_and_workers_that_are_never_restarted():
    job = objects("sft", training={"nodes": 3, "processesPerNode": 4})["PyTorchJob"]["spec"]
    assert job["nprocPerNode"] == "4"
    replicas = job["pytorchReplicaSpecs"]
    assert (replicas["Master"]["replicas"], replicas["Worker"]["replicas"]) == (1, 2)
    assert {r["restartPolicy"] for r in replicas.values()} == {"Never"}
    assert job["runPolicy"] == {"cleanPodPolicy": "Running"}
    (container,) = pod_of({"spec": job})["containers"]
    assert container["name"] == "pytorch"
    assert container["command"][-4:] == ["torchrun", "-m", "fusionrun_stages", "sft"]


def test_a_retry_is_another_object_with_its_own_task():
    first, again = objects("sft"), objects("sft", attempt=1)
    name = again["PyTorchJob"]["metadata"]["name"]
    assert name == f"{first['PyTorchJob']['metadata']['name']}-r1"
    assert again["ConfigMap"]["metadata"]["name"] == name
    assert again["PyTorchJob"]["metadata"]["labels"][names.LABEL_ATTEMPT] == "1"


# Servers

TRUSTED = {"uri": "hf://org/odd", "revision": "a" * 40, "trustRemoteCode": True}


def serve(settings: Settings = SETTINGS, **served: Any) -> dict[str, dict[str, Any]]:
    sources = make_spec()["sources"]
    sources[0]["served"] |= served
    return objects("serve/ada", settings=settings, sources=sources)


def test_a_server_ignores_the_generation_config_of_the_model():
    (container,) = pod_of(serve()["Deployment"])["containers"]
    command = container["command"]
    assert command[4:7] == ["vllm", "serve", "/data/models/ada"]
    assert command[command.index("--generation-config") + 1] == "vllm"
    assert command[command.index("--served-model-name") + 1] == "ada"
    assert "--trust-remote-code" not in command


def test_a_servers_arguments_come_after_the_operators():
    settings = Settings(images=SETTINGS.images, serve_extra_args=("--enforce-eager",), cpu_environment={"B": "2"})
    found = serve(settings, extraArgs=["--max-num-seqs=8"], maxModelLen=256, tensorParallelSize=4)
    (container,) = pod_of(found["Deployment"])["containers"]
    command = container["command"]
    assert command[-2:] == ["--enforce-eager", "--max-num-seqs=8"]
    assert command[command.index("--max-model-len") + 1] == "256"
    assert command[command.index("--tensor-parallel-size") + 1] == "4"
    assert {"name": "B", "value": "2"} in container["env"]


def test_remote_code_is_trusted_only_if_the_spec_says_so():
    (container,) = pod_of(serve(model=TRUSTED)["Deployment"])["containers"]
    assert "--trust-remote-code" in container["command"]


def test_the_startup_probe_limits_the_start_of_a_server():
    deployment = serve(startupTimeoutSeconds=600)["Deployment"]
    (container,) = pod_of(deployment)["containers"]
    probe = container["startupProbe"]
    assert probe["httpGet"]["path"] == "/health"  # /v1 asks for a key
    assert probe["failureThreshold"] * probe["periodSeconds"] == 600


def test_a_busy_server_stays_in_its_service_for_a_minute_and_alive_for_ten():
    (container,) = pod_of(serve()["Deployment"])["containers"]
    for name, seconds in (("readinessProbe", 60), ("livenessProbe", 600)):
        probe = container[name]
        # Probes that time out follow each other without a pause if the timeout is not below the period.
        assert probe["failureThreshold"] * max(probe["periodSeconds"], probe["timeoutSeconds"]) == seconds
        assert "initialDelaySeconds" not in probe  # the startup probe comes first


def test_a_server_cannot_write_to_the_volume():
    mounts = pod_of(serve()["Deployment"])["containers"][0]["volumeMounts"]
    assert next(m for m in mounts if m["name"] == "data")["readOnly"] is True


def test_a_service_selects_only_the_pods_of_its_server():
    found = serve(replicas=3)
    assert found["Deployment"]["spec"]["replicas"] == 3
    selector = found["Service"]["spec"]["selector"]
    assert selector == found["Deployment"]["spec"]["selector"]["matchLabels"]
    labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert selector.items() <= labels.items()
    assert selector[names.LABEL_STAGE] == "serve.ada"
    assert selector[names.LABEL_RUN_UID] == UID, "not the pods of a deleted run of the same name"
    assert found["Service"]["metadata"]["name"] == found["Deployment"]["metadata"]["name"]


# Code of a model


def trusting_score() -> dict[str, dict[str, Any]]:
    return objects("score/ada", rewardModel=make_spec()["rewardModel"] | {"model": TRUSTED})


def test_pods_with_remote_code_have_no_egress_and_ingress_from_the_run_only():
    for found in (trusting_score(), serve(model=TRUSTED)):
        workload = found.get("Job") or found["Deployment"]
        policy = found["NetworkPolicy"]["spec"]
        assert next(iter(found)) == "NetworkPolicy"
        assert policy["policyTypes"] == ["Ingress", "Egress"]
        assert "egress" not in policy
        (rule,) = policy["ingress"]
        assert rule["from"] == [{"podSelector": {"matchLabels": {names.LABEL_RUN: "tiny"}}}]
        assert rule["ports"] == [{"protocol": "TCP", "port": 8000}]
        labels = workload["spec"]["template"]["metadata"]["labels"]
        assert policy["podSelector"]["matchLabels"].items() <= labels.items()
        environment = {e["name"] for c in containers(pod_of(workload)) for e in c.get("env", ())}
        assert not {"HF_TOKEN", "FUSIONRUN_PROGRESS_URL"} & environment


def test_a_server_with_remote_code_starts_after_a_check_of_its_network():
    pod = pod_of(serve(model=TRUSTED)["Deployment"])
    directory, check = pod["initContainers"]
    assert directory["name"] == "directory"
    assert check["image"] == SETTINGS.images.data
    assert check["command"] == ["python", "-m", "fusionrun_stages.sandbox.probe"]
    assert {m["name"] for m in check["volumeMounts"]} == {"tmp"}
    assert [c["name"] for c in pod_of(serve()["Deployment"])["initContainers"]] == ["directory"]


def test_score_with_remote_code_can_write_only_to_its_artifact():
    found = trusting_score()
    task = decode_task(found["ConfigMap"]["data"]["task.json"])
    (container,) = pod_of(found["Job"])["containers"]
    data = {m["mountPath"]: m for m in container["volumeMounts"] if m["name"] == "data"}
    assert set(data) == {"/data", task.output_dir}
    assert data["/data"]["readOnly"] is True
    own = data[task.output_dir]
    assert "readOnly" not in own
    assert own["mountPath"] == f"/data/{own['subPath']}"


# The sandbox


@pytest.fixture
def sandbox() -> dict[str, dict[str, Any]]:
    return objects("verify/ada.coding", scheduling={"sandboxRuntimeClassName": "isolated"})


def test_only_coding_is_verified_in_the_sandbox(sandbox):
    assert set(sandbox) == {"NetworkPolicy", "ConfigMap", "Job"}
    assert "initContainers" not in pod_of(objects("verify/ada.mathematics")["Job"])


def test_the_judge_mounts_its_input_read_only_and_its_artifact(sandbox):
    pod = pod_of(sandbox["Job"])
    (judge,) = pod["containers"]
    task = decode_task(sandbox["ConfigMap"]["data"]["task.json"])
    data = [m for m in judge["volumeMounts"] if m["name"] == "data"]
    writable = [m["mountPath"] for m in data if not m.get("readOnly")]
    read_only = [m["mountPath"] for m in data if m.get("readOnly")]
    assert writable == [task.output_dir]
    assert read_only == [task.parameters.prompts_dir, task.parameters.responses_dir]
    assert all(m["mountPath"] == f"/data/{m['subPath']}" for m in data)


def test_the_runner_mounts_no_volume_of_the_run_and_has_another_uid(sandbox):
    pod = pod_of(sandbox["Job"])
    _, runner = pod["initContainers"]
    assert runner["restartPolicy"] == "Always"
    assert {m["name"] for m in runner["volumeMounts"]} == {"program-0", "program-1", "socket"}
    assert runner["securityContext"]["runAsUser"] not in (0, pod["securityContext"]["runAsUser"])
    assert "env" not in runner
    (judge,) = pod["containers"]
    assert {m["name"] for m in runner["volumeMounts"]} & {m["name"] for m in judge["volumeMounts"]} == {"socket"}


def test_the_sandbox_has_limits_of_memory_cpu_and_disk(sandbox):
    pod = pod_of(sandbox["Job"])
    assert {"cpu", "memory", "ephemeral-storage"} <= set(pod["initContainers"][1]["resources"]["limits"])
    assert all("memory" in c["resources"]["limits"] for c in containers(pod))
    assert all(v["emptyDir"].get("sizeLimit") for v in pod["volumes"] if "emptyDir" in v)


def test_each_program_has_a_folder_in_memory(sandbox):
    pod = pod_of(sandbox["Job"])
    _, runner = pod["initContainers"]
    folders = [m["mountPath"] for m in runner["volumeMounts"] if m["name"].startswith("program-")]
    assert runner["command"][-1 - PROGRAMS_AT_ONCE :] == ["--folders", *folders]
    assert len(folders) == PROGRAMS_AT_ONCE
    assert all(v["emptyDir"]["medium"] == "Memory" for v in pod["volumes"] if v["name"].startswith("program-"))


def test_the_sandbox_has_memory_and_cpus_for_all_programs_at_once(sandbox):
    pod = pod_of(sandbox["Job"])
    (_, runner), (judge,) = pod["initContainers"], pod["containers"]
    environment = {e["name"]: e.get("value") for e in judge["env"]}
    at_once = int(environment[PROGRAMS_AT_ONCE_ENV])
    room = {c["name"]: int(c["resources"]["limits"]["memory"].removesuffix("Mi")) * 2**20 for c in (runner, judge)}
    assert at_once * (PROGRAM_MEMORY_BYTES + PROGRAM_FOLDER_BYTES) + RUNNER_OWN_BYTES <= room["runner"]
    assert at_once * TESTS_MEMORY_BYTES + JUDGE_OWN_BYTES <= room["judge"]
    assert int(runner["resources"]["limits"]["cpu"]) >= at_once


@pytest.mark.parametrize(
    ("runtime_class", "given"),
    [("kata-qemu", ["kata-qemu"]), ("gvisor", ["gvisor"]), ("nvidia", []), ("runc", []), (None, [])],
)
def test_the_judge_gets_a_runtime_class_that_isolates_programs(runtime_class, given):
    """With it, the judge does without Landlock."""
    scheduling = {"sandboxRuntimeClassName": runtime_class} if runtime_class else {}
    pod = pod_of(objects("verify/ada.coding", scheduling=scheduling)["Job"])
    (judge,) = pod["containers"]
    assert [e["value"] for e in judge["env"] if e["name"] == RUNTIME_CLASS_ENV] == given
    assert pod.get("runtimeClassName") == runtime_class


def test_only_the_sandbox_has_no_network(sandbox):
    assert pod_of(sandbox["Job"])["runtimeClassName"] == "isolated"
    policy = sandbox["NetworkPolicy"]["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in policy
    assert "egress" not in policy
    selected = policy["podSelector"]["matchLabels"].items()
    assert selected <= sandbox["Job"]["spec"]["template"]["metadata"]["labels"].items()
    assert not selected <= objects("generate/ada")["Job"]["spec"]["template"]["metadata"]["labels"].items()
