import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

pytest.importorskip("jinja2")
pytest.importorskip("pyarrow")

from fusionrun.api.artifacts import Manifest
from fusionrun.api.spec import FusionRunSpec
from fusionrun.api.task import StageTask
from fusionrun.plan.defaults import fill
from fusionrun_stages import publish
from fusionrun_stages.construct import FILES
from fusionrun_stages.errors import UserError
from fusionrun_stages.work import Work
from support.model_folders import make_model
from support.runs import make_spec

SCORES = {"math-test": {"base": 10.0, "sft": 40.04, "final": 45.55}}
COUNTS = {
    "sft_rows": 90, "pairs": 60, "held_out_pairs": 4, "sft:ada": 50, "sft:bob": 40, "pairs:ada": 35, "pairs:bob": 25,
    "drop:AllCorrect": 7, "drop:MarginBelow": 3,
}  # fmt: skip


@pytest.fixture
def volume(tmp_path, monkeypatch):
    monkeypatch.setenv("FUSIONRUN_MOUNT", str(tmp_path))
    final = make_model(tmp_path / "promote" / "model")
    (final / "generation_config.json").write_text('{"eos_token_id": 107, "temperature": 0.6}')
    target = make_model(tmp_path / "models" / "target")
    (target / "generation_config.json").write_text('{"eos_token_id": [1, 107]}')
    construct = tmp_path / "construct"
    construct.mkdir()
    for name in FILES.values():
        (construct / name).write_bytes(name.encode())
    manifest = Manifest(schema_version=1, stage="construct", digest="c", files={}, counts=COUNTS)
    (construct / "manifest.json").write_text(manifest.model_dump_json())
    return tmp_path


def run(volume, destination="pvc://fusion-data/published/tiny", digest="d", **more):
    spec = fill(FusionRunSpec.model_validate(make_spec()))
    task = StageTask(
        run="tiny", namespace="n", stage="publish", digest=digest, output_dir=str(volume / "out"),
        parameters={
            "kind": "publish", "model_path": str(volume / "promote" / "model"),
            "dataset_dir": str(volume / "construct"),
            "destination": destination, "run_spec": spec.model_dump_json(exclude_none=True), "scores": SCORES,
            "source_models": {"ada": str(volume / "models" / "ada")},
            **more,
        },
    )  # fmt: skip
    (volume / "out").mkdir(exist_ok=True)
    return publish.run(Work(task=task, output=volume / "out", shard=None, pod_uid="u", report=lambda *a, **k: None))


def test_model_data_set_cards_and_provenance_are_there(volume):
    made = run(volume)
    there = volume / "published" / "tiny"
    assert (there / "model" / "model.safetensors").is_file()
    assert (there / "dataset" / "pairs.parquet").read_bytes() == b"pairs.parquet"
    provenance = json.loads((there / "provenance.json").read_bytes())
    assert provenance["digest"] == "d"
    assert provenance["spec"]["construction"]["seed"] == 42
    assert provenance["dataset"]["counts"] == COUNTS
    assert all((volume / "out" / name).is_file() for name in made.files)
    assert not (volume / "out" / "bundle").exists()
    assert [p.name for p in (volume / "published").iterdir()] == ["tiny"]


def test_the_model_card_says_how_good_and_how_made(volume):
    run(volume)
    card = (volume / "published" / "tiny" / "model" / "README.md").read_text()
    assert card.startswith("---\npipeline_tag:")
    assert "| math-test | 10.0 | 40.0 | 45.5 | +35.5 |" in card or "| math-test | 10.0 | 40.0 | 45.6 | +35.5 |" in card
    assert "| ada | pvc://fusion-data/models/ada | temperature 0.8, top_p 0.95" in card
    assert "| 50 | 35 |" in card
    assert "| learning rate | 5e-06 | 8e-07 |" in card
    assert "| length-normalised | | yes |" in card
    assert "Undefined" not in card
    assert "None" not in card


def test_the_data_set_card_counts_rows_and_drops(volume):
    run(volume)
    card = (volume / "published" / "tiny" / "dataset" / "README.md").read_text()
    assert "| sft.parquet | 90 |" in card
    assert "| AllCorrect | 7 |" in card
    assert "| bob | pvc://fusion-data/models/bob | 40 | 25 |" in card
    assert "0.1 to 5.0, both included" in card
    page = (volume / "published" / "tiny" / "dataset" / "card.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "<td>AllCorrect</td><td>7</td>" in page


@pytest.mark.parametrize(
    ("text", "licence"),
    [("---\nlicense: mit\n---\n# x", "| source ada | MIT |"), ("---\nlicense: [\n---\n", "| source ada | unknown |"),
     ("no matter", "| source ada | unknown |"),
     ('---\nlicense: "of mine \\ud83d"\n---\n', "| source ada | of mine \ufffd |")],
)  # fmt: skip
def test_the_licence_is_read_from_the_models_own_card(volume, text, licence):
    ada = volume / "models" / "ada"
    ada.mkdir(parents=True)
    (ada / "README.md").write_text(text)
    run(volume)
    assert licence in (volume / "published" / "tiny" / "dataset" / "README.md").read_text()


def test_the_card_says_nothing_that_is_not_there(volume):
    run(volume)
    card = (volume / "published" / "tiny" / "dataset" / "README.md").read_text()
    assert "None" not in card


def test_generation_config_keeps_every_end_token(volume):
    run(volume)
    config = json.loads((volume / "published" / "tiny" / "model" / "generation_config.json").read_bytes())
    assert config == {"eos_token_id": [107, 1], "temperature": 0.6}


def test_publishing_twice_is_once_and_a_new_result_replaces_ours(volume):
    run(volume)
    marker = volume / "published" / "tiny" / "marker"
    marker.write_text("x")
    run(volume)
    assert marker.exists()
    run(volume, digest="e")
    assert not marker.exists()
    assert json.loads((volume / "published" / "tiny" / "provenance.json").read_bytes())["digest"] == "e"
    assert [p.name for p in (volume / "published").iterdir()] == ["tiny"]


def test_what_is_not_ours_is_not_overwritten(volume):
    (volume / "published" / "tiny").mkdir(parents=True)
    (volume / "published" / "tiny" / "thesis.txt").write_text("x")
    with pytest.raises(UserError, match=r"publish.uri: .*exists and is not ours"):
        run(volume)
    assert (volume / "published" / "tiny" / "thesis.txt").read_text() == "x"


class RefusingHub(BaseHTTPRequestHandler):
    """A hub that knows who asks, and lets nobody write."""

    asked: list[tuple[str, str | None]]

    def do_POST(self):
        self.asked.append((self.path, self.headers["Authorization"]))
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(403)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *arguments):
        pass


def test_a_token_that_may_not_write_is_the_users_and_the_runs_hub_is_asked(volume, monkeypatch):
    pytest.importorskip("huggingface_hub")
    monkeypatch.setenv("HF_TOKEN", "writer")
    for name in ("HF_HUB_OFFLINE", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    asked = []
    with HTTPServer(("127.0.0.1", 0), type("Hub", (RefusingHub,), {"asked": asked})) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with pytest.raises(UserError, match=r"publish.uri: 'org/fused': .*publish.tokenSecretRef"):
                run(volume, "hf://org/fused", hub_endpoint=f"http://127.0.0.1:{server.server_port}")
        finally:
            server.shutdown()
            thread.join()
    assert asked == [("/api/repos/create", "Bearer writer")]
