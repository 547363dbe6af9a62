package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"time"
)

const (
	jsonType       = "application/json"
	mergePatchType = "application/merge-patch+json"
	requestsAtOnce = 64
	attempts       = 7
)

// api sends requests to the API server, at most requestsAtOnce at a time beside the watches.
type api struct {
	client *http.Client
	slots  chan struct{}
}

func newAPI() (*api, error) {
	authority, err := os.ReadFile(*caFile)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(authority) {
		return nil, fmt.Errorf("%s: no certificate", *caFile)
	}
	pair, err := tls.LoadX509KeyPair(*certFile, *keyFile)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}},
		ForceAttemptHTTP2: true,
	}
	return &api{client: &http.Client{Transport: transport}, slots: make(chan struct{}, requestsAtOnce)}, nil
}

// send sends a request and returns the status code. It retries with exponential back-off if the server is busy or
// fails; 404 and 409 are replies.
func (a *api) send(method, path, contentType string, body any) (int, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return 0, err
	}
	a.slots <- struct{}{}
	defer func() { <-a.slots }()
	var code int
	var answer []byte
	for attempt := range attempts {
		if attempt > 0 {
			time.Sleep(50 * time.Millisecond << attempt)
		}
		code, answer, err = a.once(method, path, contentType, data)
		ok := code >= 200 && code < 300
		if ok || code == http.StatusNotFound || (code == http.StatusConflict && method != http.MethodPatch) {
			return code, nil
		}
	}
	if err == nil {
		err = fmt.Errorf("%s %s: %d %.300s", method, path, code, answer)
	}
	return code, err
}

func (a *api) once(method, path, contentType string, data []byte) (int, []byte, error) {
	request, err := http.NewRequest(method, *server+path, bytes.NewReader(data))
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("Content-Type", contentType)
	response, err := a.client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	return response.StatusCode, answer, err
}

// must logs a request that failed permanently. The run that waits for it then stalls.
func (a *api) must(method, path, contentType string, body any) {
	if _, err := a.send(method, path, contentType, body); err != nil {
		log.Print(err)
	}
}
