// Prints the health of objects by Flux's own code: flux-health KUSTOMIZATION OBJECT...
//
// KUSTOMIZATION is a Flux Kustomization with healthCheckExprs. For each OBJECT (a YAML file), prints its health without
// expressions (kstatus, which Flux and helm --wait use for kinds without expressions) and with them, and the file.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/runtime/cel"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: flux-health KUSTOMIZATION OBJECT...")
		os.Exit(2)
	}
	var kustomization kustomizev1.Kustomization
	text, err := os.ReadFile(os.Args[1])
	fail(err)
	fail(yaml.UnmarshalStrict(text, &kustomization))
	if len(kustomization.Spec.HealthCheckExprs) != 1 {
		fail(fmt.Errorf("%s has %d healthCheckExprs, not one", os.Args[1], len(kustomization.Spec.HealthCheckExprs)))
	}
	evaluator, err := cel.NewStatusEvaluator(&kustomization.Spec.HealthCheckExprs[0].HealthCheckExpressions)
	fail(err)
	for _, path := range os.Args[2:] {
		object := read(path)
		without, err := status.Compute(object)
		fail(err)
		with, err := evaluator.Evaluate(context.Background(), object)
		fail(err)
		fmt.Println(without.Status, with.Status, path)
	}
}

func read(path string) *unstructured.Unstructured {
	text, err := os.ReadFile(path)
	fail(err)
	text, err = yaml.YAMLToJSON(text)
	fail(err)
	object := &unstructured.Unstructured{}
	fail(object.UnmarshalJSON(text))
	return object
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "flux-health:", err)
		os.Exit(1)
	}
}
