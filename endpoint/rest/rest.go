// Package rest is Azure's contract over HTTPS: paths, headers, bodies and
// statuses on one side, calls on the provisioning service and the hubs on the
// other. It holds no rule of either. Paths that start with /berth/ are Berth's
// own, for what Azure offers by other means than REST.
package rest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/issuance"
	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/inject"
	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/wire/mqtt"
)

// Config names what is reached by HTTPS.
type Config struct {
	Provisioning *provisioning.Service
	Hubs         *hub.Directory
	MQTT         func(conn net.Conn, peer mqtt.Peer) // serves a WebSocket with the subprotocol mqtt until it ends
	Issuer       *issuance.Service
	Audit        *audit.Log
	LoginLink    func(ctx context.Context, role string) (credential.LoginLink, error)
	CreateHub    func(ctx context.Context, name, host string) (provisioning.HubLink, error)
	// PoliciesChanged is told that keys or rights of the provisioning service's
	// policies are others now.
	PoliciesChanged func()
	Records         Records
	// Proven is told that the client of a request, whose context this is, has proved who
	// it is.
	Proven func(context.Context)
	Logger *slog.Logger
	Panics *panics.Recorder // of what one request does on several goroutines
}

// Records are the records of all services that can't be read.
type Records interface {
	// Unreadable reads all records and returns those that can't be read.
	Unreadable(ctx context.Context) ([]store.Unreadable, error)
	// Known returns those of the collections whose names start with prefix that were
	// met so far.
	Known(prefix string) []store.Unreadable
	// DeleteUnreadable deletes such a record. One that can be read is fault 409000, one
	// that is not there fault 404000.
	DeleteUnreadable(ctx context.Context, collection, key string) error
}

// New returns the handler of all services on one listener. The shape of the
// path tells which service a request is for; among several hubs, the Host does.
func New(config Config) http.Handler {
	h := &handler{Config: config}
	if h.Proven == nil {
		h.Proven = func(context.Context) {}
	}
	for _, group := range [][]route{h.provisioningDevice(), h.provisioningService(), h.hubService(), h.management(), h.authorities(), h.misbehaviours(), h.allocation(), h.credentials(), h.policies(), h.records(), h.description(), h.unserved()} {
		h.routes = append(h.routes, group...)
	}
	return h
}

type handler struct {
	Config
	routes []route
}

// service is who answers, which decides how a fault looks.
type service int

const (
	provisioningAPI service = iota
	hubAPI
)

// route is one operation. The words of its path are compared without case.
type route struct {
	method  string
	path    contract.Path
	service service
	right   string // that the token must have; "" when the operation judges the caller itself
	maxBody int64  // bytes; 0 is no body
	handle  func(*call) (any, error)
}

const (
	smallBody = 256 << 10 // one enrollment or device
	twinLimit = 2 << 20   // one twin, as a client sends it back with its metadata
	largeBody = 4 << 20   // a hundred of them
)

// call is one request on its way through an operation.
type call struct {
	*handler
	*http.Request
	w          http.ResponseWriter
	parameters map[string]string // of the path, decoded
	hub        *hub.Hub          // for the hub's operations
	status     int               // of the answer; 200 when 0
	body       []byte
	streamed   bool // the operation has written the answer itself
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		h.webSocket(w, r)
		return
	}
	setHeader(w.Header(), "Server", "Berth")
	setHeader(w.Header(), contract.RequestIDHeader, fault.NewTrackingID())
	found, parameters, err := h.find(w.Header(), r)
	c := &call{handler: h, Request: r, w: w, parameters: parameters}
	answering := h.serviceOf(r.Host)
	var answer any
	if err == nil {
		answering = found.service
		answer, err = c.run(found)
	}
	var challenge *provisioning.TPMChallenge
	switch {
	case errors.As(err, &challenge):
		writeChallenge(w, challenge)
	case errors.Is(err, inject.ErrDropped):
		panic(http.ErrAbortHandler) // ends the connection without an answer
	case err != nil && c.streamed:
		h.Logger.Warn("answer cut off", "path", r.URL.Path, "error", err)
		panic(http.ErrAbortHandler) // so that the client does not take it for the end
	case found.right == "" && errors.Is(err, fault.UnauthorizedAccess):
		// The provisioning service has this device in the log, with its trace.
		writeFault(w, answering, fault.From(err))
	case err != nil && found.right != "":
		h.refuse(w, r, answering, fault.ForOperator(err))
	case err != nil:
		h.refuse(w, r, answering, err)
	case !c.streamed:
		if err := c.answer(answer); err != nil {
			h.refuse(w, r, answering, err)
		}
	}
}

// apiVersion is the form of all of Azure's. Which one it is makes a difference only
// for how a credential policy is named: see policyNaming.
var apiVersion = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}(-preview)?$`)

// run checks who asks and what they send, and carries out the operation.
func (c *call) run(found route) (any, error) {
	if found.service == hubAPI {
		if c.hub = c.hubOf(c.Host); c.hub == nil {
			return nil, fault.New(fault.HubNotFound, "There is no hub %.253q here", c.Host)
		}
	}
	if version := c.query("api-version"); !found.path.IsOwn() && !apiVersion.MatchString(version) {
		return nil, fault.New(fault.InvalidProtocolVersion,
			"The address has the api-version %.32q. Write ?api-version=2021-10-01 (provisioning) or 2021-04-12 (hub)", version)
	}
	if err := c.authorize(found); err != nil {
		return nil, err
	}
	if err := c.read(found.maxBody); err != nil {
		return nil, err
	}
	strongIfMatch(c.Header)
	return found.handle(c)
}

// authorize checks the token of a back end. It comes before the body is read.
func (c *call) authorize(found route) error {
	token := c.Header.Get("Authorization")
	switch {
	case found.right == "":
		return nil
	case found.service == hubAPI:
		_, err := c.hub.Access().Authorize(c.Context(), token, found.right, found.resource(c.parameters)...)
		if err == nil {
			c.Proven(c.Context())
		}
		return err
	}
	policy, err := c.Provisioning.Access().Authorize(c.Context(), token, found.right, found.resource(c.parameters)...)
	if policy.Name == "" && err != nil {
		return err
	}
	c.Request = c.Request.WithContext(audit.WithActor(c.Context(), audit.Actor{Name: "policy " + policy.Name, Remote: c.RemoteAddr}))
	if err != nil {
		c.auditRefusal(found, err)
		return err
	}
	c.Proven(c.Context())
	if policy.Allows(provisioning.ServiceConfig) {
		c.Request = c.Request.WithContext(provisioning.WithConfidential(c.Context()))
	}
	if found.path.IsOwn() {
		return nil // what Azure has no limit for, as it does not have it
	}
	return c.Provisioning.ThrottleOperation()
}

// read takes the body, which must be JSON where an operation has one. Bodies
// that nobody asked for are tolerated while they are small: the Node SDK sends
// {} with a GET.
func (c *call) read(limit int64) (err error) {
	reader := http.MaxBytesReader(c.w, c.Request.Body, max(limit, 1<<10))
	c.body, err = io.ReadAll(reader)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return fault.New(fault.MessageTooLarge, "The body is larger than %d bytes", tooLarge.Limit)
	case err != nil:
		return fault.New(fault.BadRequest, "The body did not arrive whole").Because(err)
	}
	if err := document.CheckDepth(c.body, document.MaxDepth); limit > 0 && err != nil {
		return fault.New(fault.BadFormat, "The body can't be taken: %v", err)
	}
	if limit == 0 || len(c.body) == 0 {
		return nil
	}
	if contentType := c.Header.Get("Content-Type"); contentType != "" {
		kind, parameters, err := mime.ParseMediaType(contentType)
		if err != nil || kind != "application/json" {
			return fault.New(fault.UnsupportedMediaType, "The body is %.64q. It must be application/json", contentType)
		}
		if charset := parameters["charset"]; !isUTF8(charset) {
			return fault.New(fault.UnsupportedMediaType,
				"The body is in %.64q. Send it in UTF-8, as Content-Type: application/json; charset=utf-8", charset)
		}
	}
	c.body = bytes.TrimPrefix(c.body, []byte("\uFEFF")) // .NET writes it in front of UTF-8
	if err := document.CheckText(c.body); err != nil {
		return fault.New(fault.BadFormat, "The body can't be taken: %v", err)
	}
	return nil
}

// isUTF8 reports whether text in a charset is UTF-8 as well. Which it is without a
// charset.
func isUTF8(charset string) bool {
	switch strings.ToLower(charset) {
	case "", "utf-8", "utf8", "us-ascii", "ascii":
		return true
	}
	return false
}

// decode reads the body as JSON of one value. Fields that are not known are left
// aside: SDKs send back what they were given, and more in later versions.
func (c *call) decode(into any) error {
	if body := bytes.TrimSpace(c.body); len(body) == 0 || string(body) == "null" {
		return fault.New(fault.ArgumentNull, "The request has no body. It must be JSON")
	}
	if err := json.Unmarshal(c.body, into); err != nil {
		var syntax *json.SyntaxError
		var kind *json.UnmarshalTypeError
		var moment *time.ParseError
		switch {
		case errors.As(err, &syntax):
			return fault.New(fault.BadFormat, "The body is not JSON: %v", document.Syntax(c.body))
		case errors.As(err, &kind):
			return fault.New(fault.BadFormat, "The body does not fit: %s can't be a JSON %s", cmp.Or(kind.Field, "it"), kind.Value)
		case errors.As(err, &moment):
			return fault.New(fault.BadFormat, "The body does not fit: %.64s is not a time such as 2026-11-23T12:00:00Z", moment.Value)
		}
		return fault.New(fault.BadFormat, "The body does not fit: %v", err)
	}
	return nil
}

// answer writes what an operation returned; nil is an answer without a body. When
// that is no JSON, nothing is written.
func (c *call) answer(value any) error {
	if value == nil {
		if c.status == 0 {
			c.status = http.StatusNoContent
		}
		c.w.WriteHeader(c.status)
		return nil
	}
	if c.status == 0 {
		c.status = http.StatusOK
	}
	return writeJSON(c.w, c.status, value)
}

func writeJSON(w http.ResponseWriter, status int, value any) error {
	encoded, err := document.Marshal(value)
	if err != nil {
		return fmt.Errorf("the answer is no JSON: %w", err)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff") // what others wrote is in it as it is
	w.Header().Set("Content-Length", strconv.Itoa(len(encoded)))
	w.WriteHeader(status)
	w.Write(encoded) // the client may be gone
	return nil
}

// query returns a parameter of the address.
func (c *call) query(name string) string { return c.URL.Query().Get(name) }

// number returns a parameter that is a whole number from 1 to most, and
// otherwise when it is not there.
func (c *call) number(name, text string, otherwise, most int) (int, error) {
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, fault.New(fault.ArgumentInvalid, "%s is %.32q. It is a whole number from 1", name, text)
	}
	return min(n, most), nil
}

// find returns the operation for a request. Paths are decoded segment by
// segment, so that an id may contain what would else separate. Where the path is
// right and the method is not, it says in the answer's header what is allowed.
func (h *handler) find(answer http.Header, r *http.Request) (route, map[string]string, error) {
	segments := strings.Split(strings.Trim(r.URL.EscapedPath(), "/"), "/")
	for i, segment := range segments {
		decoded, err := url.PathUnescape(segment)
		if err != nil {
			return route{}, nil, fault.New(fault.BadRequest, "The address is not percent-encoded")
		}
		segments[i] = decoded
	}
	method, err := methodOf(r)
	if err != nil {
		return route{}, nil, err
	}
	var allowed []string
	for _, candidate := range h.routes {
		parameters, ok := candidate.match(segments)
		if !ok {
			continue
		}
		if candidate.method == method {
			return candidate, parameters, nil
		}
		allowed = append(allowed, candidate.method)
	}
	if allowed != nil {
		answer.Set("Allow", strings.Join(allowed, ", "))
		return route{}, nil, fault.New(fault.MethodNotAllowed, "%.32s is not possible here, but %s", method, strings.Join(allowed, ", "))
	}
	return route{}, nil, fault.New(fault.NotFound, "There is nothing at %.200q", r.URL.Path)
}

func (r route) match(segments []string) (map[string]string, bool) {
	wanted := r.path.Segments()
	if len(wanted) != len(segments) {
		return nil, false
	}
	parameters := make(map[string]string)
	for i, want := range wanted {
		if name, ok := strings.CutPrefix(want, "{"); ok {
			if segments[i] == "" {
				return nil, false
			}
			parameters[strings.TrimSuffix(name, "}")] = segments[i]
		} else if !strings.EqualFold(want, segments[i]) {
			return nil, false
		}
	}
	return parameters, true
}

// resource is the path that a token must be good for: the words as the contract
// has them, and the ids that are asked for.
func (r route) resource(parameters map[string]string) (path []credential.Segment) {
	for _, segment := range r.path.Segments() {
		if name, ok := strings.CutPrefix(segment, "{"); ok {
			id := parameters[strings.TrimSuffix(name, "}")]
			path = append(path, credential.Segment{Text: id, Exact: r.service == hubAPI})
			continue
		}
		path = append(path, credential.Segment{Text: segment})
	}
	return path
}

// hubOf returns the hub that a Host header names, or the only one: then tokens
// say which hub they are for.
func (h *handler) hubOf(host string) *hub.Hub {
	if named := h.Hubs.ByHost(hostName(host)); named != nil {
		return named
	}
	if hubs := h.Hubs.All(); len(hubs) == 1 {
		return hubs[0]
	}
	return nil
}

// serviceOf says who answers at an address that no operation has.
func (h *handler) serviceOf(host string) service {
	if name := hostName(host); h.Hubs.ByHost(name) != nil && !strings.EqualFold(name, h.Provisioning.Host()) {
		return hubAPI
	}
	return provisioningAPI
}

func hostName(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		return host
	}
	return hostport
}

// evidence is what a device shows by HTTPS.
func (c *call) evidence() credential.Evidence {
	evidence := credential.Evidence{Token: c.Header.Get("Authorization"), Protocol: "https", RemoteAddr: c.RemoteAddr, APIVersion: c.query("api-version")}
	if c.TLS != nil {
		evidence.Certificates = c.TLS.PeerCertificates
	}
	return evidence
}

// refuse answers with a fault and writes the one line that the log has of it.
func (h *handler) refuse(w http.ResponseWriter, r *http.Request, answering service, err error) {
	if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
		return // the client has gone
	}
	problem := fault.From(err)
	level := slog.LevelInfo
	if problem.Code.Status() >= 500 {
		level = slog.LevelError
	}
	h.Logger.Log(r.Context(), level, "request refused", "method", r.Method, "path", r.URL.Path, "remote", r.RemoteAddr,
		"trackingId", problem.TrackingID, "error", problem)
	writeFault(w, answering, problem)
}
