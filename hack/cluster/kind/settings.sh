# The kind cluster's name and where its kubeconfig lies. Sourced.
KIND_CLUSTER=${KIND_CLUSTER:-fusionrun}
KIND_DIR=${FUSIONRUN_CACHE:-$HOME/.cache/fusionrun}/kind
export KUBECONFIG=$KIND_DIR/kubeconfig

check_programs() {
    local missing=()
    command -v kind >/dev/null || missing+=("kind: go install sigs.k8s.io/kind@latest")
    docker info >/dev/null 2>&1 || missing+=("docker with a daemon that answers: https://docs.docker.com/engine/install")
    command -v kubectl >/dev/null || missing+=("kubectl: https://kubernetes.io/docs/tasks/tools")
    if ((${#missing[@]})); then
        say "CLUSTER=kind lacks:" >&2
        printf '  - %s\n' "${missing[@]}" >&2
        exit 1
    fi
}

exists() { kind get clusters 2>/dev/null | grep -qx "$KIND_CLUSTER"; }
