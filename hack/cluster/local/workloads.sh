# Stop every pod and remove what pods leave behind on the machine. Sourced.

# stop_pods NAMESPACES: through the API when it answers: then the kubelet unmounts volumes and releases addresses in good order.
stop_pods() {
    [[ -n $(pid_of kubelet) && -n $(pid_of containerd) && -x $BIN/kubectl ]] || return 0
    kubectl --request-timeout=2s get --raw /readyz >/dev/null 2>&1 || return 0
    kubectl delete pods --all-namespaces --all --grace-period=1 --wait=false >/dev/null 2>&1 || true
    local deadline=$((SECONDS + 30))
    while { has_tasks || has_namespaces "$1"; } && ((SECONDS < deadline)); do sleep 0.2; done
}

# A pod's network namespace is the last thing to go, after its processes, its address and its rules.
has_namespaces() {
    local namespace
    for namespace in $1; do
        [[ ! -e /run/netns/$namespace ]] || return 0
    done
    return 1
}

# ctr fails when a task ends while it lists: then there may be more.
has_tasks() {
    local tasks
    tasks=$(ctr tasks list -q 2>/dev/null) || return 0
    [[ -n $tasks ]]
}

# The network namespaces of the pods that still have a sandbox.
pod_namespaces() {
    grep -oh '/netns/cni-[0-9a-f-]*' "$RUN"/containerd/io.containerd.runtime.v2.task/k8s.io/*/config.json 2>/dev/null |
        sort -u | sed 's|.*/||' || true
}

# containerd's images stay, its containers must not: the next cluster knows nothing of them.
forget_containers() {
    [[ -n $(pid_of containerd) ]] || return 0
    local id
    for id in $(ctr tasks list -q); do ctr tasks delete --force "$id" >/dev/null 2>&1 || true; done
    for id in $(ctr containers list -q); do ctr containers delete "$id" >/dev/null 2>&1 || true; done
}

# What the daemons left because they had been killed: the pods' processes and containerd's shims.
kill_strays() {
    local pid process words bundle
    for pid in $(our_processes); do
        # A process of another PID namespace reads as 0, and killing 0 would be killing ourselves.
        ((pid == 0)) || kill -KILL "$pid" 2>/dev/null || true
    done
    for process in /proc/[0-9]*; do
        words=()
        mapfile -d '' -t words 2>/dev/null <"$process/cmdline" || continue
        if [[ ${words[0]:-} == */containerd-shim-runc-v2 && " ${words[*]} " == *" $CONTAINERD_SOCKET "* ]]; then
            kill -KILL "${process#/proc/}" 2>/dev/null || true
            gone_within 5 "${process#/proc/}" || true
        fi
    done
    # A shim that was killed leaves its socket and what libcni noted of its pod, in folders that all containerds share.
    for bundle in "$RUN"/containerd/io.containerd.runtime.v2.task/k8s.io/*; do
        [[ -d $bundle ]] || continue
        [[ ! -f $bundle/address ]] || rm -f "$(sed 's|^unix://||' "$bundle/address")"
        rm -f /var/lib/cni/results/*-"${bundle##*/}"-*
    done
    rmdir /run/containerd/s /run/containerd /var/lib/cni/results /var/lib/cni 2>/dev/null || true
    # containerd locks the folder of CNI's defaults, though we use another; its lock is all that is there then.
    if [[ $(ls -A /etc/cni/net.d 2>/dev/null) == cni.lock ]]; then rm -r /etc/cni; fi
}

# Where a kubelet keeps its pods' cgroups, of version 2 or 1. Those of kubelets in containers lie deeper.
kubepods() { find /sys/fs/cgroup -mindepth 1 -maxdepth 2 -type d -name kubepods 2>/dev/null || true; }

# The cgroups of our kubelet's pods and of our containerd's containers, told by the names of their folders: another
# Kubernetes may keep its own beside them.
our_cgroups() {
    local folder name names=()
    for folder in "$CLUSTER_DIR"/kubelet/pods/*/; do names+=(-o -name "pod$(basename "$folder")"); done
    for folder in "$RUN"/containerd/io.containerd.runtime.v2.task/k8s.io/*/; do names+=(-o -name "$(basename "$folder")"); done
    for folder in $(kubepods); do find "$folder" -depth -type d \( -false "${names[@]}" \) 2>/dev/null || true; done
}

our_processes() {
    local folder
    for folder in $(our_cgroups); do find "$folder" -name cgroup.procs -exec cat {} + 2>/dev/null || true; done | sort -u
}

unmount_all() {
    local mounts left
    # Innermost first. The volumes are bind-mounted below the kubelet's folder, which is about to be deleted.
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

# What the kubelet makes outside its own folder.
remove_kubelet_traces() {
    local folder
    for folder in $(our_cgroups); do find "$folder" -depth -type d -exec rmdir {} \; 2>/dev/null || true; done
    # The kubelet's links to its log files.
    find /var/log/containers -lname "$LOG/pods/*" -delete 2>/dev/null || true
    # What kubelets share.
    [[ -z $(other_kubernetes) ]] || return 0
    for folder in $(kubepods); do find "$folder" -depth -type d -exec rmdir {} \; 2>/dev/null || true; done
    find /var/log/containers -xtype l -delete 2>/dev/null || true
    rm -f /var/lib/kubelet/device-plugins/kubelet.sock
    rmdir /var/log/containers /var/lib/kubelet/device-plugins /var/lib/kubelet 2>/dev/null || true
}
