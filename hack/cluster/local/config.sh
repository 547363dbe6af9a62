# Fill the templates in config/ with this machine's paths and addresses. Sourced.

write_config() {
    local config=$CLUSTER_DIR/config
    mkdir -p "$config/cni" "$config/cni-isolated"
    fill config/containerd.toml >"$config/containerd.toml"
    fill config/cni.conflist >"$config/cni/10-pods.conflist"
    fill config/cni-isolated.conflist >"$config/cni-isolated/10-isolated.conflist"
    fill config/kubelet.yaml >"$config/kubelet.yaml"
    fill config/proxy.yaml >"$config/proxy.yaml"
    fill config/audit.yaml >"$config/audit.yaml"
}

# fill TEMPLATE: every @NAME@ becomes the value of the setting NAME.
fill() {
    local text name
    text=$(<"$HERE/$1")
    while [[ $text =~ @([A-Z_]+)@ ]]; do
        name=${BASH_REMATCH[1]}
        text=${text//"@$name@"/${!name}}
    done
    printf '%s\n' "$text"
}
