package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/berth-iot/berth/backend"
	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/device"
	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/identity"
)

const (
	queueDepth = 12
	queueLock  = 5 * time.Second
)

// queueModel is the queue of a device: a back end sends and purges, the device receives and
// settles over HTTPS, and at times connects by MQTT and takes what there is.
type queueModel struct {
	id, key  string
	feedback *feedbackModel
	process  *process
	client   *http.Client
	number   int            // of messages that were sent
	queue    []*queued      // what is there or may be, the oldest first
	over     map[string]int // in which step it was certain that a message is gone
	steps    int
	done     map[string]int // steps by kind
}

// queued is a message that is in the queue, or may be.
type queued struct {
	id      string
	unsure  bool      // it may not be there: its sending or its settling was not answered
	expires time.Time // zero is later than the test
	ack     bool      // feedback is wanted when it is completed

	token  string    // the last that it was handed out under, "" when it is given back
	surely time.Time // until then nobody else gets it
	maybe  time.Time // until then it may be that nobody gets it
	taken  bool      // it may have been handed out since then to somebody who has not heard of it
}

func (q *queued) expired(at time.Time) bool { return !q.expires.IsZero() && !at.Before(q.expires) }

func newQueueModel(ctx context.Context, p *process, id string, feedback *feedbackModel) (*queueModel, error) {
	created, err := p.hub.CreateDevice(ctx, identity.Device{DeviceID: id})
	if err != nil {
		return nil, err
	}
	return &queueModel{id: id, key: *created.Authentication.SymmetricKey.PrimaryKey, feedback: feedback,
		over: make(map[string]int), done: make(map[string]int)}, nil
}

func (m *queueModel) connect(_ context.Context, p *process) error {
	if m.client != nil {
		m.client.CloseIdleConnections()
	}
	m.process = p
	m.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: p.roots}}}
	return nil
}

func (m *queueModel) tally() string { return fmt.Sprintf("%s: %v", m.id, m.done) }

func (m *queueModel) step(ctx context.Context, random *rand.Rand) error {
	m.steps++
	kind, step := "receive", m.receive
	switch n := random.IntN(100); {
	case n < 35:
		kind, step = "send", func(ctx context.Context) error { return m.send(ctx, random) }
	case n < 40:
		kind, step = "count", m.count
	case n < 41:
		kind, step = "purge", m.purge
	case n < 43:
		kind, step = "MQTT", m.takeByMQTT
	case n < 48:
		kind, step = "feedback", func(ctx context.Context) error { return m.feedback.read(ctx, m.process.hub) }
	case n < 75:
		verb := []string{"complete", "complete", "reject", "abandon"}[random.IntN(4)]
		if at := random.IntN(len(m.queue) + 1); at < len(m.queue) && m.queue[at].token != "" {
			kind, step = verb, func(ctx context.Context) error { return m.settle(ctx, m.queue[at], verb) }
		}
	}
	err := step(ctx)
	if err == nil {
		m.done[kind]++
	}
	return err
}

// forget takes a message out of the model: it is gone for good.
func (m *queueModel) forget(one *queued) {
	m.over[one.id] = m.steps
	m.queue = slices.DeleteFunc(slices.Clone(m.queue), func(other *queued) bool { return other == one })
}

// bounds are how many messages there are at least and at most at some moment of a time.
func (m *queueModel) bounds(from, to time.Time) (least, most int) {
	for _, one := range m.queue {
		if one.expired(from) {
			continue
		}
		most++
		if !one.unsure && !one.expired(to) {
			least++
		}
	}
	return least, most
}

func (m *queueModel) send(ctx context.Context, random *rand.Rand) error {
	m.number++
	one := &queued{id: fmt.Sprintf("%s/%d", m.id, m.number), ack: random.IntN(4) == 0}
	message := contract.DeviceMessage{MessageID: one.id, Payload: one.id}
	if one.ack {
		message.Ack = "positive"
		m.feedback.ask(one.id)
	}
	if random.IntN(8) == 0 {
		one.expires = time.Now().Add(time.Duration(1+random.IntN(4)) * time.Second).Truncate(time.Millisecond)
		message.Expires = &document.Time{Time: one.expires.UTC()}
	}
	from := time.Now()
	_, err := m.process.hub.SendMessage(ctx, m.id, message)
	least, most := m.bounds(from, time.Now())
	switch {
	case errors.Is(err, fault.InvalidMessageExpiry) && one.expired(time.Now()):
		return nil
	case errors.Is(err, fault.QueueFull):
		if most < queueDepth {
			return contradicts("the queue of %s is called full with %d to %d messages", m.id, least, most)
		}
		return nil
	case isAnswer(err):
		return err
	case err == nil && least >= queueDepth:
		return contradicts("the queue of %s takes a message with %d to %d in it", m.id, least, most)
	}
	one.unsure = err != nil
	m.queue = append(m.queue, one)
	return err
}

// isAnswer reports whether an error came from the server.
func isAnswer(err error) bool {
	var answer *fault.Error
	return errors.As(err, &answer)
}

// call makes a request of the device.
func (m *queueModel) call(ctx context.Context, method string, path contract.Path, query string) (
	status int, header http.Header, body []byte, err error) {
	host := m.process.info.Hubs[0].Host
	address := fmt.Sprintf("https://%s:%d%s?api-version=2021-04-12%s", host, m.process.info.Ports.HTTPS, path, query)
	request, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return 0, nil, nil, err
	}
	token, err := credential.NewToken(credential.DeviceResource(host, m.id).String(), "", m.key,
		time.Now().Add(time.Hour))
	if err != nil {
		return 0, nil, nil, err
	}
	request.Header.Set("Authorization", token)
	response, err := m.client.Do(request)
	if err != nil {
		return 0, nil, nil, err
	}
	defer response.Body.Close()
	body, err = io.ReadAll(response.Body)
	return response.StatusCode, response.Header, body, err
}

// receive asks for a message. The one that comes must be the oldest that there is and that
// nobody keeps, with its own payload.
func (m *queueModel) receive(ctx context.Context) error {
	from := time.Now()
	status, header, body, err := m.call(ctx, "GET", contract.DeviceboundPath.With(m.id), "")
	to := time.Now()
	if err != nil {
		m.takenUnheard(from, to)
		return err
	}
	if status != http.StatusOK && status != http.StatusNoContent {
		return contradicts("%s receives %d %s", m.id, status, body)
	}
	id := header.Get("iothub-messageid")
	for _, one := range m.queue {
		if one.id == id {
			return m.received(one, from, to, header, body)
		}
		if err := m.passedOver(one, from, to, id); err != nil {
			return err
		}
	}
	if status == http.StatusOK {
		return contradicts("%s receives %q, which was over in step %d of %d; 0 is never", m.id, id, m.over[id], m.steps)
	}
	return nil
}

// takenUnheard notes that a message may have been handed out to a request that was not
// answered: the oldest that was free.
func (m *queueModel) takenUnheard(from, to time.Time) {
	for _, one := range m.queue {
		if to.Before(one.surely) {
			continue
		}
		surelyThat := !one.unsure && !from.Before(one.maybe) && !one.expired(to)
		one.taken, one.maybe = true, to.Add(queueLock)
		if surelyThat {
			return
		}
	}
}

// passedOver draws what follows from a message not being handed out, though it is older.
func (m *queueModel) passedOver(one *queued, from, to time.Time, id string) error {
	free := !from.Before(one.maybe)
	switch {
	case one.expired(from), free && one.unsure:
		m.forget(one)
	case free && !one.expired(to):
		return contradicts("%s receives %q, and %s was before it and free", m.id, id, one.id)
	}
	return nil
}

// received draws what follows from a message being handed out.
func (m *queueModel) received(one *queued, from, to time.Time, header http.Header, body []byte) error {
	switch {
	case to.Before(one.surely):
		return contradicts("%s receives %s, which is kept until %s", m.id, one.id, one.surely)
	case one.expired(from):
		return contradicts("%s receives %s, which expired at %s", m.id, one.id, one.expires)
	case string(body) != one.id:
		return contradicts("%s receives %s with the payload %.100q", m.id, one.id, body)
	case m.feedback.has(one.id):
		return contradicts("%s receives %s, of which feedback says that it was taken", m.id, one.id)
	}
	token, err := strconv.Unquote(header.Get("ETag"))
	if err != nil || token == "" {
		return contradicts("%s receives %s with the lock token %q", m.id, one.id, header.Get("ETag"))
	}
	one.token, one.surely, one.maybe = token, from.Add(queueLock), to.Add(queueLock)
	one.unsure, one.taken = false, false
	return nil
}

// settle completes, rejects or abandons a message under the last token that is known.
func (m *queueModel) settle(ctx context.Context, one *queued, verb string) error {
	method, path, query := "DELETE", contract.DeviceboundLockPath.With(m.id, one.token), ""
	switch verb {
	case "reject":
		query = "&reject"
	case "abandon":
		method, path = "POST", contract.DeviceboundAbandonPath.With(m.id, one.token)
	}
	status, _, body, err := m.call(ctx, method, path, query)
	switch {
	case err != nil && verb == "abandon":
		one.token, one.surely = "", time.Time{} // it is given back, or kept as long as it was
		return err
	case err != nil:
		one.token, one.surely, one.unsure = "", time.Time{}, true
		return err
	case status == http.StatusNoContent && verb == "abandon":
		one.token, one.surely, one.maybe = "", time.Time{}, time.Time{}
	case status == http.StatusNoContent:
		if one.ack && verb == "complete" {
			m.feedback.expect(one.id)
		}
		m.forget(one)
	case status == http.StatusPreconditionFailed:
		if !one.expired(time.Now()) && !one.taken && !one.unsure {
			return contradicts("%s of %s is refused, and nobody else has it: %s", verb, one.id, body)
		}
		one.token, one.surely = "", time.Time{}
	default:
		return contradicts("%s of %s is answered %d %s", verb, one.id, status, body)
	}
	return nil
}

func (m *queueModel) purge(ctx context.Context) error {
	from := time.Now()
	purged, err := m.process.hub.PurgeMessages(ctx, m.id)
	if err != nil {
		for _, one := range m.queue {
			one.unsure = true
		}
		return err
	}
	if least, most := m.bounds(from, time.Now()); purged < least || purged > most {
		return contradicts("%d messages of %s are purged, of %d to %d", purged, m.id, least, most)
	}
	for _, one := range m.queue {
		m.forget(one)
	}
	return nil
}

func (m *queueModel) count(ctx context.Context) error {
	from := time.Now()
	found, err := m.process.hub.Device(ctx, m.id)
	if err != nil {
		return err
	}
	if least, most := m.bounds(from, time.Now()); found.CloudToDeviceMessageCount < least ||
		found.CloudToDeviceMessageCount > most {
		return contradicts("%d messages wait for %s, of %d to %d", found.CloudToDeviceMessageCount, m.id, least, most)
	}
	return nil
}

// takeByMQTT connects, waits for what surely comes, and disconnects. What came must be in the
// order of the queue; whether the server has heard that it was taken, nobody tells.
func (m *queueModel) takeByMQTT(ctx context.Context) error {
	free, from := 0, time.Now()
	for _, one := range m.queue {
		if !one.unsure && from.After(one.maybe) && one.expires.IsZero() {
			free++
		}
	}
	came := make(chan device.Message, 2*queueDepth)
	client, err := device.Connect(ctx, device.HubOptions{Host: m.process.mqttHost(m.process.info.Hubs[0].Host),
		DeviceID: m.id, SASKey: m.key, RootCAs: m.process.roots, CleanSession: true,
		OnMessage: func(message device.Message) { came <- message }})
	var received []device.Message
	for err == nil && len(received) < free {
		select {
		case message := <-came:
			received = append(received, message)
		case <-client.Ended():
			err = client.Err()
		case <-time.After(20 * time.Second):
			return contradicts("%s receives %d messages by MQTT, and %d are free", m.id, len(received), free)
		}
	}
	if client != nil {
		client.Close()
	}
	if err == nil {
		err = m.gone(ctx) // or it would be handed out what is sent next
	}
	for len(came) > 0 { // nothing reads from the connection any more
		received = append(received, <-came)
	}
	next := 0 // in the queue, of what is to come
	for _, message := range received {
		at := slices.IndexFunc(m.queue, func(one *queued) bool { return one.id == message.MessageID })
		kept := at >= 0 && !from.After(m.queue[at].maybe) // then it comes when its lock is over, after whatever
		if at < 0 || at < next && !kept || string(message.Payload) != message.MessageID ||
			m.feedback.has(message.MessageID) {
			return contradicts("%s receives %+v by MQTT: it is over (since step %d of %d), out of order or spoilt", m.id,
				message, m.over[message.MessageID], m.steps)
		}
		m.queue[at].unsure = true
		if !kept {
			next = at + 1
		}
	}
	// The session has had what was free, and gives it back in its own time.
	for _, one := range m.queue {
		one.taken, one.maybe = true, time.Now().Add(queueLock)
	}
	return err
}

// gone waits until the server knows that the connection has ended.
func (m *queueModel) gone(ctx context.Context) error {
	for {
		found, err := m.process.hub.Device(ctx, m.id)
		if err != nil || found.ConnectionState == identity.Disconnected {
			return err
		}
	}
}

// verify receives and completes all that is left, and waits for the feedback.
func (m *queueModel) verify(ctx context.Context) error {
	for deadline := time.Now().Add(3 * queueLock); len(m.queue) > 0 && time.Now().Before(deadline); {
		if err := m.receive(ctx); err != nil {
			return err
		}
		for _, one := range m.queue {
			if one.token != "" {
				if err := m.settle(ctx, one, "complete"); err != nil {
					return err
				}
			}
		}
	}
	if len(m.queue) > 0 {
		return contradicts("%d messages of %s are neither received nor over, the first %+v", len(m.queue), m.id,
			*m.queue[0])
	}
	if err := m.count(ctx); err != nil {
		return err
	}
	return m.feedback.verify(ctx, m.process.hub)
}

// feedbackModel is the feedback on the messages of all queues, read by the back ends of each.
type feedbackModel struct {
	mutex    sync.Mutex
	asked    map[string]bool // ids of messages that want feedback
	expected map[string]bool // of those that were surely completed
	found    map[string]bool
}

func newFeedbackModel() *feedbackModel {
	return &feedbackModel{asked: make(map[string]bool), expected: make(map[string]bool), found: make(map[string]bool)}
}

func (f *feedbackModel) note(in map[string]bool, id string) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	in[id] = true
}

func (f *feedbackModel) ask(id string)    { f.note(f.asked, id) }
func (f *feedbackModel) expect(id string) { f.note(f.expected, id) }

// has reports whether there was feedback on a message.
func (f *feedbackModel) has(id string) bool {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return f.found[id]
}

func (f *feedbackModel) missing() (n int) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	for id := range f.expected {
		if !f.found[id] {
			n++
		}
	}
	return n
}

// read reads some and completes it.
func (f *feedbackModel) read(ctx context.Context, hub *backend.Hub) error {
	batch, err := hub.ReceiveFeedback(ctx)
	if err != nil || len(batch.Records) == 0 {
		return err
	}
	for _, record := range batch.Records {
		f.mutex.Lock()
		wanted := f.asked[record.OriginalMessageID]
		f.found[record.OriginalMessageID] = true
		f.mutex.Unlock()
		if !wanted || record.StatusCode != "Success" {
			return contradicts("the feedback %+v was not asked for", record)
		}
	}
	err = hub.CompleteFeedback(ctx, batch.LockToken)
	if errors.Is(err, fault.MessageLockLost) {
		return nil // it took longer than the lock; the records come again
	}
	return err
}

// verify reads until all has been told that must be.
func (f *feedbackModel) verify(ctx context.Context, hub *backend.Hub) error {
	for deadline := time.Now().Add(3 * queueLock); f.missing() > 0 && time.Now().Before(deadline); {
		if err := f.read(ctx, hub); err != nil {
			return err
		}
	}
	if n := f.missing(); n > 0 {
		return contradicts("feedback on %d messages that were completed is missing", n)
	}
	return nil
}
