package provisioning

import (
	"context"
	"errors"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/provisioning/guard"
)

// Limits are how much of something there may be, and how often something may be
// done. Zero means unlimited, which is Berth's default throughout.
type Limits struct {
	RegistrationsPerMinute int // of all devices
	OperationsPerMinute    int // of back ends
	DevicePerMinute        int // registrations of one device
	PollsPer10Seconds      int // of one device: polls and look-ups

	Registrations int // records of devices that registered
	Enrollments   int // individual
	X509Groups    int
	KeyGroups     int // groups with symmetric keys
	Authorities   int
	LinkedHubs    int
	BulkItems     int // of one bulk operation

	Lockout guard.Lockout
}

// AzureLimits are those that Azure documents for a service of the tier S1
// (iot-dps-limits; of bulk operations, its REST API). The size of a message is
// maxRequest with and without them.
var AzureLimits = Limits{
	RegistrationsPerMinute: 1000, OperationsPerMinute: 1000, PollsPer10Seconds: 5,
	Registrations: 1_000_000, Enrollments: 1_000_000, X509Groups: 100, KeyGroups: 100, Authorities: 25,
	LinkedHubs: 50, BulkItems: 10,
}

// rates are those of the limits that are about how often.
func (l Limits) rates() guard.RateLimits {
	return guard.RateLimits{
		RegistrationsPerMinute: l.RegistrationsPerMinute,
		OperationsPerMinute:    l.OperationsPerMinute,
		DevicePerMinute:        l.DevicePerMinute,
		PollsPer10Seconds:      l.PollsPer10Seconds,
	}
}

// ThrottleOperation counts an operation of a back end: fault 429001 when there were
// too many.
func (s *Service) ThrottleOperation() error { return s.rates.Operation() }

// roomForRegistration looks whether there may be one more registration, of a device
// that has none: fault 403002 when not.
func (s *Service) roomForRegistration(ctx context.Context, trace *attest.Trace, registrationID string) error {
	most := s.config.Limits.Registrations
	if most <= 0 {
		return nil
	}
	if _, err := s.loadRegistration(ctx, registrationID); !errors.Is(err, fault.RegistrationNotFound) {
		return err
	}
	full, err := guard.IsFull(ctx, most, s.registrations.Count)
	if err != nil || !full {
		return err
	}
	problem := fault.New(fault.QuotaExceeded, "There are %d registrations, which is the limit of the service", most)
	trace.Fail("registrations", problem.Text(), fault.Say("fewer registrations"),
		fault.Say("Delete the registration records of devices that are gone. "+
			"The limits are those of berth up: --fidelity"))
	return problem
}

// Limits returns the limits of the service.
func (s *Service) Limits() Limits { return s.config.Limits }

// enrollments are those of the limits that are about enrollments and groups.
func (l Limits) enrollments() enroll.Limits {
	return enroll.Limits{Enrollments: l.Enrollments, X509Groups: l.X509Groups, KeyGroups: l.KeyGroups}
}
