package device

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/wire/mqtt"
)

const (
	hubVersion       = "2021-04-12"
	defaultKeepAlive = 4 * time.Minute

	// tokenLifetime is how long the token of a device with a key is good. The
	// hub ends the connection then.
	tokenLifetime = time.Hour
)

// HubOptions says to which hub and as whom to connect.
type HubOptions struct {
	Host         string // the hub's host, or host:port; the port is 8883, or 443 with WebSocket, when absent
	DeviceID     string
	ModuleID     string           // of the device, to connect as that; "" for the device itself
	Certificate  *tls.Certificate // for a device with X.509 authentication
	SASKey       string           // base64, for a device with a key instead
	TPM          *TPM             // that holds the device's key since Provision, instead
	RootCAs      *x509.CertPool   // what the server's certificate is checked against; the system's when nil
	WebSocket    bool
	CleanSession bool
	KeepAlive    time.Duration // in whole seconds; 4 minutes when zero

	// OnDesired gets each patch of the desired properties, which contains its
	// $version. Nothing else is read from the connection until it returns, so it
	// may call SendAsync and Ended, and must not wait for Send, Twin, Report or
	// Close.
	OnDesired func(version int64, patch json.RawMessage)

	// OnMessage gets each message that a back end sends to the device (cloud-to-device),
	// and is bound as OnDesired is. The message is acknowledged when it returns, and comes
	// again when the connection ends before.
	OnMessage func(Message)

	// OnMethod does a direct method and returns its status and answer, any JSON or nil.
	// Each call runs on a goroutine of its own, so that it may take its time and use the
	// client. nil takes no calls.
	OnMethod func(name string, payload json.RawMessage) (status int, answer json.RawMessage)
}

// Client is a device that is connected to its hub, or a module of one. Its methods may be called
// from many goroutines.
type Client struct {
	mqtt    *mqtt.Client
	events  string // the telemetry topic, up to the property bag
	asked   *requests
	desired func(version int64, patch json.RawMessage)
	message func(Message)
	method  func(name string, payload json.RawMessage) (status int, answer json.RawMessage)

	twin       sync.Mutex
	subscribed bool // to twin answers

	deviceID    string
	renewed     *requests // for certificates
	credentials sync.Mutex
	listening   bool // to their answers
}

// Connect connects a device or module to its hub. A refused connection has a
// *mqtt.RefusedError in its error's chain.
func Connect(ctx context.Context, options HubOptions) (*Client, error) {
	to := endpoint{options.Host, options.Certificate, options.RootCAs, options.WebSocket}
	keepAlive := options.KeepAlive
	if keepAlive == 0 {
		keepAlive = defaultKeepAlive
	}
	name := contract.HubName{Host: to.name(), DeviceID: options.DeviceID, ModuleID: options.ModuleID}
	connect := mqtt.Connect{
		ClientID:     name.ClientID(),
		Username:     name.Username(hubVersion, clientVersion),
		CleanSession: options.CleanSession,
		KeepAlive:    keepAliveSeconds(keepAlive),
	}
	if options.SASKey != "" || options.TPM != nil {
		resource := credential.DeviceResource(to.name(), options.DeviceID)
		if options.ModuleID != "" {
			resource = credential.ModuleResource(to.name(), options.DeviceID, options.ModuleID)
		}
		token, err := options.token(resource.String(), time.Now().Add(tokenLifetime))
		if err != nil {
			return nil, fmt.Errorf("make the token of %s: %w", name.ClientID(), err)
		}
		connect.Password, connect.HasPassword = []byte(token), true
	}
	name.DeviceID, name.ModuleID = url.PathEscape(name.DeviceID), url.PathEscape(name.ModuleID)
	c := &Client{
		events:  contract.EventsTopic(name.ClientID()) + "/",
		asked:   newRequests(contract.TwinAnswers),
		desired: options.OnDesired, message: options.OnMessage, method: options.OnMethod, deviceID: options.DeviceID,
		renewed: &requests{answers: contract.CertificateAnswers, patient: true, waiting: make(map[string]chan answer)},
	}
	var err error
	if c.mqtt, err = to.dial(ctx, connect, c.receive); err != nil {
		return nil, err
	}
	var filters []string
	if c.desired != nil {
		filters = append(filters, contract.DesiredFilter)
	}
	if c.message != nil {
		filters = append(filters, c.devicebound()+"#")
	}
	if c.method != nil {
		filters = append(filters, contract.MethodFilter)
	}
	for _, filter := range filters {
		if err := subscribe(ctx, c.mqtt, filter); err != nil {
			c.mqtt.Abort()
			return nil, err
		}
	}
	return c, nil
}

// token makes a token with the device's key, wherever that is.
func (o HubOptions) token(resource string, expiry time.Time) (string, error) {
	if o.TPM != nil {
		return credential.SignToken(resource, "", expiry, o.TPM.sign)
	}
	return credential.NewToken(resource, "", o.SASKey, expiry)
}

// receive takes what the hub publishes.
func (c *Client) receive(topic string, payload []byte) {
	if c.asked.receive(topic, payload) || c.renewed.receive(topic, payload) {
		return
	}
	if query, ok := strings.CutPrefix(topic, contract.DesiredTopic); ok && c.desired != nil {
		if parameters, err := url.ParseQuery(query); err == nil {
			c.desired(number(parameters.Get("$version")), payload)
		}
		return
	}
	if name, requestID, ok := contract.CutMethod(topic); ok && c.method != nil {
		go c.answer(name, requestID, payload)
	}
	if bag, ok := strings.CutPrefix(topic, c.devicebound()); ok && c.message != nil {
		c.message(readMessage(bag, payload))
	}
}

// devicebound begins the topics of messages to the device, up to their property bag.
func (c *Client) devicebound() string { return contract.DeviceboundTopic(c.deviceID) + "/" }

// Ended is closed when the connection has ended; Err then says why.
func (c *Client) Ended() <-chan struct{} { return c.mqtt.Ended() }

// Err waits for the connection's end and returns why it ended: net.ErrClosed
// after Close.
func (c *Client) Err() error { return c.mqtt.Err() }

// Close disconnects and waits for the connection's end. Messages that are not
// acknowledged yet fail.
func (c *Client) Close() error { return c.mqtt.Disconnect() }
