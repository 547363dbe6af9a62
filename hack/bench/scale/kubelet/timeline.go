package main

import (
	"encoding/json"
	"log"
	"os"
	"strings"
	"sync"
	"time"
)

// entry is one line of the timeline.
type entry struct {
	Time    float64 `json:"t"` // Unix time in seconds when this program received it
	Kind    string  `json:"kind"`
	What    string  `json:"what"`
	Name    string  `json:"name"`
	Run     string  `json:"run"`
	Stage   string  `json:"stage,omitempty"`
	Attempt string  `json:"attempt,omitempty"`
	// Late is the delay of a report in seconds. If it is large, this program and not the operator was slow.
	Late float64 `json:"late,omitempty"`
}

var output sync.Mutex

func write(kind, what string, o *object, late float64) {
	line, err := json.Marshal(entry{
		Time: now(), Kind: kind, What: what, Name: o.Metadata.Name, Run: runOf(kind, o), Stage: stageOf(o),
		Attempt: o.Metadata.Labels["fusionrun.dev/attempt"], Late: late,
	})
	if err != nil {
		log.Fatal(err)
	}
	output.Lock()
	defer output.Unlock()
	os.Stdout.Write(append(line, '\n')) // if the reader has exited, standard input is closed as well
}

func now() float64 { return float64(time.Now().UnixMicro()) / 1e6 }

func runOf(kind string, o *object) string {
	if kind == "FusionRun" {
		return o.Metadata.Name
	}
	return o.Metadata.Labels["fusionrun.dev/run"]
}

// stageOf returns the name of the stage. The label has a dot instead of the slash.
func stageOf(o *object) string {
	return strings.Replace(o.Metadata.Labels["fusionrun.dev/stage"], ".", "/", 1)
}

// observer records when objects of a kind are created, first reach a state, and are deleted.
type observer struct {
	kind string
	seen map[string]map[string]bool // by UID
}

func newObserver(kind string) *observer {
	return &observer{kind: kind, seen: map[string]map[string]bool{}}
}

// observe is called by one watch, in order.
func (w *observer) observe(event watchEvent) {
	o := &event.Object
	known := w.seen[o.Metadata.UID]
	if known == nil {
		known = map[string]bool{}
		w.seen[o.Metadata.UID] = known
	}
	for _, what := range states(event) {
		if !known[what] {
			known[what] = true
			write(w.kind, what, o, 0)
		}
	}
	if event.Type == "DELETED" {
		delete(w.seen, o.Metadata.UID)
	}
}

// states returns the states of an object. PyTorchJobs have Succeeded where Jobs and runs have Complete.
func states(event watchEvent) []string {
	found := []string{"created"}
	if event.Object.Status.ReadyReplicas > 0 {
		found = append(found, "ready")
	}
	if event.Object.holds("Complete") || event.Object.holds("Succeeded") {
		found = append(found, "complete")
	}
	if event.Object.holds("Failed") {
		found = append(found, "failed")
	}
	if event.Type == "DELETED" {
		found = append(found, "deleted")
	}
	return found
}
