package device

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/wire/mqtt"
)

// requests are questions asked by publishing to a topic, whose answers come on
// another topic, with the same request id.
type requests struct {
	answers contract.Answers
	patient bool // 202 only says that the request has arrived: the answer follows

	mutex   sync.Mutex
	next    int
	waiting map[string]chan answer
}

// answer is what a service says to a request.
type answer struct {
	status     int // as in HTTP
	parameters url.Values
	body       []byte
}

func newRequests(answers contract.Answers) *requests {
	return &requests{answers: answers, waiting: make(map[string]chan answer)}
}

// ask publishes a request to topic, which ends with a question mark and gets its $rid
// and the parameters, and waits for the answer. An answer that is a refusal is returned as *fault.Error.
func (r *requests) ask(ctx context.Context, client *mqtt.Client, topic, parameters string,
	payload []byte) (answer, error) {
	id, answered := r.begin()
	defer r.end(id)
	if err := client.Publish(topic+"$rid="+id+parameters, payload, 1, nil); err != nil {
		return answer{}, err
	}
	select {
	case a := <-answered:
		if a.status >= 300 {
			return a, a.fault()
		}
		return a, nil
	case <-client.Ended():
		return answer{}, fmt.Errorf("wait for the answer to a request: %w", client.Err())
	case <-ctx.Done():
		return answer{}, fmt.Errorf("wait for the answer to a request: %w", context.Cause(ctx))
	}
}

func (r *requests) begin() (id string, answered chan answer) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.next++
	id, answered = strconv.Itoa(r.next), make(chan answer, 1)
	if r.patient {
		id = fault.NewTrackingID() // a service may know it for longer than the connection lasts
	}
	r.waiting[id] = answered
	return id, answered
}

func (r *requests) end(id string) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	delete(r.waiting, id)
}

// receive takes a message and reports whether it was an answer.
func (r *requests) receive(topic string, payload []byte) bool {
	status, query, ok := r.answers.Cut(topic)
	if !ok {
		return false
	}
	parameters, err := url.ParseQuery(query)
	if err != nil {
		return true // it answers no request of this client
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	id := parameters.Get("$rid")
	if answered := r.waiting[id]; answered != nil && !(r.patient && number(status) == 202) {
		delete(r.waiting, id) // a second answer finds nobody
		answered <- answer{int(number(status)), parameters, payload}
	}
	return true
}

// retryAfter returns when the service wants to hear from the client again; 0
// when it does not say.
func (a answer) retryAfter() time.Duration {
	return time.Duration(number(a.parameters.Get("retry-after"))) * time.Second
}

// fault returns the refusal that the answer is, with the service's code, message
// and tracking id.
func (a answer) fault() *fault.Error {
	read, ok := contract.ParseRefusal(a.body)
	if !ok || read.Code == 0 {
		return &fault.Error{Code: fault.Code(a.status * 1000),
			Message: fmt.Sprintf("the service answers %d: %.200s", a.status, a.body), RetryAfter: a.retryAfter()}
	}
	return &fault.Error{Code: read.Code, Message: read.Message, TrackingID: read.TrackingID, Info: read.Info,
		RetryAfter: a.retryAfter()}
}
