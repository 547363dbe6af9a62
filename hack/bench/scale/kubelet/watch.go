package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"time"
)

// object holds the fields of pods, workloads and runs that this program reads.
type object struct {
	Metadata struct {
		Name              string            `json:"name"`
		UID               string            `json:"uid"`
		Labels            map[string]string `json:"labels"`
		DeletionTimestamp string            `json:"deletionTimestamp"`
		ResourceVersion   string            `json:"resourceVersion"`
	} `json:"metadata"`
	Spec struct {
		NodeName   string `json:"nodeName"`
		Containers []struct {
			Name  string `json:"name"`
			Image string `json:"image"`
		} `json:"containers"`
	} `json:"spec"`
	Status struct {
		Phase         string      `json:"phase"`
		ReadyReplicas int         `json:"readyReplicas"`
		Conditions    []condition `json:"conditions"`
	} `json:"status"`
}

type condition struct {
	Type   string `json:"type"`
	Status string `json:"status"`
}

// holds returns whether a condition of the object is True.
func (o *object) holds(kind string) bool {
	for _, c := range o.Status.Conditions {
		if c.Type == kind {
			return c.Status == "True"
		}
	}
	return false
}

type watchEvent struct {
	Type   string `json:"type"`
	Object object `json:"object"`
}

// watch lists the objects at a path and watches them without end. Listed objects are reported as ADDED.
func (a *api) watch(path string, observe func(watchEvent)) {
	for {
		version, err := a.list(path, observe)
		for err == nil {
			version, err = a.follow(path, version, observe)
		}
		log.Printf("watch %s restarts: %v", path, err)
		time.Sleep(time.Second)
	}
}

func (a *api) list(path string, observe func(watchEvent)) (string, error) {
	query := url.Values{"limit": {"500"}}
	for {
		var page struct {
			Metadata struct {
				ResourceVersion string `json:"resourceVersion"`
				Continue        string `json:"continue"`
			} `json:"metadata"`
			Items []object `json:"items"`
		}
		body, err := a.open(path, query)
		if err != nil {
			return "", err
		}
		err = json.NewDecoder(body.Body).Decode(&page)
		body.Body.Close()
		if err != nil {
			return "", err
		}
		for _, o := range page.Items {
			observe(watchEvent{"ADDED", o})
		}
		if page.Metadata.Continue == "" {
			return page.Metadata.ResourceVersion, nil
		}
		query.Set("continue", page.Metadata.Continue)
	}
}

// follow watches until the server ends the watch, and returns the version to continue from.
func (a *api) follow(path, version string, observe func(watchEvent)) (string, error) {
	response, err := a.open(path, url.Values{
		"watch": {"1"}, "allowWatchBookmarks": {"true"}, "resourceVersion": {version}, "timeoutSeconds": {"600"}})
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	decoder := json.NewDecoder(response.Body)
	for {
		var event watchEvent
		if err := decoder.Decode(&event); err != nil {
			return version, nil // closed by the server: continue from the last version
		}
		if event.Type == "ERROR" {
			return "", fmt.Errorf("resource version %s is too old", version)
		}
		version = event.Object.Metadata.ResourceVersion
		if event.Type != "BOOKMARK" {
			observe(event)
		}
	}
}

func (a *api) open(path string, query url.Values) (*http.Response, error) {
	response, err := a.client.Get(*server + path + "?" + query.Encode())
	if err == nil && response.StatusCode != http.StatusOK {
		response.Body.Close()
		err = fmt.Errorf("%s", response.Status)
	}
	return response, err
}
