package c2d

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/berth-iot/berth/clock/clocktest"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/memory"
)

// modelled is a message as it should be.
type modelled struct {
	id       string
	payload  string
	ack      Ack
	expires  time.Time
	returned int
	token    string // the last it was handed out under
	until    time.Time
	receiver string
}

// TestQueueBehavesAsItsModel does any operations in any order, opens the messages anew in
// between, and holds what comes out against a list.
func TestQueueBehavesAsItsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ctx := t.Context()
		clock := &clocktest.Clock{}
		clock.Set(noon)
		documents := memory.New().Open()
		defer documents.Close()
		limits := Limits{Depth: 4, MaxDeliveryCount: 2}
		open := func() *Messages {
			return Open(Config{Documents: documents, Prefix: "hub/test/", Limits: limits, Now: clock.Now})
		}
		m, to := open(), Recipient{"d1", "1"}
		var queue []*modelled
		var told []string     // the feedback that there should be
		var outcomes []string // what became of all, the oldest first
		sent := 0
		left := make(map[Outcome]uint64)    // by what became of them
		counted := make(map[Outcome]uint64) // by messages that were closed
		count := func() {
			for outcome, n := range m.Stats().Left {
				counted[outcome] += n
			}
		}
		tokens := []string{"none"}
		leaves := func(one *modelled, outcome Outcome) {
			queue = slices.DeleteFunc(queue, func(other *modelled) bool { return other == one })
			left[outcome]++
			outcomes = append(outcomes, fmt.Sprint(one.id, " ", outcome))
			if one.ack.wants(outcome) {
				told = append(told, fmt.Sprint(one.id, " ", outcome))
			}
		}
		expire := func() {
			for _, one := range slices.Clone(queue) {
				if !clock.Now().Before(one.expires) {
					leaves(one, Expired)
				}
			}
		}
		settle := func(do func(token string) error, how func(*modelled)) func(*rapid.T) {
			return func(t *rapid.T) {
				// Mostly one of the last: old ones are seldom good.
				token := rapid.SampledFrom(tokens[max(0, len(tokens)-rapid.IntRange(1, 5).Draw(t, "last")):]).Draw(t,
					"token")
				err := do(token)
				expire()
				at := slices.IndexFunc(queue, func(one *modelled) bool { return one.token == token && token != "" })
				if lost := errors.Is(err, fault.MessageLockLost); lost != (at < 0) || err != nil && !lost {
					t.Fatalf("settled as message %d of the queue: %v", at, err)
				}
				if at >= 0 {
					how(queue[at])
				}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"send": func(t *rapid.T) {
				ack := rapid.SampledFrom([]Ack{"", AckNone, AckPositive, AckNegative, AckFull}).Draw(t, "ack")
				ttl := rapid.SampledFrom([]time.Duration{0, time.Minute, 5 * time.Minute}).Draw(t, "ttl")
				sent++
				one := &modelled{id: fmt.Sprint("m", sent), payload: fmt.Sprint("payload ", sent), ack: ack,
					expires: clock.Now().Add(cmp.Or(ttl, time.Hour))}
				out := Outgoing{MessageID: one.id, Ack: ack, Message: message.Message{Payload: []byte(one.payload)}}
				if ttl > 0 {
					out.Expires = one.expires
				}
				_, err := send(ctx, m, to, out)
				full := errors.Is(err, fault.QueueFull)
				if err == nil { // a refusal commits nothing
					expire()
				}
				alive := slices.DeleteFunc(slices.Clone(queue), func(one *modelled) bool {
					return !clock.Now().Before(one.expires)
				})
				if full != (len(alive) == limits.Depth) || err != nil && !full {
					t.Fatalf("message %d of the queue: %v", len(alive), err)
				}
				if err == nil {
					queue = append(queue, one)
				}
			},
			"receive": func(t *rapid.T) {
				receiver := rapid.SampledFrom([]string{"", "mqtt"}).Draw(t, "receiver")
				limit := rapid.IntRange(1, 3).Draw(t, "limit")
				got, _, err := m.Receive(ctx, to, Receiver{Name: receiver}, limit)
				if err != nil {
					t.Fatal(err)
				}
				expire()
				for _, one := range queue {
					if one.token != "" && clock.Now().Before(one.until) {
						continue
					}
					if limit--; limit < 0 {
						break
					}
					if len(got) == 0 || string(got[0].Payload) != one.payload || got[0].DeliveryCount != one.returned ||
						!got[0].Expires.Equal(one.expires) || got[0].LockToken == one.token {
						t.Fatalf("received %+v, want %+v", got, one)
					}
					one.token, one.until, one.receiver = got[0].LockToken, clock.Now().Add(time.Minute), receiver
					tokens = append(tokens, one.token)
					got = got[1:]
				}
				if len(got) > 0 {
					t.Fatalf("received %+v besides", got)
				}
			},
			"complete": settle(func(token string) error { return m.Complete(ctx, to, token) },
				func(one *modelled) { leaves(one, Success) }),
			"reject": settle(func(token string) error { return m.Reject(ctx, to, token) },
				func(one *modelled) { leaves(one, Rejected) }),
			"abandon": settle(func(token string) error { return m.Abandon(ctx, to, token) },
				func(one *modelled) {
					one.token = ""
					if one.returned++; one.returned == limits.MaxDeliveryCount {
						leaves(one, DeliveryCountExceeded)
					}
				}),
			"release": func(t *rapid.T) {
				if _, err := m.Release(ctx, to, "mqtt", false); err != nil {
					t.Fatal(err)
				}
				expire()
				for _, one := range queue {
					if one.receiver == "mqtt" {
						one.token = ""
					}
				}
			},
			"purge": func(t *rapid.T) {
				purged, err := m.Purge(ctx, to)
				expire()
				if err != nil || purged != len(queue) {
					t.Fatalf("purged %d of %d: %v", purged, len(queue), err)
				}
				for _, one := range slices.Clone(queue) {
					leaves(one, Purged)
				}
			},
			"wait": func(t *rapid.T) { clock.Advance(rapid.SampledFrom(steps).Draw(t, "for")) },
			"reopen": func(*rapid.T) {
				count()
				m = open()
			},
			"expire": func(t *rapid.T) {
				if _, err := m.Expire(ctx, 10); err != nil {
					t.Fatal(err)
				}
				// A queue is looked after in the second after a message has expired.
				clock.Advance(2 * time.Second)
				if _, err := m.Expire(ctx, 10); err != nil {
					t.Fatal(err)
				}
				for _, one := range slices.Clone(queue) {
					if !clock.Now().Before(one.expires) && clock.Now().Sub(one.expires) >= 2*time.Second {
						leaves(one, Expired)
					}
				}
			},
			"": func(t *rapid.T) {
				expired := 0
				for _, one := range queue {
					if !clock.Now().Before(one.expires) {
						expired++
					}
				}
				if n, err := m.Count(ctx, to.DeviceID); err != nil || n != len(queue)-expired {
					t.Fatalf("%d messages wait, want %d of %d: %v", n, len(queue)-expired, len(queue), err)
				}
				var alive []string
				for _, one := range queue {
					if clock.Now().Before(one.expires) {
						locked := one.token != "" && clock.Now().Before(one.until)
						alive = append(alive, fmt.Sprint(one.id, one.payload, one.returned, locked))
					}
				}
				seen, total, err := m.Peek(ctx, to, 2)
				if err != nil || total != len(alive) || len(seen) != min(2, total) {
					t.Fatalf("%d of %d messages are seen, want of %d: %v", len(seen), total, len(alive), err)
				}
				for i, w := range seen {
					got := fmt.Sprint(w.MessageID, string(w.Payload), w.DeliveryCount, !w.LockedUntil.IsZero())
					if got != alive[i] {
						t.Fatalf("message %d is seen as %q, want %q", i, got, alive[i])
					}
				}
				past, err := m.History(ctx, to)
				if err != nil || len(past) != min(len(outcomes), historyLength) {
					t.Fatalf("it is known of %d messages what became of them, of %d: %v", len(past), len(outcomes), err)
				}
				for i, p := range past {
					if got, want := fmt.Sprint(p.MessageID, " ", p.Outcome), outcomes[len(outcomes)-1-i]; got != want {
						t.Fatalf("the history has %q, want %q", got, want)
					}
				}
			},
		})
		// All that is left expires, nothing stays behind, and the feedback is complete.
		clock.Advance(3 * time.Hour)
		if _, err := m.Expire(ctx, 10); err != nil {
			t.Fatal(err)
		}
		expire()
		for _, collection := range []string{"queues", "messages", "expiries"} {
			if n, err := store.Count(ctx, documents, "hub/test/"+collection); n != 0 || err != nil {
				t.Fatalf("%d documents are left of %s: %v", n, collection, err)
			}
		}
		count()
		for _, outcome := range Outcomes {
			if counted[outcome] != left[outcome] {
				t.Fatalf("counted are %v, want %v", counted, left)
			}
		}
		entries, err := m.feedback.List(ctx, "", "", 1000)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range entries {
			got = append(got, fmt.Sprint(e.Value.MessageID, " ", e.Value.Outcome))
		}
		slices.Sort(got)
		slices.Sort(told)
		if !slices.Equal(got, told) {
			t.Fatalf("the feedback is %q, want %q", got, told)
		}
	})
}

func send(ctx context.Context, m *Messages, to Recipient, out Outgoing) (Receipt, error) {
	return store.RetryOnConflict(ctx, func() (Receipt, error) {
		prepared, err := m.PrepareSend(ctx, to, out)
		if err == nil {
			_, err = m.documents.Commit(ctx, prepared.Changes...)
		}
		if err == nil {
			prepared.Committed()
		}
		return prepared.Receipt, err
	})
}

var (
	noon  = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	steps = []time.Duration{time.Second, 30 * time.Second, time.Minute, 10 * time.Minute}
)
