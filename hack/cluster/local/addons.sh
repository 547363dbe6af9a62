# The add-ons of the cluster: DNS, storage, network policies, the isolated network, the training operator. Sourced.

apply_addons() {
    local rendered=$CLUSTER_DIR/config/manifests
    mkdir -p "$VOLUMES"/pv-{0,1,2,3}
    rm -rf "$rendered"
    mkdir -p "$rendered"
    cp -r "$HERE/manifests/training-operator" "$rendered/"
    cp -r "$(dirname "$(readlink "$BIN/training-operator")")/manifests" "$rendered/training-operator/upstream"
    cp "$PKI"/training-operator{,-ca}.{crt,key} "$rendered/training-operator/"
    fill manifests/training-operator/deployment.yaml >"$rendered/training-operator/deployment.yaml"
    local name
    for name in node storage isolated coredns network-policies; do fill "manifests/$name.yaml" >"$rendered/$name.yaml"; done
    volumes >>"$rendered/storage.yaml"
    apply -f "$rendered/node.yaml" -f "$rendered/storage.yaml" -f "$rendered/isolated.yaml" -f "$rendered/coredns.yaml" \
        -f "$rendered/network-policies.yaml"
    apply -k "$rendered/training-operator"
    release_volumes
}

# Four volumes. The first two are reserved, so that these claims get the same data in the next cluster.
volumes() {
    local VOLUME CLAIM_REF namespaces=(fusionrun-demo fusionrun-test "" "") i
    for i in "${!namespaces[@]}"; do
        VOLUME=pv-$i CLAIM_REF=
        [[ -z ${namespaces[i]} ]] ||
            CLAIM_REF="claimRef: {apiVersion: v1, kind: PersistentVolumeClaim, namespace: ${namespaces[i]}, name: fusion-data}"
        fill manifests/volume.yaml
    done
}

apply() {
    kubectl apply --server-side --force-conflicts "$@" >>"$LOG/addons.log" 2>&1 ||
        fail_with_log addons "kubectl apply $* failed"
}

wait_for_addons() {
    available kube-system deployment/coredns
    available kube-system daemonset/kube-network-policies
    available kubeflow deployment/training-operator
}

# available NAMESPACE KIND/NAME
available() {
    kubectl -n "$1" rollout status "$2" --timeout=90s >/dev/null 2>&1 && return
    kubectl -n "$1" get pods >&2
    kubectl -n "$1" logs "$2" --tail=15 >&2
    fail "$2 is not available: see $LOG/pods and 'kubectl -n $1 describe pods'"
}

# A volume keeps its data after its claim is deleted. Make it Available again, for the same claim if it is reserved.
release_volumes() {
    local volume
    for volume in $(kubectl get persistentvolumes \
        -o 'jsonpath={range .items[?(@.status.phase=="Released")]}{.metadata.name} {end}'); do
        kubectl patch persistentvolume "$volume" --type=merge -p '{"spec": {"claimRef": null}}' >/dev/null
        apply -f "$CLUSTER_DIR/config/manifests/storage.yaml"
    done
}
