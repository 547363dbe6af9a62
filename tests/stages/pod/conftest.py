import pytest

from fusionrun_stages.pod import lease


@pytest.fixture
def quick_leases(monkeypatch):
    monkeypatch.setattr(lease, "TOUCH_SECONDS", 0.02)
    monkeypatch.setattr(lease, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(lease, "SETTLE_SECONDS", 0.05)
