# The address of the node, and the removal of all changes to the network of the machine. Sourced.

# Written by the kubelet, kube-proxy and the CNI plugins; restored by restore_sysctls.
SYSCTLS=(
    net.ipv4.ip_forward net.ipv6.conf.all.forwarding net.ipv4.conf.all.route_localnet
    net.bridge.bridge-nf-call-iptables net.bridge.bridge-nf-call-ip6tables
    vm.overcommit_memory kernel.panic kernel.panic_on_oops kernel.keys.root_maxkeys kernel.keys.root_maxbytes
)

save_machine_state() {
    [[ ! -f $RUN/sysctls ]] || return 0
    local name
    for name in "${SYSCTLS[@]}"; do sysctl -e "$name"; done >"$RUN/sysctls.part" 2>/dev/null
    nft list tables >"$RUN/tables" 2>/dev/null || true
    all_chains >"$RUN/chains"
    mv "$RUN/sysctls.part" "$RUN/sysctls"
}

restore_sysctls() {
    [[ ! -f $RUN/sysctls ]] || sysctl -q -e -p "$RUN/sysctls"
    # A module that is in use stays loaded.
    [[ ! -f $RUN/br_netfilter ]] || modprobe -r br_netfilter 2>/dev/null || true
}

all_chains() { { iptables-save; ip6tables-save; } 2>/dev/null | sed -n 's/^:\([^ ]*\) .*/\1/p' | sort -u; }

make_node_link() {
    # Without it, a pod that calls another pod of the bridge through a Service gets replies from the wrong address.
    if [[ ! -e /proc/sys/net/bridge/bridge-nf-call-iptables ]]; then
        if modprobe br_netfilter 2>/dev/null; then
            touch "$RUN/br_netfilter"
        else
            log "warning: the kernel has no br_netfilter: pods cannot reach each other through a Service"
        fi
    fi
    ip link show "$NODE_LINK" >/dev/null 2>&1 || ip link add "$NODE_LINK" type bridge
    ip link set "$NODE_LINK" up
    ip address replace "$NODE_IP/32" dev "$NODE_LINK"
    # Packets to the Service subnet never leave the machine, also if no Service has the address.
    ip route replace "$SERVICE_SUBNET" dev "$NODE_LINK" src "$NODE_IP"
}

# The isolated bridge has no routes. These rules also drop packets that need none: to link-local addresses of this
# machine, and between isolated pods.
close_isolated_network() {
    local command chain
    for command in iptables ip6tables; do
        for chain in INPUT FORWARD; do
            "$command" -w -C "$chain" -i "$ISOLATED_LINK" -j DROP 2>/dev/null ||
                "$command" -w -I "$chain" -i "$ISOLATED_LINK" -j DROP
        done
    done
}

open_isolated_network() {
    local command chain
    for command in iptables ip6tables; do
        for chain in INPUT FORWARD; do
            while "$command" -w -D "$chain" -i "$ISOLATED_LINK" -j DROP 2>/dev/null; do :; done
        done
    done
}

# kube-network-policies decides on each new connection from or to a pod: in POSTROUTING, where the address of a Service is
# replaced by that of a pod, and in INPUT on those to this node. Its own rules need the kernel's nft_queue, which not every
# kernel has, and lack INPUT, although the API server of this cluster is on the node.
#
# Connections of root on the node are allowed: the kubelet's probes come from there. While the program does not run,
# nothing is closed (--queue-bypass).
POLICY_RULES=(
    "INPUT -s $POD_SUBNET"
    "POSTROUTING -s $POD_SUBNET -m owner ! --uid-owner 0"
    "POSTROUTING -d $POD_SUBNET ! -s $POD_SUBNET -m owner ! --uid-owner 0"
)
POLICY_TARGET="-m conntrack --ctstate NEW -j NFQUEUE --queue-num $POLICIES_QUEUE --queue-bypass"

# policy_rule -A|-C|-D RULE
policy_rule() {
    # shellcheck disable=SC2086
    iptables -w -t mangle "$1" $2 $POLICY_TARGET
}

enforce_policies() {
    local rule
    for rule in "${POLICY_RULES[@]}"; do
        policy_rule -C "$rule" 2>/dev/null || policy_rule -A "$rule" ||
            fail "iptables has no target NFQUEUE: NetworkPolicies cannot be enforced"
    done
}

stop_enforcing_policies() {
    local rule
    for rule in "${POLICY_RULES[@]}"; do
        while policy_rule -D "$rule" 2>/dev/null; do :; done
    done
    nft delete table inet kube-network-policies 2>/dev/null || true
}

# remove_network NAMESPACES: these network namespaces, those connected to the bridges, the bridges and the rules.
remove_network() {
    local link namespace
    for link in "$POD_LINK" "$ISOLATED_LINK"; do
        for namespace in $(ip -o link show master "$link" 2>/dev/null | grep -o 'link-netns [^ ]*' | cut -d' ' -f2); do
            ip netns delete "$namespace" || true # also deletes its veth pair
        done
        ip link delete "$link" 2>/dev/null || true
    done
    for namespace in $1; do ip netns delete "$namespace" 2>/dev/null || true; done
    rmdir /run/netns 2>/dev/null || true
    ip link delete "$NODE_LINK" 2>/dev/null || true
    open_isolated_network
    stop_enforcing_policies
    remove_rules iptables
    remove_rules ip6tables
    remove_empty_tables
}

# The tables that iptables creates with the first rule and never deletes.
remove_empty_tables() {
    [[ -f $RUN/tables ]] || return 0
    local family table command
    while read -r _ family table; do
        command=iptables-save
        [[ $family != ip6 ]] || command=ip6tables-save
        grep -qx "table $family $table" "$RUN/tables" || [[ ! $table =~ ^(nat|filter|mangle|raw)$ ]] ||
            "$command" -t "$table" | grep -q -e '^-A' -e '^:.* - ' || nft delete table "$family" "$table"
    done < <(nft list tables 2>/dev/null)
}

# remove_rules iptables|ip6tables: the chains of Kubernetes and of the CNI networks, and the rules that jump to them.
remove_rules() {
    local table rules chains rule chain
    for table in nat filter mangle raw; do
        rules=$("$1-save" -t "$table" 2>/dev/null) || continue
        chains=$(cluster_chains <<<"$rules")
        [[ -n $chains ]] || continue
        while IFS= read -r rule; do
            # eval, since iptables-save quotes comments.
            eval "$1 -w -t $table -D ${rule#-A }" || true
        done < <(grep -E "^-A (INPUT|OUTPUT|FORWARD|PREROUTING|POSTROUTING) .*-j ($(tr ' ' '|' <<<"$chains"))( |$)" <<<"$rules")
        for chain in $chains; do "$1" -w -t "$table" -F "$chain"; done
        for chain in $chains; do "$1" -w -t "$table" -X "$chain" || true; done
    done
}

# The chains of Kubernetes and of pod addresses and ports in the output of iptables-save. Without the chains that existed
# before the cluster, and, while another Kubernetes runs, without those whose owner is unknown.
cluster_chains() {
    local shared='^:(KUBE-|CNI-HOSTPORT|CNI-DN)' before=$RUN/chains
    [[ -z $(other_kubernetes) ]] || shared='^$'
    [[ -f $before ]] || before=/dev/null
    awk -v shared="$shared" '$0 ~ shared { print substr($1, 2) }
         /^-A POSTROUTING .*name: ..?fusionrun/ { print $NF }
         /^-A CNI-.*name: ..?fusionrun/ { print $2 }' | sort -u | { grep -vxFf "$before" || true; } | xargs
}
