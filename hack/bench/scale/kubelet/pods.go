package main

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"time"
)

const stopSeconds = 0.3 // from the delete of a running pod to its end

// pod is a pod of a simulated node.
type pod struct {
	object
	address  string
	started  string
	deleting atomic.Bool
}

// kubelet reports the status of the pods of its nodes.
type kubelet struct {
	api     *api
	nodes   *nodes
	scripts map[string]script
	pods    map[string]*pod // by UID
	made    int
}

func newKubelet(a *api, n *nodes, scripts map[string]script) *kubelet {
	return &kubelet{api: a, nodes: n, scripts: scripts, pods: map[string]*pod{}}
}

// observe is called by one watch, in order.
func (k *kubelet) observe(event watchEvent) {
	o := event.Object
	if !k.nodes.names[o.Spec.NodeName] {
		return
	}
	p := k.pods[o.Metadata.UID]
	ended := o.Status.Phase == "Succeeded" || o.Status.Phase == "Failed"
	switch {
	case event.Type == "DELETED":
		write("Pod", "gone", &o, 0)
		delete(k.pods, o.Metadata.UID)
	case o.Metadata.DeletionTimestamp != "":
		if p == nil || p.deleting.CompareAndSwap(false, true) {
			write("Pod", "deleting", &o, 0)
			go k.stop(&o, ended)
		}
		if p == nil {
			p = k.remember(o)
			p.deleting.Store(true)
		}
	case p == nil:
		p = k.remember(o)
		if !ended {
			write("Pod", "bound", &o, 0)
			go k.run(p)
		}
	}
}

// remember gives the pod an address of 198.18.0.0/15, the network for benchmarks (RFC 2544).
func (k *kubelet) remember(o object) *pod {
	k.made++
	number := k.made % (2 << 16)
	p := &pod{object: o, address: fmt.Sprintf("198.%d.%d.%d", 18+number>>16, number>>8&255, number&255), started: timestamp()}
	k.pods[o.Metadata.UID] = p
	return p
}

// run takes a pod from bound to Ready or Succeeded.
func (k *kubelet) run(p *pod) {
	s, known := k.scripts[stageOf(&p.object)]
	if !known {
		write("Pod", "unknown-stage", &p.object, 0)
		return
	}
	if s.Server {
		k.report(p, "running", 0, status(p, "Running", false, ""))
		k.report(p, "ready", s.Start, status(p, "Running", true, ""))
		return
	}
	k.report(p, "running", s.Start, status(p, "Running", true, ""))
	k.report(p, "succeeded", s.Work, status(p, "Succeeded", false, s.Message))
}

// report patches a pod's status after some seconds, unless the pod is being deleted.
func (k *kubelet) report(p *pod, what string, after float64, patch func() map[string]any) {
	time.Sleep(time.Duration(after * float64(time.Second)))
	if p.deleting.Load() {
		return
	}
	due := now()
	k.api.must(http.MethodPatch, k.path(&p.object)+"/status", mergePatchType, patch())
	write("Pod", what, &p.object, now()-due)
}

// stop deletes a pod that is terminating.
func (k *kubelet) stop(o *object, ended bool) {
	if !ended {
		time.Sleep(time.Duration(stopSeconds * float64(time.Second)))
	}
	k.api.must(http.MethodDelete, k.path(o), jsonType, map[string]any{
		"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0,
		"preconditions": map[string]string{"uid": o.Metadata.UID}})
}

func (k *kubelet) path(o *object) string {
	return inNamespace("/api/v1", "pods") + "/" + o.Metadata.Name
}

// status returns a function that returns the current status of a pod.
func status(p *pod, phase string, ready bool, message string) func() map[string]any {
	return func() map[string]any {
		isReady := map[bool]string{true: "True", false: "False"}[ready]
		containers := []any{}
		for _, c := range p.Spec.Containers {
			state := map[string]any{"running": map[string]string{"startedAt": p.started}}
			if phase == "Succeeded" {
				state = map[string]any{"terminated": map[string]any{
					"exitCode": 0, "reason": "Completed", "startedAt": p.started, "finishedAt": timestamp(), "message": message}}
			}
			containers = append(containers, map[string]any{
				"name": c.Name, "image": c.Image, "imageID": "stand-in", "containerID": "stand-in://" + p.Metadata.UID,
				"ready": ready, "started": phase == "Running", "restartCount": 0, "state": state})
		}
		conditions := []any{}
		for _, c := range []condition{{"PodScheduled", "True"}, {"Initialized", "True"}, {"ContainersReady", isReady}, {"Ready", isReady}} {
			conditions = append(conditions, map[string]string{"type": c.Type, "status": c.Status, "lastTransitionTime": timestamp()})
		}
		return map[string]any{"status": map[string]any{
			"phase": phase, "startTime": p.started, "podIP": p.address, "podIPs": []any{map[string]string{"ip": p.address}},
			"containerStatuses": containers, "conditions": conditions}}
	}
}
