package berth

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/berth-iot/berth/"

// layout says which packages of ours each package may import. A row covers the
// packages below it that have no row of their own; so does a permission.
// docs/architecture.md explains the order.
var layout = map[string][]string{
	// What knows nothing of ours.
	"fault":    {},
	"store":    {},
	"cluster":  {},
	"document": {"fault"},
	"panics":   {},
	"health":   {},
	"clock":    {}, // and clocktest, for tests
	"wire":     {},

	// Engines implement an interface and know no domain.
	"store/mark":      {},
	"store/pebble":    {"store", "store/mark"},
	"store/segment":   {"store", "store/mark", "panics"},
	"store/memory":    {"store"},
	"store/storetest": {"store", "document"},

	"cluster/local":       {"cluster"},
	"cluster/clustertest": {"cluster"},

	// Azure's public words, which clients, endpoints and the domain share.
	"contract": {"credential", "document", "fault"},

	// The domain. The two services do not know each other.
	"credential":             {"document", "fault"},
	"audit":                  {"store"},
	"access":                 {"audit", "credential", "store", "fault"},
	"authority":              {"audit", "credential", "document", "store", "fault"},
	"issuance":               {"audit", "credential", "store", "fault"},
	"attest":                 {"credential", "fault"},
	"provisioning/attempts":  {"attest", "document", "store", "panics", "fault"},
	"provisioning/guard":     {"audit", "document", "store", "fault"},
	"provisioning/inject":    {"attest", "audit", "store", "fault"},
	"provisioning/linkedhub": {"audit", "document", "store", "panics", "fault"},
	"provisioning/allocation": {"provisioning/linkedhub", "attest", "provisioning/guard", "audit",
		"document", "store", "fault"},
	"provisioning/enroll": {"contract", "provisioning/allocation", "provisioning/linkedhub", "attest",
		"provisioning/guard", "authority", "audit", "credential", "document", "store", "fault"},
	"provisioning/tpm": {"provisioning/enroll", "attest", "store", "fault"},
	"provisioning/snapshot": {"provisioning/attempts", "provisioning/enroll", "attest", "authority",
		"credential", "document", "store", "fault"},
	"provisioning": {"contract", "provisioning/enroll", "provisioning/snapshot", "provisioning/tpm",
		"provisioning/allocation", "provisioning/linkedhub", "attest", "provisioning/attempts",
		"provisioning/guard", "provisioning/inject", "access", "authority", "issuance", "audit", "credential",
		"document", "store", "panics", "fault"},
	"provisioning/exchange": {"provisioning", "credential", "document", "fault"},
	"hub/message":           {},
	"hub/telemetry":         {"hub/message", "contract", "document", "store", "panics", "fault"},
	"hub/identity":          {"credential", "document", "store", "fault"},
	"hub/twin":              {"hub/identity", "document", "store", "fault"},
	"hub/job":               {"contract", "hub/identity", "document", "store", "panics", "fault"},
	"hub/c2d":               {"hub/message", "store", "fault"},
	"hub/throttle":          {"fault"},
	"hub/method":            {"document", "cluster", "fault"},
	"hub/connection": {"hub/message", "hub/c2d", "hub/inject", "hub/throttle", "hub/method", "hub/telemetry",
		"hub/identity", "hub/twin", "issuance", "credential", "document", "store", "cluster", "panics", "fault",
		"hub/event", "attest", "authority"},
	"hub/query":         {"document", "fault"},
	"hub/event":         {"contract", "hub/message", "hub/telemetry", "document", "store", "panics", "fault"},
	"hub/configuration": {"hub/identity", "hub/twin", "hub/query", "document", "store", "panics", "fault"},
	"hub/inject":        {"hub/message", "store", "fault"},
	"hub": {"contract", "hub/message", "hub/c2d", "hub/inject", "hub/throttle", "hub/method", "hub/telemetry",
		"hub/identity", "hub/twin", "hub/connection", "hub/query", "hub/job", "hub/configuration", "access",
		"issuance", "credential", "document", "store", "cluster", "panics", "fault", "hub/event", "authority",
		"audit"},
	"hub/hubtest": {"clock", "hub", "issuance", "credential", "store", "store/pebble", "store/segment", "cluster",
		"cluster/local"},

	// Azure's contract on the wire. Endpoints do not know each other.
	"endpoint/mqtt": {"contract", "provisioning", "hub", "credential", "document", "store", "fault", "wire/mqtt"},

	// The door of HTTPS, and the operations behind it: Azure's and Berth's own, which do not know each other.
	"endpoint/https": {"contract", "provisioning", "hub", "audit", "credential", "document", "fault",
		"wire/header", "wire/mqtt"},
	"endpoint/rest": {"endpoint/https", "contract", "provisioning", "hub", "issuance", "audit", "credential",
		"document", "panics", "fault"},
	"endpoint/https/httpstest": {"endpoint/https", "access", "provisioning", "hub", "issuance", "audit", "credential",
		"store", "store/memory", "cluster/local", "fault", "wire/mqtt"},
	"endpoint/own": {"endpoint/https", "contract", "document", "access", "authority", "provisioning", "hub", "issuance",
		"audit", "credential", "store", "fault"},

	// The frame of the pages knows no domain.
	"portal/web": {"health", "document", "store", "panics", "fault"},
	"portal/portaltest": {"clock", "health", "attest", "provisioning", "hub", "issuance", "audit", "credential", "store",
		"store/pebble", "store/segment", "cluster/local"},
	"portal/hubpages": {"portal/web", "hub", "contract", "credential", "document", "panics", "fault"},
	"portal/provisioningpages": {"portal/web", "authority", "attest", "provisioning", "hub", "issuance", "audit",
		"credential", "panics", "fault"},
	"portal": {"portal/web", "portal/provisioningpages", "portal/hubpages", "health", "access", "attest", "provisioning",
		"hub", "issuance", "audit", "credential", "store", "panics", "fault"},

	// The only place that knows all.
	"server": {"server/log", "health", "clock", "access", "endpoint", "portal", "backend", "attest", "provisioning", "hub",
		"issuance", "audit", "credential", "document", "store", "cluster", "panics", "fault", "wire"},
	"server/log": {},

	// Clients, and what is made of them.
	"device": {"contract", "wire", "credential", "fault"},
	"backend": {"contract", "access", "authority", "attest", "provisioning", "hub", "issuance", "audit", "credential",
		"document", "fault"},
	"berthtest": {"server", "device", "backend", "provisioning", "hub", "credential"},
	"bench": {"berthtest", "contract", "server", "device", "backend", "provisioning", "hub", "credential", "wire",
		"fault"},
	"conformance": {},

	// The frame of the command line knows no command.
	"cmd/berth/cli": {"server", "backend", "provisioning/exchange", "credential", "document", "fault"},
	"cmd/berth/provisioningcmd": {"cmd/berth/cli", "server", "backend", "access", "authority", "attest", "provisioning",
		"credential", "fault"},
	"cmd/berth/issuancecmd": {"cmd/berth/cli", "issuance"},
	"cmd/berth/hubcmd": {"cmd/berth/cli", "contract", "server", "device", "backend", "hub", "credential",
		"document", "fault"},
	"cmd": {"cmd/berth/cli", "cmd/berth/hubcmd", "cmd/berth/issuancecmd", "cmd/berth/provisioningcmd", "bench",
		"access", "authority", "server", "device", "backend", "provisioning", "hub", "issuance", "audit", "credential",
		"document", "fault"},
}

// interfaces are the packages of which a permission covers no engine: only the
// server chooses engines.
var interfaces = []string{"store", "cluster"}

// TestLayout reads the import graph of the module and holds it against layout.
// Tests may import what they like.
func TestLayout(t *testing.T) {
	graph, err := importGraph()
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := graph["cmd/berth"]; !ok {
		t.Fatalf("cmd/berth is not among the packages: %v", slices.Sorted(maps.Keys(graph)))
	}
	for _, violation := range violations(graph) {
		t.Error(violation)
	}
}

// TestLayoutRefuses proves that the check can fail.
func TestLayoutRefuses(t *testing.T) {
	for _, example := range []struct{ from, to, want string }{
		{"provisioning", "hub", "provisioning imports hub"},
		{"hub", "provisioning/enroll", "hub imports provisioning/enroll"},
		{"hub", "store/pebble", "hub imports store/pebble"},
		{"endpoint/mqtt", "cluster/local", "endpoint/mqtt imports cluster/local"},
		{"wire/mqtt", "fault", "wire/mqtt imports fault"},
		{"store/segment", "hub", "store/segment imports hub"},
		{"endpoint/rest", "endpoint/mqtt", "endpoint/rest imports endpoint/mqtt"},
		{"endpoint/own", "endpoint/rest", "endpoint/own imports endpoint/rest"},
		{"endpoint/https", "endpoint/own", "endpoint/https imports endpoint/own"},
		{"device", "hub", "device imports hub"},
		{"server", "cmd/berth", "server imports cmd/berth"},
		{"cmd/berth/cli", "cmd/berth/hubcmd", "cmd/berth/cli imports cmd/berth/hubcmd"},
		{"cmd/berth/hubcmd", "cmd/berth/provisioningcmd", "cmd/berth/hubcmd imports cmd/berth/provisioningcmd"},
		{"utils", "fault", "utils has no place"},
		{"store/postgres", "hub", "store/postgres has no row"},
	} {
		found := violations(map[string][]string{example.from: {example.to}})
		if len(found) != 1 || !strings.Contains(found[0], example.want) {
			t.Errorf("%s importing %s: got %q, want one that says %q", example.from, example.to, found, example.want)
		}
	}
	if found := violations(map[string][]string{"server": {"store/pebble", "endpoint/mqtt"},
		"attest": {"credential"}}); len(found) > 0 {
		t.Errorf("what is allowed is refused: %q", found)
	}
}

// TestLayoutIsDocumented holds the table in docs/architecture.md against layout.
func TestLayoutIsDocumented(t *testing.T) {
	text, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "| package | is about | may import |\n|---|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	quoted := regexp.MustCompile("`([^`]+)`")
	names := func(cell string) (names []string) {
		for _, match := range quoted.FindAllStringSubmatch(cell, -1) {
			names = append(names, match[1])
		}
		slices.Sort(names)
		return names
	}
	documented := make(map[string]bool)
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 {
			t.Errorf("a row of the table has not three cells: %s", line)
			continue
		}
		for _, name := range names(cells[1]) {
			row, _ := rowOf(name)
			documented[row] = true
			if want, got := slices.Sorted(slices.Values(layout[row])), names(cells[3]); !slices.Equal(got, want) {
				t.Errorf("docs/architecture.md lets %s import %q, layout_test.go %q", name, got, want)
			}
		}
	}
	for _, row := range slices.Sorted(maps.Keys(layout)) {
		if !documented[row] {
			t.Errorf("%s has no row in docs/architecture.md", row)
		}
	}
}

// violations names every import that layout does not allow.
func violations(graph map[string][]string) (found []string) {
	for _, from := range slices.Sorted(maps.Keys(graph)) {
		row, ok := rowOf(from)
		switch {
		case !ok:
			found = append(found, fmt.Sprintf("%s has no place in the layout: give it a row in layout_test.go and in "+
				"docs/architecture.md", from))
			continue
		case slices.Contains(interfaces, row) && from != row:
			found = append(found, fmt.Sprintf("%s has no row of its own, as every engine of %s must have: add one to "+
				"layout_test.go", from, row))
			continue
		}
		for _, to := range graph[from] {
			if !allowed(row, layout[row], to) {
				found = append(found, fmt.Sprintf("%s imports %s: that arrow points up or sideways. %s may import of "+
					"ours: %s", from, to, row, strings.Join(layout[row], ", ")))
			}
		}
	}
	return found
}

func allowed(row string, permissions []string, to string) bool {
	return slices.ContainsFunc(permissions, func(permission string) bool {
		engines := slices.Contains(interfaces, permission) && row != "server"
		return to == permission || !engines && strings.HasPrefix(to, permission+"/")
	})
}

// rowOf finds the row that covers a package: its own, or the nearest above.
func rowOf(name string) (string, bool) {
	for {
		if _, ok := layout[name]; ok {
			return name, true
		}
		slash := strings.LastIndexByte(name, '/')
		if slash < 0 {
			return "", false
		}
		name = name[:slash]
	}
}

// importGraph returns, for each package of the module, which others of the
// module it imports outside of its tests, on whatever system. It reads the files
// itself, because go test would not notice that the answer of go list has changed.
func importGraph() (map[string][]string, error) {
	graph := make(map[string][]string)
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := entry.Name(); entry.IsDir() {
			if name == "testdata" || name == "node_modules" || name != "." && strings.HasPrefix(name, ".") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		from := filepath.ToSlash(filepath.Dir(path))
		imports := graph[from]
		for _, imported := range file.Imports {
			if to, ours := strings.CutPrefix(strings.Trim(imported.Path.Value, `"`), module); ours &&
				!slices.Contains(imports, to) {
				imports = append(imports, to)
			}
		}
		graph[from] = imports
		return nil
	})
	return graph, err
}
