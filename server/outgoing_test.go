package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-iot/berth/provisioning/allocation"
	"github.com/berth-iot/berth/provisioning/enroll"
)

// TestOutgoing begins more requests than there are places for: a destination never has
// more than half of them, all that is asked elsewhere goes on, and whoever gives up takes
// nothing with him.
func TestOutgoing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutgoing(4)
		var under sync.Mutex
		now, most := map[string]int{}, map[string]int{}
		ask := func(ctx context.Context, to string, lasting time.Duration) error {
			end, err := o.begin(ctx, to)
			if err != nil {
				return err
			}
			defer end()
			under.Lock()
			now[to]++
			now["all"]++
			most[to], most["all"] = max(most[to], now[to]), max(most["all"], now["all"])
			under.Unlock()
			time.Sleep(lasting)
			under.Lock()
			now[to]--
			now["all"]--
			under.Unlock()
			return nil
		}
		var silent, lively sync.WaitGroup
		impatient, cancel := context.WithTimeout(t.Context(), 90*time.Second)
		defer cancel()
		gaveUp := 0
		for range 20 {
			silent.Go(func() {
				if err := ask(impatient, "silent", time.Minute); errors.Is(err, context.DeadlineExceeded) {
					under.Lock()
					gaveUp++
					under.Unlock()
				} else if err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		begun := time.Now()
		for i := range 200 {
			lively.Go(func() {
				if err := ask(t.Context(), fmt.Sprint("lively", i%2), time.Second/10); err != nil {
					t.Error(err)
				}
			})
		}
		lively.Wait()
		if took := time.Since(begun); took > 11*time.Second {
			t.Errorf("beside one that does not answer, 200 requests of 0.1 s at two places took %s", took)
		}
		silent.Wait()
		if most["silent"] != 2 || most["all"] != 4 {
			t.Errorf("at most there were %v", most)
		}
		if gaveUp != 16 {
			t.Errorf("%d gave up, want 16", gaveUp)
		}
		if o.underWay != 0 || len(o.all) != 0 || len(o.turns) != 0 {
			t.Errorf("at the end there is left %+v", o)
		}
	})
}

// TestManyDevicesAskOneWebhook has more devices register than there may be requests to
// webhooks: no more than half of those are made at once to a webhook that does not answer,
// and devices of another one are assigned meanwhile. When it answers, all are.
func TestManyDevicesAskOneWebhook(t *testing.T) {
	h := newFixture(t)
	f := &fleet{h, t, h.hub, "127.0.0.1"}
	// Few, so that all of them are asked long before a request's five seconds are over.
	outgoing := h.Server.outgoing
	outgoing.mutex.Lock()
	outgoing.most, outgoing.ofOne = 16, 8
	outgoing.mutex.Unlock()
	most := outgoing.ofOne
	answer := make(chan struct{})
	var mutex sync.Mutex
	asked, atOnce := 0, 0
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mutex.Lock()
		asked++
		atOnce = max(atOnce, asked)
		mutex.Unlock()
		<-answer
		mutex.Lock()
		asked--
		mutex.Unlock()
		io.WriteString(w, `{"iotHubHostName":"127.0.0.1"}`)
	}))
	defer slow.Close()
	fast := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"iotHubHostName":"127.0.0.1"}`)
	}))
	defer fast.Close()
	custom := func(address string) func(*enroll.Group) {
		return func(g *enroll.Group) {
			g.AllocationPolicy = allocation.Custom
			g.CustomAllocationDefinition = &allocation.CustomDefinition{WebhookURL: address}
		}
	}
	f.group("slow", custom(slow.URL))
	f.group("fast", custom(fast.URL))
	var devices sync.WaitGroup
	for i := range most + 20 {
		devices.Go(func() { f.assigned(f.member("slow", fmt.Sprint("slow-", i))) })
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		mutex.Lock()
		n := asked
		mutex.Unlock()
		if n >= most || time.Now().After(deadline) {
			break
		}
	}
	time.Sleep(200 * time.Millisecond) // for more than there may be
	begun := time.Now()
	f.assigned(f.member("fast", "fast-1"))
	if took := time.Since(begun); took > 4*time.Second { // a request has 5 s
		t.Errorf("a device whose webhook answers waited %s for those of one that does not", took)
	}
	close(answer)
	devices.Wait()
	if atOnce != most {
		t.Errorf("the webhook was asked %d things at once, want %d", atOnce, most)
	}
}
