// Package unit stands in for NGINX Unit's package of the same name: a program that serves with
// unit.ListenAndServe runs under Cloister without a change.
//
// Unit hands requests over in shared memory; Cloister hands over the listening socket itself
// (sd_listen_fds(3)), and the program speaks HTTP on it.
package unit

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
)

// The first descriptor that is passed, SD_LISTEN_FDS_START.
const first = 3

// ListenAndServe serves HTTP on the socket that was passed to this process, until SIGTERM comes
// and the requests under way are answered. Without a socket it listens on addr, as Unit's own
// does when Unit has not started the program.
func ListenAndServe(addr string, handler http.Handler) error {
	listener, err := passed()
	if err != nil {
		return err
	}
	if listener == nil {
		return http.ListenAndServe(addr, handler)
	}
	server := &http.Server{Handler: handler}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	ended := make(chan error, 1)
	go func() {
		<-stop
		ended <- server.Shutdown(context.Background())
	}()
	if err := server.Serve(listener); err != http.ErrServerClosed {
		return err
	}
	return <-ended
}

func passed() (net.Listener, error) {
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	if count := os.Getenv("LISTEN_FDS"); count != "1" {
		return nil, fmt.Errorf("one passed socket is expected, not %q", count)
	}
	// The variables are for this process and no child of it.
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		os.Unsetenv(name)
	}
	file := os.NewFile(first, "listener")
	defer file.Close() // FileListener has a copy
	return net.FileListener(file)
}
