// Command kubelet simulates nodes and their kubelets.
//
// It registers nodes, renews their leases, and reports the status of their pods: Running, Ready, then Succeeded with a
// termination message. No container runs: the script file has the duration and the result of each stage. It also
// watches the runs and their workloads, and writes all changes with a timestamp to standard output as JSON lines
// (timeline.go).
//
// It exits on SIGTERM, or when its standard input is closed at the end of the parent process.
package main

import (
	"encoding/json"
	"flag"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"
)

var (
	server    = flag.String("server", "", "URL of the API server")
	caFile    = flag.String("ca", "", "file with the API server's CA certificate")
	certFile  = flag.String("cert", "", "file with the client certificate")
	keyFile   = flag.String("key", "", "file with the client key")
	namespace = flag.String("namespace", "", "namespace whose pods, workloads and runs are watched")
	nodeCount = flag.Int("nodes", 1, "number of nodes to register")
	label     = flag.String("label", "", "label key and taint key of the nodes")
	scripts   = flag.String("script", "", "JSON file: by stage, seconds to start, seconds of work, termination message")
)

// script describes the pods of a stage.
type script struct {
	Server  bool    `json:"server"`
	Start   float64 `json:"start_seconds"` // a server: from Running to Ready; others: from bound to Running
	Work    float64 `json:"work_seconds"`  // from Running to Succeeded
	Message string  `json:"message"`       // termination message
}

func main() {
	flag.Parse()
	data, err := os.ReadFile(*scripts)
	if err != nil {
		log.Fatal(err)
	}
	byStage := map[string]script{}
	if err := json.Unmarshal(data, &byStage); err != nil {
		log.Fatalf("%s: %v", *scripts, err)
	}
	api, err := newAPI()
	if err != nil {
		log.Fatal(err)
	}
	nodes, err := registerNodes(api, *nodeCount)
	if err != nil {
		log.Fatal(err)
	}
	go nodes.renewLeases()
	kubelet := newKubelet(api, nodes, byStage)
	go api.watch(inNamespace("/api/v1", "pods"), kubelet.observe)
	go api.watch(inNamespace("/apis/batch/v1", "jobs"), newObserver("Job").observe)
	go api.watch(inNamespace("/apis/kubeflow.org/v1", "pytorchjobs"), newObserver("PyTorchJob").observe)
	go api.watch(inNamespace("/apis/apps/v1", "deployments"), newObserver("Deployment").observe)
	go api.watch(inNamespace("/apis/fusionrun.dev/v1alpha1", "fusionruns"), newObserver("FusionRun").observe)

	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	closed := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(closed)
	}()
	select {
	case <-stop:
	case <-closed:
	}
}

func inNamespace(group, resource string) string {
	return group + "/namespaces/" + *namespace + "/" + resource
}
