import errno
import logging
import os

import pytest

from fusionrun.api.records import Message, PreferencePair, Prompt, Response, SftExample, Verdict, VerdictValue
from fusionrun_stages.errors import InfrastructureError, UserError
from fusionrun_stages.volume.atomic import partial_path, write_atomic
from fusionrun_stages.volume.json_lines import JsonLines, read_json_lines
from fusionrun_stages.volume.parquet import arrow_schema, open_rows, read_rows, write_rows
from fusionrun_stages.volume.paths import inside_volume
from fusionrun_stages.volume.sorting import Pool, open_shards


def response(index: int, text: str = "t") -> Response:
    return Response(
        prompt_id=f"{index % 3:016x}", dataset="d", source="s", sample_index=index, text=text, finish_reason="stop"
    )


def test_an_incomplete_last_line_is_skipped_and_removed(tmp_path):
    path = tmp_path / "rows.jsonl.part"
    lines = JsonLines(path)
    for index in range(3):
        lines.append(response(index, "é\n" * index))
    lines.close()
    whole = path.read_bytes()
    for cut in range(0, len(whole), 7):
        path.write_bytes(whole[:cut])
        kept = whole[:cut].count(b"\n")
        assert [r.sample_index for r in read_json_lines(path, Response)] == list(range(kept))
        again = JsonLines(path)
        again.append(response(9))
        again.close()
        assert [r.sample_index for r in read_json_lines(path, Response)] == [*range(kept), 9]


def test_a_row_that_does_not_fit_leaves_no_incomplete_line(tmp_path, monkeypatch):
    path = tmp_path / "rows.jsonl.part"
    lines = JsonLines(path)
    lines.append(response(0))
    write = os.write

    def full_disk(descriptor, data):
        if len(data) > 20:
            return write(descriptor, data[:20])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(os, "write", lambda d, data: full_disk(d, data[:21]) if len(data) > 60 else full_disk(d, b""))
        lines.append(response(1))
    lines.append(response(2))
    lines.close()
    assert [r.sample_index for r in read_json_lines(path, Response)] == [0, 2]
    assert path.read_bytes().count(b"\n") == 2


def test_an_invalid_line_is_skipped_and_logged(tmp_path, caplog):
    path = tmp_path / "rows.jsonl.part"
    whole = [response(n).model_dump_json() for n in range(3)]
    path.write_text(f"{whole[0]}\n{whole[1][:30]}{whole[2]}\n{whole[2]}\n")
    with caplog.at_level(logging.WARNING):
        assert [r.sample_index for r in read_json_lines(path, Response)] == [0, 2]
    assert f"invalid Response at byte {len(whole[0]) + 1}" in caplog.text


def test_every_record_class_survives_parquet(tmp_path):
    message = Message(role="user", content="hi")
    key = {"prompt_id": "p", "dataset": "d", "source": "s"}
    pair = {side: [message] for side in ("prompt", "chosen", "rejected")}
    rows = {
        Prompt: Prompt(prompt_id="p", dataset="d", task="Coding", prompt="x", tests=["a", "b"]),
        Response: response(1),
        Verdict: Verdict(prompt_id="p", source="s", sample_index=0, verdict=VerdictValue.UNKNOWN),
        SftExample: SftExample(**key, messages=[message]),
        PreferencePair: PreferencePair(**key, **pair, chosen_score_micro=2, rejected_score_micro=1),
    }
    for model, row in rows.items():
        path = tmp_path / f"{model.__name__}.parquet"
        assert write_rows(path, model, [row]) == 1
        assert list(read_rows(path, model)) == [row]
        assert arrow_schema(model).names == list(model.model_fields)


def test_a_failed_writer_leaves_no_file(tmp_path):
    with pytest.raises(RuntimeError), open_rows(tmp_path / "x.parquet", Response) as writer:
        writer.append(response(1))
        raise RuntimeError
    with pytest.raises(RuntimeError), open_shards(tmp_path, 3, Response, ["prompt_id"], Pool(1)) as writer:
        writer.append(0, response(1))
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_write_atomic_replaces_a_file_and_leaves_no_partial_file(tmp_path):
    path = tmp_path / "a" / "manifest.json"
    write_atomic(path, b"1")
    write_atomic(path, b"2")
    assert path.read_bytes() == b"2"
    assert list(path.parent.iterdir()) == [path]


def test_pods_that_write_the_same_file_have_different_partial_files(tmp_path, monkeypatch):
    path = tmp_path / "x.parquet"
    parts = set()
    for uid in ("pod-a", "pod-b"):  # each is process 1 of its container
        monkeypatch.setenv("FUSIONRUN_POD_UID", uid)
        parts.add(partial_path(path))
    assert len(parts) == 2
    monkeypatch.delenv("FUSIONRUN_POD_UID")
    assert str(os.getpid()) in partial_path(path).name


def test_a_pod_that_was_replaced_fails_and_keeps_its_successors_file(tmp_path, monkeypatch):
    path = tmp_path / "x.parquet"
    monkeypatch.setenv("FUSIONRUN_POD_UID", "taken-for-dead")
    with pytest.raises(InfrastructureError, match="another pod has finished it"), open_rows(path, Response) as writer:
        writer.append(response(1))
        with monkeypatch.context() as patch:
            patch.setenv("FUSIONRUN_POD_UID", "successor")
            write_rows(path, Response, [response(2)])
    assert [r.sample_index for r in read_rows(path, Response)] == [2]


def test_two_pods_that_write_the_same_file_at_the_same_time_succeed(tmp_path, monkeypatch):
    path, sync, removed = tmp_path / "pin.json", os.fsync, []

    def removed_in_between(descriptor):
        sync(descriptor)
        if not removed:
            removed.append(True)
            monkeypatch.setenv("FUSIONRUN_POD_UID", "pod-b")
            write_atomic(path, b"1")

    monkeypatch.setenv("FUSIONRUN_POD_UID", "pod-a")
    monkeypatch.setattr(os, "fsync", removed_in_between)
    write_atomic(path, b"1")
    assert removed
    assert list(tmp_path.iterdir()) == [path]


def test_a_symbolic_link_out_of_the_volume_is_refused(tmp_path, monkeypatch):
    volume = tmp_path / "data"
    (volume / "in").mkdir(parents=True)
    (tmp_path / "secret.parquet").write_bytes(b"x")
    (volume / "in" / "x.parquet").symlink_to(tmp_path / "secret.parquet")
    (volume / "in" / "y.parquet").symlink_to(volume / "z.parquet")
    monkeypatch.setenv("FUSIONRUN_MOUNT", str(volume))
    with pytest.raises(UserError, match="leads out of the volume"):
        inside_volume(volume / "in" / "x.parquet")
    assert inside_volume(volume / "in" / "y.parquet") == volume / "in" / "y.parquet"
    with pytest.raises(UserError):
        list(read_rows(volume / "in" / "x.parquet", Response))


def test_a_column_of_a_newer_release_is_ignored(tmp_path):
    class NewerVerdict(Verdict):
        judge: str = "a"

    row = {"prompt_id": "p", "source": "s", "sample_index": 0, "verdict": VerdictValue.RIGHT}
    write_rows(tmp_path / "x.parquet", NewerVerdict, [NewerVerdict(**row, judge="b")])
    assert list(read_rows(tmp_path / "x.parquet", Verdict)) == [Verdict(**row)]
