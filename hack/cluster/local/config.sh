# Fill the templates in config/ with paths and addresses. Sourced.

write_config() {
    local config=$CLUSTER_DIR/config name
    mkdir -p "$config/cni" "$config/cni-isolated"
    for name in containerd.toml kubelet.yaml proxy.yaml audit.yaml; do fill_into "config/$name" "$config/$name"; done
    fill_into config/cni.conflist "$config/cni/10-pods.conflist"
    fill_into config/cni-isolated.conflist "$config/cni-isolated/10-isolated.conflist"
}

# fill_into TEMPLATE FILE: do not write an unchanged file, since kube-proxy exits and containerd reloads when it is written.
fill_into() {
    fill "$1" >"$CLUSTER_DIR/filled"
    if cmp -s "$CLUSTER_DIR/filled" "$2"; then rm "$CLUSTER_DIR/filled"; else mv "$CLUSTER_DIR/filled" "$2"; fi
}

# fill TEMPLATE: replace each @NAME@ by the value of the setting NAME.
fill() {
    local text name
    text=$(<"$HERE/$1")
    while [[ $text =~ @([A-Z_]+)@ ]]; do
        name=${BASH_REMATCH[1]}
        text=${text//"@$name@"/${!name}}
    done
    printf '%s\n' "$text"
}
