// Runs a health check and actions with Argo CD's own Lua engine: argo-cd-lua CONFIGMAP FOLDER
//
// CONFIGMAP has the scripts as users install them (argocd-cm). FOLDER has tests in the layout of Argo CD's folder
// resource_customizations: health_test.yaml and actions/action_test.yaml, with the paths of their test data. Prints a line for
// each test, and exits with 1 if one has failed.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"sort"
	"strings"
	"time"

	"github.com/argoproj/argo-cd/v2/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v2/util/lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

const (
	prefix          = "resource.customizations."
	retryAnnotation = "fusionrun.dev/retry"
)

type healthTests struct {
	Tests []struct {
		InputPath    string `json:"inputPath"`
		HealthStatus struct {
			Status  string `json:"status"`
			Message string `json:"message"`
		} `json:"healthStatus"`
	} `json:"tests"`
}

type actionTests struct {
	DiscoveryTests []struct {
		InputPath string                    `json:"inputPath"`
		Result    []v1alpha1.ResourceAction `json:"result"`
	} `json:"discoveryTests"`
	ActionTests []struct {
		Action             string `json:"action"`
		InputPath          string `json:"inputPath"`
		ExpectedOutputPath string `json:"expectedOutputPath"`
	} `json:"actionTests"`
}

var failed bool

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: argo-cd-lua CONFIGMAP FOLDER")
		os.Exit(2)
	}
	vm, folder := lua.VM{ResourceOverrides: overrides(os.Args[1])}, os.Args[2]
	checkHealth(vm, folder)
	checkActions(vm, filepath.Join(folder, "actions"))
	if failed {
		os.Exit(1)
	}
}

// overrides reads the scripts of argocd-cm. A key is resource.customizations.health.GROUP_KIND or .actions.GROUP_KIND.
func overrides(path string) map[string]v1alpha1.ResourceOverride {
	var configMap struct {
		Data map[string]string `json:"data"`
	}
	read(path, &configMap)
	found := map[string]v1alpha1.ResourceOverride{}
	for key, script := range configMap.Data {
		part, resource, _ := strings.Cut(strings.TrimPrefix(key, prefix), ".")
		resource = strings.ReplaceAll(resource, "_", "/")
		override := found[resource]
		switch part {
		case "health":
			override.HealthLua = script
		case "actions":
			override.Actions = script
		default:
			fail(fmt.Errorf("%s: unknown key %s", path, key))
		}
		found[resource] = override
	}
	return found
}

func checkHealth(vm lua.VM, folder string) {
	var tests healthTests
	read(filepath.Join(folder, "health_test.yaml"), &tests)
	for _, test := range tests.Tests {
		object := readObject(filepath.Join(folder, test.InputPath))
		script, _, err := vm.GetHealthScript(object)
		fail(err)
		found, err := vm.ExecuteHealthLua(object, script)
		fail(err)
		want := [2]string{test.HealthStatus.Status, test.HealthStatus.Message}
		report("health "+test.InputPath, [2]string{string(found.Status), found.Message}, want)
	}
}

func checkActions(vm lua.VM, folder string) {
	var tests actionTests
	read(filepath.Join(folder, "action_test.yaml"), &tests)
	for _, test := range tests.DiscoveryTests {
		object := readObject(filepath.Join(folder, test.InputPath))
		script, err := vm.GetResourceActionDiscovery(object)
		fail(err)
		found, err := vm.ExecuteResourceActionDiscovery(object, script)
		fail(err)
		report("discovery "+test.InputPath, sorted(found), sorted(test.Result))
	}
	for _, test := range tests.ActionTests {
		object := readObject(filepath.Join(folder, test.InputPath))
		action, err := vm.GetResourceAction(object, test.Action)
		fail(err)
		found, err := vm.ExecuteResourceAction(object, action.ActionLua)
		fail(err)
		if len(found) != 1 {
			fail(fmt.Errorf("action %s: %d objects", test.Action, len(found)))
		}
		result, expected := found[0].UnstructuredObj, readObject(filepath.Join(folder, test.ExpectedOutputPath))
		useTimeOfExpected(result, expected)
		report("action "+test.Action, plain(result.Object), plain(expected.Object))
	}
}

// useTimeOfExpected replaces the time of a retry, which must be that of this test, by the one in the test data.
func useTimeOfExpected(result, expected *unstructured.Unstructured) {
	annotations, want := result.GetAnnotations(), expected.GetAnnotations()[retryAnnotation]
	if want == "" {
		return
	}
	at, err := time.Parse(time.RFC3339, annotations[retryAnnotation])
	fail(err)
	if age := time.Since(at); age < -time.Second || age > time.Minute {
		fail(fmt.Errorf("the action retry wrote the time %s", at))
	}
	annotations[retryAnnotation] = want
	result.SetAnnotations(annotations)
}

func sorted(actions []v1alpha1.ResourceAction) []v1alpha1.ResourceAction {
	sort.Slice(actions, func(i, j int) bool { return actions[i].Name < actions[j].Name })
	return actions
}

// plain returns a value with the types of JSON: Lua has no integers.
func plain(value any) (decoded any) {
	text, err := json.Marshal(value)
	fail(err)
	fail(json.Unmarshal(text, &decoded))
	return decoded
}

func readObject(path string) *unstructured.Unstructured {
	text, err := os.ReadFile(path)
	fail(err)
	text, err = yaml.YAMLToJSON(text)
	fail(err)
	object := &unstructured.Unstructured{}
	fail(object.UnmarshalJSON(text))
	return object
}

func read(path string, into any) {
	text, err := os.ReadFile(path)
	fail(err)
	fail(yaml.Unmarshal(text, into))
}

func report(name string, found, want any) {
	if reflect.DeepEqual(found, want) {
		fmt.Println("ok", name)
		return
	}
	failed = true
	fmt.Printf("FAILED %s\n  found %v\n  want  %v\n", name, found, want)
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "argo-cd-lua:", err)
		os.Exit(1)
	}
}
