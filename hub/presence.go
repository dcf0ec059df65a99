package hub

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"reflect"
	"strings"
	"sync"
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
// (revalidate). A session that arrives meanwhile looks once it can be found. So one
// of the two sees the change, in whatever order they come.

// Why a hub ends a device's connection, as Downlink.Close gets it.
var (
	ErrReplaced          = errors.New("another connection of the device took over")
	ErrDisabled          = errors.New("the device was disabled")
	ErrDeleted           = errors.New("the device was deleted")
	ErrCredentialChanged = errors.New("the device's credentials were changed")
	ErrTokenExpired      = errors.New("the device's token has expired")
	ErrRevoked           = errors.New("the device's certificate was revoked")
	ErrNotOpened         = errors.New("the hub failed while it opened the connection")
	ErrShutdown          = errors.New("the hub is shutting down")
)

// subjects begin the subjects of this hub's devices on the bus.
func (h *Hub) subjects() string { return "hub." + h.config.Name + ".device." }

// subject is what the connection of a device serves on the bus.
func (h *Hub) subject(deviceID string) string { return h.subjects() + deviceID }

// session is the device's on this node, or nil.
func (h *Hub) session(deviceID string) *Session {
	session, _ := h.config.Bus.Server(h.subject(deviceID)).(*Session)
	return session
}

// sessions are those of this node.
func (h *Hub) sessions() []*Session {
	servers := h.config.Bus.Servers(h.subjects())
	sessions := make([]*Session, len(servers))
	for i, server := range servers {
		sessions[i] = server.(*Session)
	}
	return sessions
}

// connected counts the sessions of this node.
func (h *Hub) connected() int { return len(h.config.Bus.Servers(h.subjects())) }

// arrive makes the session the one of its device and ends the one before it.
func (h *Hub) arrive(s *Session) (err error) {
	defer h.arrivals.lock(s.deviceID)()
	former := h.session(s.deviceID)
	if s.release, err = h.config.Bus.Serve(h.subject(s.deviceID), s); err != nil {
		return fmt.Errorf("serve the device's subject: %w", err)
	}
	if former != nil {
		former.leave(ErrReplaced)
	}
	h.activity.arrive(s)
	return nil
}

// end ends the session and its connection. From when it returns, the device is not
// connected by it, and nothing that still comes from there has an effect.
func (s *Session) end(reason error) {
	defer s.down.Close(reason)
	defer s.hub.arrivals.lock(s.deviceID)()
	s.leave(reason)
}

// Close ends the session. reason is why the connection ended, nil when the device
// disconnected of its own accord; it goes into the connection history. Close may be
// called more than once.
func (s *Session) Close(reason error) {
	defer s.hub.arrivals.lock(s.deviceID)()
	s.leave(reason)
}

// leave takes the session off the bus and puts its departure on record, once. The
// caller holds the device's lock.
func (s *Session) leave(reason error) {
	if s.left || s.release == nil {
		return
	}
	s.left = true
	s.stop(reason)
	last := s.hub.session(s.deviceID) == s // else another has taken over
	s.release()
	s.hub.activity.leave(s, *s.over.Load(), last)
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

// revalidate has the session of a device, wherever it is, look again whether the
// device may stay connected. It does so whether or not whoever made the change
// still waits.
func (h *Hub) revalidate(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), revalidateTimeout)
	defer cancel()
	_, err := h.config.Bus.Request(ctx, h.subject(id), downlinkRequest{Revalidate: true}.encode())
	if err != nil && !errors.Is(err, cluster.ErrNobody) {
		h.config.Logger.Error("a device may still be connected", "hub", h.config.Name, "device", id, "error", err)
	}
}

// revalidate ends the session if its device may no longer be connected, and
// returns why. What can't be read counts as that: the device connects again when
// it can.
func (s *Session) revalidate(ctx context.Context) error {
	reason := s.judge(ctx)
	if reason != nil {
		s.end(reason)
	}
	return reason
}

// judge holds what the device proved itself with when it connected against its
// identity as it is now.
func (s *Session) judge(ctx context.Context) error {
	device, err := s.hub.registry.Get(ctx, s.deviceID)
	switch {
	case s.hub.closed.Load():
		return ErrShutdown
	case errors.Is(err, fault.DeviceNotFound), err == nil && device.GenerationID != s.generation:
		return ErrDeleted
	case err != nil:
		return err
	case device.Status == identity.Disabled:
		return ErrDisabled
	case !reflect.DeepEqual(*device.Authentication, s.credentials):
		return ErrCredentialChanged
	case s.expired(s.hub.config.Now()):
		return ErrTokenExpired
	case s.operational.Thumbprint != "" && !s.hub.config.Issuer.Good(ctx, s.operational.Thumbprint):
		return ErrRevoked
	}
	return nil
}

// expired reports whether the token that the device came with is over.
func (s *Session) expired(now time.Time) bool {
	return !s.expiry.IsZero() && now.After(s.expiry.Add(credential.ClockSkew))
}

// endExpired ends the sessions whose tokens are over.
func (h *Hub) endExpired() {
	now := h.config.Now()
	for _, session := range h.sessions() {
		if session.expired(now) {
			session.end(ErrTokenExpired)
		}
	}
}

// EndRevoked ends the connections of devices whose operational certificate is no
// longer good. Others are left alone.
func (h *Hub) EndRevoked(revoked issuance.Revocation) {
	ctx, cancel := context.WithTimeout(context.Background(), revalidateTimeout)
	defer cancel()
	for _, session := range h.sessions() {
		operational := session.operational
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
	case errors.Is(reason, ErrDisabled), errors.Is(reason, ErrCredentialChanged), errors.Is(reason, ErrRevoked):
		return fault.New(fault.UnauthorizedAccess, "The device %q was changed while it was connecting: %s", deviceID, reason)
	}
	return reason
}

// identity returns the device's identity as long as the session is its own, and
// the check that makes a commit fail when that has changed.
func (s *Session) identity(ctx context.Context) (identity.Device, store.Change, error) {
	if err := s.check(); err != nil {
		return identity.Device{}, store.Change{}, err
	}
	device, err := s.hub.registry.Get(ctx, s.deviceID)
	if err == nil && device.GenerationID != s.generation {
		err = refusal(s.deviceID, ErrDeleted)
	}
	return device, s.hub.registry.Unchanged(device), err
}

// commit makes a change that belongs to the session's device, and to no later one
// of the same id.
func (s *Session) commit(ctx context.Context, changes ...store.Change) error {
	for {
		_, check, err := s.identity(ctx)
		if err != nil {
			return err
		}
		_, err = s.hub.config.Documents.Commit(ctx, append([]store.Change{check}, changes...)...)
		if conflict, ok := store.IsConflict(err); !ok || conflict != 0 {
			return err
		}
	}
}

// deviceLocks are locks by device; some devices share one. They put in order what this node
// does: a lock across nodes would be held while the network is waited for. Two changes that
// are made on two nodes may reach the device in the other order, with their versions.
type deviceLocks struct {
	seed    maphash.Seed
	mutexes [256]sync.Mutex
}

func newDeviceLocks() *deviceLocks { return &deviceLocks{seed: maphash.MakeSeed()} }

// lock waits for the device's lock and returns what gives it back.
func (l *deviceLocks) lock(deviceID string) (unlock func()) {
	mutex := &l.mutexes[maphash.String(l.seed, deviceID)%uint64(len(l.mutexes))]
	mutex.Lock()
	return mutex.Unlock
}

// ServiceStatistics counts the connected devices.
type ServiceStatistics struct {
	ConnectedDeviceCount int `json:"connectedDeviceCount"`
}

// ServiceStatistics counts the devices that are connected now, to all nodes.
func (h *Hub) ServiceStatistics(ctx context.Context) (ServiceStatistics, error) {
	count, err := h.config.Bus.Count(ctx, h.subjects())
	return ServiceStatistics{count}, err
}
