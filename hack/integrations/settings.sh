# The foreign programs of the integration tests: NAME VERSION MODULE PACKAGE FOLDER [MODULE=VERSION]..., where FOLDER has its
# manifests (- for none), and the last are replacements of modules that the proxy does not serve or that do not build together.
# Sourced.
FLUX_REPLACES="github.com/opencontainers/go-digest=v1.0.1-0.20220411205349-bde1400a84be gopkg.in/yaml.v3=v3.0.1"
KUSTOMIZE_REPLACES="sigs.k8s.io/kustomize/api=v0.21.1 sigs.k8s.io/kustomize/kyaml=v0.21.1"
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
    "workflow-controller 3.7.3 github.com/argoproj/argo-workflows/v3 cmd/workflow-controller manifests"
    "argo-cd-lua 2.14.21 github.com/argoproj/argo-cd/v2 util/lua -"
    "source-controller 1.9.6 github.com/fluxcd/source-controller . config $FLUX_REPLACES github.com/fluxcd/pkg/artifact=v0.18.0"
    "kustomize-controller 1.9.6 github.com/fluxcd/kustomize-controller . config $FLUX_REPLACES $KUSTOMIZE_REPLACES"
    "flux-health 1.9.6 github.com/fluxcd/kustomize-controller . - $FLUX_REPLACES $KUSTOMIZE_REPLACES"
)
# No test runs these in pods: they need no image.
PROCESSES=" registry crane buildx actionlint argo-cd-lua source-controller kustomize-controller flux-health workflow-controller "
# Only a benchmark runs these (hack/bench/scale): they are built when they are named.
NAMED_ONLY=" workflow-controller "
