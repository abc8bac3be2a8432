// An application for NGINX Unit that tells who it is and which namespaces it is in.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"nginx/unit"
	"os"
)

type namespaces struct {
	USER, PID, IPC, CGROUP, UTS, MNT, NET uint64
}

type output struct {
	PID, UID, GID int
	NS            namespaces
}

// The number in what the kernel calls the namespace, for example "net:[4026531840]".
func namespace(kind string) uint64 {
	name, err := os.Readlink("/proc/self/ns/" + kind)
	if err != nil {
		return 0
	}
	var number uint64
	if _, err := fmt.Sscanf(name, kind+":[%d]", &number); err != nil {
		return 0
	}
	return number
}

func handle(response http.ResponseWriter, _ *http.Request) {
	response.Header().Set("Content-Type", "application/json")
	json.NewEncoder(response).Encode(output{
		PID: os.Getpid(), UID: os.Getuid(), GID: os.Getgid(),
		NS: namespaces{
			USER: namespace("user"), PID: namespace("pid"), IPC: namespace("ipc"),
			CGROUP: namespace("cgroup"), UTS: namespace("uts"), MNT: namespace("mnt"),
			NET: namespace("net"),
		},
	})
}

func main() {
	http.HandleFunc("/", handle)
	if err := unit.ListenAndServe(":7080", nil); err != nil {
		log.Fatal(err)
	}
}
