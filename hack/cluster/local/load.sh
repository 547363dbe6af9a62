# Loads all modules of the local cluster. Sourced.
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$HERE/../requirements.sh"
for part in settings machine binaries keys config daemons network images addons; do source "$HERE/$part.sh"; done
kubectl() { "$BIN/kubectl" "$@"; }

# Only one `up` or `down` runs at a time.
lock() {
    mkdir -p "$CLUSTER_DIR" "$RUN"
    exec 9>"$CLUSTER_DIR/lock"
    flock --nonblock 9 || { log "waiting for another up or down"; flock 9; }
}
