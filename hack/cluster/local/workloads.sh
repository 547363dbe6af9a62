# Stop all pods and remove their traces on the machine. Sourced.

# stop_pods NAMESPACES: delete the pods through the API, so that the kubelet unmounts volumes and releases addresses.
stop_pods() {
    [[ -n $(pid_of kubelet) && -n $(pid_of containerd) && -x $BIN/kubectl ]] || return 0
    kubectl --request-timeout=2s get --raw /readyz >/dev/null 2>&1 || return 0
    kubectl delete pods --all-namespaces --all --grace-period=1 --wait=false >/dev/null 2>&1 || true
    local deadline=$((SECONDS + 30))
    while { has_tasks || has_namespaces "$1"; } && ((SECONDS < deadline)); do sleep 0.2; done
}

# The network namespace of a pod is deleted after its processes, address and rules.
has_namespaces() {
    local namespace
    for namespace in $1; do
        [[ ! -e /run/netns/$namespace ]] || return 0
    done
    return 1
}

# ctr fails if a task ends while it lists tasks. Others may be left.
has_tasks() {
    local tasks
    tasks=$(ctr tasks list -q 2>/dev/null) || return 0
    [[ -n $tasks ]]
}

# The network namespaces of pods with a sandbox.
pod_namespaces() {
    grep -oh '/netns/cni-[0-9a-f-]*' "$RUN"/containerd/io.containerd.runtime.v2.task/k8s.io/*/config.json 2>/dev/null |
        sort -u | sed 's|.*/||' || true
}

# Delete containers, which are unknown to the next cluster. Images are kept.
forget_containers() {
    [[ -n $(pid_of containerd) ]] || return 0
    local id
    for id in $(ctr tasks list -q); do ctr tasks delete --force "$id" >/dev/null 2>&1 || true; done
    for id in $(ctr containers list -q); do ctr containers delete "$id" >/dev/null 2>&1 || true; done
}

# Kill pod processes and shims that are left after a daemon was killed.
kill_strays() {
    local pid process arguments bundle
    for pid in $(pod_processes); do
        # A process of another PID namespace is listed as 0, and kill 0 would end this script.
        ((pid == 0)) || kill -KILL "$pid" 2>/dev/null || true
    done
    for process in /proc/[0-9]*; do
        arguments=()
        mapfile -d '' -t arguments 2>/dev/null <"$process/cmdline" || continue
        if [[ ${arguments[0]:-} == */containerd-shim-runc-v2 && " ${arguments[*]} " == *" $CONTAINERD_SOCKET "* ]]; then
            kill -KILL "${process#/proc/}" 2>/dev/null || true
            gone_within 5 "${process#/proc/}" || true
        fi
    done
    # A killed shim leaves its socket and the CNI result of its pod in folders that all containerd processes share.
    for bundle in "$RUN"/containerd/io.containerd.runtime.v2.task/k8s.io/*; do
        [[ -d $bundle ]] || continue
        [[ ! -f $bundle/address ]] || rm -f "$(sed 's|^unix://||' "$bundle/address")"
        rm -f /var/lib/cni/results/*-"${bundle##*/}"-*
    done
    rmdir /run/containerd/s /run/containerd /var/lib/cni/results /var/lib/cni 2>/dev/null || true
    # containerd creates a lock in the default CNI folder, which is not used here.
    if [[ $(ls -A /etc/cni/net.d 2>/dev/null) == cni.lock ]]; then rm -r /etc/cni; fi
}

# The cgroups of pods, version 2 or 1. Those of kubelets in containers are deeper in the tree.
kubepods() { find /sys/fs/cgroup -mindepth 1 -maxdepth 2 -type d -name kubepods 2>/dev/null || true; }

# The cgroups of the pods and containers of this cluster, by name, since another Kubernetes may have cgroups beside them.
cluster_cgroups() {
    local folder name names=()
    for folder in "$CLUSTER_DIR"/kubelet/pods/*/; do names+=(-o -name "pod$(basename "$folder")"); done
    for folder in "$RUN"/containerd/io.containerd.runtime.v2.task/k8s.io/*/; do names+=(-o -name "$(basename "$folder")"); done
    for folder in $(kubepods); do find "$folder" -depth -type d \( -false "${names[@]}" \) 2>/dev/null || true; done
}

pod_processes() {
    local folder
    for folder in $(cluster_cgroups); do find "$folder" -name cgroup.procs -exec cat {} + 2>/dev/null || true; done | sort -u
}

unmount_all() {
    local mounts left
    # Innermost first. Volumes are bind-mounted below the folder of the kubelet, which is deleted next.
    mounts=$(mounted_below)
    while [[ -n $mounts ]]; do
        xargs -r -n 1 umount --lazy <<<"$mounts" 2>/dev/null || true
        left=$(mounted_below)
        [[ $left != "$mounts" ]] || fail "cannot unmount: $left"
        mounts=$left
    done
}

mounted_below() {
    awk -v a="$CLUSTER_DIR/" -v b="$RUN/" '{
        if (index($5, a) == 1 || index($5, b) == 1) print $5
    }' /proc/self/mountinfo | sort -r
}

# Files of the kubelet outside its folder.
remove_kubelet_traces() {
    local folder
    for folder in $(cluster_cgroups); do find "$folder" -depth -type d -exec rmdir {} \; 2>/dev/null || true; done
    # Links to the log files.
    find /var/log/containers -lname "$LOG/pods/*" -delete 2>/dev/null || true
    # Files that kubelets share.
    [[ -z $(other_kubernetes) ]] || return 0
    for folder in $(kubepods); do find "$folder" -depth -type d -exec rmdir {} \; 2>/dev/null || true; done
    find /var/log/containers -xtype l -delete 2>/dev/null || true
    rm -f /var/lib/kubelet/device-plugins/kubelet.sock
    rmdir /var/log/containers /var/lib/kubelet/device-plugins /var/lib/kubelet 2>/dev/null || true
}
