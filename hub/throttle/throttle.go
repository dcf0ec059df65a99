// Package throttle bounds how often things are done at a hub, as Azure does by the tier of a
// hub and the number of its units (Microsoft Learn, iot-hub-devguide-quotas-throttling). A
// hub has no such bounds unless somebody asks for them.
package throttle

import (
	"slices"
	"time"

	"golang.org/x/time/rate"

	"github.com/berth-iot/berth/fault"
)

// Tier is an edition of Azure IoT Hub.
type Tier string

// Tiers are those that there are: free, basic and standard.
var Tiers = []Tier{"F1", "B1", "B2", "B3", "S1", "S2", "S3"}

// Size is the size of a hub in Azure. The zero Size bounds nothing.
type Size struct {
	Tier  Tier
	Units int // at least 1
}

// Check returns fault 400004 for a size that there is not in Azure.
func (s Size) Check() error {
	switch {
	case s == Size{}:
	case !slices.Contains(Tiers, s.Tier):
		return fault.New(fault.ArgumentInvalid, "tier must be F1, B1, B2, B3, S1, S2 or S3, not %.32q", string(s.Tier))
	case s.Units < 1 || s.Units > 200 || s.Tier == "F1" && s.Units > 1:
		return fault.New(fault.ArgumentInvalid, "units must be from 1 to 200, and 1 for F1, not %d", s.Units)
	}
	return nil
}

// column is that of the tier in limits.
func (s Size) column() int { return int(s.Tier[1] - '1') }

// Kind is what is done.
type Kind int

// The kinds of operations. What one kind uses up of a bound another may lack: reading and
// writing identities have theirs together.
const (
	None Kind = iota // which has no bound
	RegistryRead
	RegistryWrite
	Connect
	DeviceSend
	ServiceSend
	DeviceReceive // over HTTPS
	Query
	TwinRead
	TwinUpdate
)

var kindNames = [...]string{"None", "RegistryRead", "RegistryWrite", "DeviceConnect", "DeviceToCloudSend",
	"CloudToDeviceSend", "CloudToDeviceReceive", "Query", "TwinRead", "TwinUpdate"}

// String returns the kind as the refusal names it.
func (k Kind) String() string { return kindNames[k] }

// limit is how many there may be in a time: so many for each unit, but not fewer than least.
type limit struct{ least, perUnit int }

// limits are those of Azure, by the size of the units: 1 (F1, B1, S1), 2 (B2, S2), 3 (B3, S3).
var limits = []struct {
	kinds []Kind
	time  time.Duration
	most  [3]limit
}{
	{[]Kind{RegistryRead, RegistryWrite}, time.Minute, [3]limit{{0, 100}, {0, 100}, {0, 5000}}},
	{[]Kind{Connect}, time.Second, [3]limit{{100, 12}, {0, 120}, {0, 6000}}},
	{[]Kind{DeviceSend}, time.Second, [3]limit{{100, 12}, {0, 120}, {0, 6000}}},
	{[]Kind{ServiceSend}, time.Minute, [3]limit{{0, 100}, {0, 100}, {0, 5000}}},
	{[]Kind{DeviceReceive}, time.Minute, [3]limit{{0, 1000}, {0, 1000}, {0, 50_000}}},
	{[]Kind{Query}, time.Minute, [3]limit{{0, 20}, {0, 20}, {0, 1000}}},
	{[]Kind{TwinRead}, time.Second, [3]limit{{100, 0}, {100, 10}, {0, 500}}},
	{[]Kind{TwinUpdate}, time.Second, [3]limit{{50, 0}, {50, 5}, {0, 250}}},
}

// Throttle counts what is done at a hub. Each node counts what comes to it, as those of the
// provisioning service do: n nodes take up to n times as much. Its methods may be called at
// once from many goroutines.
type Throttle struct {
	now      func() time.Time
	limiters [len(kindNames)]*rate.Limiter // nil without a limit
}

// New returns the throttle of a hub of this size, of which nothing is used.
func New(size Size, now func() time.Time) *Throttle {
	t := &Throttle{now: now}
	if size == (Size{}) {
		return t
	}
	for _, l := range limits {
		most := max(l.most[size.column()].least, l.most[size.column()].perUnit*size.Units)
		limiter := rate.NewLimiter(rate.Limit(float64(most)/l.time.Seconds()), most)
		for _, kind := range l.kinds {
			t.limiters[kind] = limiter
		}
	}
	return t
}

// Take counts an operation. It returns fault 429001 when there were too many.
func (t *Throttle) Take(kind Kind) error {
	if limiter := t.limiters[kind]; limiter != nil && !limiter.AllowN(t.now(), 1) {
		return refusal(kind)
	}
	return nil
}

// maxDelay is how long an operation waits for its turn at most.
const maxDelay = 10 * time.Second

// Delay counts an operation and returns by how much it has to be delayed, as Azure shapes
// traffic that exceeds a bound for a moment. It returns fault 429001, and counts nothing,
// when that would be more than ten seconds.
func (t *Throttle) Delay(kind Kind) (time.Duration, error) {
	limiter := t.limiters[kind]
	if limiter == nil {
		return 0, nil
	}
	now := t.now()
	turn := limiter.ReserveN(now, 1)
	delay := turn.DelayFrom(now)
	if delay > maxDelay {
		turn.CancelAt(now)
		return 0, refusal(kind)
	}
	return delay, nil
}

// refusal has Azure's text, and as there no time to come back at but that.
func refusal(kind Kind) error {
	return fault.New(fault.Throttled,
		"The request has been throttled. Wait 10 seconds and try again. Operation type: %s", kind)
}
