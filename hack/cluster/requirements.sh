# Messages, and the requirements that FusionRuns have of any cluster. Sourced.

TRAINING_OPERATOR_VERSION=v1.9.3
KUBECTL_DOCS=https://kubernetes.io/docs/tasks/tools

log() { printf '%s\n' "cluster: $*"; }

fail() {
    log "$@" >&2
    exit 1
}

# fail_if_missing TITLE ITEM...: list the items and exit, unless there are none.
fail_if_missing() {
    (($# > 1)) || return 0
    log "$1:" >&2
    shift
    printf '  - %s\n' "$@" >&2
    exit 1
}

# List everything that is missing, with its installation.
check_requirements() {
    local missing=()
    [[ -n $(kubectl get storageclass -o name 2>/dev/null) ]] || missing+=(
        "a StorageClass: the models and data of a FusionRun are on a claim that many pods mount")
    command -v helm >/dev/null || missing+=("helm: https://helm.sh/docs/intro/install")
    fail_if_missing "the cluster lacks" "${missing[@]}"
    warn_if_workers_are_refused
}

# The upstream init container has no securityContext: a namespace under the restricted Pod Security Standard refuses the
# workers, and a run with several nodes waits forever.
warn_if_workers_are_refused() {
    local arguments
    kubectl get crd pytorchjobs.kubeflow.org >/dev/null 2>&1 || return 0
    arguments=$(kubectl get deployments --all-namespaces --field-selector metadata.name=training-operator \
        -o 'jsonpath={.items[*].spec.template.spec.containers[0].args}' 2>/dev/null) || return 0
    [[ $arguments == *--pytorch-init-container-template-file* ]] ||
        log "warning: a namespace under the restricted Pod Security Standard refuses the init container of the training" \
            "operator's workers; for runs with several nodes see docs/operations.md (Install)"
}
