# The paths, addresses and versions of the local cluster. Sourced.

CACHE=${FUSIONRUN_CACHE:-$HOME/.cache/fusionrun}
CLUSTER_DIR=$CACHE/cluster
BIN=$CLUSTER_DIR/bin          # links to the programs in $CACHE/bin/<key>
LOG=$CLUSTER_DIR/log          # one file per daemon, audit.log, and pods/
PKI=$CLUSTER_DIR/pki          # kept when the cluster stops
VOLUMES=$CLUSTER_DIR/volumes  # kept when the cluster stops
CONTAINERD_ROOT=$CLUSTER_DIR/containerd  # images; kept when the cluster stops
RUN=/run/fusionrun            # sockets, state and addresses, deleted by a reboot
CONTAINERD_SOCKET=$RUN/containerd.sock
export KUBECONFIG=$CLUSTER_DIR/kubeconfig

NODE_NAME=fusionrun
# The address of the node is on a bridge without ports: only pods and this machine can reach it.
NODE_LINK=fr-node
NODE_IP=10.246.0.1
POD_LINK=fr-pods
POD_SUBNET=10.244.0.0/16
ISOLATED_LINK=fr-isolated
ISOLATED_SUBNET=10.245.0.0/16
SERVICE_SUBNET=10.96.0.0/16
KUBERNETES_SERVICE_IP=10.96.0.1
DNS_IP=10.96.0.10
# NFQUEUE number and metrics port of kube-network-policies.
POLICIES_QUEUE=7240
POLICIES_PORT=19080
ETCD_PORT=23790
ETCD_PEER_PORT=23800
API_SERVER=https://$NODE_IP:6443

HELM_VERSION=v3.22.0
COREDNS_VERSION=v1.12.4
NETWORK_POLICIES_VERSION=v0.8.0

# Debian's default PATH lacks these folders; iptables is in /usr/sbin.
export PATH=$PATH:/usr/local/go/bin:/usr/sbin:/sbin
