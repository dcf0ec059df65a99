package provisioning

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/attest"
)

// Limits are how much of something there may be, and how often something may be
// done. What is 0 has no limit, which is Berth's default throughout.
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

	Lockout Lockout
}

// AzureLimits are those that Azure documents for a service of the tier S1
// (iot-dps-limits; of bulk operations, its REST API). The size of a message is
// maxRequest with and without them.
var AzureLimits = Limits{
	RegistrationsPerMinute: 1000, OperationsPerMinute: 1000, PollsPer10Seconds: 5,
	Registrations: 1_000_000, Enrollments: 1_000_000, X509Groups: 100, KeyGroups: 100, Authorities: 25, LinkedHubs: 50, BulkItems: 10,
}

// throttles count what is done against the limits.
type throttles struct {
	registrations, operations *rate.Limiter // nil without a limit

	perDevice, polls perKey
	handshakes       perKey // that failed and are kept
}

func newThrottles(limits Limits) *throttles {
	return &throttles{
		registrations: per(limits.RegistrationsPerMinute, time.Minute), operations: per(limits.OperationsPerMinute, time.Minute),
		perDevice: perKey{most: limits.DevicePerMinute, time: time.Minute}, polls: perKey{most: limits.PollsPer10Seconds, time: 10 * time.Second},
		handshakes: perKey{most: unconnectedKept, time: time.Minute},
	}
}

// per is a limiter of so many in a time; nil for 0.
func per(most int, time time.Duration) *rate.Limiter {
	if most <= 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(float64(most)/time.Seconds()), most)
}

// perKey limits what is done under each of many names.
type perKey struct {
	most int
	time time.Duration

	mutex  sync.Mutex
	byKey  map[string]*rate.Limiter
	purged time.Time
}

// maxLimiters bounds the names that are remembered at once.
const maxLimiters = 100_000

func (p *perKey) of(key string, now time.Time) *rate.Limiter {
	if p.most <= 0 {
		return nil
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.byKey == nil || len(p.byKey) >= maxLimiters && now.Sub(p.purged) > p.time {
		// Those that were not used for a while are full, and so as good as new.
		for key, limiter := range p.byKey {
			if limiter.TokensAt(now) >= float64(p.most) {
				delete(p.byKey, key)
			}
		}
		p.purged = now
	}
	if p.byKey == nil || len(p.byKey) >= 2*maxLimiters {
		p.byKey = make(map[string]*rate.Limiter)
	}
	limiter, ok := p.byKey[key]
	if !ok {
		limiter = per(p.most, p.time)
		p.byKey[key] = limiter
	}
	return limiter
}

// take takes one of what a limiter gives, or says after how long to come back.
func take(limiter *rate.Limiter, now time.Time) (retryAfter time.Duration, ok bool) {
	if limiter == nil || limiter.AllowN(now, 1) {
		return 0, true
	}
	missing := 1 - limiter.TokensAt(now)
	seconds := math.Ceil(missing / float64(limiter.Limit()))
	return time.Duration(max(1, seconds)) * time.Second, false
}

// throttleRegistration counts a registration against the limits: fault 429001 when
// there were too many.
func (s *Service) throttleRegistration(registrationID string) error {
	now := s.config.Now()
	if wait, ok := take(s.throttles.registrations, now); !ok {
		return throttled(wait, fault.New(fault.Throttled, "The service takes %d registrations a minute. Come back later", s.config.Limits.RegistrationsPerMinute))
	}
	if wait, ok := take(s.throttles.perDevice.of(key(registrationID), now), now); !ok {
		return throttled(wait, fault.New(fault.Throttled, "A device may register %d times a minute. Come back later", s.config.Limits.DevicePerMinute))
	}
	return nil
}

// throttlePoll counts what a device asks after it registered.
func (s *Service) throttlePoll(registrationID string) error {
	now := s.config.Now()
	if wait, ok := take(s.throttles.polls.of(key(registrationID), now), now); !ok {
		return throttled(wait, fault.New(fault.Throttled, "A device may ask %d times in 10 seconds. Come back later", s.config.Limits.PollsPer10Seconds))
	}
	return nil
}

// ThrottleOperation counts an operation of a back end: fault 429001 when there were
// too many.
func (s *Service) ThrottleOperation() error {
	if wait, ok := take(s.throttles.operations, s.config.Now()); !ok {
		return throttled(wait, fault.New(fault.Throttled, "The service takes %d operations a minute. Come back later", s.config.Limits.OperationsPerMinute))
	}
	return nil
}

func throttled(wait time.Duration, problem *fault.Error) error {
	problem.RetryAfter = wait
	return problem
}

// roomForRegistration looks whether there may be one more registration, of a device
// that has none: fault 403002 when not.
func (s *Service) roomForRegistration(ctx context.Context, trace *attest.Trace, registrationID string) error {
	most := s.config.Limits.Registrations
	if most <= 0 {
		return nil
	}
	if _, err := s.record(ctx, registrationID); !errors.Is(err, fault.RegistrationNotFound) {
		return err
	}
	full, err := isFull(ctx, most, s.registrations.Count)
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

// isFull says whether there are as many already as there may be.
func isFull(ctx context.Context, limit int, count func(context.Context) (int, error)) (bool, error) {
	if limit <= 0 {
		return false, nil
	}
	present, err := count(ctx)
	return present >= limit, err
}
