# The name and the kubeconfig of the kind cluster, and its requirements. Sourced.
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$HERE/../requirements.sh"
KIND_CLUSTER=${KIND_CLUSTER:-fusionrun}
KIND_DIR=${FUSIONRUN_CACHE:-$HOME/.cache/fusionrun}/kind
export KUBECONFIG=$KIND_DIR/kubeconfig

check_programs() {
    local missing=()
    command -v kind >/dev/null || missing+=("kind: go install sigs.k8s.io/kind@latest")
    docker info >/dev/null 2>&1 || missing+=("a running Docker daemon: https://docs.docker.com/engine/install")
    command -v kubectl >/dev/null || missing+=("kubectl: https://kubernetes.io/docs/tasks/tools")
    fail_if_missing "missing for CLUSTER=kind" "${missing[@]}"
}

exists() { kind get clusters 2>/dev/null | grep -qx "$KIND_CLUSTER"; }
