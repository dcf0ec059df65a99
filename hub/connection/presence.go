package connection

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/berth-iot/berth/cluster"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/issuance"
	"github.com/berth-iot/berth/store"
)

// Who is connected has one owner, the bus: a device is connected while a session
// serves its subject. The number of connections, the connection state and the list
// of sessions are read from there.
//
// A session arrives and leaves under its device's lock, so that the history tells
// what happened in the order in which it did. Whoever changes an identity, or
// revokes a certificate, commits that first and then asks the session to look again
// (Revalidate). A session that arrives meanwhile looks once it can be found. So one
// of the two sees the change, in whatever order they come.

// Why a hub ends a device's connection, as Downlink.Close gets it.
var (
	ErrReplaced          = errors.New("another connection of the device took over")
	ErrDisabled          = errors.New("the device was disabled")
	ErrDeleted           = errors.New("the device was deleted")
	ErrCredentialChanged = errors.New("the device's credentials were changed")
	ErrTokenExpired      = errors.New("the device's token has expired")
	ErrCertExpired       = errors.New("the device's certificate has expired")
	ErrRevoked           = errors.New("the device's certificate was revoked")
	ErrAuthorityRemoved  = errors.New("the authority that signed the device's certificate is not trusted any more")
	ErrNotOpened         = errors.New("the hub failed while it opened the connection")
	ErrShutdown          = errors.New("the hub is shutting down")
)

// deviceSubjects and moduleSubjects begin the subjects of this hub's devices and modules on
// the bus: apart, because devices are counted.
func (c *Connections) deviceSubjects() string { return "hub." + c.config.Hub + ".device." }
func (c *Connections) moduleSubjects() string { return "hub." + c.config.Hub + ".module." }

// subject is what the connection of a device or module serves on the bus.
func (c *Connections) subject(id string) string {
	if _, moduleID := identity.SplitKey(id); moduleID != "" {
		return c.moduleSubjects() + id
	}
	return c.deviceSubjects() + id
}

// session is the device's on this node, or nil.
func (c *Connections) session(deviceID string) *Session {
	session, _ := c.config.Bus.Server(c.subject(deviceID)).(*Session)
	return session
}

// sessions are those of this node.
func (c *Connections) sessions() []*Session {
	servers := append(c.config.Bus.Servers(c.deviceSubjects()), c.config.Bus.Servers(c.moduleSubjects())...)
	sessions := make([]*Session, len(servers))
	for i, server := range servers {
		sessions[i] = server.(*Session)
	}
	return sessions
}

// Count returns how many devices are connected now, to this node.
func (c *Connections) Count() int { return len(c.config.Bus.Servers(c.deviceSubjects())) }

// arrive makes the session the one of its device and ends the one before it.
func (c *Connections) arrive(s *Session) (err error) {
	defer c.arrivals.lock(s.deviceID)()
	former := c.session(s.deviceID)
	if s.release, err = c.config.Bus.Serve(c.subject(s.deviceID), s); err != nil {
		return fmt.Errorf("serve the device's subject: %w", err)
	}
	if former != nil {
		former.leave(ErrReplaced)
	}
	c.activity.arrive(s)
	return nil
}

// end ends the session and its connection. From when it returns, the device is not
// connected by it, and nothing that still comes from there has an effect.
func (s *Session) end(reason error) {
	defer s.down.Close(reason)
	defer s.of.arrivals.lock(s.deviceID)()
	s.leave(reason)
}

// Close ends the session. reason is why the connection ended, nil when the device
// disconnected of its own accord; it goes into the connection history. Close may be
// called more than once.
func (s *Session) Close(reason error) {
	defer s.endCalls()
	defer s.of.arrivals.lock(s.deviceID)()
	s.leave(reason)
}

// leave takes the session off the bus and puts its departure on record, once. The
// caller holds the device's lock.
func (s *Session) leave(reason error) {
	if s.left || s.release == nil {
		return
	}
	s.left = true
	if timer := s.fault.Load(); timer != nil {
		timer.Stop()
	}
	s.stop(reason)
	last := s.of.session(s.deviceID) == s // else another has taken over
	s.release()
	s.of.activity.leave(s, *s.over.Load(), last)
}

// stop makes sure that the session does nothing more for the device.
func (s *Session) stop(reason error) { s.over.CompareAndSwap(nil, &reason) }

// Displaced implements cluster.Server: the device has connected anew.
func (s *Session) Displaced() {
	s.stop(ErrReplaced)
	s.down.Close(ErrReplaced)
}

// check returns fault 401002 once the session is over.
func (s *Session) check() error {
	if reason := s.over.Load(); reason != nil {
		return fault.New(fault.UnauthorizedAccess, "The connection of the device %q is over. Connect again",
			s.deviceID).Because(*reason)
	}
	return nil
}

// revalidateTimeout bounds how long a session may take to look again.
const revalidateTimeout = 10 * time.Second

// Revalidate has the session of a device, wherever it is, look again whether the
// device may stay connected. It does so whether or not whoever made the change
// still waits.
func (c *Connections) Revalidate(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), revalidateTimeout)
	defer cancel()
	_, err := c.config.Bus.Request(ctx, c.subject(id), downlinkRequest{Revalidate: true}.encode())
	if err != nil && !errors.Is(err, cluster.ErrNobody) {
		c.config.Logger.Error("a device may still be connected", "hub", c.config.Hub, "device", id, "error", err)
	}
}

// revalidate ends the session if its device may no longer be connected, and
// returns why. What can't be read counts as that: the device connects again when
// it can.
func (s *Session) revalidate(ctx context.Context) error {
	reason := s.validate(ctx)
	if reason != nil {
		s.end(reason)
	}
	return reason
}

// validate holds what the device proved itself with when it connected against its
// identity as it is now.
func (s *Session) validate(ctx context.Context) error {
	device, err := s.of.config.Registry.Principal(ctx, s.deviceID)
	switch {
	case s.of.closed.Load():
		return ErrShutdown
	case errors.Is(err, fault.DeviceNotFound), errors.Is(err, fault.ModuleNotFound),
		err == nil && device.GenerationID != s.generation:
		return ErrDeleted
	case err != nil:
		return err
	case device.Disabled:
		return ErrDisabled
	case !s.proof.stillHolds(device):
		return ErrCredentialChanged
	case s.expired(s.of.config.Now()):
		return s.proof.expiredReason()
	case s.proof.signer != nil && !s.of.stillTrusts(ctx, s.proof.signer):
		return ErrAuthorityRemoved
	case s.proof.operational.Thumbprint != "" && !s.of.config.Issuer.Good(ctx, s.proof.operational.Thumbprint):
		return ErrRevoked
	}
	return nil
}

// expired reports whether the token or certificate that the device came with is over, with
// the slack that tokens have.
func (s *Session) expired(now time.Time) bool {
	return !s.proof.expiry.IsZero() && now.After(s.proof.expiry.Add(credential.ClockSkew))
}

// endExpired ends the sessions whose tokens or certificates are over.
func (c *Connections) endExpired() {
	now := c.config.Now()
	for _, session := range c.sessions() {
		if session.expired(now) {
			session.end(session.proof.expiredReason())
		}
	}
}

// EndRevoked ends the connections of devices whose operational certificate is no
// longer good. Others are left alone.
func (c *Connections) EndRevoked(revoked issuance.Revocation) {
	ctx, cancel := context.WithTimeout(context.Background(), revalidateTimeout)
	defer cancel()
	for _, session := range c.sessions() {
		operational := session.proof.operational
		if operational.Thumbprint != "" && (operational.Thumbprint == revoked.Thumbprint ||
			operational.Authority == revoked.Authority ||
			strings.EqualFold(operational.RegistrationID, revoked.RegistrationID)) {
			session.revalidate(ctx)
		}
	}
}

// refusal is what a device is told that connects while its identity changes.
func refusal(deviceID string, reason error) error {
	switch {
	case errors.Is(reason, ErrDeleted):
		return identity.NotFound(deviceID)
	case errors.Is(reason, ErrTokenExpired):
		return fault.New(fault.TokenExpired, "The token of the device %q expired while it was connecting", deviceID)
	case errors.Is(reason, ErrDisabled), errors.Is(reason, ErrCredentialChanged), errors.Is(reason, ErrRevoked),
		errors.Is(reason, ErrCertExpired), errors.Is(reason, ErrAuthorityRemoved):
		return fault.New(fault.UnauthorizedAccess, "The device %q was changed while it was connecting: %s",
			deviceID, reason)
	}
	return reason
}

// identity returns the device's identity as long as the session is its own, and
// the check that makes a commit fail when that has changed.
func (s *Session) identity(ctx context.Context) (identity.Principal, store.Change, error) {
	if err := s.check(); err != nil {
		return identity.Principal{}, store.Change{}, err
	}
	device, err := s.of.config.Registry.Principal(ctx, s.deviceID)
	if err == nil && device.GenerationID != s.generation {
		err = refusal(s.deviceID, ErrDeleted)
	}
	return device, s.of.config.Registry.Unchanged(device), err
}

// commit makes a change that belongs to the session's device, and to no later one
// of the same id.
func (s *Session) commit(ctx context.Context, changes ...store.Change) error {
	for {
		_, check, err := s.identity(ctx)
		if err != nil {
			return err
		}
		_, err = s.of.config.Documents.Commit(ctx, append([]store.Change{check}, changes...)...)
		if conflict, ok := store.IsConflict(err); !ok || conflict != 0 {
			return err
		}
	}
}
