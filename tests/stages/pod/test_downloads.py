"""The bytes of a download are reported while it runs."""

import threading

from fusionrun_stages.pod import downloads


def test_the_bytes_of_a_download_are_reported_while_it_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "POLL_SECONDS", 0.001)
    reports, seen = [], threading.Event()

    def report(*values):
        reports.append(values)
        if values == (40, 100, "bytes"):
            seen.set()

    with downloads.reporting_bytes(tmp_path, 100, report):
        (tmp_path / "model.safetensors.incomplete").write_bytes(b"x" * 40)
        assert seen.wait(30)
    assert reports[-1] == (100, 100, "bytes")
    assert len(set(reports)) == len(reports)


def test_the_bytes_are_at_most_those_of_the_download(tmp_path, monkeypatch):
    """The folder may have files of an earlier attempt."""
    monkeypatch.setattr(downloads, "POLL_SECONDS", 0.001)
    (tmp_path / "old.bin").write_bytes(b"x" * 140)
    reports, seen = [], threading.Event()
    with downloads.reporting_bytes(tmp_path, 100, lambda *values: (reports.append(values), seen.set())):
        assert seen.wait(30)
    assert set(reports) == {(100, 100, "bytes")}
