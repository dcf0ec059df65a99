// Package telemetry keeps the messages that devices send: it appends them to a log,
// follows it, and finds and counts what is in it.
package telemetry

import (
	"context"
	"hash/fnv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/store"
)

// MaxMessage is the size of the largest message in bytes: payload with the names
// and values of its properties (Azure: 256 KB).
const MaxMessage = 256 << 10

// MaxProperties is how many properties a message may have, those of the system among them:
// Berth's own limit, for the sake of readers.
const MaxProperties = 256

// Config says where telemetry is kept.
type Config struct {
	Log    store.Log // its partitions are those of the telemetry
	Now    func() time.Time
	Panics *panics.Recorder // of those who wait for messages
}

// Log is the telemetry of a hub. Its methods may be called at once from many
// goroutines.
type Log struct {
	config          Config
	boundaries      boundaries
	messages, bytes atomic.Uint64
}

// New returns the telemetry that is kept in a log.
func New(config Config) *Log { return &Log{config: config} }

// Accepted returns how many messages were appended since New, and the bytes of their
// payloads.
func (l *Log) Accepted() (messages, bytes uint64) { return l.messages.Load(), l.bytes.Load() }

// Sender appends the messages of one connected device. It is for one goroutine at a
// time.
type Sender struct {
	log       *Log
	partition int
	head      []byte // what all its records begin with
}

// NewSender returns a sender for a device that has proved itself by a method, or for a
// module, whose id is {device id}/{module id}.
func (l *Log) NewSender(id, generation string, method message.AuthMethod) *Sender {
	return &Sender{log: l, partition: partitionOf(id, l.config.Log.Partitions()),
		head: message.AppendHead(nil, id, generation, method)}
}

// Send appends a message. committed is called with token when the message is durable,
// from a goroutine of the log. Nothing of the message is kept, and nothing is
// allocated. It returns fault 413001 for a message that is too large.
func (s *Sender) Send(m *message.Message, committed store.Committer, token uint64) error {
	if err := checkSize(m); err != nil {
		return err
	}
	buffer := records.Get().(*[]byte)
	record := m.AppendTo(append((*buffer)[:0], s.head...))
	s.log.config.Log.Append(s.partition, record, committed, token)
	s.log.messages.Add(1)
	s.log.bytes.Add(uint64(len(m.Payload)))
	if cap(record) <= maxPooledRecord {
		*buffer = record
	}
	records.Put(buffer)
	return nil
}

func checkSize(m *message.Message) error {
	size := m.Size()
	if size > MaxMessage {
		return fault.New(fault.MessageTooLarge, "The message has %d bytes with its properties, the limit is %d", size,
			MaxMessage)
	}
	return nil
}

// SendAll appends messages and returns when all of them are durable. When one is too large
// it appends none, and returns fault 413001. After any other error some may be there: who
// sends all of them again sends those twice.
func (s *Sender) SendAll(ctx context.Context, messages []message.Message) error {
	for i := range messages {
		if err := checkSize(&messages[i]); err != nil {
			return err
		}
	}
	done := make(outcomes, len(messages)) // the log must not wait
	for i := range messages {
		if err := s.Send(&messages[i], done, 0); err != nil {
			return err
		}
	}
	for range messages {
		select {
		case err := <-done:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// outcomes gets what became of each message.
type outcomes chan error

// Committed implements store.Committer.
func (o outcomes) Committed(_ uint64, _ store.Position, err error) { o <- err }

// maxPooledRecord keeps a rare large message from holding memory for ever.
const maxPooledRecord = 16 << 10

var records = sync.Pool{New: func() any { return new([]byte) }}

// partitionOf spreads devices over partitions; a device keeps its own, and shares it with
// its modules.
func partitionOf(id string, partitions int) int {
	deviceID, _, _ := strings.Cut(id, "/")
	hash := fnv.New32a()
	hash.Write([]byte(deviceID))
	return int(hash.Sum32() % uint32(partitions))
}
