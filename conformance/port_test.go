//go:build conformance

package conformance

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// requirePorts fails the test when a port cannot be bound, and says why: the
// SDKs know no other ports than these.
func requirePorts(t *testing.T, ports ...int) {
	t.Helper()
	for _, port := range ports {
		listener, err := net.Listen("tcp", ":"+strconv.Itoa(port))
		switch {
		case errors.Is(err, syscall.EADDRINUSE):
			t.Fatalf("port %d cannot be had: it is held by %s", port, holder(port))
		case errors.Is(err, syscall.EACCES):
			t.Fatalf("port %d cannot be had: %v; run as root", port, err)
		case err != nil:
			t.Fatalf("port %d cannot be had: %v", port, err)
		}
		listener.Close()
	}
}

// holder names the process that listens on the port, as /proc tells it.
func holder(port int) string {
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		inode := listeningInode(table, port)
		if inode == "" {
			continue
		}
		links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
		for _, link := range links {
			if target, _ := os.Readlink(link); target == "socket:["+inode+"]" {
				pid := strings.Split(link, "/")[2]
				name, _ := os.ReadFile("/proc/" + pid + "/comm")
				return fmt.Sprintf("%s (process %s)", strings.TrimSpace(string(name)), pid)
			}
		}
	}
	return "no process that this user may see"
}

// listeningInode returns the inode of the socket in state LISTEN (0A) on the
// port, empty when there is none.
func listeningInode(table string, port int) string {
	file, err := os.Open(table)
	if err != nil {
		return ""
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) > 9 && fields[3] == "0A" && strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", port)) {
			return fields[9]
		}
	}
	return ""
}
