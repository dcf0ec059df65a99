package hub_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/hubtest"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/job"
	"github.com/berth-iot/berth/hub/twin"
)

// container is one in memory, at any address.
type container struct {
	mutex sync.Mutex
	blobs map[string]string
}

func (c *container) Check(string) error { return nil }

func (c *container) Get(_ context.Context, _, name string) (io.ReadCloser, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	content, ok := c.blobs[name]
	if !ok {
		return nil, fault.New(fault.InvalidContainer, "There is no blob %s", name)
	}
	return io.NopCloser(strings.NewReader(content)), nil
}

func (c *container) Put(_ context.Context, _, name string, write func(io.Writer) error) error {
	var content bytes.Buffer
	if err := write(&content); err != nil {
		return err
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.blobs[name] = content.String()
	return nil
}

func transfer(h *hubtest.Hub, kind job.Kind, t job.Transfer) job.Job {
	h.T.Helper()
	created, err := h.Jobs().CreateTransfer(context.Background(), kind, t)
	if err != nil {
		h.T.Fatal(err)
	}
	return awaitJob(h, created.ID)
}

// TestTransferMovesAHub exports the identities of a hub, and imports them into another one:
// keys, parents, modules, twins and what devices have reported.
func TestTransferMovesAHub(t *testing.T) {
	ctx := t.Context()
	c := &container{blobs: make(map[string]string)}
	from, to := hubtest.New(t), hubtest.New(t)
	from.Blobs, to.Blobs = c, c
	to.Advance(time.Second)
	from.Reopen()
	to.Reopen()
	edge := from.Create(identity.Device{DeviceID: "edge", Capabilities: identity.Capabilities{IoTEdge: true}})
	leaf := from.Create(identity.Device{DeviceID: "leaf", DeviceScope: edge.DeviceScope,
		Status: identity.Disabled, StatusReason: new("winter")})
	if _, err := from.CreateModule(ctx, identity.Module{DeviceID: "edge", ModuleID: "camera"}); err != nil {
		t.Fatal(err)
	}
	if _, err := from.PatchTwin(ctx, "leaf", json.RawMessage(
		`{"tags":{"site":"quay"},"properties":{"desired":{"interval":1.50}}}`), ""); err != nil {
		t.Fatal(err)
	}
	session, _ := from.Connect(edge, false)
	if _, err := session.Report(ctx, []byte(`{"firmware":"1.2"}`)); err != nil {
		t.Fatal(err)
	}
	if done := transfer(from, job.Export, job.Transfer{Output: "https://x/y"}); done.Status != job.Completed ||
		done.Statistics.Succeeded != 5 {
		t.Fatalf("the export is %+v", done)
	}
	if done := transfer(to, job.Import, job.Transfer{Input: "https://x/y", Output: "https://x/y"}); done.Status !=
		job.Completed || done.Statistics != (job.Statistics{Devices: 5, Succeeded: 5}) {
		t.Fatalf("the import is %+v of\n%s\n%s", done, c.blobs["devices.txt"], c.blobs["importErrors.log"])
	}
	moved, err := to.Registry().Get(ctx, "leaf")
	parent, err2 := to.Registry().Get(ctx, "edge")
	if err != nil || err2 != nil || moved.Status != identity.Disabled || *moved.StatusReason != "winter" ||
		*moved.Authentication.SymmetricKey.PrimaryKey != *leaf.Authentication.SymmetricKey.PrimaryKey ||
		moved.DeviceScope != parent.DeviceScope || parent.DeviceScope == edge.DeviceScope {
		t.Errorf("the leaf is %+v, and its parent %+v: %v %v", moved, parent, err, err2)
	}
	for _, id := range []string{"edge", "leaf", "edge/camera", "edge/$edgeAgent"} {
		before, err := from.Twin(ctx, id)
		after, err2 := to.Twin(ctx, id)
		if err != nil || err2 != nil || shownTwin(before) != shownTwin(after) {
			t.Errorf("the twin of %s is %s, and was %s: %v %v", id, shownTwin(after), shownTwin(before), err, err2)
		}
	}

	transfer(from, job.Export, job.Transfer{Output: "https://x/y", OutputBlob: "public", ExcludeKeys: true})
	if text := c.blobs["public"]; !strings.HasPrefix(text, "Warning: ") ||
		strings.Contains(text, *leaf.Authentication.SymmetricKey.PrimaryKey) || strings.Count(text, "\n") != 6 {
		t.Errorf("without keys it is\n%s", text)
	}
	if done := transfer(to, job.Import, job.Transfer{Input: "https://x/y", InputBlob: "public",
		Output: "https://x/y"}); done.Statistics.Succeeded != 5 {
		t.Errorf("imported without keys: %+v\n%s", done, c.blobs["importErrors.log"])
	}
}

// shownTwin is what a twin says, without versions and times.
func shownTwin(t twin.Twin) string {
	t.Properties.Desired.Delete("$metadata", "$version")
	t.Properties.Reported.Delete("$metadata", "$version")
	return t.Tags.String() + t.Properties.Desired.String() + t.Properties.Reported.String()
}

// TestImportModes imports lines of every kind, and reads what failed of them.
func TestImportModes(t *testing.T) {
	ctx := t.Context()
	c := &container{blobs: make(map[string]string)}
	h := hubtest.New(t)
	h.Blobs = c
	h.Reopen()
	for _, id := range []string{"old", "gone", "kept"} {
		h.Create(identity.Device{DeviceID: id})
	}
	c.blobs["devices.txt"] = strings.Join([]string{
		`{"id":"new","status":"enabled","importMode":"create"}`,
		`{"id":"old","status":"enabled","importMode":"create"}`,
		`{"id":"old","status":"disabled","importMode":"update"}`,
		`{"id":"none","status":"enabled","importMode":"update"}`,
		`{"id":"gone","status":"enabled","importMode":"delete"}`,
		`{"id":"kept","status":"enabled","importMode":"deleteIfMatchETag","eTag":"wrong"}`,
		`{"id":"kept","status":"enabled","importMode":"deleteIfMatchETag"}`,
		`{"id":"kept","status":"enabled","importMode":"updateTwin","tags":{"a":1}}`,
		`{"id":"kept","status":"enabled","importMode":"other"}`, `not JSON`, ``,
		`{"id":"old","moduleId":"m"}`, `{"id":"none","moduleId":"m"}`,
	}, "\n")
	done := transfer(h, job.Import, job.Transfer{Input: "https://x/y", Output: "https://x/y"})
	if done.Status != job.Completed || done.Statistics != (job.Statistics{Devices: 12, Succeeded: 5, Failed: 7}) {
		t.Errorf("it is %+v", done)
	}
	var failed []string
	for line := range strings.Lines(c.blobs["importErrors.log"]) {
		var e struct {
			DeviceID  string
			ErrorCode int
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err, line)
		}
		failed = append(failed, fmt.Sprint(e.DeviceID, " ", e.ErrorCode))
	}
	const want = "[old 409001 none 404001 kept 412001 kept 400005 kept 400004  400006 none 404001]"
	if fmt.Sprint(failed) != want {
		t.Errorf("what failed is %v, want %s", failed, want)
	}
	if _, err := h.Device(ctx, "gone"); !errors.Is(err, fault.DeviceNotFound) {
		t.Errorf("the device that was deleted: %v", err)
	}
	if _, err := h.Module(ctx, "old", "m"); err != nil {
		t.Errorf("the module: %v", err)
	}
}

// TestImportGoesOnAfterAStop stops the hub in the middle of an import, again and again: what
// was done before is no failure.
func TestImportGoesOnAfterAStop(t *testing.T) {
	c := &container{blobs: make(map[string]string)}
	h := hubtest.New(t)
	h.Blobs = c
	h.Reopen()
	const devices = 300
	var file strings.Builder
	for i := range devices {
		fmt.Fprintf(&file, "{\"id\":\"d%03d\",\"status\":\"enabled\",\"importMode\":\"create\",\"tags\":{\"n\":%d}}\n", i, i)
	}
	c.blobs["devices.txt"] = file.String()
	created, err := h.Jobs().CreateTransfer(t.Context(), job.Import, job.Transfer{Input: "https://x/y",
		Output: "https://x/y"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Jobs().CreateTransfer(t.Context(), job.Export, job.Transfer{Output: "https://x/y"}); !errors.Is(err,
		fault.JobQuotaExceeded) {
		t.Errorf("another beside it: %v", err)
	}
	stops := stopAgainAndAgain(h, created, 70)
	if done := awaitJob(h, created.ID); done.Status != job.Completed ||
		done.Statistics != (job.Statistics{Devices: devices, Succeeded: devices}) || stops < 2 {
		t.Errorf("after %d stops it is %+v\n%s", stops, done, c.blobs["importErrors.log"])
	}
}
