package connection

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
)

// Subscriptions returns the names that the device has subscribed to, those of
// earlier connections included when they were kept.
func (s *Session) Subscriptions() []string { return slices.Clone(s.names) }

// MaxSubscriptions bounds what is kept of a device. It has five topics to subscribe
// to, as on Azure.
const MaxSubscriptions = 50

// SetSubscriptions has these names be all that the device has subscribed to. They
// mean nothing to the hub. However many they are, it is one commit, and none when
// nothing changes. It returns fault 400004 for more than fifty.
func (s *Session) SetSubscriptions(ctx context.Context, names []string) error {
	if err := s.check(); err != nil {
		return err
	}
	if slices.Equal(names, s.names) {
		return nil
	}
	if len(names) > MaxSubscriptions {
		return fault.New(fault.ArgumentInvalid, "The device has %d subscriptions, the limit is %d",
			len(names), MaxSubscriptions)
	}
	if s.keep {
		if err := s.commit(ctx, s.putSessionState(names, s.owed)); err != nil {
			return err
		}
	}
	s.names = slices.Clone(names)
	return nil
}

// restore takes up the subscriptions of an earlier connection, or forgets them
// when this one starts clean.
func (s *Session) restore(ctx context.Context) error {
	kept, _, err := s.of.sessionStates.Get(ctx, s.deviceID)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil
	case err != nil && !store.IsUnreadable(err):
		return err
	case err == nil && s.keep && (kept.Generation == s.generation || kept.Generation == ""):
		s.names, s.owed = kept.Names, kept.Owed
		return nil
	case err == nil && s.keep:
		return nil // they are of an earlier device of the same id
	}
	return s.commit(ctx, s.of.sessionStates.Delete(s.deviceID, store.Always))
}

// sessionState is what outlives a connection, as it is stored: subscriptions, and answers
// that are owed.
type sessionState struct {
	Generation string       `json:"generation"` // "" in what versions before this field wrote
	Names      []string     `json:"names"`
	Owed       []OwedAnswer `json:"owed,omitempty"`
}

// UnmarshalJSON takes a plain list of names too, as earlier versions stored it.
func (s *sessionState) UnmarshalJSON(b []byte) error {
	if bytes.HasPrefix(bytes.TrimSpace(b), []byte("[")) {
		return json.Unmarshal(b, &s.Names)
	}
	type plain sessionState
	return json.Unmarshal(b, (*plain)(s))
}
