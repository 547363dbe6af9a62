"""API group, label keys, and the names of objects. Only this module defines label keys."""

import hashlib
import re

GROUP = "fusionrun.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "FusionRun"
PLURAL = "fusionruns"
SINGULAR = "fusionrun"
SHORT_NAME = "fr"

FIELD_MANAGER = "fusionrun-operator"

LABEL_RUN = f"{GROUP}/run"
LABEL_RUN_UID = f"{GROUP}/run-uid"
"""Label with the UID of the run: objects of a deleted run of the same name may still exist."""
LABEL_STAGE = f"{GROUP}/stage"
LABEL_ATTEMPT = f"{GROUP}/attempt"
LABEL_ARTIFACT = f"{GROUP}/artifact"
"""Label of a workload: the digest of the artifact that it makes or, for a server, that its client makes."""
LABEL_SANDBOX = f"{GROUP}/sandbox"
"""Label of pods that run model-written programs, for their NetworkPolicy."""
LABEL_REMOTE_CODE = f"{GROUP}/remote-code"
"""Label of pods that run code of a model, for their NetworkPolicy."""
NETWORK_CHECK_CONTAINER = "network-check"
"""Init container of a server that runs code of a model."""
LABEL_QUEUE = "kueue.x-k8s.io/queue-name"
"""Label that names the LocalQueue of an object. Source: Kueue, "Run Jobs"."""
LABEL_QUEUE_PRIORITY = "kueue.x-k8s.io/priority-class"
"""Label that names the WorkloadPriorityClass of an object. Source: Kueue, "Workload Priority Class"."""
LABEL_QUEUE_MANAGED = "kueue.x-k8s.io/managed"
"""Label that Kueue sets on a pod that it queues. Source: Kueue, pkg/controller/jobs/pod (0.9.1 and 0.19.2)."""
LABEL_QUEUE_OWNER = "kueue.x-k8s.io/job-uid"
"""Label of a Workload of Kueue: the UID of the object that it queues. Source: Kueue, pkg/controller/constants."""
ANNOTATION_TASK = f"{GROUP}/task-sha256"
"""Annotation of a workload: the SHA-256 of its task, since anybody who may write ConfigMaps could replace that."""
ANNOTATION_REVISION = "deployment.kubernetes.io/revision"
"""Annotation of a Deployment: the number of its pod templates so far. Source: Kubernetes, "Deployments"."""
ANNOTATION_RETRY = f"{GROUP}/retry"
"""Annotation of a FusionRun: each new value retries it if it has failed (``state.decide.run_retry``)."""
LABEL_COMPONENT = "app.kubernetes.io/component"
LABEL_NAME = "app.kubernetes.io/name"
LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"

MANAGED_BY = "fusionrun-operator"

RUN_NAME_MAX = 50
"""Longest name of a FusionRun, in characters.

Source: PyTorchJob and Service names are DNS-1035 labels of at most 63 characters, and the training operator
appends up to ``-worker-999`` (kubeflow/training-operator, pkg/controller.v1/common). ``object_name`` appends a stage
and a digest as well, and truncates the text before them.
"""

OBJECT_NAME_MAX = 50
DIGEST_LENGTH = 10


def digest_of(*parts: str, length: int = DIGEST_LENGTH) -> str:
    """Hash the parts to ``length`` hexadecimal digits."""
    return hashlib.sha256("\x00".join(parts).encode()).hexdigest()[:length]


def dns_label(text: str) -> str:
    """Convert text to a DNS-1035 label: lower case, with dashes for dots and slashes, and a letter first."""
    label = re.sub(r"[^a-z0-9-]+", "-", text.lower()).strip("-")
    return label if label[:1].isalpha() else f"r-{label}"


def object_name(run: str, stage: str, digest: str, attempt: int = 0, longest: int = OBJECT_NAME_MAX) -> str:
    """Return the name of a child object: a DNS-1035 label of at most ``longest`` characters.

    It has the names of the run and of the stage, and a digest that depends on the UID of the run. Names of retries end
    in ``-r1``, ``-r2``.
    """
    tail = f"-{digest[:DIGEST_LENGTH]}" + (f"-r{attempt}" if attempt else "")
    head = dns_label(f"{run}-{stage}")[: longest - len(tail)].rstrip("-")
    return head + tail


def stage_label(stage: str) -> str:
    """Encode the name of a stage as a label value, which must not contain a slash."""
    return stage.replace("/", ".")


def stage_from_label(value: str) -> str:
    """Decode the name of a stage from a label value: ``generate.qwen`` is ``generate/qwen``."""
    return value.replace(".", "/", 1)


def stage_kind(stage: str) -> str:
    """Return the kind of a stage from its name in the status of a run, which has no field for the kind."""
    return stage.partition("/")[0]


def spec_config_map(run: str) -> str:
    """Return the name of the immutable ConfigMap with the resolved spec and the images of a run.

    Dots in the name of the run are kept, so that two runs never share a ConfigMap.
    """
    return f"{run}-spec"


def resolved_config_map(run: str) -> str:
    """Return the name of the immutable ConfigMap with the result of ``resolve``: pins and complete artifacts."""
    return f"{run}-resolved"
