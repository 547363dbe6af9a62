import json
import os
from collections.abc import Iterator

import pytest

from fusionrun.api.artifacts import DATASET_FILES, ArtifactManifest, encode_manifest, model_dir
from fusionrun.api.results.values import Constructed, Evaluated, Promoted, SourceCounts
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.plan.defaults import fill
from fusionrun_stages import publish
from fusionrun_stages.errors import InfrastructureError, UserError
from fusionrun_stages.volume.paths import dataset_folder, on_volume
from support.http_server import serving
from support.hub import HubRepositories
from support.model_folders import make_model
from support.runs import make_spec
from support.stage import make_work

SCORES = {"math-test": {"base": 10.0, "sft": 40.04, "final": 45.55}}
MADE = Constructed(
    sft_rows=90,
    pairs=60,
    held_out_pairs=4,
    by_source={"ada": SourceCounts(sft_rows=50, pairs=35), "bob": SourceCounts(sft_rows=40, pairs=25)},
    drops={"AllCorrect": 7, "MarginBelow": 3},
)


@pytest.fixture
def volume(volume):
    final = make_model(volume / "promote" / "model")
    (final / "generation_config.json").write_text('{"eos_token_id": 107, "temperature": 0.6}')
    target = make_model(volume / "models" / "target")
    (target / "generation_config.json").write_text('{"eos_token_id": [1, 107]}')
    construct = volume / "construct"
    construct.mkdir()
    for name in DATASET_FILES:
        (construct / name).write_bytes(name.encode())
    for stage, values in {"construct": MADE, "promote": Promoted(step=4)}.items():
        manifest = ArtifactManifest(schema_version=1, stage=stage, digest="c", files={}, values=values)
        (volume / stage / "manifest.json").write_bytes(encode_manifest(manifest))
    return volume


def run(volume, destination="pvc://fusion-data/published/tiny", digest="d", **more):
    spec = fill(FusionRunSpec.model_validate(make_spec()))
    parameters = {
        "kind": "publish", "private": True,
        "model_path": str(volume / "promote" / "model"), "dataset_dir": str(volume / "construct"),
        "destination": destination, "run_spec": spec.model_dump_json(exclude_none=True), "scores": SCORES,
        "source_models": {"ada": str(volume / "models" / "ada")},
        **more,
    }  # fmt: skip
    return publish.run(make_work(volume / "out", parameters, digest=digest))


@pytest.mark.parametrize("artifact", ["construct", "promote"])
def test_an_incomplete_artifact_is_not_published(volume, artifact):
    (volume / artifact / "manifest.json").unlink()
    with pytest.raises(InfrastructureError, match=f"{artifact}: the artifact is not complete"):
        run(volume)


def test_model_data_set_cards_and_provenance_are_published(volume):
    made = run(volume)
    there = volume / "published" / "tiny"
    assert (there / "model" / "model.safetensors").is_file()
    assert (there / "dataset" / "pairs.parquet").read_bytes() == b"pairs.parquet"
    provenance = json.loads((there / "provenance.json").read_bytes())
    assert provenance["digest"] == "d"
    assert provenance["spec"]["construction"]["seed"] == 42
    assert Constructed.model_validate(provenance["dataset"]["values"]) == MADE
    assert all((volume / "out" / name).is_file() for name in made.files)
    assert not (volume / "out" / "bundle").exists()
    assert [p.name for p in (volume / "published").iterdir()] == ["tiny"]


def test_the_model_card_has_scores_sources_and_training(volume):
    run(volume)
    card = (volume / "published" / "tiny" / "model" / "README.md").read_text()
    assert card.startswith("---\nlibrary_name:")
    assert "| math-test | 10.0 | 40.0 | 45.5 | +35.5 |" in card or "| math-test | 10.0 | 40.0 | 45.6 | +35.5 |" in card
    assert "| ada | pvc://fusion-data/models/ada | temperature 0.8, top_p 0.95" in card
    assert "| 50 | 35 |" in card
    assert "| learning rate | 5e-06 | 8e-07 |" in card
    assert "| length-normalised | | yes |" in card
    assert "Undefined" not in card
    assert "None" not in card


def test_scores_have_intervals_if_the_task_has_them(volume):
    score = {"model": "final", "score": 45.5, "lower": 40.1, "upper": 50.9}
    results = [{"benchmark": "math-test", "base": 10.0, "final": 45.5, "unit": "Percent", "scores": [score]}]
    run(volume, results=results, groups=[{"group": "All", "benchmarks": 1, "base": 10.0, "final": 45.5}])
    there = volume / "published" / "tiny"
    card = (there / "model" / "README.md").read_text()
    assert "| math-test | 10.0 |  | 45.5 (40.1 to 50.9) | +35.5 |" in card
    assert "| All | 1 | 10.0 |  | 45.5 |" in card
    assert json.loads((there / "provenance.json").read_bytes())["results"][0]["scores"] == [score]


@pytest.mark.parametrize("complete", [True, False])
def test_the_model_card_describes_the_judge_of_the_final_model(volume, complete):
    judged = {"judge": "judge-7b", "templates_sha256": {}, "unparsed": 2, "position_consistency": 0.9,
              "length_bias": None}  # fmt: skip
    folder = volume / "evaluate"
    folder.mkdir()
    if complete:
        values = Evaluated(scores={"mt": 7.0}, graded={"mt": 80})
        manifest = ArtifactManifest(
            schema_version=1, stage="evaluate", digest="e", files={}, values=values, details={"mt": judged}
        )
        (folder / "manifest.json").write_bytes(encode_manifest(manifest))
    run(volume, evaluation_dir=str(folder))
    card = (volume / "published" / "tiny" / "model" / "README.md").read_text()
    assert ("| mt | judge-7b |  | 2 | 0.90 |  |" in card) == complete


def test_the_data_set_card_is_published_in_both_formats(volume):
    run(volume)
    folder = volume / "published" / "tiny" / "dataset"
    assert "| bob | pvc://fusion-data/models/bob | 40 | 25 |" in (folder / "README.md").read_text()
    assert "<td>AllCorrect</td><td>7</td>" in (folder / "card.html").read_text()


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        ("---\nlicense: mit\n---\n# x", "MIT"),
        ("---\nlicense: [\n---\n", "unknown"),
        ("no matter", "unknown"),
        ('---\nlicense: "of mine \\ud83d"\n---\n', "of mine \ufffd"),
    ],
    ids=["known", "not YAML", "no front matter", "not Unicode"],
)
def test_the_licence_is_read_from_the_models_card(volume, text, licence):
    ada = volume / "models" / "ada"
    ada.mkdir(parents=True)
    for folder in (ada, volume / "models" / "target"):
        (folder / "README.md").write_text(text)
    run(volume)
    published = volume / "published" / "tiny"
    assert f"| source ada | {licence} |" in (published / "dataset" / "README.md").read_text()
    assert f"| base model | {licence} |" in (published / "model" / "README.md").read_text()


def test_the_base_model_of_the_hub_is_found_by_its_pin(volume):
    target = on_volume(model_dir("0123456789ab"))
    target.mkdir(parents=True)
    (target / "README.md").write_text("---\nlicense: mit\n---\n")
    of_hub = make_spec(target={"family": "Llama3", "model": {"uri": "hf://acme/base"}})
    spec = fill(FusionRunSpec.model_validate(of_hub)).model_dump_json(exclude_none=True)
    run(volume, run_spec=spec, pins={"target.model": target.name})
    assert "| base model | MIT |" in (volume / "published" / "tiny" / "model" / "README.md").read_text()


def test_the_licence_of_a_remote_data_set_is_read_from_its_downloaded_card(volume):
    folder = dataset_folder("0123456789ab")
    folder.mkdir(parents=True)
    (folder / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    math, code = make_spec()["datasets"]
    remote = make_spec(datasets=[math | {"uri": "hf://acme/math"}, code])
    spec = fill(FusionRunSpec.model_validate(remote)).model_dump_json(exclude_none=True)
    run(volume, run_spec=spec, pins={"datasets[math]": folder.name})
    card = (volume / "published" / "tiny" / "model" / "README.md").read_text()
    assert "| data set math | CC BY-NC 4.0 | not for commercial use |" in card


def test_generation_config_has_every_end_of_text_token(volume):
    run(volume)
    config = json.loads((volume / "published" / "tiny" / "model" / "generation_config.json").read_bytes())
    assert config == {"eos_token_id": [107, 1], "temperature": 0.6}


def test_publishing_is_idempotent_and_a_new_result_replaces_the_old_one(volume):
    run(volume)
    marker = volume / "published" / "tiny" / "marker"
    marker.write_text("x")
    run(volume)
    assert marker.exists()
    run(volume, digest="e")
    assert not marker.exists()
    assert json.loads((volume / "published" / "tiny" / "provenance.json").read_bytes())["digest"] == "e"
    assert [p.name for p in (volume / "published").iterdir()] == ["tiny"]


def test_a_pod_that_is_killed_between_two_renames_leaves_no_old_copy(volume):
    run(volume)
    published = volume / "published"
    (published / "tiny").rename(published / ".tiny.d.old")
    run(volume)
    assert [path.name for path in published.iterdir()] == ["tiny"]


def test_other_files_are_not_overwritten(volume):
    (volume / "published" / "tiny").mkdir(parents=True)
    (volume / "published" / "tiny" / "thesis.txt").write_text("x")
    with pytest.raises(UserError, match=r"publish.uri: .*exists and was not published by a FusionRun"):
        run(volume)
    assert (volume / "published" / "tiny" / "thesis.txt").read_text() == "x"


@pytest.mark.parametrize("target", ["/proc/self/environ", "inside"])
@pytest.mark.parametrize("place", ["model/environ.txt", "model/folder", "construct/sft.parquet"])
def test_links_are_not_followed(volume, target, place):
    (volume / "inside").write_text("of another run")
    link = volume / ("promote" if place.startswith("model") else "") / place
    link.unlink(missing_ok=True)
    link.symlink_to(volume / target)
    with pytest.raises(UserError, match=r"not a regular file|leads out of the volume"):
        run(volume)
    assert not (volume / "published").exists()


def test_a_pipe_is_not_published(volume):
    os.mkfifo(volume / "promote" / "model" / "pipe")
    with pytest.raises(UserError, match="is not a regular file"):
        run(volume)


def test_provenance_has_the_recipe_without_names_of_secrets_claims_and_credentials(volume):
    source = {"name": "far", "type": "Endpoint"}
    url = "https://me:hunter2@far/v1?key=SECRET"
    endpoint = {"url": url, "model": "m", "apiKeySecretRef": {"name": "s", "key": "k"}}
    changes = {
        "sources": [*make_spec()["sources"], source | {"endpoint": endpoint}],
        "hub": {"tokenSecretRef": {"name": "confidential", "key": "k"}},
        "scheduling": {"nodeSelector": {"rack": "confidential"}},
    }
    run(volume, run_spec=fill(FusionRunSpec.model_validate(make_spec(**changes))).model_dump_json(exclude_none=True))
    folder = volume / "published" / "tiny"
    published = "".join(path.read_text() for path in folder.rglob("*") if path.suffix in (".md", ".html", ".json"))
    assert "far/v1" in published
    assert not [word for word in ("hunter2", "SECRET", "apiKeySecretRef", "confidential") if word in published]


@pytest.fixture
def hub(monkeypatch) -> Iterator[HubRepositories]:
    monkeypatch.setenv("HF_TOKEN", "writer")
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    for name in ("HF_HUB_OFFLINE", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    repositories = HubRepositories()
    with serving(repositories) as repositories.url:
        yield repositories


def to_hub(volume, hub, **more):
    return run(volume, "hf://org/fused", hub_endpoint=hub.url, **more)


@pytest.mark.parametrize(("private", "visibility"), [(True, "private"), (False, "public"), (None, None)])
def test_new_repositories_have_the_requested_visibility(volume, hub, private, visibility):
    to_hub(volume, hub, private=private)
    assert {name: repository.visibility for name, repository in hub.repositories.items()} == {
        ("model", "org/fused"): visibility,
        ("dataset", "org/fused-data"): visibility,
    }
    assert {"config.json", "README.md", "provenance.json"} <= hub.repositories["model", "org/fused"].files.keys()
    assert "pairs.parquet" in hub.repositories["dataset", "org/fused-data"].files


def test_a_repository_of_a_fusion_run_is_updated_and_an_empty_one_is_used(volume, hub):
    hub.add("dataset", "org/fused-data", {".gitattributes": b""})
    to_hub(volume, hub)
    hub.repositories["model", "org/fused"].files["model-00002-of-00002.safetensors"] = b"of an earlier, larger model"
    to_hub(volume, hub, digest="e")
    assert "model-00002-of-00002.safetensors" not in hub.repositories["model", "org/fused"].files
    for name in (("model", "org/fused"), ("dataset", "org/fused-data")):
        assert json.loads(hub.repositories[name].files["provenance.json"])["digest"] == "e"


@pytest.mark.parametrize("files", [{"thesis.pdf": b"x"}, {"provenance.json": b'{"run": 1}'}, {"provenance.json": b"["}])
def test_a_repository_of_somebody_else_is_not_changed(volume, hub, files):
    hub.add("dataset", "org/fused-data", dict(files))
    with pytest.raises(UserError, match=r"publish.uri: 'org/fused-data': exists and was not published by a FusionRun"):
        to_hub(volume, hub)
    assert hub.repositories.keys() == {("dataset", "org/fused-data")}
    assert hub.repositories["dataset", "org/fused-data"].files == files


def test_a_token_without_permission_for_the_runs_hub_is_a_user_error(volume, hub):
    hub.refuses = True
    with pytest.raises(UserError, match=r"publish.uri: 'org/fused': .*publish.tokenSecretRef"):
        to_hub(volume, hub)
    assert set(hub.tokens) == {"Bearer writer"}
