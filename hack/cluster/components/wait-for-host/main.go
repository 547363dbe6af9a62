// Command wait-for-host exits 0 as soon as a host name resolves, and 1 when it has not within the limit.
//
// It is the init container of a PyTorchJob's workers: they may start only when the master's Service is there.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"
)

const interval = 250 * time.Millisecond

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: wait-for-host HOST LIMIT, where LIMIT is a duration such as 5m")
		os.Exit(2)
	}
	host := os.Args[1]
	limit, err := time.ParseDuration(os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	for {
		addresses, err := net.DefaultResolver.LookupHost(ctx, host)
		if err == nil {
			fmt.Println(host, "is", addresses)
			return
		}
		select {
		case <-ctx.Done():
			fmt.Fprintf(os.Stderr, "%s does not resolve after %s: %v\n", host, limit, err)
			os.Exit(1)
		case <-time.After(interval):
		}
	}
}
