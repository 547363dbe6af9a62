import pytest

pytest.importorskip("pyarrow")

from fusionrun.api.records import Message, PreferencePair, Prompt, Response, SftExample, Verdict, VerdictValue
from fusionrun_stages.errors import UserError
from fusionrun_stages.shards import (
    JsonLines,
    RowWriter,
    arrow_schema,
    copy_tree,
    inside_volume,
    read_json_lines,
    read_rows,
    shard_path,
    sort_rows,
    write_atomic,
    write_rows,
)


def response(index: int, text: str = "t") -> Response:
    return Response(
        prompt_id=f"{index % 3:016x}", dataset="d", source="s", sample_index=index, text=text, finish_reason="stop"
    )


def test_a_torn_last_line_is_passed_over_and_cut_off(tmp_path):
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


def test_every_row_class_survives_parquet(tmp_path):
    message = Message(role="user", content="hi")
    rows = {
        Prompt: Prompt(prompt_id="p", dataset="d", task="Coding", prompt="x", tests=["a", "b"]),
        Response: response(1),
        Verdict: Verdict(prompt_id="p", source="s", sample_index=0, verdict=VerdictValue.UNKNOWN),
        SftExample: SftExample(prompt_id="p", dataset="d", source="s", messages=[message]),
        PreferencePair: PreferencePair(
            prompt_id="p", dataset="d", source="s", prompt=[message], chosen=[message], rejected=[message],
            chosen_score_micro=2, rejected_score_micro=1,
        ),
    }  # fmt: skip
    for model, row in rows.items():
        path = tmp_path / f"{model.__name__}.parquet"
        assert write_rows(path, model, [row]) == 1
        assert list(read_rows(path, model)) == [row]
        assert arrow_schema(model).names == list(model.model_fields)


def test_a_writer_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), RowWriter(tmp_path / "x.parquet", Response) as writer:
        writer.append(response(1))
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_sort_rows_sorts_by_prompt_then_sample(tmp_path):
    path = shard_path(tmp_path, 0, 1)
    write_rows(path, Response, [response(i) for i in (5, 4, 3, 2, 1, 0)])
    sort_rows(path, ["prompt_id", "sample_index"])
    keys = [(r.prompt_id, r.sample_index) for r in read_rows(path, Response)]
    assert keys == sorted(keys)
    assert path.name == "00000-of-00001.parquet"


def test_write_atomic_replaces_and_leaves_no_part(tmp_path):
    path = tmp_path / "a" / "manifest.json"
    write_atomic(path, b"1")
    write_atomic(path, b"2")
    assert path.read_bytes() == b"2"
    assert list(path.parent.iterdir()) == [path]


def test_a_link_out_of_the_volume_is_refused(tmp_path, monkeypatch):
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


def test_copy_tree_is_whole(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").write_text("c")
    copy_tree(tmp_path / "a", tmp_path / "z")
    assert (tmp_path / "z" / "b" / "c").read_text() == "c"
