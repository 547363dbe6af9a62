# Run the command of the same name for the cluster that CLUSTER selects. Sourced by the commands of this folder.
case ${CLUSTER:=local} in
    local | kind | existing) exec "$(dirname "$0")/$CLUSTER/$(basename "$0")" "$@" ;;
esac
echo "CLUSTER=$CLUSTER is not one of local, kind, existing" >&2
exit 2
