# Everything that the local cluster's commands share. Sourced.
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$HERE/../say.sh"
source "$HERE/../requirements.sh"
for part in settings machine binaries keys config daemons network images addons; do source "$HERE/$part.sh"; done
kubectl() { "$BIN/kubectl" "$@"; }

# One `up` or `down` at a time.
lock() {
    mkdir -p "$CLUSTER_DIR" "$RUN"
    exec 9>"$CLUSTER_DIR/lock"
    flock --nonblock 9 || { say "another up or down is at work; waiting for it"; flock 9; }
}
