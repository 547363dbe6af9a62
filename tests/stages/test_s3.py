"""Data sets and published files in an object store."""

import json
import re
from collections.abc import Iterator
from http.server import ThreadingHTTPServer

import pytest
import s3fs

from fusionrun.api.stage import Reference
from fusionrun.api.tasks.parameters import PublishingCheckParameters
from fusionrun_stages import fetch, prepare, publish
from fusionrun_stages.errors import InfrastructureError, UserError
from fusionrun_stages.remote import object_store
from fusionrun_stages.remote.object_store import download_s3, fingerprint_s3, s3_files
from fusionrun_stages.remote.publishing_check import check_publishing
from fusionrun_stages.resolving.references import pin
from fusionrun_stages.volume.paths import dataset_folder
from support.http_server import serving
from support.model_folders import make_model
from support.object_store import BUCKET, IdentityStore, Store
from support.stage import make_work

CARD = b"---\nlicense: gemma\n---\n"
PROVENANCE = json.dumps({"run": "r", "namespace": "n", "digest": "d", "spec": {}})
BUNDLE = {"model/config.json": "{}", "dataset/sft.parquet": "rows", "provenance.json": PROVENANCE}


@pytest.fixture
def objects(volume, monkeypatch) -> Iterator[dict[str, bytes]]:
    stored = {
        "set/train.jsonl": b'{"prompt": "from the store"}\n{"prompt": "another"}\n',
        "set/test.jsonl": b'{"prompt": "held out"}\n',
        "other/train.jsonl": b'{"prompt": "unused"}\n',
    }
    for name, value in (("ACCESS_KEY_ID", "k"), ("SECRET_ACCESS_KEY", "s"), ("DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    s3fs.S3FileSystem.clear_instance_cache()
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), type("Stored", (Store,), {"objects": stored}))) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        yield stored
    s3fs.S3FileSystem.clear_instance_cache()


def reference(uri=f"s3://{BUCKET}/set", columns=("prompt",)):
    return Reference(field="datasets[far]", kind="dataset", uri=uri, columns=list(columns))


def test_resolve_downloads_a_data_set_and_prepare_reads_it_offline(tmp_path, objects):
    objects["set/README.md"] = CARD
    found = pin(reference(), None)
    assert found.licence == "gemma"
    pinned = found.fingerprint
    assert sorted(p.name for p in dataset_folder(pinned).iterdir()) == ["README.md", "test.jsonl", "train.jsonl"]
    objects.clear()
    data = {"name": "far", "task": "Instruction", "uri": f"s3://{BUCKET}/set", "revision": pinned[:12], "columns": {}}
    work = make_work(tmp_path / "out", {"kind": "prepare", "datasets": [data], "shards": 1, "seed": 1})
    assert prepare.run(work).values.prompts == 2


def test_the_pin_depends_on_the_objects(objects):
    first = pin(reference(), None).fingerprint
    assert pin(reference(), None).fingerprint == first
    objects["set/train.jsonl"] += b'{"prompt": "one more"}\n'
    assert pin(reference(), None).fingerprint != first


@pytest.mark.parametrize(
    "key",
    [
        "set/../../artifacts/promote/abc/model/config.json",
        "set//etc/passwd",
        "set/a/../../../escape.jsonl",
        "set/./train.jsonl",
        "set/a\\..\\b.jsonl",
    ],
)
def test_a_key_that_leaves_its_folder_is_refused(volume, objects, key):
    objects[key] = b'{"prompt": "forged"}\n'
    before = sorted(volume.rglob("*"))
    with pytest.raises(UserError, match=r"'s3://bucket/set': object .* must be a relative path without"):
        pin(reference(), None)
    assert sorted(volume.rglob("*")) == before


def test_a_link_in_the_destination_is_not_followed(volume, tmp_path_factory, objects):
    outside = tmp_path_factory.mktemp("outside")
    folder = volume / "m"
    folder.mkdir()
    objects["set/sub/x.jsonl"] = b"{}"
    (folder / "sub").symlink_to(outside)
    pinned = fingerprint_s3(s3_files(f"s3://{BUCKET}/set"))
    with pytest.raises(UserError, match="a symbolic link leads out of the volume"):
        download_s3(f"s3://{BUCKET}/set", folder, pinned)
    assert not list(outside.iterdir())


def fetch_model(volume, pinned):
    destination = str(volume / "models" / pinned[:12])
    parameters = {"kind": "fetch", "uri": f"s3://{BUCKET}/model", "destination": destination}
    return fetch.run(make_work(volume / "out", parameters, "fetch/a"))


def test_a_model_is_fetched_without_pickles_and_only_as_pinned(volume, tmp_path_factory, objects):
    for path in make_model(tmp_path_factory.mktemp("upstream") / "m").iterdir():
        objects[f"model/{path.name}"] = path.read_bytes()
    objects["model/pytorch_model.bin"] = b"pickle"
    objects["model/consolidated.safetensors"] = b"the same weights"
    model = Reference(field="sources[a].served.model", kind="model", uri=f"s3://{BUCKET}/model")
    pinned = pin(model, None).fingerprint
    config = objects["model/config.json"]
    objects["model/config.json"] = b'{"model_type": "other"}'
    with pytest.raises(UserError, match="its objects have changed since the run was resolved"):
        fetch_model(volume, pinned)
    assert not list(volume.rglob("config.json"))
    objects["model/config.json"] = config
    fetch_model(volume, pinned)
    assert (volume / "models" / pinned[:12] / "config.json").read_bytes() == config
    assert not [*volume.rglob("*.bin"), *volume.rglob("consolidated*")]


INDEX = json.dumps({"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}).encode()
WEIGHTS = {"model-1.safetensors": b"12", "model-2.safetensors": b"345", "model.safetensors.index.json": INDEX}
CONFIG = b'{"model_type": "llama"}'


def test_the_size_and_the_configuration_of_a_model_are_read_before_the_download(objects):
    small = {"config.json": CONFIG, "tokenizer_config.json": b'{"chat_template": "x"}', "README.md": CARD}
    objects |= {f"model/{name}": data for name, data in (WEIGHTS | small | {"model.bin": b"pickle"}).items()}
    pinned = pin(Reference(field="target.model", kind="model", uri=f"s3://{BUCKET}/model"), None)
    assert (pinned.weights_bytes, pinned.config) == (5, {"model_type": "llama"})
    assert (pinned.licence, pinned.on_claim) == ("gemma", False)


@pytest.mark.parametrize(
    ("field", "files", "message"),
    [
        ("sources[a].served.model", {"model-1.safetensors": b"1", "model.safetensors.index.json": INDEX}, "lacks 1 of"),
        ("sources[a].served.model", {"config.json": CONFIG, "model.bin": b"pickle"}, r"has no \*\.safetensors"),
        ("target.model", WEIGHTS, "its tokenizer has no chat template"),
        ("target.model", WEIGHTS | {"tokenizer_config.json": b"{}"}, "its tokenizer has no chat template"),
    ],
)
def test_an_incomplete_model_is_refused_before_the_download(objects, field, files, message):
    objects |= {f"model/{name}": data for name, data in files.items()}
    model = Reference(field=field, kind="model", uri=f"s3://{BUCKET}/model")
    with pytest.raises(UserError, match=rf"^{re.escape(field)}: 's3://bucket/model': {message}"):
        pin(model, None)


def test_objects_that_change_during_a_download_are_removed_again(volume, objects, monkeypatch):
    pinned = fingerprint_s3(s3_files(f"s3://{BUCKET}/set"))

    def change(partial, path):
        partial.replace(path)
        objects["set/train.jsonl"] = b'{"prompt": "changed"}\n'

    monkeypatch.setattr(object_store, "commit", change)
    with pytest.raises(UserError, match="have changed"):
        download_s3(f"s3://{BUCKET}/set", volume / "d", pinned)
    assert not list((volume / "d").iterdir())


def test_a_missing_column_or_object_is_reported(objects):
    with pytest.raises(UserError, match=r"datasets\[far\]: column 'gold': missing in train.jsonl"):
        pin(reference(columns=["gold"]), None)
    with pytest.raises((UserError, InfrastructureError), match=r"s3://bucket/none"):
        pin(reference(f"s3://{BUCKET}/none"), None)


@pytest.fixture
def bundle(tmp_path):
    for name, text in BUNDLE.items():
        path = tmp_path / "bundle" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "bundle"


def published(objects):
    return {name.removeprefix("fused/"): data.decode() for name, data in objects.items() if name.startswith("fused/")}


def test_published_files_are_below_the_key_and_can_be_replaced(objects, bundle):
    publish.to_s3(bundle, f"s3://{BUCKET}/fused/")
    assert published(objects) == BUNDLE
    (bundle / "model/config.json").write_text("new")
    objects["fused/model/model-00002-of-00002.safetensors"] = b"of an earlier, larger model"
    publish.to_s3(bundle, f"s3://{BUCKET}/fused")
    assert published(objects) == BUNDLE | {"model/config.json": "new"}


def test_an_interrupted_upload_is_completed(objects, bundle, monkeypatch):
    async def fail(*_, **__):
        raise OSError("the node is gone")

    with monkeypatch.context() as patch:
        patch.setattr(s3fs.S3FileSystem, "_put_file", fail)
        with pytest.raises(InfrastructureError):
            publish.to_s3(bundle, f"s3://{BUCKET}/fused")
    s3fs.S3FileSystem.clear_instance_cache()  # an instance binds its methods once
    assert published(objects).keys() == {"provenance.json"}
    assert json.loads(published(objects)["provenance.json"])["incomplete"]
    publish.to_s3(bundle, f"s3://{BUCKET}/fused")
    assert published(objects) == BUNDLE


def test_the_check_of_the_destination_leaves_nothing_and_a_killed_one_stops_no_run(objects, bundle):
    uri, before = f"s3://{BUCKET}/fused", dict(objects)
    destination = PublishingCheckParameters(destination=uri)
    assert check_publishing(destination, "u") == {uri: "may write and delete"}
    assert objects == before
    objects["fused/.fusionrun-check-of-a-killed-pod"] = b""
    assert check_publishing(destination, "u")
    publish.to_s3(bundle, uri)


@pytest.mark.parametrize("theirs", [{"thesis.pdf": b"x"}, {"provenance.json": b"{}"}, {"model/config.json": b"x"}])
def test_objects_of_somebody_else_are_not_overwritten(objects, bundle, theirs):
    objects.update({f"fused/{name}": data for name, data in theirs.items()})
    before = dict(objects)
    with pytest.raises(UserError, match=r"publish.uri: 's3://bucket/fused': exists and was not published by a Fus"):
        publish.to_s3(bundle, f"s3://{BUCKET}/fused")
    assert objects == before


def test_a_pod_with_workload_identity_needs_no_keys(volume, tmp_path, monkeypatch):
    """A webhook of the cloud sets the role and the file with the token of the service account."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "token").write_text("token of the pod")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/fusionrun")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    stored = {"objects": {"set/train.jsonl": b"{}"}, "keys": set()}
    s3fs.S3FileSystem.clear_instance_cache()
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), type("Stored", (IdentityStore,), stored))) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        assert fingerprint_s3(s3_files(f"s3://{BUCKET}/set"))
    s3fs.S3FileSystem.clear_instance_cache()
    assert stored["keys"] == {"of-the-role"}


@pytest.mark.usefixtures("objects")
def test_keys_without_permission_are_a_user_error(bundle):
    with pytest.raises(UserError, match=r"publish.uri: 's3://other/x': .*publish.s3SecretRef"):
        publish.to_s3(bundle, "s3://other/x")


@pytest.mark.usefixtures("objects")
def test_missing_keys_are_a_user_error(bundle, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UserError, match=r"no keys for the object store: set publish.s3SecretRef, or dataStages"):
        publish.to_s3(bundle, f"s3://{BUCKET}/x")
