package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-iot/berth/fault"
)

// A subject is a part of the server that a client changes step by step, and a model of what
// it must be by then. A step that the server did not answer, because it was killed, may
// have been done or not; the model keeps both until an answer tells.
type subject interface {
	// connect is called once for each process, before its first step.
	connect(ctx context.Context, p *process) error
	// step makes a request that it draws, and holds the answer against the model. What
	// contradicts it is a *contradiction; any other error is that of a server that was
	// killed.
	step(ctx context.Context, random *rand.Rand) error
	// verify holds all that the server has against the model.
	verify(ctx context.Context) error
	// tally says how much was tried.
	tally() string
}

// contradiction is an answer that can't be, going by the model.
type contradiction struct{ what string }

func (c *contradiction) Error() string { return c.what }

func contradicts(format string, args ...any) error {
	return &contradiction{fmt.Sprintf(format, args...)}
}

// TestModel does steps in random order on parts of a real server, each in a client of its
// own, while the server is killed between and inside of them; and holds all that it answers
// against simple models: nothing that was acknowledged is lost, and nothing that is over
// comes again.
func TestModel(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	binary, data := buildBinary(t), t.TempDir()
	flags := []string{"--c2d-lock-duration", queueLock.String(), "--c2d-queue-depth", fmt.Sprint(queueDepth),
		"--c2d-max-delivery-count", "100", "--feedback-lock-duration", "5s"}
	p := startProcess(t, binary, data, flags...)
	feedback := newFeedbackModel()
	var subjects []subject
	for i := range 4 {
		queue, err := newQueueModel(within(t, time.Minute), p, fmt.Sprintf("queue-%d", i), feedback)
		if err != nil {
			t.Fatal(err)
		}
		subjects = append(subjects, queue)
	}
	events, err := newEventsModel(within(t, time.Minute), p, "twin")
	if err != nil {
		t.Fatal(err)
	}
	subjects = append(subjects, events)
	random := rand.New(rand.NewPCG(seed, 0))
	randoms := make([]*rand.Rand, len(subjects))
	for i := range subjects {
		randoms[i] = rand.New(rand.NewPCG(seed, uint64(i+1)))
	}

	var steps atomic.Int64
	for round := 0; steps.Load() < modelSteps; round++ {
		// Between two steps of all clients in every third round, else inside of some.
		inside, until := round%3 != 0, steps.Load()+1+random.Int64N(modelSteps/8)
		ctx := within(t, 2*time.Minute)
		reached := make(chan struct{})
		stop := make(chan struct{})
		var once sync.Once
		var working sync.WaitGroup
		for i, one := range subjects {
			working.Go(func() {
				err := one.connect(ctx, p)
				for err == nil {
					select {
					case <-stop:
						return
					default:
					}
					if err = one.step(ctx, randoms[i]); err == nil && steps.Add(1) >= until {
						once.Do(func() { close(reached) })
					}
				}
				p.stepEnded(t, err)
				once.Do(func() { close(reached) }) // nothing to wait for
			})
		}
		select {
		case <-reached:
		case <-ctx.Done():
			t.Errorf("the steps stand still")
		}
		if !inside {
			close(stop)
			working.Wait()
		}
		p.kill()
		if inside {
			working.Wait()
		}
		if t.Failed() {
			t.Fatalf("round %d; the server's log:\n%s", round, &p.log)
		}
		p = startProcess(t, binary, data, flags...)
	}
	ctx := within(t, 2*time.Minute)
	for _, one := range subjects {
		err := one.connect(ctx, p)
		if err == nil {
			err = one.verify(ctx)
		}
		if err != nil {
			t.Error(err)
		}
		t.Log(one.tally())
	}
	p.terminate(t)
	t.Logf("%d steps", steps.Load())
}

// stepEnded takes the error that ended the steps of a client.
func (p *process) stepEnded(t *testing.T, err error) {
	t.Helper()
	var wrong *contradiction
	var answer *fault.Error
	if errors.As(err, &wrong) || err != nil && (!p.killed.Load() || errors.As(err, &answer)) {
		t.Errorf("a step: %v", err)
	}
}
