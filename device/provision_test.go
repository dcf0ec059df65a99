package device_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/berth-iot/berth/berthtest"
	"github.com/berth-iot/berth/device"
	"github.com/berth-iot/berth/fault"
)

func TestProvisionConnectSend(t *testing.T) {
	for _, webSocket := range []bool{false, true} {
		t.Run(fmt.Sprintf("webSocket=%t", webSocket), func(t *testing.T) {
			f := newFixture(t)
			certificate := f.certificate("wind-1", true)
			options := f.provision("wind-1", certificate)
			if options.WebSocket = webSocket; webSocket {
				options.Host = f.HTTPSAddress()
			}
			registration, err := device.Provision(f.ctx, options)
			if err != nil {
				t.Fatal(err)
			}
			state := registration.RegistrationState
			if registration.Status != "assigned" || registration.OperationID == "" ||
				state.AssignedHub != f.Info().Hubs[0].Host ||
				state.DeviceID != "wind-1" || state.Substatus != "initialAssignment" || state.ETag == "" ||
				time.Since(state.CreatedDateTimeUTC.Time) > time.Minute || state.LastUpdatedDateTimeUTC.IsZero() {
				t.Fatalf("registered as %+v with state %+v", registration, state)
			}

			client := f.connect(device.HubOptions{Host: options.Host, DeviceID: state.DeviceID,
				Certificate: certificate, RootCAs: f.RootCAs, WebSocket: webSocket})
			const n = 10
			sent := make(chan error, n)
			for i := range n {
				go func() {
					sent <- client.Send(f.ctx,
						device.Message{MessageID: fmt.Sprint("message ", i), CorrelationID: "a+b&c=d",
							ContentType: "application/json", ContentEncoding: "utf-8",
							Properties: map[string]string{"über": "50 % / $", "empty": ""},
							Payload:    fmt.Appendf(nil, `{"speed":%d}`, i)})
				}()
			}
			for range n {
				if err := <-sent; err != nil {
					t.Fatal(err)
				}
			}
			seen := map[string]bool{}
			for _, message := range f.telemetry("wind-1", n) {
				id := message.SystemProperties["message-id"]
				seen[id] = true
				var body struct{ Speed json.Number }
				if text, ok := message.Body.(json.RawMessage); !ok || json.Unmarshal(text, &body) != nil ||
					fmt.Sprint("message ", body.Speed) != id {
					t.Errorf("message %q has the body %s", id, message.Body)
				}
				if message.SystemProperties["correlation-id"] != "a+b&c=d" ||
					message.SystemProperties["content-type"] != "application/json" ||
					message.SystemProperties["content-encoding"] != "utf-8" ||
					message.Properties["über"] != "50 % / $" || message.Properties["empty"] != "" ||
					len(message.Properties) != 2 {
					t.Errorf("message %q has the properties %v and %v", id, message.SystemProperties,
						message.Properties)
				}
			}
			if len(seen) != n {
				t.Errorf("the messages are %v, want %d different ones", seen, n)
			}
		})
	}
}

func TestProvisionPaced(t *testing.T) {
	f := newFixture(t, berthtest.Paced())
	options := f.provision("wind-1", f.certificate("wind-1", true))
	var operations []string
	options.OnAssigning = func(operationID string, wait time.Duration) {
		operations = append(operations, operationID)
		if wait != 3*time.Second {
			t.Errorf("the wait is %s, want the 3 s that Azure asks for", wait)
		}
	}
	registration, err := device.Provision(f.ctx, options)
	if err != nil {
		t.Fatal(err)
	}
	if len(operations) == 0 || operations[0] == "" || operations[0] != registration.OperationID {
		t.Errorf("was assigning in the operations %q, assigned in %q", operations, registration.OperationID)
	}
}

// A device that gives up does not wait for the end of its pause.
func TestProvisionGivesUp(t *testing.T) {
	f := newFixture(t, berthtest.Paced())
	options := f.provision("wind-1", f.certificate("wind-1", true))
	ctx, giveUp := context.WithCancelCause(f.ctx)
	reason := errors.New("enough")
	options.OnAssigning = func(string, time.Duration) { giveUp(reason) }
	if registration, err := device.Provision(ctx, options); !errors.Is(err, reason) ||
		registration.Status != "assigning" {
		t.Errorf("got %+v and %v, want the reason for giving up", registration, err)
	}
}

func TestProvisionRefused(t *testing.T) {
	f := newFixture(t)
	_, err := device.Provision(f.ctx, f.provision("stranger", f.certificate("stranger", false)))
	var problem *fault.Error
	if !errors.As(err, &problem) || problem.Code.Status() != 401 || problem.Message == "" || problem.TrackingID == "" {
		t.Fatalf("got %#v, want the service's refusal with its code, message and tracking id", err)
	}
	if _, err := device.Provision(f.ctx, f.provision("wind-1", f.certificate("wind-2", true))); !errors.As(err,
		&problem) {
		t.Errorf("with another device's certificate: got %v, want a refusal", err)
	}
}
