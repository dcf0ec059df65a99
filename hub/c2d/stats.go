package c2d

import (
	"context"
	"sync/atomic"
)

// Stats are figures since the messages were opened, of what went through this node.
type Stats struct {
	Sent      uint64
	Abandoned uint64             // how often a message was given back, also for the last time
	Left      map[Outcome]uint64 // messages that have left their queue, but for those that went with their device
}

// Outcomes are all that can become of a message.
var Outcomes = [...]Outcome{Success, Expired, DeliveryCountExceeded, Rejected, Purged}

// counters count what was committed.
type counters struct {
	sent, abandoned atomic.Uint64
	left            [len(Outcomes)]atomic.Uint64
}

// count counts what has left its queue.
func (c *counters) count(gone []departure) {
	for _, one := range gone {
		for i, outcome := range Outcomes {
			if outcome == one.outcome {
				c.left[i].Add(1)
			}
		}
	}
}

// Stats returns the present figures.
func (m *Messages) Stats() Stats {
	stats := Stats{Sent: m.counters.sent.Load(), Abandoned: m.counters.abandoned.Load(),
		Left: make(map[Outcome]uint64, len(Outcomes))}
	for i, outcome := range Outcomes {
		stats.Left[outcome] = m.counters.left[i].Load()
	}
	return stats
}

// Waiting is how much there is, of all nodes together.
type Waiting struct {
	Messages int // in queues; what has expired counts until it is dropped
	Feedback int // records
}

// Waiting counts what waits to be received.
func (m *Messages) Waiting(ctx context.Context) (Waiting, error) {
	counts, err := m.documents.Count(ctx, m.messages.Collection, m.feedback.Collection)
	if err != nil {
		return Waiting{}, err
	}
	return Waiting{Messages: counts[0], Feedback: counts[1]}, nil
}
