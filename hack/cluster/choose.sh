# Which cluster the commands in this folder act on. Sourced.

chosen_cluster() {
    local cluster=${CLUSTER:-local}
    case $cluster in
        local | kind | existing) echo "$cluster" ;;
        *)
            echo "CLUSTER=$cluster is none of local, kind, existing" >&2
            exit 2
            ;;
    esac
}
