package guard

import (
	"context"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/berth-iot/berth/fault"
)

// Searches bounds what it costs to find that a token was made with the key of no
// group. The unit is one group that is tried, about a microsecond; a search that
// finds the device's group costs nothing. Those that find none are counted against
// the device at its source, against the source, and against all sources that have
// failed before or all that have not: so who keeps failing is refused before there
// is work for it, and takes nothing from those who don't.
type Searches struct {
	turn    chan struct{} // holds one while somebody searches
	devices perKey        // by source and registration id
	sources perKey

	fresh, repeated *rate.Limiter // of sources that had not failed, and that had
}

// The units of searches that find nothing: so many at once, and again after so long
// a time. With 1,000 groups a device may fail 20 times and then once a second, and
// a source 200 times and then 10 times a second; with 10 groups nobody notices. All
// sources together take a quarter of one processor.
const (
	SearchesRefill    = 20 * time.Second
	SearchesOfDevice  = 20_000
	SearchesOfSource  = 200_000
	searchesOfAll     = 2_500_000 // of fresh, and of repeated ones
	searchTurnTimeout = 5 * time.Second
)

// NewSearches returns a budget of which nothing is spent.
func NewSearches() *Searches {
	return &Searches{
		turn:    make(chan struct{}, 1),
		devices: perKey{most: SearchesOfDevice, time: SearchesRefill},
		sources: perKey{most: SearchesOfSource, time: SearchesRefill},
		fresh:   newLimiter(searchesOfAll, SearchesRefill), repeated: newLimiter(searchesOfAll, SearchesRefill),
	}
}

// Begin waits for the turn to try as many groups, and returns what is to be called
// at the end. It returns fault 429001 when there were too many that found nothing.
func (q *Searches) Begin(ctx context.Context, remote, registrationID string, groups int,
	now func() time.Time) (end func(found bool), _ error) {
	source := SourceOf(remote)
	device := q.devices.limiter(source+" "+strings.ToLower(registrationID), now())
	from := q.sources.limiter(source, now())
	all := func() *rate.Limiter {
		if from.TokensAt(now()) < SearchesOfSource {
			return q.repeated
		}
		return q.fresh
	}
	check := func() error {
		for _, limiter := range []*rate.Limiter{device, from, all()} {
			if missing := float64(min(groups, limiter.Burst())) - limiter.TokensAt(now()); missing > 0 {
				wait := time.Duration(missing / float64(limiter.Limit()) * float64(time.Second)).Truncate(time.Second)
				return Throttled(wait+time.Second, fault.New(fault.Throttled,
					"Too many tokens came that were made with the key of no enrollment. Come back later"))
			}
		}
		return nil
	}
	if err := check(); err != nil {
		return nil, err
	}
	timeout := time.NewTimer(searchTurnTimeout)
	defer timeout.Stop()
	select {
	case q.turn <- struct{}{}:
	case <-timeout.C:
		return nil, Throttled(searchTurnTimeout, fault.New(fault.Throttled,
			"Too many devices register for the first time. Come back later"))
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := check(); err != nil { // others have failed meanwhile
		<-q.turn
		return nil, err
	}
	return func(found bool) {
		if !found {
			for _, limiter := range []*rate.Limiter{all(), device, from} {
				limiter.AllowN(now(), min(groups, limiter.Burst()))
			}
		}
		<-q.turn
	}, nil
}
