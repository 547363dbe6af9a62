# The images of the cluster's pods, built from the programs and loaded without a registry. Sourced.

ctr() { command ctr --address "$CONTAINERD_SOCKET" --namespace k8s.io "$@"; }

# Set the names of the images. The tag is a digest of the program.
name_images() {
    PAUSE_IMAGE=$(image_of pause "$HERE/pause.c")
    COREDNS_IMAGE=$(image_of coredns "$BIN/coredns")
    TRAINING_OPERATOR_IMAGE=$(image_of training-operator "$BIN/training-operator")
    POLICIES_IMAGE=$(image_of kube-network-policies "$BIN/kube-network-policies")
    WAIT_FOR_HOST_IMAGE=$(image_of wait-for-host "$BIN/wait-for-host")
}

load_images() {
    if ! has_image "$PAUSE_IMAGE"; then
        cc -static -Os -s -o "$CLUSTER_DIR/pause" "$HERE/pause.c" || fail "cc failed to build $HERE/pause.c"
        load_program "$PAUSE_IMAGE" "$CLUSTER_DIR/pause" /pause
    fi
    load_program "$COREDNS_IMAGE" "$BIN/coredns" /coredns
    load_program "$TRAINING_OPERATOR_IMAGE" "$BIN/training-operator" /manager
    load_program "$POLICIES_IMAGE" "$BIN/kube-network-policies" /kube-network-policies
    load_program "$WAIT_FOR_HOST_IMAGE" "$BIN/wait-for-host" /wait-for-host
}

# image_of NAME FILE: the path of a built program contains a hash of its inputs.
image_of() {
    local digest
    digest=$(if [[ -L $2 ]]; then readlink "$2"; else cat "$2"; fi | sha256sum)
    echo "fusionrun.local/cluster-$1:${digest:0:12}"
}

has_image() { [[ -n $(ctr images list -q "name==$1") ]]; }

# load_program IMAGE FILE PATH: load an image whose only file is FILE at PATH, as an archive in the format of docker save.
load_program() {
    ! has_image "$1" || return 0
    local folder=$CLUSTER_DIR/image
    rm -rf "$folder"
    mkdir "$folder"
    tar --create --file "$folder/layer.tar" --dereference --owner 0 --group 0 --mode 755 --absolute-names \
        --transform "s|.*|${3#/}|" "$(readlink -f "$2")"
    import_layer "$1" "$folder" "$3"
    rm -r "$folder"
}

# import_layer IMAGE FOLDER ENTRYPOINT: load an image whose only layer is FOLDER/layer.tar.
import_layer() {
    local digest
    digest=$(sha256sum "$2/layer.tar")
    cat >"$2/config.json" <<END
{"architecture": "$(go env GOARCH)", "os": "linux", "rootfs": {"type": "layers", "diff_ids": ["sha256:${digest:0:64}"]},
 "config": {"User": "65532:65532", "Entrypoint": ["$3"], "Env": ["PATH=/"]}}
END
    echo "[{\"Config\": \"config.json\", \"RepoTags\": [\"$1\"], \"Layers\": [\"layer.tar\"]}]" >"$2/manifest.json"
    tar --create --directory "$2" manifest.json config.json layer.tar | ctr images import - >/dev/null
}
