"""What a run may use, by the patterns of the operator's settings."""

from dataclasses import fields, replace

import pytest

from fusionrun.plan.policy import matches, violations
from fusionrun.settings import Policy
from support.plans import read
from support.runs import called_reward, changed, external_source, make_spec

DEFAULT = Policy()
CLOSED = Policy(
    secrets=("fusionrun-*",),
    hubs=("https://mirror.example",),
    endpoints=("https://*.example", "http://*.models.svc:8000"),
    priority_classes=("batch",),
    workload_priority_classes=("low",),
    node_selectors=("gpu",),
    tolerations=("gpu",),
    runtime_classes=("kata",),
    environment=("TZ",),
    service_accounts=("fusionrun",),
    labels=("cost",),
    annotations=("cost",),
)
SECRET = {"name": "db-root", "key": "password"}
HUB = {"target": {"family": "Llama3", "model": {"uri": "hf://org/target"}}}


def of_data(**pod) -> dict:
    return {"dataStages": {"pod": pod}}


def on_node(key: str) -> dict:
    term = {"matchExpressions": [{"key": key, "operator": "Exists"}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}


def found(policy: Policy, **changes) -> list[tuple[str, object]]:
    return [(e.field, e.value) for e in violations(read(make_spec(**changes)), policy)]


def test_a_run_that_uses_nothing_of_these_is_always_allowed():
    nothing = Policy(**{f.name: () for f in fields(Policy) if isinstance(f.default, tuple)})
    assert found(nothing) == []


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"hub": {"tokenSecretRef": SECRET}}, "hub.tokenSecretRef.name", "db-root"),
        ({"s3": {"secretRef": {"name": "db-root"}}}, "s3.secretRef.name", "db-root"),
        (
            {"sources": [external_source(url="https://a.example/v1", apiKeySecretRef=SECRET)]},
            "sources[far].endpoint.apiKeySecretRef.name",
            "db-root",
        ),
        (
            {"publish": {"uri": "s3://b/x", "s3SecretRef": {"name": "db-root"}}},
            "publish.s3SecretRef.name",
            "db-root",
        ),
        ({"hub": {"endpoint": "https://collector.example"}}, "hub.endpoint", "https://collector.example"),
        ({"hub": {"endpoint": "https://mirror.example:8443"}}, "hub.endpoint", "https://mirror.example:8443"),
        ({"hub": {"endpoint": "http://mirror.example"}}, "hub.endpoint", "http://mirror.example"),
        ({"hub": {"endpoint": "https://mirror.example.evil.example/x"}}, "hub.endpoint",
         "https://mirror.example.evil.example/x"),
        (HUB, "hub.endpoint", "https://huggingface.co"),
        ({"sources": [external_source(url="https://far/v1")]}, "sources[far].endpoint.url", "https://far/v1"),
        ({"rewardModel": called_reward()}, "rewardModel.endpoint.url", "https://judge"),
        (
            {"training": {"mlflow": {"trackingUri": "http://mlflow:5000"}}},
            "training.mlflow.trackingUri",
            "http://mlflow:5000",
        ),
        (
            {"rewardModel": called_reward(url="http://10.0.0.1/latest/.models.svc:8000")},
            "rewardModel.endpoint.url",
            "http://10.0.0.1/latest/.models.svc:8000",
        ),
        ({"scheduling": {"priorityClassName": "high"}}, "scheduling.priorityClassName", "high"),
        (
            {"scheduling": {"workloadPriorityClassName": "high"}},
            "scheduling.workloadPriorityClassName",
            "high",
        ),
        ({"scheduling": {"nodeSelector": {"zone": "a"}}}, "scheduling.nodeSelector", "zone"),
        ({"scheduling": {"tolerations": [{"key": "x", "operator": "Exists"}]}}, "scheduling.tolerations", "x"),
        ({"scheduling": {"tolerations": [{"operator": "Exists"}]}}, "scheduling.tolerations", "every taint"),
        ({"scheduling": {"gpuRuntimeClassName": "runc"}}, "scheduling.gpuRuntimeClassName", "runc"),
        ({"scheduling": {"sandboxRuntimeClassName": "runc"}}, "scheduling.sandboxRuntimeClassName", "runc"),
        ({"scheduling": {"affinity": on_node("zone")}}, "scheduling.affinity.nodeAffinity", "zone"),
        ({"sandbox": {"pod": {"priorityClassName": "high"}}}, "sandbox.pod.priorityClassName", "high"),
        (of_data(nodeSelector={"zone": "a"}), "dataStages.pod.nodeSelector", "zone"),
        (of_data(tolerations=[{"operator": "Exists"}]), "dataStages.pod.tolerations", "every taint"),
        (of_data(runtimeClassName="runc"), "dataStages.pod.runtimeClassName", "runc"),
        (of_data(serviceAccountName="root"), "dataStages.pod.serviceAccountName", "root"),
        (of_data(labels={"team": "a"}), "dataStages.pod.labels", "team"),
        (of_data(annotations={"team": "a"}), "dataStages.pod.annotations", "team"),
        (of_data(env=[{"name": "NCCL_DEBUG", "value": "INFO"}]), "dataStages.pod.env", "NCCL_DEBUG"),
        (
            of_data(env=[{"name": "TZ", "valueFrom": {"secretKeyRef": SECRET}}]),
            "dataStages.pod.env[TZ].valueFrom.secretKeyRef.name",
            "db-root",
        ),
        (
            of_data(volumes=[{"name": "ca", "secret": {"secretName": "db-root"}}]),
            "dataStages.pod.volumes[ca].secret.secretName",
            "db-root",
        ),
        (of_data(ipcLock=True), "dataStages.pod.ipcLock", True),
    ],
)  # fmt: skip
def test_what_no_pattern_matches_is_refused_with_its_field(changes, field, value):
    assert found(CLOSED, **changes) == [(field, value)]
    (error,) = violations(read(make_spec(**changes)), CLOSED)
    assert "is not allowed on this cluster: policy." in error.rule


@pytest.mark.parametrize(
    "changes",
    [
        {
            "hub": {"endpoint": "https://mirror.example/hf", "tokenSecretRef": {"name": "fusionrun-hub", "key": "t"}},
            **HUB,
        },
        {"sources": [external_source(url="http://llm.models.svc:8000/v1")]},
        {"sources": [external_source(url="HTTPS://API.Example/v1?version=2")]},
        {"rewardModel": called_reward(url="https://judge.example")},
        {"scheduling": {"priorityClassName": "batch", "nodeSelector": {"gpu": "yes"}, "gpuRuntimeClassName": "kata"}},
        {"scheduling": {"tolerations": [{"key": "gpu", "operator": "Exists"}]}},
    ],
    ids=lambda c: next(iter(c)),
)
def test_what_a_pattern_matches_is_allowed(changes):
    if "HTTPS" in str(changes):  # admission accepts lower case only
        spec = changed(
            make_spec(sources=[external_source()]), "sources.0.endpoint.url", "https://API.Example/v1?version=2"
        )
        assert violations(read(spec), CLOSED) == []
        return
    assert found(CLOSED, **changes) == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"sources": [external_source(url="http://far/v1")]}, "sources[far].endpoint.url"),
        ({"rewardModel": called_reward(url="http://judge")}, "rewardModel.endpoint.url"),
        ({"hub": {"endpoint": "http://hub"}}, "hub.endpoint"),
        ({"scheduling": {"priorityClassName": "system-node-critical"}}, "scheduling.priorityClassName"),
        ({"scheduling": {"tolerations": [{"operator": "Exists"}]}}, "scheduling.tolerations"),
        (
            {"scheduling": {"tolerations": [{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}]}},
            "scheduling.tolerations",
        ),
        (
            {"scheduling": {"nodeSelector": {"node-role.kubernetes.io/control-plane": ""}}},
            "scheduling.nodeSelector",
        ),
        ({"hub": {"tokenSecretRef": {"name": "sh.helm.release.v1.x.v1", "key": "release"}}}, "hub.tokenSecretRef.name"),
    ],
)
def test_the_default_refuses_what_no_run_needs(changes, field):
    assert [name for name, _ in found(DEFAULT, **changes)] == [field]


def test_the_default_allows_https_and_the_usual_scheduling():
    scheduling = {
        "priorityClassName": "batch",
        "nodeSelector": {"node-role.kubernetes.io/worker": ""},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
        "gpuRuntimeClassName": "nvidia",
        "sandboxRuntimeClassName": "gvisor",
    }
    hub = {"endpoint": "https://hub.example:8443/x", "tokenSecretRef": SECRET}
    sources = [external_source(url="https://api.example/v1", apiKeySecretRef=SECRET)]
    assert found(DEFAULT, scheduling=scheduling, hub=hub, sources=sources, rewardModel=called_reward()) == []


URLS = [
    "https://user:hunter2@host/v1",
    "https://token@host/v1",
    "https://allowed.example\\@evil.example/",
    "https://höst/v1",
    "https://host:port/v1",
    "https://host/v1\u202e",
    "https:///v1",
    "https://[::1/v1",
]


@pytest.mark.parametrize("url", URLS)
def test_a_url_that_clients_may_read_differently_is_refused(url):
    everything = replace(DEFAULT, endpoints=("*",))
    errors = violations(read(make_spec(rewardModel=called_reward(url=url))), everything)
    assert [e.field for e in errors] == ["rewardModel.endpoint.url"]
    assert "hunter2" not in str(errors[0])


def test_a_message_has_neither_the_password_nor_the_query_of_a_url():
    url = "http://user:hunter2@host/v1?key=hunter2"
    errors = violations(read(make_spec(rewardModel=called_reward(url=url))), DEFAULT)
    assert [(e.field, e.value) for e in errors] == [("rewardModel.endpoint.url", "http://host/v1")] * 2
    assert "hunter2" not in "".join(map(str, errors))


@pytest.mark.parametrize(
    ("value", "patterns", "allowed"),
    [
        ("a", [], False),
        ("a", ["*"], True),
        ("a", ["!a"], False),
        ("abc", ["a*c"], True),
        ("a.c", ["a?c"], False),
        ("abc", ["*", "!*b*"], False),
        ("", ["*"], False),
        ("", [""], True),
        ("a", [""], False),
        ("a\nb", ["a"], False),
    ],
)
def test_patterns(value, patterns, allowed):
    assert matches((value,), patterns) is allowed


@pytest.mark.parametrize(
    ("url", "patterns", "allowed"),
    [
        ("https://evil.example.", ["https://*", "!https://evil.example"], False),
        ("https://EVIL.example:443/v1", ["https://*", "!https://evil.example"], False),
        ("https://evil.example.:0443", ["https://*", "!https://evil.example"], False),
        ("https://[fd00::1]:443", ["https://*", "!https://[fd00::1]"], False),
        ("https://evil.example:8443", ["https://*", "!https://evil.example:*"], False),
        ("https://api.example:443/v1", ["https://api.example"], True),
        ("https://api.example/v1", ["https://API.example:443"], True),
        ("http://llm.models.svc", ["http://*.models.svc:*"], True),
        ("http://llm.models.svc:8000", ["http://*.models.svc"], False),
    ],
)
def test_forms_of_the_same_host_and_port_are_equal(url, patterns, allowed):
    policy = replace(DEFAULT, endpoints=tuple(patterns))
    assert (found(policy, rewardModel=called_reward(url=url)) == []) is allowed


def test_programs_may_require_an_isolating_runtime_class():
    required = replace(DEFAULT, require_isolating_runtime_class=True)
    assert [f for f, _ in found(required)] == ["scheduling.sandboxRuntimeClassName"]
    assert [f for f, _ in found(required, scheduling={"sandboxRuntimeClassName": "runc"})] == [
        "scheduling.sandboxRuntimeClassName"
    ]
    assert found(required, scheduling={"sandboxRuntimeClassName": "kata-qemu"}) == []
    spec = make_spec()
    math = {"datasets": spec["datasets"][:1], "evaluation": {"benchmarks": spec["evaluation"]["benchmarks"][:1]}}
    assert found(required, **math) == []
