# The cluster of KUBECONFIG: existing.sh COMMAND. It is only checked, and never changed.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/requirements.sh"
case $1 in
    env) echo "export KUBECONFIG='${KUBECONFIG:-$HOME/.kube/config}'" ;;
    down) log "CLUSTER=existing is not changed" ;;
    check | up | status)
        command -v kubectl >/dev/null || fail "kubectl not found: $KUBECTL_DOCS"
        kubectl --request-timeout=10s get --raw /readyz >/dev/null ||
            fail "the API server does not answer; KUBECONFIG is '${KUBECONFIG:-unset, so ~/.kube/config}'"
        check_requirements
        log "ready: $(kubectl config current-context)"
        ;;
esac
