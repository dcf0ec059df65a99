package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/device"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/telemetry"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/enroll"
)

// verify holds what the server has against what it acknowledged: telemetry
// since a time (all, with the zero time), and all documents.
func (h *history) verify(t *testing.T, p *process, marker tls.Certificate, since time.Time) {
	t.Helper()
	ctx := within(t, 2*time.Minute)
	h.verifyTelemetry(ctx, t, p, marker, since)
	h.verifyEnrollments(ctx, t, p)
	h.verifyDevices(ctx, t, p)
	h.verifyNumbers(ctx, t, p)
}

// verifyTelemetry reads the log up to a message that it sends itself. Sequence
// numbers have no gaps, and each sender's messages stand in the order in which
// they were sent, at least up to the last one acknowledged.
func (h *history) verifyTelemetry(ctx context.Context, t *testing.T, p *process, marker tls.Certificate,
	since time.Time) {
	t.Helper()
	client, err := p.dial(ctx, "marker", marker)
	if err != nil {
		t.Fatal(err)
	}
	end := "marker/" + fault.NewTrackingID()
	if err := client.Send(ctx, device.Message{Payload: []byte(end)}); err != nil {
		t.Fatal(err)
	}
	client.Close()

	next := make(map[int]int64)   // by partition
	found := make(map[string]int) // by sender and round: the number of the last message
	err = p.hub.Telemetry(ctx, telemetry.Position{Earliest: since.IsZero(), Time: since}, "", 0,
		func(m telemetry.Message) error {
			want, seen := next[m.Partition]
			if !seen && since.IsZero() {
				seen = true // a log that is read from its beginning begins with 0
			}
			if seen && m.SequenceNumber != want {
				return fmt.Errorf("partition %d: sequence number %d follows %d", m.Partition, m.SequenceNumber, want-1)
			}
			next[m.Partition] = m.SequenceNumber + 1
			payload, _ := m.Body.(string)
			if payload == end {
				return telemetry.ErrStop
			}
			if strings.HasPrefix(payload, "marker/") {
				return nil
			}
			parts := strings.SplitN(payload, "/", 4)
			if len(parts) != 4 || strings.Trim(parts[3], "x") != "" || parts[0] != m.DeviceID {
				return fmt.Errorf("a message of %s was never sent like this: %.200q", m.DeviceID, payload)
			}
			name := parts[0] + "/" + parts[1]
			number, err := strconv.Atoi(parts[2])
			if err != nil || number != found[name]+1 {
				return fmt.Errorf("%s: message %q follows message %d", name, parts[2], found[name])
			}
			found[name] = number
			return nil
		})
	if err != nil {
		t.Fatalf("telemetry after the crash: %v", err)
	}
	for name, sent := range h.sent {
		if _, there := found[name]; !there && !since.IsZero() {
			continue // of an earlier round; the last reading is of all
		}
		if found[name] < sent.acknowledged || found[name] > sent.asked {
			t.Errorf("%s: %d messages are there, %d were acknowledged, %d were sent", name, found[name],
				sent.acknowledged, sent.asked)
		}
	}
}

func (h *history) verifyEnrollments(ctx context.Context, t *testing.T, p *process) {
	t.Helper()
	enrollments, err := collect(cli.Selection{},
		func(prefix, after string, top int) ([]enroll.Enrollment, string, error) {
			return p.provisioning.Enrollments(ctx, prefix, after, top)
		})
	if err != nil {
		t.Fatal(err)
	}
	if summary, err := p.provisioning.Summary(ctx); err != nil || summary.Enrollments != len(enrollments) {
		t.Errorf("%d enrollments are counted, error %v, and %d are listed", summary.Enrollments, err, len(enrollments))
	}
	there := make(map[string]enroll.Enrollment)
	for _, e := range enrollments {
		there[e.RegistrationID] = e
		if primary, _ := certificatesOf(e); primary == nil || len(primary.SHA256Thumbprint) != 64 || e.ETag == "" ||
			e.CreatedDateTimeUTC.IsZero() {
			t.Errorf("enrollment %s is there by half: %s", e.RegistrationID, cli.CompactJSON(e))
		}
	}
	for id := range h.enrolled {
		if _, ok := there[id]; !ok {
			t.Errorf("the acknowledged enrollment %s is lost", id)
		}
	}
	for id := range h.deleted {
		if _, ok := there[id]; ok {
			t.Errorf("the enrollment %s is back after its acknowledged deletion", id)
		}
	}
}

// verifyDevices waits until the server has finished the assignments that the
// crash interrupted. Then registrations and devices belong to each other, one to
// one, and every acknowledged one is among them.
func (h *history) verifyDevices(ctx context.Context, t *testing.T, p *process) {
	t.Helper()
	registrations := make(map[string]provisioning.Registration)
	for unfinished := true; unfinished; {
		list, err := collect(cli.Selection{},
			func(prefix, after string, top int) ([]provisioning.Registration, string, error) {
				return p.provisioning.Registrations(ctx, prefix, after, top)
			})
		if err != nil {
			t.Fatalf("while registrations are unfinished: %v", err)
		}
		unfinished = false
		for _, r := range list {
			registrations[r.RegistrationID] = r
			unfinished = unfinished || r.Status == provisioning.StatusAssigning
		}
	}
	devices, err := collect(cli.Selection{}, func(prefix, after string, top int) ([]identity.Device, string, error) {
		return p.hub.Devices(ctx, prefix, after, top)
	})
	if err != nil {
		t.Fatal(err)
	}
	var counted identity.Statistics
	there := make(map[string]identity.Device)
	for _, d := range devices {
		counted.TotalDeviceCount++
		if d.Status == "disabled" {
			counted.DisabledDeviceCount++
		} else {
			counted.EnabledDeviceCount++
		}
		if strings.HasPrefix(d.DeviceID, toggled) {
			continue
		}
		there[d.DeviceID] = d
		if _, ok := registrations[d.DeviceID]; !ok {
			t.Errorf("device %s has no registration", d.DeviceID)
		}
		if d.Status != "enabled" || d.Authentication == nil ||
			d.Authentication.X509Thumbprint.PrimaryThumbprint == nil {
			t.Errorf("device %s is there by half: %s", d.DeviceID, cli.CompactJSON(d))
		}
	}
	if statistics, err := p.hub.RegistryStatistics(ctx); err != nil || statistics != counted {
		t.Errorf("the statistics are %+v, error %v, and listed are %+v", statistics, err, counted)
	}
	if summary, err := p.provisioning.Summary(ctx); err != nil || summary.Registrations != len(registrations) {
		t.Errorf("%d registrations are counted, error %v, and %d are listed", summary.Registrations, err,
			len(registrations))
	}
	for id := range h.registered {
		if _, ok := registrations[id]; !ok {
			t.Errorf("the acknowledged registration of %s is lost", id)
		}
	}
	for id, r := range registrations {
		if _, ok := there[id]; !ok || r.Status != provisioning.StatusAssigned || r.AssignedHub != p.info.Hubs[0].Host ||
			r.DeviceID != id {
			t.Errorf("the registration of %s says %s, its device is there: %v", id, cli.CompactJSON(r), ok)
		}
		if ok := strings.HasPrefix(id, "newcomer-"); ok {
			h.verifyTwin(ctx, t, p, id)
		}
	}
}

// verifyTwin checks once that a new device got its whole initial twin.
func (h *history) verifyTwin(ctx context.Context, t *testing.T, p *process, id string) {
	t.Helper()
	twin, err := p.hub.Twin(ctx, id)
	number := id[strings.LastIndexByte(id, '-')+1:]
	if err != nil || twin.Tags.Get("number").String() != number ||
		twin.Properties.Desired.Get("number").String() != number {
		t.Errorf("the twin of %s: %v, %s", id, err, cli.CompactJSON(twin))
	}
}

// verifyNumbers looks at what was changed over and over: both halves agree, at a
// number between the last one acknowledged and the last one asked for.
func (h *history) verifyNumbers(ctx context.Context, t *testing.T, p *process) {
	t.Helper()
	enrollment, err := p.provisioning.Enrollment(ctx, "changed")
	if err != nil {
		t.Fatalf("the enrollment that is changed: %v", err)
	}
	tags, desired := string(enrollment.InitialTwin.Tags), string(enrollment.InitialTwin.Properties.Desired)
	h.between(t, "the enrollment that is changed", tags, desired, h.changed, `{"number":%d}`)
	twin, err := p.hub.Twin(ctx, "twin")
	if err != nil {
		t.Fatal(err)
	}
	if number, again := twin.Properties.Reported.Get("number"), twin.Properties.Reported.Get(
		"again"); number.String() != "" || h.reported.acknowledged > 0 {
		h.between(t, "the reported properties", number.String(), again.String(), h.reported, "%d")
	}
}

func (h *history) between(t *testing.T, what, one, other string, expected progress, format string) {
	t.Helper()
	var number int
	if _, err := fmt.Sscanf(one, format, &number); err != nil || one != other || number < expected.acknowledged ||
		number > expected.asked {
		t.Errorf("%s: %s and %s, acknowledged was %d, asked %d", what, one, other, expected.acknowledged,
			expected.asked)
	}
}

// collect reads a list into memory.
func collect[T any](s cli.Selection, list cli.Lister[T]) (items []T, err error) {
	_, err = cli.EachPage(s, list, func(page []T) error {
		items = append(items, page...)
		return nil
	})
	return items, err
}
