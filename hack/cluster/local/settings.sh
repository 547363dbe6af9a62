# Where the local cluster's parts lie, its addresses and its versions. Sourced.

CACHE=${FUSIONRUN_CACHE:-$HOME/.cache/fusionrun}
CLUSTER_DIR=$CACHE/cluster
BIN=$CLUSTER_DIR/bin          # links to the programs in use; the builds lie in $CACHE/bin/<key>
LOG=$CLUSTER_DIR/log          # one file per daemon, audit.log, and pods/
PKI=$CLUSTER_DIR/pki          # kept from one cluster to the next
VOLUMES=$CLUSTER_DIR/volumes  # what pods write to; outlives the cluster
CONTAINERD_ROOT=$CLUSTER_DIR/containerd  # images; outlives the cluster
RUN=/run/fusionrun            # sockets, pid files, leases: gone after a reboot, as they should be
CONTAINERD_SOCKET=$RUN/containerd.sock
export KUBECONFIG=$CLUSTER_DIR/kubeconfig

NODE_NAME=fusionrun
# The node's address sits on a bridge without ports: pods and this machine reach it, nobody else does.
NODE_LINK=fr-node
NODE_IP=10.246.0.1
POD_LINK=fr-pods
POD_SUBNET=10.244.0.0/16
ISOLATED_LINK=fr-isolated
ISOLATED_SUBNET=10.245.0.0/16
SERVICE_SUBNET=10.96.0.0/16
KUBERNETES_SERVICE_IP=10.96.0.1
DNS_IP=10.96.0.10
ETCD_PORT=23790
ETCD_PEER_PORT=23800
API_SERVER=https://$NODE_IP:6443

HELM_VERSION=v3.22.0
COREDNS_VERSION=v1.12.4

# Shells that come with Debian often lack these folders, and iptables lies in one.
export PATH=$PATH:/usr/local/go/bin:/usr/sbin:/sbin
