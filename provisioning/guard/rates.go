package guard

import (
	"math"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/berth-iot/berth/fault"
)

// RateLimits are how often something may be done; zero means unlimited.
type RateLimits struct {
	RegistrationsPerMinute int // of all devices
	OperationsPerMinute    int // of back ends
	DevicePerMinute        int // registrations of one device
	PollsPer10Seconds      int // of one device: polls and look-ups
}

// Rates count what is done against the limits. Each node counts what comes to it: to ask
// the others, or the documents, for each request would cost more than what is limited. So n
// nodes take up to n times as much; a share for each would need to know how many live.
type Rates struct {
	limits RateLimits
	now    func() time.Time

	registrations, operations *rate.Limiter // nil without a limit

	perDevice, polls perKey
	unconnected      perKey // connections that failed and are kept
}

// unconnectedKept is how many devices of a source that could not connect are kept as
// attempts in a minute: a stranger could fill the log with them.
const unconnectedKept = 10

// NewRates returns rates of which nothing is used.
func NewRates(limits RateLimits, now func() time.Time) *Rates {
	return &Rates{
		limits:        limits,
		now:           now,
		registrations: newLimiter(limits.RegistrationsPerMinute, time.Minute),
		operations:    newLimiter(limits.OperationsPerMinute, time.Minute),
		perDevice:     perKey{most: limits.DevicePerMinute, time: time.Minute},
		polls:         perKey{most: limits.PollsPer10Seconds, time: 10 * time.Second},
		unconnected:   perKey{most: unconnectedKept, time: time.Minute},
	}
}

// Registration counts a registration against the limits: fault 429001 when there were
// too many.
func (r *Rates) Registration(registrationID string) error {
	now := r.now()
	if wait, ok := take(r.registrations, now); !ok {
		return Throttled(wait, fault.New(fault.Throttled,
			"The service takes %d registrations a minute. Come back later", r.limits.RegistrationsPerMinute))
	}
	if wait, ok := take(r.perDevice.limiter(strings.ToLower(registrationID), now), now); !ok {
		return Throttled(wait, fault.New(fault.Throttled, "A device may register %d times a minute. Come back later",
			r.limits.DevicePerMinute))
	}
	return nil
}

// Poll counts what a device asks after it registered: fault 429001 when it was too much.
func (r *Rates) Poll(registrationID string) error {
	now := r.now()
	if wait, ok := take(r.polls.limiter(strings.ToLower(registrationID), now), now); !ok {
		return Throttled(wait, fault.New(fault.Throttled, "A device may ask %d times in 10 seconds. Come back later",
			r.limits.PollsPer10Seconds))
	}
	return nil
}

// Operation counts an operation of a back end: fault 429001 when there were too many.
func (r *Rates) Operation() error {
	if wait, ok := take(r.operations, r.now()); !ok {
		return Throttled(wait, fault.New(fault.Throttled, "The service takes %d operations a minute. Come back later",
			r.limits.OperationsPerMinute))
	}
	return nil
}

// Unconnected reports whether a device that could not connect is kept as an attempt: not
// when its source had many of them.
func (r *Rates) Unconnected(remote string) bool {
	now := r.now()
	_, ok := take(r.unconnected.limiter(SourceOf(remote), now), now)
	return ok
}

// Throttled returns a fault that says after how long to come back.
func Throttled(wait time.Duration, problem *fault.Error) error {
	problem.RetryAfter = wait
	return problem
}

// newLimiter is a limiter of so many in a time; nil for 0.
func newLimiter(most int, time time.Duration) *rate.Limiter {
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

func (p *perKey) limiter(key string, now time.Time) *rate.Limiter {
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
		limiter = newLimiter(p.most, p.time)
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
