//go:build conformance

package conformance

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// tools are the programs that the tests start, with the Debian package that has
// each.
var tools = []struct{ program, debian string }{
	{"python3", "python3"},
	{"node", "nodejs"},
	{"npm", "npm"},
	{"openssl", "openssl"},
	{"javac", "default-jdk-headless"},
	{"mvn", "maven"},
}

// installSDKs makes the Python environment and fetches the Node modules and the Java
// libraries, unless they are there already for the lists as they stand.
func installSDKs() error {
	for _, tool := range tools {
		if _, err := exec.LookPath(tool.program); err != nil {
			return fmt.Errorf("%s is not installed: apt-get install %s", tool.program, tool.debian)
		}
	}
	if err := exec.Command("python3", "-c", "import ensurepip, venv").Run(); err != nil {
		return fmt.Errorf("python3 cannot make virtual environments: apt-get install python3-venv")
	}
	err := once(".venv", "python/requirements.txt",
		[]string{"python3", "-m", "venv", "--clear", ".venv"},
		[]string{".venv/bin/pip", "install", "--quiet", "--disable-pip-version-check", "--requirement",
			"python/requirements.txt"})
	if err != nil {
		return err
	}
	err = once("node/node_modules", "node/package-lock.json",
		[]string{"npm", "ci", "--prefix", "node", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"})
	if err != nil {
		return err
	}
	return installJava()
}

// once runs the commands that make folder out of list. A copy of the list in the
// folder says afterwards that they have succeeded.
func once(folder, list string, commands ...[]string) error {
	wanted, err := os.ReadFile(list)
	if err != nil {
		return err
	}
	mark := filepath.Join(folder, ".made-from")
	if made, err := os.ReadFile(mark); err == nil && bytes.Equal(made, wanted) {
		return nil
	}
	for _, command := range commands {
		fmt.Println("conformance: set-up:", command)
		cmd := exec.Command(command[0], command[1:]...)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s %s: %w", command[0], command[1], err)
		}
	}
	return os.WriteFile(mark, wanted, 0o644)
}
