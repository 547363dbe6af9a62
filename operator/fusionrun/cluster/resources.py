"""The kinds of objects that the operator reads or writes, and how to reach them."""

from fusionrun.names import API_VERSION, KIND, PLURAL
from fusionrun.state.decide.prerequisites import KUEUE_GROUP

RESOURCES: dict[tuple[str, str], tuple[str, bool]] = {
    (API_VERSION, KIND): (PLURAL, True),
    ("v1", "ConfigMap"): ("configmaps", True),
    ("v1", "Event"): ("events", True),
    ("v1", "Node"): ("nodes", False),
    ("v1", "PersistentVolumeClaim"): ("persistentvolumeclaims", True),
    ("v1", "Namespace"): ("namespaces", False),
    ("v1", "Pod"): ("pods", True),
    ("v1", "Secret"): ("secrets", True),
    ("v1", "Service"): ("services", True),
    ("apps/v1", "Deployment"): ("deployments", True),
    ("batch/v1", "Job"): ("jobs", True),
    ("coordination.k8s.io/v1", "Lease"): ("leases", True),
    ("kubeflow.org/v1", "PyTorchJob"): ("pytorchjobs", True),
    ("trainer.kubeflow.org/v1alpha1", "TrainJob"): ("trainjobs", True),
    ("trainer.kubeflow.org/v1alpha1", "TrainingRuntime"): ("trainingruntimes", True),
    ("scheduling.x-k8s.io/v1alpha1", "PodGroup"): ("podgroups", True),
    ("scheduling.volcano.sh/v1beta1", "PodGroup"): ("podgroups", True),
    ("networking.k8s.io/v1", "NetworkPolicy"): ("networkpolicies", True),
    ("node.k8s.io/v1", "RuntimeClass"): ("runtimeclasses", False),
    ("scheduling.k8s.io/v1", "PriorityClass"): ("priorityclasses", False),
    (KUEUE_GROUP, "LocalQueue"): ("localqueues", True),
    (KUEUE_GROUP, "Workload"): ("workloads", True),
    (KUEUE_GROUP, "WorkloadPriorityClass"): ("workloadpriorityclasses", False),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"): ("customresourcedefinitions", False),
}
"""Plural and whether it is namespaced, for each kind, by apiVersion (or group, if discovered) and kind."""

PREFERRED_VERSIONS: dict[str, tuple[str, ...]] = {KUEUE_GROUP: ("v1beta2", "v1beta1")}
"""Groups whose served version differs between clusters, with the versions to use in order of preference.

Source: Kueue 0.20 release notes (kubernetes-sigs/kueue#14558): v1beta1 is no longer served.
"""
