"""The operator and a run from a private mirror: all images by digest, the chart as an OCI artifact, and pull Secrets.

A real registry (distribution) on loopback has what a release publishes, made by the scripts of the release from the
images of hack/images/build. They are copied to another path, the mirror, with the documented commands. An image of this
checkout takes the place of vLLM's, which is not on the machine.

The node must be this machine: containerd uses http for registries on loopback only.
"""

import json
import re
import subprocess

import pytest
import yaml

from fusionrun import __version__
from support.live import CACHE, OPERATOR_NAMESPACE, REPOSITORY, Cluster, condition, small_run
from support.registry import PASSWORD, USER, registry

pytestmark = pytest.mark.integrations

NAMESPACE = "fusionrun-test"
OWN = ("operator", "data", "sandbox", "reward", "train")
SECRET = "registry"
OPERATOR = "app.kubernetes.io/name=fusionrun,app.kubernetes.io/component=operator"
OPERATIONS = (REPOSITORY / "docs" / "operations.md").read_text()
VALUES = {
    "cpu": {"enabled": True},
    "security": {"isolatingRuntimeClasses": ["isolated"]},
    "images": {"pullSecrets": [SECRET]},
}


@pytest.fixture(scope="module")
def server():
    with registry() as found:
        yield found


@pytest.fixture(scope="module")
def dist(server, tmp_path_factory):
    """Publish a release: the images, and what the scripts of the release make of their digests.

    At the end the node forgets the images.
    """
    built = json.loads((CACHE / "images" / "refs.json").read_text())
    path, folder = f"{server.host}/release", tmp_path_factory.mktemp("dist")
    digests = {name: server.push(built[name], f"{path}/fusionrun-{name}:{__version__}") for name in OWN}
    metadata = folder / "images.json"
    metadata.write_text(json.dumps({name: {"containerimage.digest": digest} for name, digest in digests.items()}))
    server.run(REPOSITORY / "hack/publish/files", path, metadata, folder)
    server.run(REPOSITORY / "hack/publish/chart", "--plain-http", REGISTRY=path, DIST=str(folder))
    (upstream,) = [line for line in (folder / "images.txt").read_text().split() if line.startswith("vllm/")]
    name = f"{path}/{upstream.partition('@')[0]}"
    digests["serve"] = server.push(built["serve"], name)
    text = (folder / "images.txt").read_text().replace(upstream, f"{name}@{digests['serve']}")
    (folder / "images.txt").write_text(text)
    yield folder
    remove_images(set(digests.values()))


@pytest.fixture(scope="module")
def mirror(server, dist):
    """Copy the images to the mirror; return their references there, by the last part of their name."""
    (loop,) = re.findall(r"```sh\n(while read -r image; do\n.*?done < images.txt)\n", OPERATIONS, re.DOTALL)
    paths = {"REGISTRY": f"{server.host}/release", "MIRROR": f"{server.host}/mirror"}
    server.run("bash", "-ec", f"cd {dist}\n{loop}", **paths)
    lines = (dist / "images.txt").read_text().replace("/release/", "/mirror/").split()
    return {re.split(r"[/:]", line.partition("@")[0])[-2]: re.sub(r":[^:/@]+@", "@", line) for line in lines}


@pytest.fixture
def without_helm(server, dist):
    """Install the operator from install.yaml with the documented commands, and remove all but the CRD at the end.

    The CRD may be that of an earlier installation with Helm.
    """
    cluster = Cluster(OPERATOR_NAMESPACE)
    server.run("helm", "uninstall", "fusionrun", "-n", OPERATOR_NAMESPACE, "--ignore-not-found", "--wait")
    (commands,) = re.findall(r"```sh\n(kubectl apply --server-side -f install.yaml\n.*?)```", OPERATIONS, re.DOTALL)
    commands = commands.replace("--server-side", "--server-side --force-conflicts")
    try:
        server.run("bash", "-ec", f"cd {dist}\n{commands}")
        yield cluster
    finally:
        documents = yaml.safe_load_all((dist / "install.yaml").read_text())
        removed = [d for d in documents if d and d["kind"] not in ("CustomResourceDefinition", "Namespace")]
        cluster.kubectl("delete", "--ignore-not-found", "-f", "-", stdin=yaml.safe_dump_all(removed))
        cluster.kubectl("wait", "--for=delete", "pod", "-l", OPERATOR, "--timeout=60s")
        cluster.kubectl("delete", "secret", SECRET, "fusionrun-server-key", "--ignore-not-found")
        cluster.kubectl("label", "namespace", OPERATOR_NAMESPACE, "pod-security.kubernetes.io/enforce-")


@pytest.fixture(scope="module")
def operator(server, dist, mirror, tmp_path_factory):
    """Install the operator from the chart in the registry, with the mirror; remove it and its images at the end."""
    cluster = Cluster(OPERATOR_NAMESPACE)
    values = tmp_path_factory.mktemp("values") / "values.json"
    images = VALUES["images"] | {"registry": f"{server.host}/mirror"}
    images |= {"serve": {"digest": mirror["vllm-openai"].partition("@")[2]}}
    values.write_text(json.dumps(VALUES | {"images": images}))
    server.run("helm", "uninstall", "fusionrun", "-n", OPERATOR_NAMESPACE, "--ignore-not-found", "--wait")
    chart = f"oci://{server.host}/release/charts/fusionrun"
    try:
        server.run(
            *("helm", "upgrade", "--install", "fusionrun", chart, "--version", __version__, "--plain-http"),
            "--take-ownership",  # of the CRD, which install.yaml may have installed
            *("-n", OPERATOR_NAMESPACE, "--create-namespace", "-f", values),
        )
        yield cluster
    finally:
        server.run("helm", "uninstall", "fusionrun", "-n", OPERATOR_NAMESPACE, "--ignore-not-found", "--wait")
        for namespace in (OPERATOR_NAMESPACE, NAMESPACE):
            Cluster(namespace).kubectl("delete", "secret", SECRET, "--ignore-not-found")


def remove_images(digests):
    """Remove images from containerd, also their names by the digest of their configuration."""
    script = f"source {REPOSITORY}/hack/cluster/local/load.sh && ctr images "
    listed = subprocess.run(["bash", "-c", f"{script} ls"], check=True, capture_output=True, text=True).stdout
    names = [line.split()[0] for line in listed.splitlines() if digests & set(line.split())]
    subprocess.run(["bash", "-c", f"{script} rm {' '.join(names)}"], check=bool(names), capture_output=True)


def create_secret(server, namespace):
    """Create the pull Secret in a namespace."""
    login = (f"--docker-server={server.host}", f"--docker-username={USER}", f"--docker-password={PASSWORD}")
    Cluster(namespace).kubectl("create", "secret", "docker-registry", SECRET, *login)


def was_pulled(server, reference):
    """Tell whether containerd has pulled an image by its digest, with its last layer, which it did not have."""
    name, _, digest = reference.partition("@")
    repository = name.removeprefix(f"{server.host}/")
    return {f"{repository}@{digest}", f"{repository}@{server.layers(reference)[-1]}"} <= server.pulled()


def test_install_yaml_runs_the_operator_of_the_release(server, dist, without_helm):
    cluster = without_helm
    create_secret(server, OPERATOR_NAMESPACE)
    pull = {"imagePullSecrets": [{"name": SECRET}]}
    cluster.kubectl("patch", "serviceaccount", "fusionrun", "-p", json.dumps(pull))
    cluster.kubectl("rollout", "restart", "deployment/fusionrun")
    cluster.kubectl("rollout", "status", "deployment/fusionrun", "--timeout=3m")
    (operator,) = [i for i in (dist / "images.txt").read_text().split() if "/fusionrun-operator:" in i]
    assert was_pulled(server, re.sub(r":[^:/@]+@", "@", operator))


def test_the_operator_is_ready_when_its_namespace_has_the_pull_secret(server, operator, mirror):
    state = "{.status.containerStatuses[0].state.waiting.reason}=ImagePullBackOff"
    operator.kubectl("wait", "--for=create", "pod", "-l", OPERATOR, "--timeout=60s")
    operator.kubectl("wait", f"--for=jsonpath={state}", "pod", "-l", OPERATOR, "--timeout=60s")
    create_secret(server, OPERATOR_NAMESPACE)
    operator.kubectl("rollout", "status", "deployment/fusionrun", "--timeout=3m")
    (pod,) = operator.get("pods", "-l", OPERATOR)["items"]
    (status,) = pod["status"]["containerStatuses"]
    assert status["imageID"] == mirror["fusionrun-operator"]


def run_of(name):
    """Return a run that evaluates two of the tiny models: with servers, clients, graders and the sandbox."""
    tiny = small_run(name, 4, 4)
    spec = tiny["spec"]
    models = [
        {"name": model, "family": "Llama3Small", "model": {"uri": f"pvc://fusion-data/inputs/tiny/models/{model}"}}
        for model in ("target", "programmer")
    ]
    evaluation = {k: v for k, v in spec["evaluation"].items() if k != "gate"}
    scheduling = spec["scheduling"] | {"maxServers": 2}
    tiny["spec"] = {"evaluateOnly": {"models": models}, "evaluation": evaluation, "scheduling": scheduling}
    tiny["spec"]["storage"] = spec["storage"]
    return tiny


def test_a_run_continues_when_its_namespace_has_the_pull_secret(server, operator, mirror):
    assert operator.namespace == OPERATOR_NAMESPACE
    name, cluster, created, finished = "from-a-mirror", Cluster(NAMESPACE), False, {}
    cluster.kubectl("delete", "fusionrun", name, "--ignore-not-found", "--wait")
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(run_of(name)))
    try:
        for finished in cluster.watch(name):
            messages = [stage.get("message", "") for stage in finished.get("status", {}).get("stages", [])]
            if not created and any("ImagePull" in message for message in messages):
                create_secret(server, NAMESPACE)
                created = True
        assert created, "the message of a stage has the error of the pull"
        assert condition(finished, "Complete") == "True", condition(finished, "Ready", "message")
        for image in ("fusionrun-data", "fusionrun-sandbox", "vllm-openai"):
            assert was_pulled(server, mirror[image]), image
    finally:
        cluster.kubectl("delete", "fusionrun", name, "--ignore-not-found", "--wait")
