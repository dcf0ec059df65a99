// Package https is the door of both services over HTTPS, and what their operations have
// in common: how one is found by method and path, who may ask for it, how a body is read
// and an answer written, and what a refusal looks like. It knows neither Azure's
// operations, which are in endpoint/rest, nor Berth's own, which are in endpoint/own.
package https

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strings"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	hubinject "github.com/berth-iot/berth/hub/inject"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/inject"
	"github.com/berth-iot/berth/wire/mqtt"
)

// Config names what every operation needs.
type Config struct {
	Provisioning *provisioning.Service
	Hubs         *hub.Directory
	Audit        *audit.Log                          // of refused changes
	MQTT         func(conn net.Conn, peer mqtt.Peer) // serves a WebSocket with the subprotocol mqtt until it ends
	// Proven is told that the client of a request, whose context this is, has proved who
	// it is; nil tells nobody.
	Proven func(context.Context)
	Logger *slog.Logger
}

// New returns the handler of the operations of all services on one listener. The shape
// of the path tells which service a request is for; among several hubs, the Host does.
func New(config Config, operations ...Operation) http.Handler {
	if config.Proven == nil {
		config.Proven = func(context.Context) {}
	}
	return &door{config, operations}
}

// door is the handler.
type door struct {
	Config
	operations []Operation
}

// ServeHTTP implements http.Handler.
func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		d.webSocket(w, r)
		return
	}
	setHeader(w.Header(), "Server", "Berth")
	setHeader(w.Header(), contract.RequestIDHeader, fault.NewTrackingID())
	found, parameters, err := d.find(w.Header(), r)
	c := &Call{Request: r, door: d, w: w, parameters: parameters}
	if err != nil {
		found.API = d.serviceOf(r.Host)
	}
	var answer any
	if err == nil {
		answer, err = c.run(found)
	}
	var challenge *provisioning.TPMChallenge
	switch {
	case errors.As(err, &challenge):
		writeChallenge(w, challenge)
	case errors.Is(err, inject.ErrDropped), errors.Is(err, hubinject.ErrDropped):
		panic(http.ErrAbortHandler) // ends the connection without an answer
	case err != nil && c.streamed:
		d.Logger.Warn("answer cut off", "path", r.URL.Path, "error", err)
		panic(http.ErrAbortHandler) // so that the client does not take it for the end
	case found.Right == "" && found.API == ProvisioningAPI && errors.Is(err, fault.UnauthorizedAccess):
		// The provisioning service has this device in the log, with its trace.
		WriteFault(w, found.API, fault.From(err))
	case err != nil && found.Right != "":
		d.refuse(w, r, found, fault.ForOperator(err))
	case err != nil:
		d.refuse(w, r, found, err)
	case !c.streamed:
		if err := c.answer(answer); err != nil {
			d.refuse(w, r, found, err)
		}
	}
}

// apiVersion is the form of all of Azure's. Which one it is makes a difference only
// for how a credential policy is named: see policyNaming in endpoint/rest.
var apiVersion = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}(-preview)?$`)

// run checks who asks and what they send, and carries out the operation.
func (c *Call) run(found Operation) (any, error) {
	if err := c.checkQuery(); err != nil {
		return nil, err
	}
	if found.API == HubAPI {
		if c.Hub = c.door.hubOf(c.Host); c.Hub == nil {
			return nil, fault.New(fault.HubNotFound, "There is no hub %.253q here", c.Host)
		}
	}
	if version := c.Query("api-version"); !found.Path.IsOwn() && !apiVersion.MatchString(version) {
		return nil, fault.New(fault.InvalidProtocolVersion,
			"The address has the api-version %.32q. Write ?api-version=2021-10-01 (provisioning) or 2021-04-12 (hub)",
			version)
	}
	if err := c.authorize(found); err != nil {
		return nil, err
	}
	if err := found.check(c.Request); err != nil {
		return nil, err
	}
	if !found.Raw {
		if err := c.read(found.MaxBody); err != nil {
			return nil, err
		}
	}
	strongIfMatch(c.Header)
	return found.Handle(c)
}

// hubOf returns the hub that a Host header names, or the only one: then tokens
// say which hub they are for.
func (d *door) hubOf(host string) *hub.Hub {
	if named := d.Hubs.ByHost(hostName(host)); named != nil {
		return named
	}
	if hubs := d.Hubs.All(); len(hubs) == 1 {
		return hubs[0]
	}
	return nil
}

// serviceOf says who answers at an address that no operation has.
func (d *door) serviceOf(host string) API {
	if name := hostName(host); d.Hubs.ByHost(name) != nil && !strings.EqualFold(name, d.Provisioning.Host()) {
		return HubAPI
	}
	return ProvisioningAPI
}

func hostName(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		hostport = host
	}
	return strings.TrimSuffix(hostport, ".") // of a fully qualified name
}

// refuse answers with a fault as an operation does, and writes the one line that the log has of it.
func (d *door) refuse(w http.ResponseWriter, r *http.Request, as Operation, err error) {
	if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
		return // the client has gone
	}
	problem := fault.From(err)
	level := slog.LevelInfo
	switch problem.Code {
	case fault.BadGateway, fault.GatewayTimeout: // a device's
	default:
		if problem.Code.Status() >= 500 {
			level = slog.LevelError
		}
	}
	d.Logger.Log(r.Context(), level, "request refused", "method", r.Method, "path", r.URL.Path, "remote", r.RemoteAddr,
		"trackingId", problem.TrackingID, "error", problem)
	as.writeFault(w, problem)
}
