package connection

import (
	"context"
	"slices"

	"github.com/berth-iot/berth/store"
)

// OwedAnswer is an answer of QoS 1 to a device whose session outlives the connection.
// Until the device has acknowledged it, it is sent again whenever the device comes
// back to the session [MQTT-4.4.0-1].
type OwedAnswer struct {
	PacketID uint16 `json:"packetId"`
	Topic    string `json:"topic"`
	Payload  []byte `json:"payload"`
}

// maxOwed bounds what is kept for a device that acknowledges nothing.
const maxOwed = 8

// IsPersistent reports whether the session outlives the connection.
func (s *Session) IsPersistent() bool { return s.keep }

// Owed are the answers of earlier connections that the device has not acknowledged, in
// their order.
func (s *Session) Owed() []OwedAnswer { return slices.Clone(s.owed) }

// Owe keeps an answer until it is acknowledged.
func (s *Session) Owe(ctx context.Context, answer OwedAnswer) error {
	return s.setOwed(ctx, appendOwed(s.owed, answer))
}

// Acknowledge takes an answer from what is owed: the device has it.
func (s *Session) Acknowledge(ctx context.Context, packetID uint16) error {
	left := slices.DeleteFunc(slices.Clone(s.owed), func(a OwedAnswer) bool { return a.PacketID == packetID })
	if len(left) == len(s.owed) {
		return nil
	}
	return s.setOwed(ctx, left)
}

func (s *Session) setOwed(ctx context.Context, owed []OwedAnswer) error {
	if !s.keep {
		return nil
	}
	if err := s.commit(ctx, s.putSessionState(s.names, owed)); err != nil {
		return err
	}
	s.owed = owed
	return nil
}

// appendOwed is what is owed with one more answer.
func appendOwed(owed []OwedAnswer, answer OwedAnswer) []OwedAnswer {
	owed = append(slices.Clone(owed), answer)
	return owed[max(0, len(owed)-maxOwed):]
}

// putSessionState keeps what outlives the connection.
func (s *Session) putSessionState(names []string, owed []OwedAnswer) store.Change {
	return s.of.sessionStates.Put(s.deviceID, store.Always,
		sessionState{Generation: s.generation, Names: names, Owed: owed})
}
