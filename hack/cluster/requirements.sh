# What a cluster must offer to FusionRuns, whoever made it. Sourced.

TRAINING_OPERATOR_VERSION=v1.9.3

# Name everything that is missing, with the way to get it.
check_requirements() {
    local missing=()
    kubectl get crd pytorchjobs.kubeflow.org >/dev/null 2>&1 || missing+=(
        "PyTorchJobs: kubectl apply --server-side -k 'github.com/kubeflow/training-operator.git/manifests/overlays/standalone?ref=$TRAINING_OPERATOR_VERSION'")
    [[ -n $(kubectl get storageclass -o name 2>/dev/null) ]] || missing+=(
        "a StorageClass: FusionRuns keep models and data on a claim that many pods mount")
    command -v helm >/dev/null || missing+=("helm on the PATH: https://helm.sh/docs/intro/install")
    if ((${#missing[@]})); then
        say "the cluster lacks:" >&2
        printf '  - %s\n' "${missing[@]}" >&2
        exit 1
    fi
}
