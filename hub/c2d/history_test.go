package c2d

import (
	"fmt"
	"testing"

	"github.com/berth-iot/berth/clock/clocktest"
	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/memory"
)

func openMessages(t *testing.T) *Messages {
	t.Helper()
	clock := &clocktest.Clock{}
	clock.Set(noon)
	documents := memory.New().Open()
	t.Cleanup(func() { documents.Close() })
	return Open(Config{Documents: documents, Prefix: "hub/test/", Now: clock.Now})
}

func mustSend(t *testing.T, m *Messages, to Recipient, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if _, err := send(t.Context(), m, to, Outgoing{MessageID: id,
			Message: message.Message{Payload: []byte("payload of " + id)}}); err != nil {
			t.Fatal(err)
		}
	}
}

// The history has the last twenty messages and goes with its device.
func TestHistory(t *testing.T) {
	ctx, m, to := t.Context(), openMessages(t), Recipient{"d1", "1"}
	for i := range historyLength + 5 {
		mustSend(t, m, to, fmt.Sprint("m", i))
	}
	if _, err := m.Purge(ctx, to); err != nil {
		t.Fatal(err)
	}
	mustSend(t, m, to, "last")
	got, _, err := m.Receive(ctx, to, Receiver{}, 1)
	if err == nil {
		err = m.Complete(ctx, to, got[0].LockToken)
	}
	if err != nil {
		t.Fatal(err)
	}
	past, err := m.History(ctx, to)
	if err != nil || len(past) != historyLength || past[0].MessageID != "last" || past[0].Outcome != Success ||
		past[1].MessageID != fmt.Sprint("m", historyLength+4) || past[1].Outcome != Purged {
		t.Errorf("the history is %+v, error %v", past, err)
	}
	if past, err := m.History(ctx, Recipient{"d1", "2"}); err != nil || len(past) != 0 {
		t.Errorf("a later device has the history %+v, error %v", past, err)
	}
	changes, err := m.PrepareDelete(ctx, "d1")
	if err == nil {
		_, err = m.documents.Commit(ctx, changes...)
	}
	if left, countErr := store.Count(ctx, m.documents, m.histories.Collection); left != 0 || err != nil ||
		countErr != nil {
		t.Errorf("%d histories are left of a device that is gone, errors %v, %v", left, err, countErr)
	}
}

// A record that can't be read is neither lost from sight nor in the way of the others.
func TestPeekUnreadable(t *testing.T) {
	ctx, m, to := t.Context(), openMessages(t), Recipient{"d1", "1"}
	mustSend(t, m, to, "a", "b", "c")
	overwrite := func(collection, key string) {
		t.Helper()
		change := store.Change{Collection: collection, Key: key, Value: []byte("{"), Match: store.Always}
		if _, err := m.documents.Commit(ctx, change); err != nil {
			t.Fatal(err)
		}
	}
	waiting, _, err := m.Peek(ctx, to, 10)
	if err != nil || len(waiting) != 3 || string(waiting[1].Payload) != "payload of b" {
		t.Fatalf("the queue has %+v, error %v", waiting, err)
	}
	overwrite(m.messages.Collection, messageKey("d1", waiting[1].Sequence))
	gone := m.messages.Delete(messageKey("d1", waiting[2].Sequence), store.Always)
	if _, err := m.documents.Commit(ctx, gone); err != nil {
		t.Fatal(err)
	}
	waiting, total, err := m.Peek(ctx, to, 10)
	if err != nil || len(waiting) != 2 || total != 2 || !waiting[1].Unreadable || waiting[0].Unreadable {
		t.Errorf("%d of %d are seen: %+v, error %v", len(waiting), total, waiting, err)
	}
	if waiting, total, err := m.Peek(ctx, Recipient{"d1", "2"}, 10); total != 0 || err != nil {
		t.Errorf("a later device has %+v, error %v", waiting, err)
	}
	overwrite(m.queues.Collection, "d1")
	if waiting, total, err := m.Peek(ctx, to, 10); total != 0 || err != nil {
		t.Errorf("of a queue that can't be read %+v are seen, error %v", waiting, err)
	}
	overwrite(m.histories.Collection, "d1")
	if past, err := m.History(ctx, to); len(past) != 0 || err != nil {
		t.Errorf("a history that can't be read is %+v, error %v", past, err)
	}
}
