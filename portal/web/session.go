package web

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
)

// Role is what the one who logged in may do.
type Role string

// The roles of the portal.
const (
	Operator Role = "operator" // sees all, keys included, and changes what there is to change
	Reader   Role = "reader"   // sees all but keys
)

// ParseRole returns the role of this name. It returns fault 400004 when there is none.
func ParseRole(name string) (Role, error) {
	switch role := Role(name); role {
	case "":
		return Operator, nil
	case Operator, Reader:
		return role, nil
	}
	return "", fault.New(fault.ArgumentInvalid, "The role must be operator or reader, not %.32q", name)
}

const (
	linkTime     = time.Hour          // that a login link is good for, once
	idleTime     = 8 * time.Hour      // without a request, after which a session is over
	absoluteTime = 7 * 24 * time.Hour // after which a session is over whatever happens
	seenDelay    = time.Minute        // how exactly the last request is kept
	clockStep    = 5 * time.Minute    // that a clock may be set back by without a session's end
	sweepSize    = 1000               // links or sessions looked at when old ones are cleared away
)

// link is a way to log in, once. What is stored of a link or session is under
// the hash of its secret: who reads the store can't log in with it.
type link struct {
	Role    Role      `json:"role"`
	Expires time.Time `json:"expires"`
}

// expired reports whether a link is too old, or was made by a clock that was wrong.
func (l link) expired(now time.Time) bool {
	return now.After(l.Expires) || l.Expires.Sub(now) > linkTime+clockStep
}

// session is somebody who is logged in.
type session struct {
	Role    Role      `json:"role"`
	Created time.Time `json:"created"`
	Seen    time.Time `json:"seen"`

	token string
}

// expired reports whether a session has had its time. One that was opened in the future
// was opened by a clock that was wrong, and would last for as long as that was ahead.
func (s *session) expired(now time.Time) bool {
	return now.Sub(s.Seen) > idleTime || now.Sub(s.Created) > absoluteTime || s.Created.Sub(now) > clockStep
}

// csrf is what a form of this session carries. It follows from the session's
// secret, so that it needs no place of its own.
func (s *session) csrf() string {
	mac := hmac.New(sha256.New, []byte(s.token))
	mac.Write([]byte("csrf"))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// sessions keeps links and sessions, which outlive a restart of the server.
type sessions struct {
	links    store.Table[link]
	sessions store.Table[session]
	now      func() time.Time
	trusted  func() bool // whether what is old by now may be deleted; always when nil
}

func openSessions(documents store.Documents, now func() time.Time, trusted func() bool) *sessions {
	return &sessions{
		links:    store.NewTable[link](documents, "portal/links"),
		sessions: store.NewTable[session](documents, "portal/sessions"),
		now:      now,
		trusted:  trusted,
	}
}

func newSecret() string {
	var secret [24]byte
	rand.Read(secret[:]) // never fails, see crypto/rand
	return base64.RawURLEncoding.EncodeToString(secret[:])
}

func hashOf(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// createLink makes a link and returns its code.
func (s *sessions) createLink(ctx context.Context, role Role) (code string, expires time.Time, err error) {
	if err := s.sweep(ctx); err != nil {
		return "", time.Time{}, err
	}
	code, expires = newSecret(), s.now().Add(linkTime).UTC()
	_, err = s.links.Documents.Commit(ctx, s.links.Put(hashOf(code), store.Absent, link{role, expires}))
	if err != nil {
		return "", time.Time{}, fmt.Errorf("keep a login link: %w", err)
	}
	return code, expires, nil
}

// login takes a link's code and returns the new session.
func (s *sessions) login(ctx context.Context, code string) (*session, error) {
	refused := fault.New(fault.Unauthorized,
		"This login link was used before, is too old, or was never made here. Get a new one with: berth portal link")
	key := hashOf(code)
	found, etag, err := s.links.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) || store.IsUnreadable(err) {
		return nil, refused
	}
	if err != nil {
		return nil, err
	}
	now := s.now().UTC()
	if found.expired(now) {
		return nil, refused
	}
	opened := session{Role: found.Role, Created: now, Seen: now, token: newSecret()}
	_, err = s.links.Documents.Commit(ctx,
		s.links.Delete(key, store.IfMatch(etag)),
		s.sessions.Put(hashOf(opened.token), store.Absent, opened))
	if _, conflict := store.IsConflict(err); conflict {
		return nil, refused
	}
	if err != nil {
		return nil, fmt.Errorf("keep a session: %w", err)
	}
	return &opened, nil
}

// find returns the session of a token, or nil when there is none or it is over.
func (s *sessions) find(ctx context.Context, token string) (*session, error) {
	if token == "" {
		return nil, nil
	}
	found, etag, err := s.sessions.Get(ctx, hashOf(token))
	if errors.Is(err, store.ErrNotFound) || store.IsUnreadable(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	now := s.now().UTC()
	if found.expired(now) {
		return nil, nil
	}
	found.token = token
	if now.Sub(found.Seen).Abs() > seenDelay { // it may have been seen by a clock that was ahead
		found.Seen = now
		_, err := s.sessions.Documents.Commit(ctx, s.sessions.Put(hashOf(token), store.IfMatch(etag), found))
		// Another request has done it, or the disk is full, which the page is to say.
		if _, conflict := store.IsConflict(err); err != nil && !conflict && !errors.Is(err, store.ErrFull) {
			return nil, err
		}
	}
	return &found, nil
}

// alive reports whether a session is not over, without counting as a request of
// it: an open page does not keep its session from ending.
func (s *sessions) alive(ctx context.Context, token string) (bool, error) {
	found, _, err := s.sessions.Get(ctx, hashOf(token))
	if errors.Is(err, store.ErrNotFound) || store.IsUnreadable(err) {
		return false, nil
	}
	return err == nil && !found.expired(s.now()), err
}

// logout ends a session.
func (s *sessions) logout(ctx context.Context, token string) error {
	_, err := s.sessions.Documents.Commit(ctx, s.sessions.Delete(hashOf(token), store.Always))
	return err
}

// sweep clears away what is too old to be of use.
func (s *sessions) sweep(ctx context.Context) error {
	if s.trusted != nil && !s.trusted() {
		return nil
	}
	now := s.now()
	return errors.Join(
		sweep(ctx, s.links, func(l link) bool { return l.expired(now) }),
		sweep(ctx, s.sessions, func(opened session) bool { return opened.expired(now) }))
}

func sweep[T any](ctx context.Context, table store.Table[T], expired func(T) bool) error {
	for after := ""; ; {
		entries, err := table.List(ctx, "", after, sweepSize)
		if err != nil {
			return err
		}
		var changes []store.Change
		for _, entry := range entries {
			if expired(entry.Value) {
				changes = append(changes, table.Delete(entry.Key, store.IfMatch(entry.ETag)))
			}
			after = entry.Key
		}
		if len(changes) > 0 {
			_, err := table.Documents.Commit(ctx, changes...)
			if _, conflict := store.IsConflict(err); err != nil && !conflict { // else the next sweep has another look
				return err
			}
		}
		if len(entries) < sweepSize {
			return nil
		}
	}
}
