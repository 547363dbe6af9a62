"""The settings of pods: which apply to a stage, how they are merged, and what is refused."""

from dataclasses import replace
from typing import Any

import pytest

from fusionrun.api.spec.pods import PodScheduling, PodSettings
from fusionrun.plan.build import build_plan
from fusionrun.plan.checks import check_spec
from fusionrun.plan.pod_checks import check_defaults
from fusionrun.plan.pods import DATA_STAGES, merge, part_field, pod_settings
from fusionrun.plan.policy import violations
from fusionrun.settings import Policy
from support.golden import SETTINGS
from support.plans import read
from support.runs import called_reward, changed, make_spec, rated, served_judge

TRUSTED = {"uri": "hf://org/odd", "revision": "a" * 40, "trustRemoteCode": True}
PARTS = {
    "sources[ada].served.pod": ["serve/ada"],
    "sources[bob].served.pod": ["serve/bob"],
    "evaluation.server.pod": ["serve/eval-base", "serve/eval-final", "serve/eval-sft"],
    "rewardModel.pod": ["preflight/reward", "score/ada", "score/bob"],
    "training.pod": ["dpo", "preflight/training", "promote", "sft"],
    "sandbox.pod": [
        "verify/ada.coding", "verify/bob.coding", "verify/eval-base.coding", "verify/eval-final.coding",
        "verify/eval-sft.coding"
    ],
}  # fmt: skip


def stages_by_part(spec: dict[str, Any]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for stage in build_plan(read(spec)).stages:
        found.setdefault(part_field(stage), []).append(stage.name)
    return {field: sorted(names) for field, names in found.items()}


def test_each_stage_has_the_settings_of_one_part_of_the_spec():
    found = stages_by_part(make_spec(publish={"uri": "hf://org/out", "tokenSecretRef": {"name": "s", "key": "k"}}))
    data = found.pop(DATA_STAGES)
    assert found == PARTS
    assert {name.partition("/")[0] for name in data} == {
        "resolve", "prepare", "preflight", "generate", "verify", "construct", "evaluate", "compare", "publish"
    }  # fmt: skip
    assert "score/ada" in stages_by_part(make_spec(rewardModel=called_reward()))[DATA_STAGES]


def test_a_served_judge_has_settings_of_its_own_and_its_client_those_of_the_data_stages():
    found = stages_by_part(make_spec(evaluation={"benchmarks": [rated()], "judge": served_judge()}))
    assert found["evaluation.judge.served.pod"] == ["serve/judge-base", "serve/judge-final", "serve/judge-sft"]
    assert {"judge/base", "judge/final", "judge/sft"} <= set(found[DATA_STAGES])


def env(**values: str) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in values.items()]


A, B = {"key": "a", "operator": "Exists"}, {"key": "b", "operator": "Exists"}


@pytest.mark.parametrize(
    ("field", "base", "over", "merged"),
    [
        ("labels", {"a": "1", "b": "1"}, {"b": "2"}, {"a": "1", "b": "2"}),
        ("annotations", {"a": "1"}, {"b": "2"}, {"a": "1", "b": "2"}),
        ("nodeSelector", {"a": "1"}, {"a": "2"}, {"a": "2"}),
        ("nodeSelector", None, {"a": "2"}, {"a": "2"}),
        ("env", env(A="1", B="1"), env(C="2", A="2"), env(A="2", B="1", C="2")),
        ("tolerations", [A], [B, A], [A, B]),
        ("priorityClassName", "low", "high", "high"),
        ("priorityClassName", "low", None, "low"),
        ("runtimeClassName", "runc", "nvidia", "nvidia"),
        ("affinity", {"nodeAffinity": {}}, {"podAffinity": {}}, {"podAffinity": {}}),
        (
            "volumes",
            [{"name": "ca", "configMap": {"name": "old"}}],
            [{"name": "ca", "configMap": {"name": "new"}}],
            [{"name": "ca", "configMap": {"name": "new"}}],
        ),
        (
            "volumeMounts",
            [{"name": "ca", "mountPath": "/mnt/a"}],
            [{"name": "ca", "mountPath": "/mnt/b"}],
            [{"name": "ca", "mountPath": "/mnt/a"}, {"name": "ca", "mountPath": "/mnt/b"}],
        ),
    ],
)
def test_settings_extend_others_by_key_or_replace_them(field, base, over, merged):
    first, second = (PodSettings.model_validate({field: value}) for value in (base, over))
    assert merge(first, second).model_dump(exclude_none=True)[field] == merged


def test_the_part_overrides_the_run_and_the_run_overrides_the_operator():
    spec = read(
        make_spec(
            scheduling={"priorityClassName": "run", "schedulerName": "run", "gpuRuntimeClassName": "nvidia"},
            training={"pod": {"schedulerName": "part"}},
        )
    )
    everywhere = PodSettings(scheduler_name="all", priority_class_name="all", env=env(TZ="UTC", NCCL_DEBUG="WARN"))
    with_gpus = PodSettings(env=env(NCCL_DEBUG="INFO"), runtime_class_name="other")
    settings = replace(SETTINGS, pod_defaults=everywhere, gpu_pod_defaults=with_gpus)
    stage = build_plan(spec)["sft"]
    found = {gpus: pod_settings(spec, stage, settings, gpus=gpus) for gpus in (False, True)}
    assert {f.scheduler_name for f in found.values()} == {"part"}
    assert {f.priority_class_name for f in found.values()} == {"run"}
    assert {gpus: f.env[1].value for gpus, f in found.items()} == {False: "WARN", True: "INFO"}
    assert {gpus: f.runtime_class_name for gpus, f in found.items()} == {False: None, True: "nvidia"}


def pod(**fields: Any) -> dict[str, Any]:
    return {"training.pod": fields}


CA = {"name": "ca", "configMap": {"name": "bundle"}}
SECRET = {"name": "s", "key": "k"}
REFUSED = [
    (pod(labels={"fusionrun.dev/run": "other"}), "training.pod.labels: 'fusionrun.dev/run': is reserved"),
    (pod(labels={"app.kubernetes.io/instance": "x"}), "training.pod.labels: 'app.kubernetes.io/instance': is reserved"),
    (pod(labels={"argocd.argoproj.io/instance": "x"}), "Argo CD would delete the pods"),
    (pod(labels={"kustomize.toolkit.fluxcd.io/name": "x"}), "Flux would delete the pods"),
    (pod(labels={"helm.sh/chart": "x"}), "Helm sets it"),
    (pod(labels={"kueue.x-k8s.io/queue-name": "x"}), "use scheduling.queueName"),
    (pod(labels={"a/b/c": "x"}), "training.pod.labels: 'a/b/c': must be a name of at most 63 characters"),
    (pod(annotations={"argocd.argoproj.io/tracking-id": "x"}), "Argo CD would delete the pods"),
    (pod(annotations={"container.apparmor.security.beta.kubernetes.io/pytorch": "unconfined"}), "is reserved"),
    (pod(annotations={f"a/{n}": "x" * 4096 for n in range(17)}), "must have at most 65536 bytes"),
    ({"scheduling.labels": {"fusionrun.dev/run": "x"}}, "scheduling.labels: 'fusionrun.dev/run': is reserved"),
    (pod(env=env(FUSIONRUN_TASK="x")), "training.pod.env: 'FUSIONRUN_TASK': is reserved: the operator sets it"),
    (pod(env=env(HF_HUB_OFFLINE="0")), "training.pod.env: 'HF_HUB_OFFLINE': is reserved"),
    (pod(env=env(HF_TOKEN="x")), "use hub.tokenSecretRef or publish.tokenSecretRef"),
    (pod(env=env(AWS_ACCESS_KEY_ID="x")), "use s3.secretRef or publish.s3SecretRef"),
    (pod(env=env(NVIDIA_VISIBLE_DEVICES="all")), "the GPUs of a pod are those in its resources"),
    (pod(env=env(PET_NNODES="9")), "the training backend sets it"),
    (pod(env=[{"name": "TZ"}]), "training.pod.env[TZ]: None: exactly one of value and valueFrom is required"),
    (pod(env=[{"name": "TZ", "valueFrom": {}}]), "exactly one of secretKeyRef, configMapKeyRef and fieldRef"),
    (pod(env=[*env(TZ="a"), *env(TZ="b")]), "training.pod.env: 'TZ': must be unique"),
    (pod(volumes=[{"name": "ca"}]), "training.pod.volumes[ca]: '': exactly one of configMap and secret is required"),
    (pod(volumes=[CA, CA]), "training.pod.volumes: 'ca': must be unique"),
    (pod(volumes=[CA | {"name": "shm"}]), "training.pod.volumes: 'shm': is reserved"),
    (pod(volumeMounts=[{"name": "ca", "mountPath": "/mnt/ca"}]), "must be the name of a volume in training.pod.vol"),
    (pod(volumes=[CA], volumeMounts=[{"name": "ca", "mountPath": "/mnt/a/../x"}]), "must not contain '..'"),
    ({"sandbox.pod": {"labels": {"egress": "open"}}}, "sandbox.pod.labels: 'egress': is not allowed for pods that run"),
    ({"sandbox.pod": {"annotations": {"k8s.v1.cni.cncf.io/networks": "x"}}}, "is not allowed for pods that run"),
]  # fmt: skip
FOREIGN = [
    ({"env": [{"name": "TZ", "valueFrom": {"secretKeyRef": SECRET}}]}, "env[TZ].valueFrom.secretKeyRef: 's'"),
    ({"volumes": [{"name": "ca", "secret": {"secretName": "s"}}]}, "volumes[ca].secret: 's'"),
    ({"serviceAccountName": "cloud"}, "serviceAccountName: 'cloud'"),
    ({"ipcLock": True}, "ipcLock: True"),
    ({"annotations": {"k8s.v1.cni.cncf.io/networks": "x"}}, "annotations: 'k8s.v1.cni.cncf.io/networks'"),
]


def errors_of(changes: dict[str, Any]) -> str:
    spec = make_spec()
    for path, value in changes.items():
        spec = changed(spec, path, value)
    return "; ".join(map(str, check_spec(read(spec))))


@pytest.mark.parametrize(("changes", "message"), REFUSED, ids=lambda value: str(value)[:60])
def test_what_the_operator_or_others_own_is_refused(changes, message):
    assert message in errors_of(changes)


@pytest.mark.parametrize(("settings", "message"), FOREIGN, ids=lambda value: str(value)[:60])
@pytest.mark.parametrize("part", ["sources.0.served", "rewardModel"])
def test_code_of_a_model_gets_no_right_from_settings(part, settings, message):
    field = {"sources.0.served": "sources[ada].served"}.get(part, part)
    assert errors_of({f"{part}.pod": settings}) == ""
    assert f"{field}.pod.{message}: is not allowed" in errors_of({f"{part}.pod": settings, f"{part}.model": TRUSTED})


def test_settings_of_every_kind_are_accepted():
    spec = {
        **pod(labels={"cost": "a"}, annotations={"k8s.v1.cni.cncf.io/networks": "rdma"}, ipcLock=True),
        "dataStages.pod": {"volumes": [CA], "volumeMounts": [{"name": "ca", "mountPath": "/mnt/ca"}]},
        "sandbox.pod": {"annotations": {"sidecar.istio.io/inject": "false"}},
    }
    assert errors_of(spec) == ""


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("NCCL_SOCKET_IFNAME", True), ("NCCL_NET_PLUGIN", False), ("HTTPS_PROXY", True), ("no_proxy", True),
        ("SSL_CERT_FILE", True), ("AWS_ROLE_ARN", True), ("AWS_CONFIG_FILE", False), ("LD_PRELOAD", False),
        ("PYTHONPATH", False), ("PATH", False), ("CC", False), ("OPENSSL_CONF", False), ("UCX_MODULE_DIR", False),
        ("NCCL_CUDA_PATH", False), ("NCCL_IBVERBS_LIB", False), ("UCX_GDB_COMMAND", False), ("UCX_TLS", True),
    ],
)  # fmt: skip
def test_a_run_sets_no_variable_that_loads_code_unless_the_administrator_allows_it(name, allowed):
    spec = read(make_spec(training={"pod": {"env": env(**{name: "x"})}}))
    assert [e.value for e in violations(spec, Policy())] == ([] if allowed else [name])
    assert violations(spec, Policy(environment=("*",))) == []


@pytest.mark.parametrize(
    ("kind", "key", "allowed"),
    [
        ("annotations", "example.com/team", True), ("annotations", "sidecar.istio.io/inject", True),
        ("annotations", "proxy.istio.io/config", True), ("annotations", "k8s.v1.cni.cncf.io/networks", True),
        ("annotations", "sidecar.istio.io/proxyImage", False), ("annotations", "sidecar.istio.io/userVolume", False),
        ("annotations", "sidecar.istio.io/userVolumeMount", False), ("annotations", "iam.amazonaws.com/role", False),
        ("annotations", "config.linkerd.io/proxy-image", False), ("annotations", "cdi.k8s.io/gpus", False),
        ("annotations", "vault.hashicorp.com/agent-image", False), ("annotations", "devices.nri.io", False),
        ("annotations", "instrumentation.opentelemetry.io/inject-python", False),
        ("labels", "example.com/team", True), ("labels", "aadpodidbinding", False),
    ],
)  # fmt: skip
def test_a_run_sets_no_key_that_gives_its_pods_rights_unless_the_administrator_allows_it(kind, key, allowed):
    spec = read(make_spec(scheduling={kind: {key: "x"}}))
    assert [e.value for e in violations(spec, Policy())] == ([] if allowed else [key])
    assert violations(spec, Policy(annotations=("*",), labels=("*",))) == []


def test_a_capability_is_refused_with_the_name_of_the_standard_unless_it_is_allowed():
    spec = read(make_spec(training={"pod": {"ipcLock": True}}))
    (error,) = violations(spec, Policy())
    assert (error.field, error.value) == ("training.pod.ipcLock", True)
    assert "The baseline and restricted Pod Security Standards refuse" in error.rule
    assert violations(spec, Policy(ipc_lock=True)) == []


@pytest.mark.parametrize(
    ("defaults", "field"),
    [
        ({"serviceAccountName": "x"}, "gpu_pod_defaults.serviceAccountName"),
        ({"ipcLock": True}, "gpu_pod_defaults.ipcLock"),
        ({"env": [{"name": "TZ", "valueFrom": {"secretKeyRef": SECRET}}]}, "gpu_pod_defaults.env[TZ].valueFrom.sec"),
        ({"env": env(HF_TOKEN="x")}, "gpu_pod_defaults.env"),
        ({"labels": {"fusionrun.dev/run": "x"}}, "gpu_pod_defaults.labels"),
    ],
)
def test_settings_of_the_operator_name_no_object_of_a_namespace_and_nothing_reserved(defaults, field):
    settings = replace(SETTINGS, gpu_pod_defaults=PodSettings.model_validate(defaults))
    (error,) = check_defaults(settings)
    assert error.field.startswith(field)


def test_the_sandbox_has_the_settings_that_all_pods_of_a_run_have():
    """Its class has no field for variables, volumes, a service account or a capability."""
    assert set(PodScheduling.model_fields) <= set(type(read(make_spec()).scheduling).model_fields)
    assert {"env", "volumes", "service_account_name", "ipc_lock"}.isdisjoint(PodScheduling.model_fields)
