"""The interface of a stage's pod besides its task and result: files, environment, ports, exit codes and annotations.

Operators of other releases read and set them: their names and values never change.
"""

TASK_PATH = "/etc/fusionrun/task.json"
TERMINATION_PATH = "/dev/termination-log"

TASK_ENV = "FUSIONRUN_TASK"
TERMINATION_ENV = "FUSIONRUN_TERMINATION"
MOUNT_ENV = "FUSIONRUN_MOUNT"
"""These three replace ``TASK_PATH``, ``TERMINATION_PATH`` and ``artifacts.MOUNT_PATH`` outside a pod."""
TASK_DIGEST_ENV = "FUSIONRUN_TASK_SHA256"
"""SHA-256 of the task file. A pod refuses another task: whoever may create ConfigMaps could replace the operator's."""
POD_UID_ENV = "FUSIONRUN_POD_UID"
API_KEY_ENV = "FUSIONRUN_API_KEY"
"""API key of the external endpoint, or of the run's own server, that a stage calls."""
COMPLETION_INDEX_ENV = "JOB_COMPLETION_INDEX"
"""Shard of a pod. Source: Kubernetes, Indexed Job: the completion index as an environment variable."""
COMPLETION_INDEX_ANNOTATION = "batch.kubernetes.io/job-completion-index"
"""Shard of a pod. Source: Kubernetes, Indexed Job: the completion index as an annotation."""

PROGRESS_URL_ENV = "FUSIONRUN_PROGRESS_URL"
PROGRESS_PATH = "/v1/progress"
"""Path below the progress URL to which a pod posts its Progress."""
STALL_SECONDS_ENV = "FUSIONRUN_STALL_SECONDS"
"""Seconds without progress after which a pod ends itself with ``EXIT_INFRASTRUCTURE``; unset for no limit."""
LOG_FORMAT_ENV = "FUSIONRUN_LOG_FORMAT"
"""``json`` for one JSON object per line; unset for text."""
METRICS_PORT_ENV = "FUSIONRUN_METRICS_PORT"
METRICS_PORT = 9464
"""Port on which ``generate`` and ``judge`` serve ``/metrics``.

Source: the default port of OpenTelemetry's Prometheus exporter.
"""

EXIT_USER_ERROR = 2
"""The user must change something: the pod is not retried."""
EXIT_INFRASTRUCTURE = 130
"""The error may be transient. Source: PyTorchJob's ExitCode policy, 1-127 permanent, 128-255 retryable."""
EXIT_SERVER_WEDGED = 131
"""The server generates no tokens: it is restarted before ``generate`` is retried."""
EXIT_SIGTERM = 143
"""SIGTERM ended the process: its pod was deleted. Source: POSIX shells, 128 + the number of the signal."""
