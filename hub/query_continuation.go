package hub

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
)

// queryPosition is where a page of an answer begins.
type queryPosition struct {
	Rows  int    // that were handed out before
	After string // the key that the last page has ended at
}

// A continuation is a seal, of the hub's secret, over the query and the position; the hash
// of the query is not in it, as the query comes with it.
const (
	continuationSeal    = 16   // bytes of an HMAC
	maxContinuationSize = 1024 // of its text; keys are shorter
)

// sealContinuation returns the continuation of a query at a position.
func sealContinuation(secret []byte, text string, at queryPosition) string {
	position := append(binary.AppendUvarint(nil, uint64(at.Rows)), at.After...)
	return base64.RawURLEncoding.EncodeToString(append(seal(secret, text, position), position...))
}

// openContinuation returns the position in a continuation, the beginning for "". It returns
// fault 400004 for what this hub did not give, or not for this query.
func openContinuation(secret []byte, text, continuation string) (at queryPosition, _ error) {
	if continuation == "" {
		return at, nil
	}
	wrong := fault.New(fault.ArgumentInvalid, "The continuation is not one that this hub gave for this query. "+
		"Repeat the query without one")
	if len(continuation) > maxContinuationSize {
		return at, wrong
	}
	sealed, err := base64.RawURLEncoding.DecodeString(continuation)
	if err != nil || len(sealed) < continuationSeal ||
		!hmac.Equal(sealed[:continuationSeal], seal(secret, text, sealed[continuationSeal:])) {
		return at, wrong
	}
	rows, n := binary.Uvarint(sealed[continuationSeal:])
	if n <= 0 {
		return at, wrong
	}
	return queryPosition{Rows: int(rows), After: string(sealed[continuationSeal+n:])}, nil
}

func seal(secret []byte, text string, position []byte) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write(binary.AppendUvarint(nil, uint64(len(text))))
	mac.Write([]byte(text))
	mac.Write(position)
	return mac.Sum(nil)[:continuationSeal]
}

// querySecret returns what continuations are sealed with. It is made when it is first
// needed and then stays.
func (h *Hub) querySecret(ctx context.Context) ([]byte, error) {
	const name = "query"
	return store.RetryOnConflict(ctx, func() ([]byte, error) {
		secret, _, err := h.secrets.Get(ctx, name)
		if !errors.Is(err, store.ErrNotFound) {
			return secret, err
		}
		secret = make([]byte, 32)
		rand.Read(secret) // never fails, see crypto/rand
		_, err = h.config.Documents.Commit(ctx, h.secrets.Put(name, store.Absent, secret))
		return secret, err
	})
}
