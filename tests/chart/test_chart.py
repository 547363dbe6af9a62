import base64
import json
import re
from dataclasses import replace

import pytest
import yaml

from fusionrun import __version__
from fusionrun.errors import SpecError
from fusionrun.objects.render import render
from fusionrun.settings import Accelerators, Policy, Price
from support.chart import one, settings_of
from support.golden import SETTINGS
from support.monitoring import DASHBOARDS
from support.plans import pinned_of
from support.pod_security import violations
from support.runs import make_spec, rated, served_judge

MONITORING = (
    'networkPolicy.monitoringNamespaces=["monitoring"]',
    'metrics.serviceMonitor={"enabled":true}',
    'metrics.podMonitor={"enabled":true}',
    'metrics.prometheusRule={"enabled":true}',
    'grafana.dashboard={"enabled":true}',
)


def test_helm_lint_passes(helm, chart):
    done = helm.run("lint", "--strict", str(chart), check=False)
    assert done.returncode == 0, done.stdout


def test_the_operator_reads_the_settings_of_the_chart(helm, tmp_path):
    settings = settings_of(helm.template(), tmp_path)
    assert settings.images.data == f"registry.example/fusionrun-data:{__version__}"
    assert settings.progress_url == "http://fusionrun.fusionrun-system.svc:8090"
    assert settings.namespaces == ()
    assert settings.cpu_environment == {}
    assert settings.serve_extra_args == ()


def test_each_image_has_its_own_registry_tag_and_digest(helm, tmp_path):
    digest = "sha256:" + "a" * 64
    documents = helm.template(
        'images.registry="mirror.example/ml"',
        'images.tag="7"',
        'images.serve={"repository":"vllm","tag":"8"}',
        f'images.train={{"repository":"train","registry":"other.example","digest":"{digest}"}}',
        'images.operator={"repository":"op"}',
    )
    images = settings_of(documents, tmp_path).images
    assert images.data == "mirror.example/ml/fusionrun-data:7"
    assert images.serve == "mirror.example/ml/vllm:8"
    assert images.train == f"other.example/train@{digest}"
    container = one(documents, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "mirror.example/ml/op:7"


def test_an_installation_without_a_registry_fails_with_instructions(helm, tmp_path):
    message = helm.rejects('images.registry=""')
    assert "set images.registry to the registry and path of all images" in message
    parts = ("operator", "data", "train", "reward", "sandbox")
    sets = ['images.registry=""', *(f'images.{part}.registry="own.example"' for part in parts)]
    images = settings_of(helm.template(*sets), tmp_path).images
    assert images.data == f"own.example/fusionrun-data:{__version__}"
    assert images.serve.startswith("vllm/vllm-openai:v"), "Docker Hub has it"
    for part in parts:
        message = helm.rejects(*sets, f'images.{part}.registry=""')
        assert f"images.registry and images.{part}.registry are empty" in message


def test_cpu_adds_its_environment_and_arguments(helm, tmp_path):
    settings = settings_of(helm.template("cpu.enabled=true", 'serve.extraArgs=["--disable-log-stats"]'), tmp_path)
    assert settings.cpu_environment["VLLM_CPU_KVCACHE_SPACE"] == "1"
    assert settings.cpu_environment["DS_ACCELERATOR"] == "cpu"
    assert settings.serve_extra_args == ("--enforce-eager", "--no-enable-chunked-prefill", "--disable-log-stats")


def test_settings_of_pods_reach_the_operator(helm, tmp_path):
    settings = settings_of(
        helm.template(
            'stages.podDefaults={"annotations":{"sidecar.istio.io/inject":"false"},'
            '"env":[{"name":"HTTPS_PROXY","value":"http://proxy:3128"}],'
            '"volumes":[{"name":"ca","configMap":{"name":"ca"}}],"volumeMounts":[{"name":"ca","mountPath":"/mnt/ca"}]}',
            'stages.gpuPodDefaults={"runtimeClassName":"nvidia","tolerations":[{"key":"gpu","operator":"Exists"}]}',
        ),
        tmp_path,
    )
    assert settings.pod_defaults.annotations == {"sidecar.istio.io/inject": "false"}
    assert settings.pod_defaults.volumes[0].config_map.name == "ca"
    assert settings.gpu_pod_defaults.tolerations[0].key == "gpu"


@pytest.mark.parametrize(
    ("defaults", "message"),
    [
        ('{"env":[{"name":"HF_TOKEN","value":"x"}]}', "pod_defaults.env: 'HF_TOKEN': is reserved"),
        ('{"affinity":{"nodeAffinty":{}}}', "pod_defaults.affinity.nodeAffinty"),
    ],
)
def test_the_operator_does_not_start_with_wrong_settings_of_pods(helm, tmp_path, defaults, message):
    with pytest.raises(SpecError, match=re.escape(message)):
        settings_of(helm.template(f"stages.podDefaults={defaults}"), tmp_path)


@pytest.mark.parametrize("defaults", ['{"serviceAccountName":"x"}', '{"ipcLock":true}', '{"hostNetwork":true}'])
def test_the_chart_has_no_settings_that_only_a_run_may_have(helm, defaults):
    assert "additional properties" in helm.rejects(f"stages.podDefaults={defaults}").lower()


def test_changed_settings_restart_the_operator(helm):
    def annotations(*sets):
        return one(helm.template(*sets), "Deployment")["spec"]["template"]["metadata"]["annotations"]

    assert annotations()["checksum/settings"] != annotations("operator.resyncSeconds=30")["checksum/settings"]


def test_the_operator_has_one_replica_and_a_restricted_pod(helm):
    deployment = one(helm.template(), "Deployment")["spec"]
    assert deployment["replicas"] == 1
    assert deployment["strategy"] == {"type": "Recreate"}
    pod = deployment["template"]["spec"]
    assert violations(pod) == []
    assert pod["securityContext"]["runAsUser"] == 1000
    (container,) = pod["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["resources"]["limits"]["memory"] == "256Mi"
    assert {"startupProbe", "livenessProbe", "readinessProbe"} <= container.keys()
    ports = {p["name"]: p["containerPort"] for p in container["ports"]}
    assert ports == {"metrics": 8000, "progress": 8090, "health": 8080}


def test_a_lost_node_delays_the_operator_by_seconds(helm):
    mine = {"key": "gpu", "operator": "Exists"}
    pod = one(helm.template(f"operator.tolerations=[{json.dumps(mine)}]"), "Deployment")["spec"]["template"]["spec"]
    *lost, last = pod["tolerations"]
    assert {t["key"]: t["tolerationSeconds"] for t in lost} == {
        "node.kubernetes.io/unreachable": 2,
        "node.kubernetes.io/not-ready": 2,
    }
    assert last == mine


def test_a_second_operator_runs_on_another_node_and_does_not_block_drains(helm):
    kinds = {d["kind"] for d in helm.template()}
    assert "PodDisruptionBudget" not in kinds, "it would block the drain of the only node"
    documents = helm.template("operator.replicas=2")
    deployment = one(documents, "Deployment")["spec"]
    budget = one(documents, "PodDisruptionBudget")["spec"]
    (spread,) = deployment["template"]["spec"]["topologySpreadConstraints"]
    assert deployment["replicas"] == 2
    assert budget["maxUnavailable"] == 1
    selector = deployment["selector"]
    assert budget["selector"] == spread["labelSelector"] == selector
    assert spread["topologyKey"] == "kubernetes.io/hostname"


def test_operators_of_several_releases_can_share_a_lease(helm, tmp_path):
    assert settings_of(helm.template(), tmp_path).lease_namespace == "fusionrun-system"
    documents = helm.template('operator.leaseNamespace="leases"')
    assert settings_of(documents, tmp_path).lease_namespace == "leases"
    assert one(documents, "Role", "fusionrun-lease")["metadata"]["namespace"] == "leases"
    binding = one(documents, "RoleBinding", "fusionrun-lease")
    assert (binding["metadata"]["namespace"], binding["subjects"][0]["namespace"]) == ("leases", "fusionrun-system")
    environment = one(documents, "Deployment")["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"POD_NAME", "POD_UID"} <= {e["name"] for e in environment}


def test_accelerators_and_prices(helm, tmp_path):
    """The defaults of settings.py are those of the chart; a value changes one entry."""
    assert settings_of(helm.template(), tmp_path).accelerators == Accelerators()
    prices = '[{"resource":"nvidia.com/gpu","perHour":4.5,"nodeSelector":{"gpu":"h200"}},{"resource":"*","perHour":1}]'
    documents = helm.template(
        'accelerators={"gpus":{"nvidia.com/mig-1g.6gb":0.25}}',
        f"accelerators.prices={prices}",
        'accelerators.currency="USD"',
    )
    accelerators = settings_of(documents, tmp_path).accelerators
    assert accelerators.gpus == Accelerators().gpus | {"nvidia.com/mig-1g.6gb": 0.25}
    assert accelerators.prices == (Price("nvidia.com/gpu", 4.5, {"gpu": "h200"}), Price("*", 1))
    assert accelerators.currency == "USD"


def test_the_policy_of_the_chart_is_that_of_the_operator(helm, tmp_path):
    """The defaults of settings.py apply to an operator that runs outside a cluster."""
    settings = settings_of(helm.template(), tmp_path)
    assert settings.policy == Policy()
    assert (settings.tmp_size_limit, settings.shared_memory_size_limit) == ("20Gi", "16Gi")
    documents = helm.template(
        'policy={"secrets":["fusionrun-*"],"hubs":["http://hub.models.svc"]}', 'stages.tmpSizeLimit=""'
    )
    settings = settings_of(documents, tmp_path)
    assert settings.policy == replace(Policy(), secrets=("fusionrun-*",), hubs=("http://hub.models.svc",))
    assert settings.tmp_size_limit == ""


@pytest.mark.parametrize(
    ("sets", "required"),
    [
        ((), False),
        (("security.openshift=true",), True),
        (("security.openshift=true", "security.requireIsolatingRuntimeClass=false"), False),
        (("security.requireIsolatingRuntimeClass=true",), True),
    ],
)
def test_openshift_assigns_users_and_requires_an_isolating_runtime_class(helm, tmp_path, sets, required):
    documents = helm.template(*sets)
    settings, openshift = settings_of(documents, tmp_path), "security.openshift=true" in sets
    assert settings.fixed_user is not openshift
    assert settings.policy.require_isolating_runtime_class is required
    pod = one(documents, "Deployment")["spec"]["template"]["spec"]
    assert violations(pod) == []
    assert ("runAsUser" in json.dumps(pod)) is not openshift


def test_the_crd_is_kept_on_uninstall_unless_disabled(helm):
    kept = one(helm.template(), "CustomResourceDefinition")
    assert kept["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    loose = one(helm.template('crds={"keep":false}'), "CustomResourceDefinition")
    assert "annotations" not in loose["metadata"]
    kept["metadata"].pop("annotations")
    assert kept == loose
    assert not [d for d in helm.template("crds.enabled=false") if d["kind"] == "CustomResourceDefinition"]


def test_the_chart_files_equal_the_manifests(root, chart):
    for name in ("crd.yaml", *(f"monitoring/{name}" for name in (*DASHBOARDS, "rules.yaml"))):
        source = root / "manifests" / name
        assert (chart / "files" / source.name).read_text() == source.read_text(), "run make generate"


@pytest.mark.parametrize(
    ("sets", "stages", "operator"),
    [
        ((), "json", "json"),
        (('logFormat="text"',), "text", "text"),
        (('logFormat="text"', 'operator.logFormat="json"'), "text", "json"),
    ],
)
def test_the_format_of_the_logs_is_that_of_stages_and_of_the_operator(helm, tmp_path, sets, stages, operator):
    documents = helm.template(*sets)
    assert settings_of(documents, tmp_path).log_format == stages
    (container,) = one(documents, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert f"--log-format={operator}" in container["args"]


def rules_of(documents):
    return [rule for group in one(documents, "PrometheusRule")["spec"]["groups"] for rule in group["rules"]]


def test_monitoring_is_off_by_default(helm):
    kinds = {d["kind"] for d in helm.template()}
    assert not kinds & {"ServiceMonitor", "PodMonitor", "PrometheusRule"}
    documents = helm.template(*MONITORING)
    monitor = one(documents, "ServiceMonitor")["spec"]
    service = one(documents, "Service")
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["endpoints"][0]["port"] in {p["name"] for p in service["spec"]["ports"]}
    assert monitor["endpoints"][0]["honorLabels"] is True
    urls = [rule["annotations"]["runbook_url"] for rule in rules_of(documents)]
    assert urls[0] == "docs/monitoring.md#fusionrunfailed"
    page = "https://git.example/docs/monitoring.html"
    moved = rules_of(helm.template(*MONITORING, f'metrics.prometheusRule.runbookUrl="{page}"'))
    assert [rule["annotations"]["runbook_url"] for rule in moved] == [
        url.replace("docs/monitoring.md", page) for url in urls
    ]
    dashboards = one(documents, "ConfigMap", "fusionrun-dashboards")
    assert dashboards["metadata"]["labels"]["grafana_dashboard"] == "1"
    titles = [json.loads(text)["title"] for text in dashboards["data"].values()]
    assert titles == ["FusionRun", "FusionRun: all runs"]


def test_the_command_in_the_documentation_enables_everything(helm, root, chart):
    command = (root / "docs/monitoring.md").read_text().split("```sh")[1].split("```")[0]
    sets = [word for value in ["images.registry=r", *re.findall(r"--set (\S+)", command)] for word in ("--set", value)]
    documents = [d for d in yaml.safe_load_all(helm.run("template", "fusionrun", str(chart), *sets).stdout) if d]
    assert {"ServiceMonitor", "PodMonitor", "PrometheusRule"} <= {d["kind"] for d in documents}
    assert one(documents, "ConfigMap", "fusionrun-dashboards")


def selected_by(selector, labels):
    """Return whether a label selector of Kubernetes selects an object."""
    tests = {
        "In": lambda key, values: labels.get(key) in values,
        "DoesNotExist": lambda key, _: key not in labels,
    }
    return selector["matchLabels"].items() <= labels.items() and all(
        tests[e["operator"]](e["key"], e.get("values")) for e in selector["matchExpressions"]
    )


def test_the_pod_monitor_selects_the_pods_with_metrics(helm):
    monitor = one(helm.template(*MONITORING), "PodMonitor")["spec"]
    spec = make_spec()
    spec["evaluation"] |= {"judge": served_judge(), "benchmarks": [*spec["evaluation"]["benchmarks"], rated()]}
    spec["sources"][0]["served"]["model"]["trustRemoteCode"] = True
    pinned = pinned_of("tiny", spec)
    pods = {
        stage.name: manifest["spec"]["template"]
        for stage in pinned.plan.stages
        for manifest in render(pinned, stage, 0, SETTINGS)
        if manifest["kind"] in ("Job", "Deployment")
    }
    found = {name: pod for name, pod in pods.items() if selected_by(monitor["selector"], pod["metadata"]["labels"])}
    with_metrics = {name for name in pods if name.startswith(("serve/", "generate/", "judge/"))}
    first = spec["sources"][0]["name"]
    assert found.keys() == with_metrics - {f"serve/{first}"}  # the pods with code of a model
    policy = one(render(pinned, pinned.plan["generate/eval-base"], 0, SETTINGS), "NetworkPolicy")["spec"]
    opened = {rule["port"] for rule in policy["ingress"][1]["ports"]}
    ports = {endpoint["port"] for endpoint in monitor["podMetricsEndpoints"]}
    for pod in found.values():
        (container,) = pod["spec"]["containers"]
        (declared,) = container["ports"]
        assert declared["name"] in ports
        assert declared["containerPort"] in opened
        environment = {e["name"]: e.get("value") for e in container["env"]}
        assert environment.get("FUSIONRUN_METRICS_PORT") == (
            str(declared["containerPort"]) if declared["name"] == "metrics" else None
        )
    assert monitor["namespaceSelector"] == {"any": True}
    named = one(helm.template(*MONITORING, 'watchNamespaces=["lab"]'), "PodMonitor")["spec"]
    assert named["namespaceSelector"] == {"matchNames": ["lab"]}


def policy_of(*sets, helm):
    policy = one(helm.template(*sets), "NetworkPolicy")["spec"]
    operator = one(helm.template(*sets), "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= operator.items()
    assert policy["policyTypes"] == ["Ingress"], "the egress is not limited by default"
    return {rule["ports"][0]["port"]: rule["from"] for rule in policy["ingress"]}


def namespaces(*names):
    return {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": [*names]}]}


def test_only_pods_of_runs_and_monitoring_reach_the_operator(helm):
    runs = {"podSelector": {"matchExpressions": [{"key": "fusionrun.dev/run", "operator": "Exists"}]}}
    assert policy_of(helm=helm) == {8090: [runs | {"namespaceSelector": {}}]}
    named = policy_of('watchNamespaces=["a","b"]', 'networkPolicy.monitoringNamespaces=["m"]', helm=helm)
    assert named == {
        8090: [runs | {"namespaceSelector": namespaces("a", "b")}],
        8000: [{"namespaceSelector": namespaces("m")}],
    }
    extra = 'networkPolicy.extraIngress=[{"ports":[{"port":8080}],"from":[{"ipBlock":{"cidr":"10.0.0.0/8"}}]}]'
    assert policy_of("progress.enabled=false", extra, helm=helm) == {8080: [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}
    assert not [d for d in helm.template("networkPolicy.enabled=false") if d["kind"] == "NetworkPolicy"]


def test_the_egress_of_the_operator_can_be_limited_to_the_api_server(helm):
    dns = {"ports": [{"protocol": "UDP", "port": 53}]}
    sets = ("networkPolicy.apiServerPorts=[443,6443]", f"networkPolicy.extraEgress=[{json.dumps(dns)}]")
    policy = one(helm.template(*sets), "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["egress"] == [{"ports": [{"protocol": "TCP", "port": port} for port in (443, 6443)]}, dns]
    assert "apiServerPorts is empty" in helm.rejects(sets[1])


@pytest.mark.parametrize("monitor", ["serviceMonitor", "podMonitor"])
def test_a_monitor_without_its_namespace_is_rejected(helm, monitor):
    message = helm.rejects(f'metrics.{monitor}={{"enabled":true}}')
    assert "set it to the namespace of your Prometheus" in message


def test_only_the_metrics_of_the_operator_are_open_without_its_network_policy(helm):
    helm.template('metrics.serviceMonitor={"enabled":true}', "networkPolicy.enabled=false")
    helm.rejects('metrics.podMonitor={"enabled":true}', "networkPolicy.enabled=false")


def test_network_settings_reach_the_operator(helm, tmp_path):
    sets = ('networkPolicy.monitoringNamespaces=["m"]', 'networkPolicy.blockedNetworks=["169.254.0.0/16"]')
    settings = settings_of(helm.template(*sets, "serverKey.enabled=false"), tmp_path)
    assert (settings.monitoring_namespaces, settings.blocked_networks) == (("m",), ("169.254.0.0/16",))


def test_the_operator_mounts_a_random_key_or_an_existing_one(helm):
    def mounted(*sets):
        documents = helm.template(*sets)
        pod = one(documents, "Deployment")["spec"]["template"]["spec"]
        volumes = [v["secret"]["secretName"] for v in pod["volumes"] if "secret" in v]
        text = one(documents, "ConfigMap", "fusionrun-settings")["data"]["settings.yaml"]
        mounts = {m["name"]: m["mountPath"] for m in pod["containers"][0]["volumeMounts"]}
        assert (yaml.safe_load(text).get("server_key_file", "").rpartition("/")[0] or None) == mounts.get("server-key")
        return volumes, [d for d in documents if d["kind"] == "Secret"]

    volumes, (secret,) = mounted()
    assert volumes == [secret["metadata"]["name"]] == ["fusionrun-server-key"]
    key = base64.b64decode(secret["data"]["key"])
    assert len(key) == 64
    assert secret != mounted('nameOverride=""')[1][0], "it is random"
    assert mounted('serverKey={"existingSecret":"vault","existingSecretKey":"k"}') == (["vault"], [])
    assert mounted("serverKey.enabled=false") == ([], [])


@pytest.mark.parametrize(
    "value",
    [
        "operator.resyncSeconds=1",
        'operator.logFormat="xml"',
        'images.pullPolicy="Sometimes"',
        'images.serve={"repository":""}',
        'images.serve={"repository":"serve","digest":"latest"}',
        'watchNamespaces="a"',
        'watchNamespaces=["A"]',
        "crds.enabled=3",
        'unknown="x"',
        'policy={"secrets":"*"}',
        'policy={"ports":["*"]}',
        'stages.tmpSizeLimit="much"',
        'security.openshift="yes"',
        'metrics.serviceMonitor={"interval":"often"}',
        'networkPolicy.blockedNetworks=["10.0.0.1"]',
        'serverKey={"existingSecret":"A"}',
    ],
)
def test_an_invalid_value_is_rejected_by_name(helm, value):
    message = helm.rejects(value)
    assert re.split(r"[.=]", value)[0] in message


@pytest.mark.cluster
def test_the_api_server_accepts_the_crd(kubectl, root):
    arguments = ("--server-side", "--force-conflicts", "--dry-run=server", "-f", str(root / "manifests/crd.yaml"))
    done = kubectl("apply", *arguments)
    assert "serverside-applied" in done.stdout
