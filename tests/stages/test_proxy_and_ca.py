"""Hubs, object stores and endpoints behind a proxy, with certificates of a private CA."""

import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
import s3fs

from fusionrun_stages import publish
from fusionrun_stages.errors import InfrastructureError
from fusionrun_stages.remote.hub import hub_client
from fusionrun_stages.remote.object_store import fingerprint_s3, s3_files
from support import proxy
from support.generation import TOTAL, run
from support.http_server import serving
from support.hub import HubRepositories
from support.object_store import BUCKET, Store
from support.replies import Replies, running

TLS = Path(proxy.__file__).parent / "tls"
"""A CA and a certificate of it, for the names below; neither is used elsewhere."""
OWN = (
    "SSL_CERT_FILE", "SSL_CERT_DIR", "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "ALL_PROXY", "NO_PROXY",
    "all_proxy", "no_proxy", "http_proxy", "https_proxy",
)  # fmt: skip
"""Variables that the machine of the test may have."""
VARIABLES = {
    "AWS_ACCESS_KEY_ID": "k",
    "AWS_SECRET_ACCESS_KEY": "s",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ENDPOINT_URL": "https://store.example",
    "AWS_MAX_ATTEMPTS": "1",
    "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",  # the store of the test reads no trailing checksums
    "HF_HUB_DISABLE_XET": "1",
}
NOWHERE = "http://127.0.0.1:9"


def with_tls(server: ThreadingHTTPServer) -> ThreadingHTTPServer:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "server.crt", TLS / "server.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return server


@pytest.fixture
def outside(volume, monkeypatch) -> Iterator[SimpleNamespace]:
    """Serve an object store and a hub over TLS, under names that only the proxy knows."""
    stored = {"set/train.jsonl": b'{"prompt": "from the store"}\n'}
    store = with_tls(ThreadingHTTPServer(("127.0.0.1", 0), type("Stored", (Store,), {"objects": stored})))
    hub = with_tls(HubRepositories())
    places = {"store.example": store.server_address, "hub.example": hub.server_address}
    forward = proxy.Proxy(("127.0.0.1", 0), places)
    for name in OWN:
        monkeypatch.delenv(name, raising=False)
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(proxy.Handler, "log_message", lambda *_: None)
    s3fs.S3FileSystem.clear_instance_cache()
    huggingface_hub.close_session()  # its client has read the variables of an earlier test
    with ExitStack() as stack:
        for server in (store, hub):
            stack.enter_context(serving(server))
        monkeypatch.setenv("HTTPS_PROXY", stack.enter_context(serving(forward)))
        yield SimpleNamespace(objects=stored, hub=hub, opened=forward.opened)
    s3fs.S3FileSystem.clear_instance_cache()
    huggingface_hub.close_session()


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
def test_an_object_store_is_read_and_written_through_the_proxy(outside, monkeypatch, tmp_path, variable):
    monkeypatch.setenv(variable, str(TLS / "ca.crt"))
    assert fingerprint_s3(s3_files(f"s3://{BUCKET}/set"))
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "provenance.json").write_text("{}")
    publish.to_s3(tmp_path / "bundle", f"s3://{BUCKET}/fused")
    assert outside.objects["fused/provenance.json"] == b"{}"
    assert set(outside.opened) == {"store.example"}


def test_an_object_store_with_an_unknown_ca_is_not_reached(outside):
    with pytest.raises(InfrastructureError, match=r"(?i)certificate|ssl"):
        fingerprint_s3(s3_files(f"s3://{BUCKET}/set"))


def test_a_hub_is_reached_through_the_proxy(outside, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(TLS / "ca.crt"))
    outside.hub.add("model", "org/out", {"config.json": b"{}"})
    info = hub_client("https://hub.example").repo_info("org/out")
    assert [s.rfilename for s in info.siblings] == ["config.json"]
    assert "hub.example" in outside.opened


def test_the_servers_of_a_run_are_reached_without_the_proxy_and_endpoints_with_it(tmp_path, monkeypatch):
    for name in OWN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", NOWHERE)
    with running(Replies()) as server:
        assert run(tmp_path, server.url).values.responses == TOTAL
        with pytest.raises(InfrastructureError):
            run(tmp_path / "endpoint", server.url, external=True, stall_seconds=1)
