package server

import (
	"container/list"
	"context"
	"sync"
)

// outgoing bounds how many requests to webhooks and to hubs elsewhere are under way at
// once. Each takes a connection, and so one of the file descriptors that are kept for
// everything but connections of devices: a fleet that comes back as one, each device of
// which is to be asked about, would take them all. A destination that does not answer
// holds up what is to be asked there and nothing else, as it has half of the places at
// most.
type outgoing struct {
	most, ofOne int

	mutex    sync.Mutex
	underWay int
	all      map[string]*destination // that somebody asks, or waits to
	turns    []*destination          // where somebody waits, the one whose turn is next first
}

// destination is a host that requests go to.
type destination struct {
	name     string
	underWay int
	waiting  list.List // of chan struct{}, closed when it is the request's turn
}

func newOutgoing(most int) *outgoing {
	return &outgoing{most: most, ofOne: max(1, most/2), all: make(map[string]*destination)}
}

// begin waits until there may be one more request to a destination. end is to be called
// when it is over.
func (o *outgoing) begin(ctx context.Context, to string) (end func(), err error) {
	o.mutex.Lock()
	d := o.all[to]
	if d == nil {
		d = &destination{name: to}
		o.all[to] = d
	}
	end = sync.OnceFunc(func() { o.end(d) })
	if o.underWay < o.most && d.underWay < o.ofOne { // then nobody waits here
		o.take(d)
		o.mutex.Unlock()
		return end, nil
	}
	turn := make(chan struct{})
	place := d.waiting.PushBack(turn)
	if d.waiting.Len() == 1 {
		o.turns = append(o.turns, d)
	}
	o.mutex.Unlock()
	select {
	case <-turn:
		return end, nil
	case <-ctx.Done():
	}
	o.mutex.Lock()
	select {
	case <-turn: // it came this moment
		o.mutex.Unlock()
		end()
	default:
		d.waiting.Remove(place)
		if d.waiting.Len() == 0 {
			o.skip(d)
		}
		o.forget(d)
		o.mutex.Unlock()
	}
	return nil, ctx.Err()
}

// end gives a place back, and to the next whose turn it is. One destination after the
// other gets it.
func (o *outgoing) end(d *destination) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	o.underWay--
	d.underWay--
	o.forget(d)
	for _, next := range o.turns {
		if next.underWay == o.ofOne {
			continue
		}
		o.skip(next)
		first := next.waiting.Front()
		next.waiting.Remove(first)
		if next.waiting.Len() > 0 {
			o.turns = append(o.turns, next)
		}
		o.take(next)
		close(first.Value.(chan struct{}))
		return
	}
}

func (o *outgoing) take(d *destination) {
	o.underWay++
	d.underWay++
}

// skip takes a destination from those where somebody waits.
func (o *outgoing) skip(d *destination) {
	for i, waiting := range o.turns {
		if waiting == d {
			o.turns = append(o.turns[:i], o.turns[i+1:]...)
			return
		}
	}
}

// forget lets go of a destination that nobody asks.
func (o *outgoing) forget(d *destination) {
	if d.underWay == 0 && d.waiting.Len() == 0 {
		delete(o.all, d.name)
	}
}
