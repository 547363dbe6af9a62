# The cluster of KUBECONFIG: existing.sh COMMAND. It is only checked, and never changed.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$HERE/requirements.sh"

# Show what the cluster has, and what to do about the rest. Exits 1 if something is missing that every run needs.
show() {
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "python3 must be Python 3.11 or newer"
    PYTHONPATH="$HERE/../../operator" python3 -m fusionrun check --namespace "${NAMESPACE:-fusion}"
}

case $1 in
    env) echo "export KUBECONFIG='${KUBECONFIG:-$HOME/.kube/config}'" ;;
    down) log "CLUSTER=existing is not changed" ;;
    check | up | status)
        command -v kubectl >/dev/null || fail "kubectl not found: $KUBECTL_DOCS"
        kubectl --request-timeout=10s get --raw /readyz >/dev/null ||
            fail "the API server does not answer; KUBECONFIG is '${KUBECONFIG:-unset, so ~/.kube/config}'"
        [[ $1 != status ]] || show
        check_requirements
        log "ready: $(kubectl config current-context)"
        ;;
esac
