package hub_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-iot/berth/cluster/local"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/hub/c2d"
	"github.com/berth-iot/berth/hub/connection"
	"github.com/berth-iot/berth/hub/hubtest"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/hub/telemetry"
	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/memory"
)

// node is a hub as one of several nodes has it.
type node struct {
	*hub.Hub
	line *line
}

// line is the way of a node to the documents, on which nothing arrives once it is cut.
type line struct {
	store.Documents
	cut atomic.Bool
}

// Commit implements store.Documents.
func (l *line) Commit(ctx context.Context, changes ...store.Change) ([]string, error) {
	if l.cut.Load() {
		return nil, errors.New("the node is cut off")
	}
	return l.Documents.Commit(ctx, changes...)
}

// withNodes runs a test with the nodes a and b, in a bubble whose time passes when all wait.
// The clock of b is behind by so much.
func withNodes(t *testing.T, behind time.Duration, test func(t *testing.T, a, b *node)) {
	synctest.Test(t, func(t *testing.T) {
		shared, network := memory.New(), local.NewNetwork()
		var nodes [2]*node
		for i, name := range []string{"a", "b"} {
			n := &node{line: &line{Documents: shared.Open()}}
			logs := shared.OpenLogs(nil)
			telemetry, err := logs.Open("telemetry", store.LogOptions{Partitions: 1})
			if err != nil {
				t.Fatal(err)
			}
			events, err := logs.Open("events", store.LogOptions{Partitions: 1})
			if err != nil {
				t.Fatal(err)
			}
			now := func() time.Time { return time.Now().Add(-time.Duration(i) * behind) }
			if n.Hub, err = hub.Open(t.Context(), hub.Config{Name: "test", Host: "hub.local", Node: name,
				Documents: n.line, Telemetry: telemetry, Events: events, Bus: network.Node(), Now: now,
				Logger: slog.New(slog.DiscardHandler)}); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				n.line.cut.Store(false)
				if err := errors.Join(n.Close(context.Background()), logs.Close(), n.line.Close()); err != nil {
					t.Error(err)
				}
			})
			nodes[i] = n
			synctest.Wait() // a has the leases
		}
		test(t, nodes[0], nodes[1])
	})
}

// outcomes reads all feedback that there is at a node.
func (n *node) outcomes(t *testing.T) (found []string) {
	t.Helper()
	for {
		batch, err := n.Messages().ReceiveFeedback(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(batch.Records) == 0 {
			return found
		}
		for _, record := range batch.Records {
			found = append(found, fmt.Sprint(record.MessageID, " ", record.Outcome))
		}
		if err := n.Messages().CompleteFeedback(t.Context(), batch.LockToken); err != nil {
			t.Fatal(err)
		}
	}
}

func (n *node) send(t *testing.T, id string, expires time.Duration) {
	t.Helper()
	out := c2d.Outgoing{MessageID: id, Ack: c2d.AckFull, Expires: time.Now().Add(expires),
		Message: message.Message{Payload: []byte(id)}}
	if _, err := n.SendMessage(t.Context(), "d1", out); err != nil {
		t.Fatal(err)
	}
}

func (n *node) connect(t *testing.T, device identity.Device) (*connection.Session, *hubtest.Line) {
	t.Helper()
	evidence := credential.Evidence{Token: must(credential.NewToken("hub.local/devices/"+device.DeviceID, "",
		*device.Authentication.SymmetricKey.PrimaryKey, time.Now().Add(24*time.Hour)))}
	down := new(hubtest.Line)
	session, err := n.Connections().OpenSession(t.Context(), device.DeviceID, evidence, false, down)
	if err != nil {
		t.Fatal(err)
	}
	return session, down
}

// TestEventsOfTwoNodes tells of a device that changes its node in its order, though the clock
// of one is behind.
func TestEventsOfTwoNodes(t *testing.T) {
	withNodes(t, time.Hour, func(t *testing.T, a, b *node) {
		device := must(a.CreateDevice(t.Context(), identity.Device{DeviceID: "d1"}))
		for _, n := range []*node{a, b, a, b} {
			session, _ := n.connect(t, device)
			time.Sleep(10 * time.Second) // the activity is written
			must(n.PatchTwin(t.Context(), "d1", json.RawMessage(`{"tags":{"a":1}}`), ""))
			session.Close(nil)
			time.Sleep(10 * time.Second)
		}
		if err := b.DeleteDevice(t.Context(), "d1", ""); err != nil {
			t.Fatal(err)
		}
		var got []string
		last := ""
		err := b.Events().Log().Follow(t.Context(), telemetry.Position{Earliest: true}, "", func(m telemetry.Message) error {
			operation := m.Properties["opType"]
			got = append(got, operation)
			if strings.HasPrefix(m.SystemProperties["iothub-message-source"], "deviceConnection") {
				if number := fmt.Sprintf("%s", m.Body); number <= last {
					t.Errorf("the sequence number %s follows %s", number, last)
				} else {
					last = number
				}
			}
			if operation == "deleteDeviceIdentity" {
				return telemetry.ErrStop
			}
			return nil
		})
		want := []string{"createDeviceIdentity"}
		for range 4 {
			want = append(want, "deviceConnected", "updateTwin", "deviceDisconnected")
		}
		if want = append(want, "deleteDeviceIdentity"); err != nil || !slices.Equal(got, want) {
			t.Errorf("told is %q, error %v", got, err)
		}
	})
}

// TestMessagesOfTwoNodes sends at one node to a device of the other, and has the lock of a
// node that is gone end.
func TestMessagesOfTwoNodes(t *testing.T) {
	withNodes(t, 0, func(t *testing.T, a, b *node) {
		ctx := t.Context()
		device := must(a.CreateDevice(ctx, identity.Device{DeviceID: "d1"}))
		session, down := b.connect(t, device)
		defer session.Close(nil)
		for _, id := range []string{"m1", "m2", "m3"} {
			a.send(t, id, time.Hour)
		}
		if down.MessageNotices() != 3 {
			t.Errorf("the device at b was told %d times", down.MessageNotices())
		}

		// A poll at a takes one, and a is gone before it is settled.
		to := c2d.Recipient{DeviceID: "d1", Generation: device.GenerationID}
		taken, _, err := a.Messages().Receive(ctx, to, c2d.Receiver{}, 1)
		if err != nil || len(taken) != 1 || taken[0].MessageID != "m1" {
			t.Fatalf("received at a are %+v, error %v", taken, err)
		}
		others, next, err := session.ReceiveMessages(ctx, []uint16{1, 2, 3}, 3)
		if err != nil || len(others) != 2 || others[0].MessageID != "m2" || others[1].MessageID != "m3" {
			t.Fatalf("received at b are %+v, error %v", others, err)
		}
		if want := c2d.DefaultLimits.Lock; time.Until(next) > want || next.Before(time.Now()) {
			t.Errorf("the lock of a ends in %s", time.Until(next))
		}
		if err := session.CompleteMessages(ctx, others[0].LockToken, others[1].LockToken); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Until(next))
		again, _, err := session.ReceiveMessages(ctx, []uint16{3}, 1)
		if err != nil || len(again) != 1 || again[0].MessageID != "m1" || !again[0].Redelivered {
			t.Fatalf("received at b after the lock of a are %+v, error %v", again, err)
		}
		if err := a.Messages().Complete(ctx, to, taken[0].LockToken); err == nil {
			t.Error("a completes what b has received")
		}
		if err := session.CompleteMessages(ctx, again[0].LockToken); err != nil {
			t.Fatal(err)
		}
		if got := a.outcomes(t); !slices.Equal(got, []string{"m2 Success", "m3 Success", "m1 Success"}) {
			t.Errorf("the feedback at a is %q", got)
		}
	})
}

// TestSweepOfANodeThatDies has what expires be dropped by whichever node lives.
func TestSweepOfANodeThatDies(t *testing.T) {
	withNodes(t, 0, func(t *testing.T, a, b *node) {
		must(b.CreateDevice(t.Context(), identity.Device{DeviceID: "d1"}))
		b.send(t, "m1", 10*time.Second)
		time.Sleep(20 * time.Second)
		if a.Messages().Stats().Left[c2d.Expired] != 1 || b.Messages().Stats().Left[c2d.Expired] != 0 {
			t.Error("m1 was not dropped by a, which has the lease")
		}
		b.send(t, "m2", 10*time.Second)
		a.line.cut.Store(true)
		time.Sleep(40 * time.Second) // the lease, 20 s, and a sweep
		if b.Messages().Stats().Left[c2d.Expired] != 1 {
			t.Error("m2 was not dropped by b")
		}
		if got := b.outcomes(t); !slices.Equal(got, []string{"m1 Expired", "m2 Expired"}) {
			t.Errorf("the feedback is %q", got)
		}
	})
}
