# A kind cluster with the training operator: kind.sh COMMAND.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$HERE/requirements.sh"
KIND_CLUSTER=${KIND_CLUSTER:-fusionrun}
KIND_DIR=${FUSIONRUN_CACHE:-$HOME/.cache/fusionrun}/kind
export KUBECONFIG=$KIND_DIR/kubeconfig

check_programs() {
    local missing=()
    command -v kind >/dev/null || missing+=("kind: go install sigs.k8s.io/kind@latest")
    docker info >/dev/null 2>&1 || missing+=("a running Docker daemon: https://docs.docker.com/engine/install")
    command -v kubectl >/dev/null || missing+=("kubectl: $KUBECTL_DOCS")
    fail_if_missing "missing for CLUSTER=kind" "${missing[@]}"
}

exists() { kind get clusters 2>/dev/null | grep -qx "$KIND_CLUSTER"; }

[[ $1 == env ]] || check_programs
case $1 in
    check) ;;
    env) echo "export KUBECONFIG='$KUBECONFIG'" ;;
    up)
        mkdir -p "$KIND_DIR"
        if exists; then
            kind export kubeconfig --name "$KIND_CLUSTER"
        else
            kind create cluster --name "$KIND_CLUSTER" --wait 120s
        fi
        kubectl apply --server-side --force-conflicts -k "$HERE/training-operator"
        kubectl -n kubeflow rollout status deployment/training-operator --timeout=300s
        check_requirements
        log "ready: export KUBECONFIG=$KUBECONFIG"
        ;;
    down)
        kind delete cluster --name "$KIND_CLUSTER"
        rm -rf "$KIND_DIR"
        ;;
    status)
        exists || fail "kind cluster $KIND_CLUSTER not found: run hack/cluster/up"
        kubectl get nodes
        kubectl get pods --all-namespaces
        check_requirements
        ;;
esac
