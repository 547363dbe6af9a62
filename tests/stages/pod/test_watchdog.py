"""A stage that makes no progress ends its pod with an infrastructure error."""

import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from fusionrun.api.pod import EXIT_INFRASTRUCTURE
from fusionrun_stages.pod.watchdog import ACTIVE_BYTES, IO_FILE, Watchdog, io_bytes


class World:
    """A stage with a clock and a counter of transferred bytes."""

    def __init__(self) -> None:
        self.now, self.bytes, self.reported = 0.0, 0, []
        self.watchdog = Watchdog(
            lambda *progress, **_: self.reported.append(progress), 100, str, lambda: self.now, lambda: self.bytes
        )


@pytest.mark.parametrize(
    ("steps", "stalled"),
    [
        ([(99, 0, False)], False),
        ([(100, 0, False)], True),
        ([(90, 0, True), (90, 0, False)], False),
        ([(90, 0, True), (100, 0, False)], True),
        ([(90, ACTIVE_BYTES, False), (90, 0, False)], False),
        ([(90, ACTIVE_BYTES - 1, False), (10, 0, False)], True),
        ([(50, ACTIVE_BYTES // 2, False), (50, ACTIVE_BYTES // 2, False)], False),
    ],
    ids=["in time", "silent", "reports", "silent after a report", "transfers", "transfers little", "transfers slowly"],
)
def test_a_stage_is_stalled_without_reports_and_transfers(steps, stalled):
    world = World()
    for seconds, transferred, reports in steps:
        world.now += seconds
        world.bytes += transferred
        if reports:
            world.watchdog(1, 2, "steps")
        last = world.watchdog.is_stalled()
    assert last is stalled
    assert len(world.reported) == sum(reports for _, _, reports in steps)


@pytest.mark.skipif(not IO_FILE.exists(), reason="needs /proc/self/io")
def test_bytes_read_and_written_are_counted(tmp_path):
    before = io_bytes()
    (tmp_path / "file").write_bytes(bytes(ACTIVE_BYTES))
    (tmp_path / "file").read_bytes()
    assert io_bytes() - before >= 2 * ACTIVE_BYTES


@pytest.mark.parametrize(("seconds", "transferred", "checked"), [(60, 1, True), (60, 0, False), (0, 1, False)])
def test_checks_need_a_limit_and_a_kernel_that_counts_bytes(seconds, transferred, checked, monkeypatch):
    started = []
    monkeypatch.setattr("threading.Thread", lambda **fields: started.append(fields["name"]) or Mock())
    Watchdog(lambda *_, **__: None, seconds, str, transferred=lambda: transferred).start()
    assert started == ["watchdog"] * checked


STALLING = """
import os, sys, threading
from fusionrun_stages import __main__ as entry
from fusionrun_stages.pod import watchdog

watchdog.PRINT_SECONDS = entry.RELEASE_SECONDS = float(sys.argv[1])

class LeaseOnABlockedVolume:
    def release(self):
        threading.Event().wait()

if sys.argv[2:] == ["blocked"]:
    entry._leases.append(LeaseOnABlockedVolume())
    reading, writing = os.pipe()
    os.dup2(writing, 2)
    os.set_blocking(2, False)
    while True:
        try:
            os.write(2, b"x")
        except BlockingIOError:
            break
    os.set_blocking(2, True)

def blocked_in_a_collective_operation():
    threading.Event().wait()

watchdog.Watchdog(lambda *_, **__: None, 0.05, entry._leave_stalled).start()
blocked_in_a_collective_operation()
"""


def stall(message: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a process that stalls; check how it exits."""
    environment = os.environ | {"FUSIONRUN_TERMINATION": str(message)}
    command = [sys.executable, "-c", STALLING, *arguments]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == EXIT_INFRASTRUCTURE
    assert '"user_error":true' not in message.read_text()
    assert "no progress for" in message.read_text()
    return ended


def test_a_stalled_process_prints_its_stacks_and_exits(tmp_path):
    assert "in blocked_in_a_collective_operation" in stall(tmp_path / "message", "30").stderr


def test_a_stalled_process_exits_if_the_volume_blocks_its_output_and_its_lease(tmp_path):
    assert stall(tmp_path / "message", "0.05", "blocked").stderr == ""
