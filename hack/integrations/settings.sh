# The foreign programs of the integration tests: NAME VERSION MODULE PACKAGE FOLDER, where FOLDER has its manifests. Sourced.
INTEGRATIONS=(
    "kueue 0.19.2 sigs.k8s.io/kueue cmd/kueue config"
    "kueue 0.9.1 sigs.k8s.io/kueue cmd/kueue config"
    "jobset 0.11.0 sigs.k8s.io/jobset . config"
    "trainer 2.3.0 github.com/kubeflow/trainer/v2 cmd/trainer-controller-manager manifests"
    "versitygw 1.8.0 github.com/versity/versitygw cmd/versitygw -"
)
