"""What the operator is told when it starts: images, intervals, addresses. Read from a file by __main__."""

from dataclasses import dataclass, field

from pydantic import ConfigDict

_CLOSED = ConfigDict(extra="forbid")
"""A misspelt field of the settings file is refused, not ignored."""


@dataclass(frozen=True)
class Images:
    """Image references by the stages that run in them (images/README.md)."""

    __pydantic_config__ = _CLOSED

    data: str
    serve: str
    train: str
    reward: str
    sandbox: str
    pull_policy: str = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Settings:
    """Settings of one operator process."""

    __pydantic_config__ = _CLOSED

    images: Images
    namespaces: tuple[str, ...] = ()
    """The only namespaces to watch; empty for all."""
    progress_url: str = ""
    """Base URL at which pods reach the operator's progress endpoint, e.g. ``http://fusionrun.fusionrun-system:8090``."""
    progress_port: int = 8090
    metrics_port: int = 8000
    health_port: int = 8080
    resync_seconds: float = 600.0
    """Time between two resyncs: everything is listed, and every unfinished run is reconciled at least so often."""
    missing_seconds: float = 5.0
    """How long until a prerequisite that was missing is looked for again."""
    cpu_environment: dict[str, str] = field(default_factory=dict)
    """Environment added to every server and training pod, e.g. ``VLLM_CPU_KVCACHE_SPACE`` on machines without GPUs."""
    serve_extra_args: tuple[str, ...] = ()
    """Arguments added to every ``vllm serve``, e.g. ``--enforce-eager`` on machines without GPUs."""
    default_requests: dict[str, str] = field(default_factory=lambda: {"cpu": "100m", "memory": "256Mi"})
    """Requests of a pod whose stage names none."""
    default_limits: dict[str, str] = field(default_factory=lambda: {"memory": "4Gi"})
