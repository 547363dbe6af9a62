# How the commands in this folder speak to a person. Sourced.

say() { printf '%s\n' "cluster: $*"; }

fail() {
    printf '%s\n' "cluster: $*" >&2
    exit 1
}
