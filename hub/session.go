package hub

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/berth-iot/berth/cluster"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/hub/telemetry"
	"github.com/berth-iot/berth/hub/twin"
	"github.com/berth-iot/berth/issuance"
	"github.com/berth-iot/berth/store"
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

// Session is a connected device, until it is over (see presence.go). Send, Twin,
// Report and SetSubscriptions are for one goroutine at a time.
type Session struct {
	hub         *Hub
	deviceID    string
	generation  string
	telemetry   *telemetry.Sender
	down        Downlink
	expiry      time.Time // of a token; zero without one
	protocol    string
	remoteAddr  string
	credentials identity.Authentication // those of the identity when the device proved itself
	operational issuance.Certificate    // with which the device came; zero for another
	keep        bool
	names       []string     // subscriptions
	owed        []OwedAnswer // that the device has not acknowledged

	since  time.Time
	last   atomic.Int64          // nanoseconds since 1970
	active atomic.Bool           // last has changed since the activity was written
	over   atomic.Pointer[error] // why, once nothing more is done for the device

	release func() // leaves the bus; nil before the session has arrived. Under the device's lock, as left
	left    bool   // the departure is on record
}

// OpenSession lets a device in that proves who it is, and ends its former
// connection. With keep, its subscriptions outlive the connection. The model that it
// announces goes into its twin. It returns the faults 404001, 401002 and 401003, and
// 400004 for a model id that can't be one.
func (h *Hub) OpenSession(ctx context.Context, deviceID string, evidence credential.Evidence, keep bool, down Downlink) (*Session, error) {
	device, err := h.registry.Get(ctx, deviceID)
	if err != nil {
		return nil, err
	}
	method, expiry, err := h.authenticate(device, evidence)
	var operational issuance.Certificate
	if err == nil && method == message.IssuedCertificate {
		operational, err = h.verifyIssued(ctx, device, evidence)
	}
	if err == nil && evidence.ModelID != nil {
		err = twin.CheckModelID(*evidence.ModelID)
	}
	if err != nil {
		return nil, err
	}
	s := &Session{hub: h, deviceID: deviceID, generation: device.GenerationID, down: down, keep: keep,
		expiry: expiry, protocol: evidence.Protocol, remoteAddr: evidence.RemoteAddr,
		credentials: *device.Authentication, operational: operational, since: h.config.Now().UTC()}
	s.telemetry = h.telemetry.NewSender(deviceID, device.GenerationID, method)
	if err := s.restore(ctx); err != nil {
		return nil, err
	}
	s.touch()
	opened := false
	defer func() {
		if !opened {
			s.Close(ErrNotOpened) // also after a panic: the hub must not go on believing in it
		}
	}()
	if err := h.arrive(s); err != nil {
		return nil, err
	}
	// From here on whoever changes the identity finds this session. A change that
	// came before is found here.
	if reason := s.revalidate(ctx); reason != nil {
		return nil, refusal(deviceID, reason)
	}
	if evidence.ModelID != nil {
		if err := h.twins.SetModel(ctx, s.owner(), *evidence.ModelID); err != nil {
			return nil, err
		}
	}
	opened = true
	return s, nil
}

// authenticate judges the evidence of a device against its identity.
func (h *Hub) authenticate(device identity.Device, evidence credential.Evidence) (method message.AuthMethod, expiry time.Time, err error) {
	refuse := func(format string, args ...any) (message.AuthMethod, time.Time, error) {
		return 0, time.Time{}, fault.New(fault.UnauthorizedAccess, format, args...)
	}
	if device.Status == identity.Disabled {
		return refuse("The device %q is disabled", device.DeviceID)
	}
	if evidence.Token != "" {
		return h.authenticateToken(device, evidence.Token)
	}
	if len(evidence.Certificates) == 0 {
		return refuse("The device %q showed neither a token nor a client certificate", device.DeviceID)
	}
	if device.Authentication.Type == identity.CertificateAuthority && device.Issuance != nil && h.config.Issuer != nil {
		return message.IssuedCertificate, time.Time{}, nil // verifyIssued judges it
	}
	if device.Authentication.Type != identity.SelfSigned {
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
	return message.Thumbprint, time.Time{}, nil
}

func (h *Hub) authenticateToken(device identity.Device, text string) (method message.AuthMethod, expiry time.Time, err error) {
	refuse := func(code fault.Code, format string, args ...any) (message.AuthMethod, time.Time, error) {
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
	case device.Authentication.Type != identity.SAS:
		return refuse(fault.UnauthorizedAccess, "The device %q shows a token, and its authentication is %s", device.DeviceID, device.Authentication.Type)
	case !token.Covers(asked):
		return refuse(fault.UnauthorizedAccess, "The token is for %.300q (sr), and this is %.300q", token.Resource, asked.String())
	case !signedByEither(token, keys):
		return refuse(fault.UnauthorizedAccess, "The token of the device %q was not made with its key", device.DeviceID)
	case token.Expired(h.config.Now()):
		return refuse(fault.TokenExpired, "The token of the device %q expired at %s", device.DeviceID, token.Expiry.Format(time.RFC3339))
	}
	return message.DeviceKey, token.Expiry, nil
}

// authenticatePolicy lets a device in by a policy of the hub with the right
// DeviceConnect, as gateways do.
func (h *Hub) authenticatePolicy(device identity.Device, text string, token *credential.Token) (message.AuthMethod, time.Time, error) {
	_, err := h.access.Authorize(context.Background(), text, DeviceConnect, credential.DeviceResource(h.config.Host, device.DeviceID).Path...)
	return message.PolicyKey, token.Expiry, err
}

func signedByEither(token *credential.Token, keys identity.KeyPair) bool {
	return keys.PrimaryKey != nil && token.SignedBy(*keys.PrimaryKey) || keys.SecondaryKey != nil && token.SignedBy(*keys.SecondaryKey)
}

// Twin returns what a device sees of its twin:
// {"desired":{…,"$version":n},"reported":{…,"$version":n}}.
func (s *Session) Twin(ctx context.Context) (json.RawMessage, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	s.touch()
	return s.hub.twins.ForDevice(ctx, s.owner())
}

// Report merges a patch (null deletes) into the device's reported properties
// and returns their version. It returns fault 400004 for what breaks a limit.
func (s *Session) Report(ctx context.Context, patch []byte) (version int64, err error) {
	return s.report(ctx, patch, nil)
}

// ReportIfVersion is Report for properties that have this version. It returns fault
// 412001 when they have another.
func (s *Session) ReportIfVersion(ctx context.Context, patch []byte, wanted int64) (version int64, err error) {
	return s.report(ctx, patch, &wanted)
}

func (s *Session) report(ctx context.Context, patch []byte, ifVersion *int64) (version int64, err error) {
	if err := s.check(); err != nil {
		return 0, err
	}
	s.touch()
	return s.hub.twins.Report(ctx, s.owner(), patch, ifVersion, s.check)
}

// owner is the device as its twin knows it.
func (s *Session) owner() twin.Owner {
	return twin.Owner{DeviceID: s.deviceID, Generation: s.generation}
}

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
		if err := s.commit(ctx, s.putSubscriptions(names, s.owed)); err != nil {
			return err
		}
	}
	s.names = slices.Clone(names)
	return nil
}

// restore takes up the subscriptions of an earlier connection, or forgets them
// when this one starts clean.
func (s *Session) restore(ctx context.Context) error {
	kept, _, err := s.hub.subscriptions.Get(ctx, s.deviceID)
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
	return s.commit(ctx, s.hub.subscriptions.Delete(s.deviceID, store.Always))
}

// subscriptions are those that outlive a connection, as they are stored.
type subscriptions struct {
	Generation string       `json:"generation"` // "" in what versions before this field wrote
	Names      []string     `json:"names"`
	Owed       []OwedAnswer `json:"owed,omitempty"`
}

// UnmarshalJSON takes a plain list of names too, as earlier versions stored it.
func (s *subscriptions) UnmarshalJSON(b []byte) error {
	if bytes.HasPrefix(bytes.TrimSpace(b), []byte("[")) {
		return json.Unmarshal(b, &s.Names)
	}
	type plain subscriptions
	return json.Unmarshal(b, (*plain)(s))
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
	Revalidate bool            `json:"revalidate,omitempty"` // may the device go on? Else it is told its desired properties
	Generation string          `json:"generation,omitempty"` // of the identity whose desired properties these are
	Version    int64           `json:"version,omitempty"`
	Desired    json.RawMessage `json:"desired,omitempty"`
}

func (r downlinkRequest) encode() []byte {
	encoded, err := document.Marshal(r)
	if err != nil {
		panic("hub: " + err.Error()) // Desired was JSON when it came in
	}
	return encoded
}

// Handle implements cluster.Server: another part of the hub, here or on another
// node, wants something of the device.
func (s *Session) Handle(ctx context.Context, request []byte) ([]byte, error) {
	var wanted downlinkRequest
	if err := json.Unmarshal(request, &wanted); err != nil {
		return nil, fmt.Errorf("a request to the device %q: %w", s.deviceID, err)
	}
	switch {
	case wanted.Revalidate:
		s.revalidate(ctx)
	case s.check() == nil && (wanted.Generation == "" || wanted.Generation == s.generation):
		s.down.Desired(wanted.Version, wanted.Desired)
	}
	return nil, nil
}

// notifyDesired sends new desired properties to the device of this generation if it is
// connected. The change is durable whether or not this succeeds: the device reads its twin
// when it connects.
func (h *Hub) notifyDesired(ctx context.Context, id, generation string, version int64, notice json.RawMessage) {
	_, err := h.config.Bus.Request(ctx, h.subject(id),
		downlinkRequest{Generation: generation, Version: version, Desired: notice}.encode())
	if err != nil && !errors.Is(err, cluster.ErrNobody) {
		h.config.Logger.Warn("a device was not told of its desired properties", "hub", h.config.Name, "device", id,
			"error", err)
	}
}
