# What a cluster must offer to FusionRuns, whoever made it. Sourced.

TRAINING_OPERATOR_VERSION=v1.9.3

# Name everything that is missing, with the way to get it.
check_requirements() {
    local missing=()
    kubectl get crd pytorchjobs.kubeflow.org >/dev/null 2>&1 || missing+=(
        "PyTorchJobs: kubectl apply --server-side --force-conflicts -k hack/cluster/training-operator")
    [[ -n $(kubectl get storageclass -o name 2>/dev/null) ]] || missing+=(
        "a StorageClass: FusionRuns keep models and data on a claim that many pods mount")
    command -v helm >/dev/null || missing+=("helm on the PATH: https://helm.sh/docs/intro/install")
    if ((${#missing[@]})); then
        say "the cluster lacks:" >&2
        printf '  - %s\n' "${missing[@]}" >&2
        exit 1
    fi
    say_if_workers_are_refused
}

# Upstream's waiting container has no securityContext: a namespace under the restricted Pod Security Standard admits
# no worker then, and a run of several nodes waits in vain.
say_if_workers_are_refused() {
    local arguments
    arguments=$(kubectl get deployments --all-namespaces --field-selector metadata.name=training-operator \
        -o 'jsonpath={.items[*].spec.template.spec.containers[0].args}' 2>/dev/null) || return 0
    [[ $arguments == *--pytorch-init-container-template-file* ]] ||
        say "the training operator's workers wait in a container that a namespace under the restricted Pod Security" \
            "Standard refuses; docs/operations.md (Install) says what to do for runs of several nodes"
}
