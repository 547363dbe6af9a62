# The foreign programs of the integration tests: NAME VERSION MODULE PACKAGE FOLDER, where FOLDER has its manifests. Sourced.
INTEGRATIONS=(
    "kueue 0.19.2 sigs.k8s.io/kueue cmd/kueue config"
    "kueue 0.9.1 sigs.k8s.io/kueue cmd/kueue config"
    "jobset 0.11.0 sigs.k8s.io/jobset . config"
    "trainer 2.3.0 github.com/kubeflow/trainer/v2 cmd/trainer-controller-manager manifests"
    "versitygw 1.8.0 github.com/versity/versitygw cmd/versitygw -"
    "registry 3.1.2 github.com/distribution/distribution/v3 cmd/registry -"
    "crane 0.22.1 github.com/google/go-containerregistry cmd/crane -"
    "buildx 0.29.1 github.com/docker/buildx cmd/buildx -"
    "actionlint 1.7.12 github.com/rhysd/actionlint cmd/actionlint -"
)
PROCESSES=" registry crane buildx actionlint " # no test runs them in pods: they need no image
