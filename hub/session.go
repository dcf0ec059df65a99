package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berth-iot/berth/cluster"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/issuance"
	"github.com/berth-iot/berth/store"
)

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

// Downlink is how the hub reaches a connected device; the device's connection
// implements it. Its methods return quickly, may be called from any goroutine,
// and may be called while OpenSession is still under way.
type Downlink interface {
	// Desired hands over new desired properties: a patch with its $version.
	Desired(version int64, patch json.RawMessage)
	// Close ends the connection.
	Close(reason error)
}

// Session is a connected device. Send, Twin, Report and SetSubscriptions are for one
// goroutine at a time.
type Session struct {
	hub         *Hub
	deviceID    string
	generation  string
	partition   int
	head        []byte // what all records of the session begin with
	down        Downlink
	release     func()
	expiry      *time.Timer // of a token, or nil
	protocol    string
	remoteAddr  string
	operational issuance.Certificate // with which the device came; zero for another
	keep        bool
	names       []string // subscriptions

	since  time.Time
	last   atomic.Int64 // nanoseconds since 1970
	active atomic.Bool  // last has changed since the activity was written
	once   sync.Once
}

// OpenSession lets a device in that proves who it is, and ends its former
// connection. With keep, its subscriptions outlive the connection. It returns
// the faults 404001, 401002 and 401003.
func (h *Hub) OpenSession(ctx context.Context, deviceID string, evidence credential.Evidence, keep bool, down Downlink) (*Session, error) {
	device, err := h.device(ctx, deviceID)
	if err != nil {
		return nil, err
	}
	method, expiry, err := h.authenticate(device, evidence)
	var operational issuance.Certificate
	if err == nil && method == issued {
		operational, err = h.verifyIssued(ctx, device, evidence)
	}
	if err != nil {
		return nil, err
	}
	s := &Session{hub: h, deviceID: deviceID, generation: device.GenerationID, down: down, keep: keep,
		protocol: evidence.Protocol, remoteAddr: evidence.RemoteAddr, operational: operational, since: h.config.Now().UTC()}
	s.partition = partitionOf(deviceID, h.config.Telemetry.Partitions())
	s.head = appendRecordHead(nil, deviceID, device.GenerationID, method)
	if err := s.restore(ctx); err != nil {
		return nil, err
	}
	s.touch()
	if s.release, err = h.config.Bus.Serve(h.subject(deviceID), s); err != nil {
		return nil, fmt.Errorf("serve the device's subject: %w", err)
	}
	h.activity.arrive(s)
	opened, reason := false, ErrNotOpened
	defer func() {
		if !opened {
			s.Close(reason) // also after a panic: the hub must not go on believing in it
		}
	}()
	if !expiry.IsZero() {
		s.expiry = time.AfterFunc(expiry.Add(credential.ClockSkew).Sub(h.config.Now()), func() { down.Close(ErrTokenExpired) })
	}
	// From here on a change of the identity reaches this session. One that came
	// between the check and now did not.
	if again, err := h.device(ctx, deviceID); err != nil || again.ETag != device.ETag {
		reason = ErrCredentialChanged
		if err == nil {
			err = fault.New(fault.UnauthorizedAccess, "The device was changed while it was connecting. Connect again")
		}
		return nil, err
	}
	if method == issued {
		if _, err := h.verifyIssued(ctx, device, evidence); err != nil {
			reason = ErrRevoked
			return nil, err
		}
	}
	opened = true
	return s, nil
}

// authMethod is how a device proved itself, as its messages tell.
type authMethod byte

const (
	deviceKey authMethod = iota
	policyKey
	thumbprint
	issued // by the operational certificate that Berth issued
)

// authenticate judges the evidence of a device against its identity.
func (h *Hub) authenticate(device Device, evidence credential.Evidence) (method authMethod, expiry time.Time, err error) {
	refuse := func(format string, args ...any) (authMethod, time.Time, error) {
		return 0, time.Time{}, fault.New(fault.UnauthorizedAccess, format, args...)
	}
	if device.Status == disabled {
		return refuse("The device %q is disabled", device.DeviceID)
	}
	if evidence.Token != "" {
		return h.authenticateToken(device, evidence.Token)
	}
	if len(evidence.Certificates) == 0 {
		return refuse("The device %q showed neither a token nor a client certificate", device.DeviceID)
	}
	if device.Authentication.Type == CertificateAuthority && device.Issuance != nil && h.config.Issuer != nil {
		return issued, time.Time{}, nil // verifyIssued judges it
	}
	if device.Authentication.Type != SelfSigned {
		return refuse("The device %q shows a certificate, and its authentication is %s", device.DeviceID, device.Authentication.Type)
	}
	certificate := evidence.Certificates[0]
	sha1, sha256 := credential.Thumbprints(certificate)
	known := device.Authentication.X509Thumbprint
	if !slices.ContainsFunc([]*string{known.PrimaryThumbprint, known.SecondaryThumbprint}, func(t *string) bool {
		return t != nil && (*t == sha256 || *t == sha1)
	}) {
		return refuse("The certificate of the device %q, SHA-256 %s, is not the one that the hub knows", device.DeviceID, sha256)
	}
	if now := h.config.Now(); now.Before(certificate.NotBefore) || now.After(certificate.NotAfter) {
		return refuse("The certificate of the device %q is valid from %s to %s only", device.DeviceID,
			certificate.NotBefore.UTC().Format(time.RFC3339), certificate.NotAfter.UTC().Format(time.RFC3339))
	}
	return thumbprint, time.Time{}, nil
}

func (h *Hub) authenticateToken(device Device, text string) (method authMethod, expiry time.Time, err error) {
	refuse := func(code fault.Code, format string, args ...any) (authMethod, time.Time, error) {
		return 0, time.Time{}, fault.New(code, format, args...)
	}
	token, err := credential.ParseToken(text)
	if err != nil {
		return refuse(fault.UnauthorizedAccess, "The token of the device %q is malformed: %v", device.DeviceID, err)
	}
	if token.KeyName != "" {
		return h.authenticatePolicy(device, text, token)
	}
	keys, asked := device.Authentication.SymmetricKey, credential.DeviceResource(h.config.Host, device.DeviceID)
	switch {
	case device.Authentication.Type != SAS:
		return refuse(fault.UnauthorizedAccess, "The device %q shows a token, and its authentication is %s", device.DeviceID, device.Authentication.Type)
	case !token.Covers(asked):
		return refuse(fault.UnauthorizedAccess, "The token is for %.300q (sr), and this is %.300q", token.Resource, asked.String())
	case !signedByEither(token, keys):
		return refuse(fault.UnauthorizedAccess, "The token of the device %q was not made with its key", device.DeviceID)
	case token.Expired(h.config.Now()):
		return refuse(fault.TokenExpired, "The token of the device %q expired at %s", device.DeviceID, token.Expiry.Format(time.RFC3339))
	}
	return deviceKey, token.Expiry, nil
}

// authenticatePolicy lets a device in by a policy of the hub with the right
// DeviceConnect, as gateways do.
func (h *Hub) authenticatePolicy(device Device, text string, token *credential.Token) (authMethod, time.Time, error) {
	err := h.Authorize(context.Background(), text, DeviceConnect, credential.DeviceResource(h.config.Host, device.DeviceID).Path...)
	return policyKey, token.Expiry, err
}

func signedByEither(token *credential.Token, keys KeyPair) bool {
	return keys.PrimaryKey != nil && token.SignedBy(*keys.PrimaryKey) || keys.SecondaryKey != nil && token.SignedBy(*keys.SecondaryKey)
}

// Twin returns what a device sees of its twin:
// {"desired":{…,"$version":n},"reported":{…,"$version":n}}.
func (s *Session) Twin(ctx context.Context) (json.RawMessage, error) {
	s.touch()
	stored, err := s.hub.twin(ctx, s.deviceID)
	if err != nil {
		return nil, err
	}
	return json.Marshal(TwinProperties{Desired: stored.Desired.describe(false), Reported: stored.Reported.describe(false)})
}

// Report merges a patch (null deletes) into the device's reported properties
// and returns their version. It returns fault 400004 for what breaks a limit.
func (s *Session) Report(ctx context.Context, patch []byte) (version int64, err error) {
	s.touch()
	return s.hub.report(ctx, s.deviceID, patch)
}

// Subscriptions returns the names that the device has subscribed to, those of
// earlier connections included when they were kept.
func (s *Session) Subscriptions() []string { return slices.Clone(s.names) }

// maxSubscriptions bounds what is kept of a device. It has five topics to subscribe
// to, as on Azure.
const maxSubscriptions = 50

// SetSubscriptions has these names be all that the device has subscribed to. They
// mean nothing to the hub. However many they are, it is one commit, and none when
// nothing changes. It returns fault 400004 for more than fifty.
func (s *Session) SetSubscriptions(ctx context.Context, names []string) error {
	if slices.Equal(names, s.names) {
		return nil
	}
	if len(names) > maxSubscriptions {
		return fault.New(fault.ArgumentInvalid, "The device has %d subscriptions, the limit is %d",
			len(names), maxSubscriptions)
	}
	if s.keep {
		if _, err := s.hub.config.Documents.Commit(ctx, s.hub.subscriptions.Put(s.deviceID, store.Always, names)); err != nil {
			return err
		}
	}
	s.names = slices.Clone(names)
	return nil
}

// restore takes up the subscriptions of an earlier connection, or forgets them
// when this one starts clean.
func (s *Session) restore(ctx context.Context) error {
	names, _, err := s.hub.subscriptions.Get(ctx, s.deviceID)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil
	case err != nil:
		return err
	case s.keep:
		s.names = names
		return nil
	}
	_, err = s.hub.config.Documents.Commit(ctx, s.hub.subscriptions.Delete(s.deviceID, store.Always))
	return err
}

// Close ends the session. reason is why the connection ended, nil when the device
// took its leave; it goes into the connection history. Close may be called more
// than once.
func (s *Session) Close(reason error) {
	s.once.Do(func() {
		if s.expiry != nil {
			s.expiry.Stop()
		}
		defer s.hub.activity.leave(s, reason)
		s.release()
	})
}

// touch notes that the device was heard of.
func (s *Session) touch() {
	s.last.Store(s.hub.config.Now().UnixNano())
	if !s.active.Load() {
		s.active.Store(true)
	}
}

func (s *Session) stamp() stamp {
	return stamp{Generation: s.generation, StateChanged: s.since, LastActivity: time.Unix(0, s.last.Load()).UTC()}
}

// downlinkRequest is what a node asks of the one that holds a device.
type downlinkRequest struct {
	Close   string          `json:"close,omitempty"` // the reason
	Version int64           `json:"version,omitempty"`
	Desired json.RawMessage `json:"desired,omitempty"`
}

func (r downlinkRequest) encode() []byte {
	encoded, err := json.Marshal(r)
	if err != nil {
		panic("hub: " + err.Error()) // Desired was JSON when it came in
	}
	return encoded
}

// Handle implements cluster.Server: another part of the hub, here or on another
// node, wants something of the device.
func (s *Session) Handle(_ context.Context, request []byte) ([]byte, error) {
	var wanted downlinkRequest
	if err := json.Unmarshal(request, &wanted); err != nil {
		return nil, fmt.Errorf("a request to the device %q: %w", s.deviceID, err)
	}
	if wanted.Close != "" {
		s.down.Close(closeReason(wanted.Close))
	} else {
		s.down.Desired(wanted.Version, wanted.Desired)
	}
	return nil, nil
}

// closeReason finds the error that was sent by its text.
func closeReason(text string) error {
	for _, reason := range []error{ErrDisabled, ErrDeleted, ErrCredentialChanged} {
		if reason.Error() == text {
			return reason
		}
	}
	return errors.New(text)
}

// Displaced implements cluster.Server: the device has connected anew.
func (s *Session) Displaced() { s.down.Close(ErrReplaced) }

// tellDesired sends new desired properties to the device if it is connected. The
// change is durable whether or not this succeeds: the device reads its twin when
// it connects.
func (h *Hub) tellDesired(ctx context.Context, id string, version int64, patch json.RawMessage) {
	told, err := readObject("properties.desired", patch)
	if err != nil {
		return // it passed the same check before
	}
	told["$version"] = version
	_, err = h.config.Bus.Request(ctx, h.subject(id), downlinkRequest{Version: version, Desired: told.encode()}.encode())
	if err != nil && !errors.Is(err, cluster.ErrNobody) {
		h.config.Logger.Warn("a device was not told of its desired properties", "hub", h.config.Name, "device", id, "error", err)
	}
}

// partitionOf spreads devices over partitions; a device keeps its own.
func partitionOf(deviceID string, partitions int) int {
	hash := fnv.New32a()
	hash.Write([]byte(deviceID))
	return int(hash.Sum32() % uint32(partitions))
}
