package main

import (
	"fmt"
	"log"
	"net/http"
	"time"
)

const (
	nodePrefix   = "fusionrun-bench-"
	leases       = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
	leaseSeconds = 40 // the kubelet's default, nodeLeaseDurationSeconds
)

// nodes are the simulated nodes.
type nodes struct {
	api   *api
	names map[string]bool
}

// registerNodes creates missing nodes, and reports all as Ready.
//
// Without an address, requests of the API server to a kubelet fail immediately. Each node has 8 GPUs, and more CPUs,
// memory and pods than a measurement requests.
func registerNodes(a *api, count int) (*nodes, error) {
	found := &nodes{api: a, names: map[string]bool{}}
	for number := range count {
		name := fmt.Sprint(nodePrefix, number)
		found.names[name] = true
		if err := found.register(name); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func (n *nodes) register(name string) error {
	node := map[string]any{
		"apiVersion": "v1", "kind": "Node",
		"metadata": map[string]any{"name": name, "labels": map[string]string{
			*label: "true", "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}},
		"spec": map[string]any{"taints": []any{map[string]string{"key": *label, "value": "true", "effect": "NoSchedule"}}},
	}
	if _, err := n.api.send(http.MethodPost, "/api/v1/nodes", jsonType, node); err != nil {
		return err
	}
	resources := map[string]string{
		"cpu": "256", "memory": "4Ti", "ephemeral-storage": "10Ti", "pods": "5000", "nvidia.com/gpu": "8"}
	status := map[string]any{"status": map[string]any{
		"capacity": resources, "allocatable": resources,
		"conditions": []any{
			nodeCondition("Ready", "True"), nodeCondition("MemoryPressure", "False"),
			nodeCondition("DiskPressure", "False"), nodeCondition("PIDPressure", "False")},
	}}
	if _, err := n.api.send(http.MethodPatch, "/api/v1/nodes/"+name+"/status", mergePatchType, status); err != nil {
		return err
	}
	lease := map[string]any{
		"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
		"metadata": map[string]string{"name": name, "namespace": "kube-node-lease"},
		"spec":     map[string]any{"holderIdentity": name, "leaseDurationSeconds": leaseSeconds, "renewTime": renewTime()},
	}
	_, err := n.api.send(http.MethodPost, leases, jsonType, lease)
	return err
}

func nodeCondition(kind, status string) map[string]string {
	return map[string]string{"type": kind, "status": status, "reason": "StandIn", "message": "reported by the stand-in kubelet",
		"lastHeartbeatTime": timestamp(), "lastTransitionTime": timestamp()}
}

// renewLeases prevents the node controller from marking the nodes as unreachable.
func (n *nodes) renewLeases() {
	for {
		for name := range n.names {
			renewal := map[string]any{"spec": map[string]string{"renewTime": renewTime()}}
			if _, err := n.api.send(http.MethodPatch, leases+"/"+name, mergePatchType, renewal); err != nil {
				log.Print(err)
			}
		}
		time.Sleep(leaseSeconds / 4 * time.Second)
	}
}

func renewTime() string { return time.Now().UTC().Format("2006-01-02T15:04:05.000000Z") }

func timestamp() string { return time.Now().UTC().Format(time.RFC3339) }
