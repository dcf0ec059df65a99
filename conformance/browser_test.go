//go:build conformance

package conformance

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// chromium is Debian's; playwright-core drives it.
const chromium = "/usr/bin/chromium"

// installBrowser makes the browser and its Node modules, unless they are there.
func installBrowser() error {
	if _, err := os.Stat(chromium); err != nil {
		fmt.Println("conformance: set-up: apt-get install chromium")
		for _, args := range [][]string{{"update"},
			{"install", "-y", "--no-install-recommends", "chromium", "fonts-noto-core"}} {
			if output, err := exec.Command("apt-get",
				append([]string{"-qq"}, args...)...).CombinedOutput(); err != nil {
				return fmt.Errorf("%s is not there and can't be installed: apt-get install chromium, as root: %w\n%s",
					chromium, err, output)
			}
		}
	}
	return once("browser/node_modules", "browser/package-lock.json",
		[]string{"npm", "ci", "--prefix", "browser", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"})
}

// browserPatience is how long one file of browser tests may take.
const browserPatience = 8 * time.Minute

// TestPortal does in a browser what people do in the portal, on the real ports
// because the Python SDK takes part.
func TestPortal(t *testing.T) {
	if err := installBrowser(); err != nil {
		t.Fatal(err)
	}
	s := start(t, build(t), t.TempDir(), t.TempDir(), "instant")
	files, err := filepath.Glob("browser/*.test.js")
	if err != nil || len(files) == 0 {
		t.Fatalf("browser/*.test.js: %v (%v)", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".test.js"), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), browserPatience)
			defer cancel()
			command := s.command(ctx, program{"browser", []string{"node", "--test", filepath.Base(file)}},
				"BERTH_BINARY="+s.binary, "BERTH_DATA="+s.data)
			output, err := command.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, output)
			}
		})
	}
	s.stop(t)
}
