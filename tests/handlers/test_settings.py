from pathlib import Path

import pytest
import yaml

from fusionrun.__main__ import main
from fusionrun.errors import SpecError
from fusionrun.settings_file import load_settings

VALUES = Path(__file__).parents[2] / "helm" / "fusionrun" / "values.yaml"

IMAGES = "images: {data: d, serve: s, train: t, reward: r, sandbox: x}\n"


def write(tmp_path, text):
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    return path


def test_settings_are_read_from_a_file(tmp_path):
    settings = load_settings(
        write(tmp_path, IMAGES + "namespaces: [a, b]\nserve_extra_args: [--enforce-eager]\nresync_seconds: 20\n")
    )
    assert settings.images.serve == "s"
    assert settings.namespaces == ("a", "b")
    assert settings.serve_extra_args == ("--enforce-eager",)
    assert settings.resync_seconds == 20.0


def test_the_charts_default_resources_are_those_that_the_reference_shows(tmp_path):
    settings = load_settings(write(tmp_path, IMAGES))
    stages = yaml.safe_load(VALUES.read_text())["stages"]
    values = stages["defaultResources"]
    assert stages["cpuRequestPerGpu"] == settings.cpu_request_per_gpu
    assert values == {"requests": settings.default_requests, "limits": settings.default_limits}


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (IMAGES + "resync_second: 20\n", "resync_second"),
        (IMAGES + "progress_port: many\n", "progress_port"),
        ("images: {data: d, serve: s, train: t, reward: r}\n", "images.sandbox"),
        (IMAGES.replace("sandbox: x", "sandbox: x, extra: y"), "images.extra"),
        ("", "images"),
        (IMAGES + "blocked_networks: [169.254.169.254/8]\n", "blocked_networks.0"),
    ],
)
def test_an_invalid_setting_is_named(tmp_path, text, field):
    with pytest.raises(SpecError) as caught:
        load_settings(write(tmp_path, text))
    assert caught.value.field == field


def test_the_key_of_the_model_servers_is_read_from_its_own_file(tmp_path):
    key = tmp_path / "key"
    key.write_bytes(b"k" * 64 + b"\n")
    settings = load_settings(write(tmp_path, IMAGES + f"server_key_file: {key}\n"))
    assert settings.server_key == b"k" * 64
    assert "kkkk" not in repr(settings)
    assert load_settings(write(tmp_path, IMAGES)).server_key == b""


@pytest.mark.parametrize(
    ("text", "field", "rule"),
    [
        ("server_key_file: {short}", "server_key_file", "at least 32 bytes"),
        ("server_key_file: {short}/none", "server_key_file", "cannot be read"),
        (f"server_key: {'k' * 32}", "server_key", "set server_key_file"),
    ],
)
def test_an_unusable_key_of_the_model_servers_is_named(tmp_path, text, field, rule):
    short = tmp_path / "short"
    short.write_text("k" * 31)
    with pytest.raises(SpecError, match=rule) as caught:
        load_settings(write(tmp_path, IMAGES + text.format(short=short) + "\n"))
    assert caught.value.field == field
    assert "kkk" not in str(caught.value)


def test_a_missing_or_invalid_file_is_named(tmp_path, capsys):
    with pytest.raises(SpecError, match="cannot be read"):
        load_settings(write(tmp_path, "{"))
    assert main(["--settings", str(tmp_path / "absent.yaml")]) == 2
    assert "cannot be read" in capsys.readouterr().err
