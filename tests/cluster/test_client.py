"""The client and an HTTP server on the loopback interface."""

import asyncio
import json

import pytest
from aiohttp import web
from kubernetes.aio.client import ApiClient, Configuration

from fusionrun.api.spec.training import Backend
from fusionrun.cluster import connection
from fusionrun.cluster.client import LIST_PAGE_SIZE, Client, Page
from fusionrun.cluster.connection import connect, proxy_for
from fusionrun.cluster.resources import RESOURCES
from fusionrun.errors import ClusterError, NotLeaderError, PlanError
from fusionrun.state.decide.prerequisites import KUEUE as KUEUE_API
from fusionrun.state.decide.prerequisites import KUEUE_GROUP
from fusionrun.state.observe.backends import NEEDED
from fusionrun.state.observe.object_ref import ObjectRef
from support.golden import objects_of
from support.plans import pinned_of
from support.runs import make_spec

JOB = ObjectRef("batch/v1", "Job", "demo", "j")
MANIFEST = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "namespace": "demo"}}


def serve(handler, use):
    """Serve every path with a handler and use a client; return its result, the requests and the observed ones."""
    requests, observed = [], []

    async def handle(request):
        query, headers = dict(request.query), dict(request.headers)
        requests.append((request.method, request.path, query, headers, await request.text()))
        return handler(request)

    async def go():
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", handle)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        client = Client(ApiClient(Configuration(host=f"http://127.0.0.1:{port}")), lambda *a: observed.append(a))
        try:
            return await use(client)
        finally:
            await client.close()
            await runner.cleanup()

    return asyncio.run(go()), requests, observed


def error_of(handler, call):
    """Return the error that a call raises, the requests and the observed ones."""

    async def use(client):
        with pytest.raises(ClusterError) as caught:
            await call(client)
        return caught.value

    return serve(handler, use)


async def pages(client, *arguments):
    return [page async for page in client.pages(*arguments)]


def status(code, message):
    return web.json_response({"kind": "Status", "message": message, "code": code}, status=code)


def test_a_refusal_is_an_error_with_the_message_of_the_api_server():
    reply = 'jobs.batch "j" already exists'
    error, requests, observed = error_of(lambda _: status(409, reply), lambda c: c.create(MANIFEST))
    assert (error.verb, error.kind, error.name, error.status) == ("create", "Job", "j", 409)
    assert not error.retryable
    assert "already exists" in str(error)
    method, path, query, _, body = requests[0]
    assert (method, path) == ("POST", "/apis/batch/v1/namespaces/demo/jobs")
    assert query == {"fieldManager": "fusionrun-operator"}
    assert json.loads(body) == MANIFEST
    assert observed[0][:3] == ("create", "Job", 409)


@pytest.mark.parametrize("code", [429, 500, 503])
def test_a_temporary_error_is_retryable(code):
    assert error_of(lambda _: status(code, "later"), lambda c: c.get(JOB))[0].retryable


async def test_an_unreachable_server_is_retryable():
    observed = []
    client = Client(ApiClient(Configuration(host="http://127.0.0.1:9")), lambda *a: observed.append(a))
    try:
        with pytest.raises(ClusterError) as caught:
            await client.get(JOB)
    finally:
        await client.close()
    assert caught.value.status == 0
    assert caught.value.retryable
    assert observed[0][:3] == ("get", "Job", 0)


def test_items_of_a_list_have_their_kind():
    reply = {"kind": "JobList", "metadata": {"resourceVersion": "42"}, "items": [{"metadata": {"name": "j"}}]}
    ((page,), requests, _) = serve(
        lambda _: web.json_response(reply), lambda c: pages(c, "batch/v1", "Job", "demo", "fusionrun.dev/run")
    )
    assert (page.items[0]["apiVersion"], page.items[0]["kind"], page.version) == ("batch/v1", "Job", "42")
    assert requests[0][2] == {"labelSelector": "fusionrun.dev/run", "limit": str(LIST_PAGE_SIZE)}


def test_a_list_is_read_page_by_page():
    def reply(request):
        metadata = {"resourceVersion": "42", "continue": "" if request.query.get("continue") == "two" else "two"}
        return web.json_response({"metadata": metadata, "items": [{"metadata": {"name": metadata["continue"]}}]})

    found, requests, _ = serve(reply, lambda c: pages(c, "v1", "Pod"))
    assert [[i["metadata"]["name"] for i in page.items] for page in found] == [["two"], [""]]
    assert [query.get("continue") for _, _, query, _, _ in requests] == [None, "two"]


def test_an_expired_list_is_an_error_with_status_410():
    error, *_ = error_of(lambda _: status(410, "continue token is too old"), lambda c: pages(c, "v1", "Pod"))
    assert error.status == 410


@pytest.mark.parametrize(
    ("environment", "proxy"),
    [
        ({}, None),
        ({"https_proxy": "http://proxy:3128"}, "http://proxy:3128"),
        ({"https_proxy": "http://proxy:3128", "no_proxy": "10.0.0.1,.svc"}, None),
    ],
)
def test_the_proxy_comes_from_the_environment(monkeypatch, environment, proxy):
    for name in ("https_proxy", "no_proxy", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert proxy_for("https://10.0.0.1:443") == proxy


async def test_no_request_reads_a_netrc_file(monkeypatch):
    """With ``trust_env``, aiohttp would read it in a thread at every request."""
    monkeypatch.setenv("http_proxy", "http://proxy:3128")
    monkeypatch.delenv("no_proxy", raising=False)

    def load(client_configuration):
        client_configuration.host = "http://api.example"

    monkeypatch.setattr(connection, "load_incluster_config", load)
    client = await connect(lambda *_: None)
    rest = client._api.rest_client
    session = rest._create_pool_manager()
    try:
        assert (session.trust_env, rest.proxy) == (False, "http://proxy:3128")
    finally:
        await session.close()
        await client.close()


def test_a_list_of_an_unknown_kind_is_empty():
    reply = web.Response(status=404, text="404 page not found")
    listed, _, _ = serve(lambda _: reply, lambda c: pages(c, "kubeflow.org/v1", "PyTorchJob"))
    assert listed == [Page([], "0")]


def test_the_existence_of_an_object_is_checked_by_its_metadata():
    ref = ObjectRef("v1", "PersistentVolumeClaim", "demo", "data")
    found, requests, _ = serve(lambda _: web.json_response({"metadata": {}}), lambda c: c.exists(ref))
    assert found
    assert "PartialObjectMetadata" in requests[0][3]["Accept"]
    assert serve(lambda _: status(404, "no"), lambda c: c.exists(ref))[0] is False


@pytest.mark.parametrize(
    ("served", "expected"),
    [
        ({}, False),
        ({"v2beta1": ["mpijobs"]}, False),
        ({"v2beta1": ["mpijobs"], "v1": ["pytorchjobs", "pytorchjobs/status"]}, True),
        ({"v1": ["pytorchjobs/status"]}, False),
    ],
    ids=["no group", "another kind of the group", "served", "subresource only"],
)
def test_a_crd_exists_if_its_kind_is_served(served, expected):
    """Discovery needs no right, unlike reading the CRD."""
    group = "/apis/kubeflow.org"

    def handler(request):
        if request.path == group and served:
            return web.json_response({"kind": "APIGroup", "versions": [{"version": v} for v in served]})
        names = served.get(request.path.removeprefix(f"{group}/"))
        return status(404, "no") if names is None else web.json_response({"resources": [{"name": n} for n in names]})

    (ref,) = NEEDED[Backend.PYTORCH_JOB]
    found, requests, _ = serve(handler, lambda c: c.exists(ref))
    assert found is expected
    assert all(r[1].startswith(group) for r in requests)


KUEUE = "/apis/kueue.x-k8s.io"


@pytest.mark.parametrize(
    ("served", "version"),
    [
        (["v1beta2"], "v1beta2"),
        (["v1beta1", "v1alpha1"], "v1beta1"),
        (["v1beta1", "v1beta2"], "v1beta2"),
        (["v2", "v1alpha1"], "v2"),
    ],
)
@pytest.mark.parametrize("exists", [True, False])
def test_a_queue_is_looked_up_in_a_served_version(served, version, exists):
    def handler(request):
        if request.path == KUEUE:
            return web.json_response({"kind": "APIGroup", "versions": [{"version": v} for v in served]})
        return web.json_response({"metadata": {}}) if exists else status(404, "no such queue")

    def look(client):
        return client.exists(ObjectRef(KUEUE_GROUP, "LocalQueue", "demo", "q"))

    found, requests, _ = serve(handler, look)
    assert found is exists
    assert [r[1] for r in requests] == [KUEUE, f"{KUEUE}/{version}/namespaces/demo/localqueues/q"]


@pytest.mark.parametrize("ref", [KUEUE_API, ObjectRef(KUEUE_GROUP, "LocalQueue", "demo", "q")], ids=["group", "queue"])
def test_kueue_is_missing_only_if_its_group_is_not_served(ref):
    assert serve(lambda _: status(404, "page not found"), lambda c: c.exists(ref))[0] is False
    assert error_of(lambda _: status(503, "the API server is starting"), lambda c: c.exists(ref))[0].retryable is True
    one = {"kind": "APIGroup", "versions": [{"version": "v1beta2"}], "metadata": {}}
    assert serve(lambda _: web.json_response(one), lambda c: c.exists(ref))[0] is True


@pytest.mark.parametrize("version", ["v1beta2", "v1beta1"])
def test_workloads_of_kueue_are_listed_in_a_served_version(version):
    def handler(request):
        if request.path == KUEUE:
            return web.json_response({"kind": "APIGroup", "versions": [{"version": version}]})
        return web.json_response({"metadata": {}, "items": [{"metadata": {"name": "w"}}]})

    found, requests, _ = serve(handler, lambda c: c.list_served(KUEUE_GROUP, "Workload", "demo", "job in (a,b)"))
    assert found == [{"metadata": {"name": "w"}, "apiVersion": f"kueue.x-k8s.io/{version}", "kind": "Workload"}]
    assert requests[1][1:3] == (f"{KUEUE}/{version}/namespaces/demo/workloads", {"labelSelector": "job in (a,b)"})


@pytest.mark.parametrize("served", [True, False])
def test_no_workloads_are_found_without_their_kind(served):
    def handler(request):
        if served and request.path == KUEUE:
            return web.json_response({"kind": "APIGroup", "versions": [{"version": "v1beta2"}]})
        return status(404, "page not found")

    assert serve(handler, lambda c: c.list_served(KUEUE_GROUP, "Workload", "demo", ""))[0] is None


def test_a_forbidden_object_is_not_absent():
    assert error_of(lambda _: status(403, "forbidden"), lambda c: c.exists(JOB))[0].status == 403


def test_the_status_is_applied_with_the_field_manager():
    body = {"apiVersion": "fusionrun.dev/v1alpha1", "kind": "FusionRun", "metadata": {"name": "r", "namespace": "d"}}
    _, requests, _ = serve(lambda _: web.json_response(body), lambda c: c.apply_status({**body, "status": {}}))
    method, path, query, headers, _ = requests[0]
    assert (method, path) == ("PATCH", "/apis/fusionrun.dev/v1alpha1/namespaces/d/fusionruns/r/status")
    assert query == {"fieldManager": "fusionrun-operator", "force": "true"}
    assert headers["Content-Type"] == "application/apply-patch+yaml"


LEASE = {
    "apiVersion": "coordination.k8s.io/v1",
    "kind": "Lease",
    "metadata": {"name": "l", "namespace": "d", "resourceVersion": "7"},
}


def test_an_object_is_replaced_only_in_the_state_that_was_read():
    _, requests, observed = serve(lambda _: web.json_response(LEASE), lambda c: c.replace(LEASE))
    method, path, _, _, body = requests[0]
    assert (method, path) == ("PUT", "/apis/coordination.k8s.io/v1/namespaces/d/leases/l")
    assert json.loads(body)["metadata"]["resourceVersion"] == "7"
    assert observed[0][:3] == ("replace", "Lease", 200)


@pytest.mark.parametrize(("code", "expected"), [(200, True), (403, False)])
def test_a_right_to_list_is_tried(code, expected):
    found, requests, _ = serve(lambda _: status(code, "x"), lambda c: c.may_list("v1", "Namespace"))
    assert (found, requests[0][1]) == (expected, "/api/v1/namespaces")


WRITES = {
    "create": lambda c: c.create(LEASE),
    "replace": lambda c: c.replace(LEASE),
    "status": lambda c: c.apply_status(LEASE),
    "patch": lambda c: c.patch(JOB, {}),
    "pod": lambda c: c.fail_pod(JOB, None, {}),
    "delete": lambda c: c.delete(JOB),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_no_write_is_sent_without_the_lease(write):
    """Reads are."""

    def guard():
        raise NotLeaderError

    async def use(client):
        client._guard = guard
        await client.get(JOB)
        with pytest.raises(NotLeaderError):
            await write(client)

    _, requests, _ = serve(lambda _: web.json_response({}), use)
    assert [method for method, *_ in requests] == ["GET"]


def test_a_log_is_text():
    text, requests, _ = serve(
        lambda _: web.Response(text="last\nlines"), lambda c: c.log_tail("demo", "p", "stage", lines=20, previous=True)
    )
    assert text == "last\nlines"
    assert requests[0][1] == "/api/v1/namespaces/demo/pods/p/log"
    assert requests[0][2]["tailLines"] == "20"
    assert requests[0][2]["previous"] == "true"


def watch_of(reply, version="7"):
    """Watch Jobs; return the events, the status of the error that ends the watch, and the request."""
    found = []

    async def use(client):
        try:
            async for change, manifest in client.watch("batch/v1", "Job", "demo", "fusionrun.dev/run", version):
                found.append((change, manifest["metadata"]["resourceVersion"]))
        except ClusterError as error:
            return error.status
        return None

    status, requests, observed = serve(reply, use)
    assert [(verb, kind) for verb, kind, *_ in observed] == [("watch", "Job")]
    return found, status, requests[0]


def lines(*events):
    return web.Response(text="".join(json.dumps({"type": t, "object": o}) + "\n" for t, o in events))


def versioned(version):
    return {"metadata": {"resourceVersion": version}}


def test_a_watch_yields_events_until_the_api_server_ends_it():
    found, status, request = watch_of(lambda _: lines(("ADDED", versioned("8")), ("BOOKMARK", versioned("9"))))
    assert (found, status) == ([("ADDED", "8"), ("BOOKMARK", "9")], None)
    assert request[1] == "/apis/batch/v1/namespaces/demo/jobs"
    wanted = {"watch": "true", "labelSelector": "fusionrun.dev/run", "resourceVersion": "7"}
    assert wanted.items() <= request[2].items()
    assert "resourceVersion" not in watch_of(lambda _: lines(), version="")[2][2]


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (lambda _: lines(("ADDED", versioned("8")), ("ERROR", {"code": 410, "message": "too old"})), 410),
        (lambda _: web.json_response({"message": "too old"}, status=410), 410),
        (lambda _: web.json_response({"message": "forbidden"}, status=403), 403),
        (lambda _: web.Response(text='{"type": "ADDED", "object": {"meta'), 0),
    ],
)
def test_a_watch_that_fails_is_a_cluster_error(reply, status):
    assert watch_of(reply)[1] == status


def test_a_list_is_selected_by_fields():
    reply = web.json_response({"metadata": {}, "items": []})

    async def warnings(client):
        return [p async for p in client.pages("v1", "Event", "demo", field_selector="type=Warning", page_size=500)]

    _, requests, _ = serve(lambda _: reply, warnings)
    assert requests[0][1] == "/api/v1/namespaces/demo/events"
    assert requests[0][2] == {"fieldSelector": "type=Warning", "limit": "500"}


def test_every_kind_that_a_stage_creates_has_a_resource():
    kinds = {(m["apiVersion"], m["kind"]) for m in objects_of(pinned_of("tiny", make_spec()))}
    assert ("v1", "Secret") in kinds
    assert kinds <= RESOURCES.keys()


def test_a_kind_without_a_resource_is_a_bug():
    with pytest.raises(PlanError, match="RESOURCES"):
        serve(lambda _: status(500, ""), lambda c: c.get(ObjectRef("v1", "ServiceAccount", "demo", "s")))


def test_a_pod_is_marked_as_failed_and_force_deleted_by_its_uid():
    pod = ObjectRef("v1", "Pod", "demo", "p")

    async def use(client):
        await client.fail_pod(pod, "uid", {"type": "DisruptionTarget", "status": "True"})
        await client.delete(pod, "uid", grace_seconds=0)

    _, (fail, delete), _ = serve(lambda _: web.json_response({}), use)
    assert fail[:2] == ("PATCH", "/api/v1/namespaces/demo/pods/p/status")
    assert fail[3]["Content-Type"] == "application/strategic-merge-patch+json"
    assert json.loads(fail[4]) == {
        "metadata": {"uid": "uid"},
        "status": {"phase": "Failed", "conditions": [{"type": "DisruptionTarget", "status": "True"}]},
    }
    assert delete[:2] == ("DELETE", "/api/v1/namespaces/demo/pods/p")
    options = json.loads(delete[4])
    assert (options["gracePeriodSeconds"], options["propagationPolicy"]) == (0, "Background")
    assert options["preconditions"] == {"uid": "uid"}
