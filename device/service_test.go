package device_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/device"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/wire/mqtt"
)

// service is a provisioning service of a few lines, which says what a test wants
// to hear to devices that hold its key.
type service struct {
	key     string
	answers []string // each a status and a body, in the order in which they are given
}

type serviceSession struct {
	*service
	conn  *mqtt.Conn
	asked int
}

func (s *service) Open(_ context.Context, conn *mqtt.Conn,
	connect *mqtt.Connect) (mqtt.Session, bool, mqtt.ConnectCode) {
	token, err := credential.ParseToken(string(connect.Password))
	if err != nil || !token.SignedBy(s.key) || token.Expired(time.Now()) || token.KeyName != "registration" ||
		token.Resource != "0ne00000001/registrations/"+connect.ClientID ||
		!strings.HasPrefix(connect.Username, token.Resource+"/api-version=") {
		return nil, false, mqtt.NotAuthorized
	}
	return &serviceSession{service: s, conn: conn}, false, mqtt.Accepted
}

func (s *serviceSession) Publish(message *mqtt.Publish) error {
	s.conn.Acknowledge(message.PacketID)
	_, query, _ := strings.Cut(string(message.Topic), "/?")
	parameters, err := url.ParseQuery(query)
	if err != nil || s.asked == len(s.answers) || s.asked > 0 && parameters.Get("operationId") != "op 1" {
		return fmt.Errorf("unexpected request to %s", message.Topic)
	}
	status, body, _ := strings.Cut(s.answers[s.asked], " ")
	s.asked++
	return s.conn.Publish("$dps/registrations/res/"+status+"/?$rid="+parameters.Get("$rid")+"&retry-after=1",
		[]byte(body), 1, false, nil)
}

func (s *serviceSession) Subscribe([]mqtt.Subscription) ([]byte, error) { return []byte{1}, nil }
func (s *serviceSession) Unsubscribe([]string) error                    { return nil }
func (s *serviceSession) Close(error)                                   {}

// start serves until the test ends and returns the options of a device.
func (s *service) start(t *testing.T) device.ProvisioningOptions {
	t.Helper()
	now := time.Now()
	authority, err := credential.NewAuthority("test", now.Add(-time.Hour), 2*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	certificatePEM, keyPEM, err := authority.IssueServer([]string{"127.0.0.1"}, now.Add(-time.Hour), 2*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(certificatePEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	server := &mqtt.Server{Backend: s, Logger: slog.New(slog.DiscardHandler)}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := errors.Join(server.Shutdown(ctx), <-served); err != nil {
			t.Error(err)
		}
	})
	roots := x509.NewCertPool()
	roots.AddCert(authority.Certificate)
	return device.ProvisioningOptions{Host: listener.Addr().(*net.TCPAddr).String(), IDScope: "0ne00000001",
		RegistrationID: "wind-1", SASKey: s.key, RootCAs: roots}
}

func TestProvisionWithKey(t *testing.T) {
	const assigned = `200 {"operationId":"op 1","status":"assigned","registrationState":{"registrationId":"wind-1","deviceId":"wind-1","assignedHub":"hub.example"}}`
	for _, c := range []struct {
		name    string
		answers []string
		code    fault.Code // of the error; 0 is none
		says    string     // what the error says
	}{
		{"assigned at once", []string{assigned}, 0, ""},
		{"assigned later", []string{`202 {"operationId":"op 1","status":"assigning"}`, assigned}, 0, ""},
		{"failed",
			[]string{`200 {"operationId":"op 1","status":"failed","registrationState":{"errorCode":400004,"errorMessage":"no hub"}}`}, 400004, "no hub"},
		{"refused", []string{`429 {"errorCode":429001,"trackingId":"t-1","message":"slower"}`}, 429001, "slower"},
		{"refused in other words", []string{`500 <html>`}, 500000, "<html>"},
		{"assigned, but where to?", []string{`200 {"operationId":"op 1","status":"assigned"}`}, 0,
			`the status "assigned"`},
		{"nonsense", []string{`200 {`}, 0, "read the answer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			options := (&service{key: credential.NewKey(64), answers: c.answers}).start(t)
			var waits []time.Duration
			options.OnAssigning = func(_ string, wait time.Duration) { waits = append(waits, wait) }
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			registration, err := device.Provision(ctx, options)
			if want := len(c.answers) - 1; len(waits) != want || want > 0 && waits[0] != time.Second {
				t.Errorf("waited %v, want %d times a second", waits, want)
			}
			if c.says == "" {
				if err != nil || registration.RegistrationState.AssignedHub != "hub.example" {
					t.Errorf("got %+v, error %v", registration, err)
				}
				return
			}
			var problem *fault.Error
			if err == nil || !strings.Contains(err.Error(), c.says) || errors.As(err, &problem) != (c.code != 0) ||
				problem != nil && problem.Code != c.code {
				t.Errorf("got the error %v, want %d, %s", err, c.code, c.says)
			}
		})
	}
}

func TestProvisionWithAWrongKey(t *testing.T) {
	options := (&service{key: credential.NewKey(64)}).start(t)
	options.SASKey = credential.NewKey(64)
	var refused *mqtt.RefusedError
	if _, err := device.Provision(t.Context(), options); !errors.As(err, &refused) ||
		refused.Code != mqtt.NotAuthorized {
		t.Errorf("with another key: %v, want CONNACK 5", err)
	}
	options.SASKey = "no base64!"
	if _, err := device.Provision(t.Context(), options); err == nil || errors.As(err, &refused) &&
		strings.Contains(err.Error(), options.SASKey) {
		t.Errorf("with a key that is none: %v", err)
	}
}
