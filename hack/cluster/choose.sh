# Run a command for the cluster that CLUSTER selects. Sourced by the commands of this folder.
folder=$(dirname "$0") command=$(basename "$0")
case ${CLUSTER:=local} in
    local) exec "$folder/local/$command" "$@" ;;
    kind | existing) exec bash "$folder/$CLUSTER.sh" "$command" ;;
esac
echo "CLUSTER=$CLUSTER is not one of local, kind, existing" >&2
exit 2
