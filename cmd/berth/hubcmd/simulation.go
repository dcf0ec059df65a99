package hubcmd

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/device"
	"github.com/berth-iot/berth/fault"
)

// Simulation is a device that does what the quickstart's does: it registers,
// connects to the hub it was assigned to, and sends messages in parallel.
type Simulation struct {
	Host           string // of the provisioning service
	Port           int    // of it and of the hub
	IDScope        string
	RegistrationID string
	Certificate    *tls.Certificate // of a device with X.509
	Key            string           // of one with a symmetric key
	TPM            *device.TPM      // of one with a TPM
	Payload        json.RawMessage  // goes along with the registration, nil for none
	Roots          *x509.CertPool
	WebSocket      bool
	Messages       int
	Log            io.Writer // gets the quickstart's transcript
	Unreachable    string    // what to do when nobody answers at the host

	csr            []byte // asks for an operational certificate, PKCS #10 in DER, nil for none
	operationalKey *ecdsa.PrivateKey
}

// inParallel bounds how many messages of a simulated device are under way.
const inParallel = 100

// Run registers the device, sends its messages, and returns the registration.
func (s Simulation) Run(ctx context.Context) (device.Registration, error) {
	registration, err := s.provision(ctx)
	if err != nil {
		return registration, err
	}
	state := registration.RegistrationState
	payload := "null"
	if len(state.Payload) > 0 {
		payload = string(state.Payload)
	}
	if s.csr != nil {
		if len(state.IssuedCertificateChain) == 0 {
			return registration, errors.New("the service gave the device no operational certificate")
		}
		s.Certificate = &tls.Certificate{Certificate: state.IssuedCertificateChain, PrivateKey: s.operationalKey}
		s.Key, s.TPM = "", nil
	}
	fmt.Fprintf(s.Log, "The complete registration result is\n%s\n%s\n%s\n%s\n",
		state.DeviceID, state.AssignedHub, state.Substatus, payload)
	if s.Messages == 0 {
		return registration, nil
	}
	fmt.Fprintln(s.Log, "Will send telemetry from the provisioned device")
	return registration, s.send(ctx, state.AssignedHub, state.DeviceID)
}

// request makes a key, and with it the request for an operational certificate.
func (s *Simulation) request() (err error) {
	if s.operationalKey, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return err
	}
	s.csr, err = x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: s.RegistrationID}}, s.operationalKey)
	return err
}

func (s Simulation) provision(ctx context.Context) (device.Registration, error) {
	registration, err := device.Provision(ctx, device.ProvisioningOptions{
		Host: s.at(s.Host), IDScope: s.IDScope, RegistrationID: s.RegistrationID,
		Certificate: s.Certificate, SASKey: s.Key, TPM: s.TPM, RootCAs: s.Roots, WebSocket: s.WebSocket,
		Payload: s.Payload, CSR: s.csr,
		OnAssigning: func(_ string, wait time.Duration) {
			fmt.Fprintf(s.Log, "The service is assigning the device. Asking again in %v.\n", wait)
		},
	})
	if err != nil {
		err = fmt.Errorf("register with %s: %w", s.at(s.Host), err)
		var dial *net.OpError
		switch {
		case errors.As(err, new(*fault.Error)):
			err = cli.Advise(err, "The operator sees each check that was made: berth attempts %s%s",
				cli.Quote(s.RegistrationID), s.toEnroll())
		case errors.As(err, new(x509.UnknownAuthorityError)):
			err = cli.Advise(err, cli.TrustHint)
		case errors.Is(err, device.ErrProtocol):
			err = cli.Advise(err,
				"What answers there speaks no MQTT: with TLS that is on the port 8883, and with --websocket on 443.")
		case errors.As(err, &dial) && dial.Op == "dial":
			err = cli.Advise(err, "%s", s.Unreachable)
		}
		return registration, err
	}
	return registration, nil
}

// toEnroll is how a device with a TPM is enrolled, whose key is nowhere else to be
// seen.
func (s Simulation) toEnroll() string {
	if s.TPM == nil {
		return ""
	}
	return fmt.Sprintf(", and lets this TPM in: berth enrollment create %s --tpm %s",
		cli.Quote(s.RegistrationID), s.TPM.EndorsementKey())
}

func (s Simulation) send(ctx context.Context, hub, deviceID string) error {
	client, err := device.Connect(ctx, device.HubOptions{
		Host: s.at(hub), DeviceID: deviceID, Certificate: s.Certificate, SASKey: s.Key, TPM: s.TPM, RootCAs: s.Roots,
		WebSocket: s.WebSocket, CleanSession: true,
	})
	if err != nil {
		err = fmt.Errorf("connect to the hub %s: %w", s.at(hub), err)
		if errors.As(err, new(*net.OpError)) {
			return err // nobody there has refused anything
		}
		return cli.Advise(err, "The hub's log says why. How it has the device prove itself: berth device show %s",
			cli.Quote(deviceID))
	}
	var (
		mutex    sync.Mutex // of the log and of failed
		failed   error
		underWay sync.WaitGroup
		places   = make(chan struct{}, inParallel)
	)
	say := func(text string, number int) {
		mutex.Lock()
		defer mutex.Unlock()
		fmt.Fprintf(s.Log, "%s #%d\n", text, number)
	}
	for number := 1; number <= s.Messages; number++ {
		places <- struct{}{}
		say("sending message", number) // in their order, whichever is acknowledged first
		acknowledged := make(chan error, 1)
		err := client.SendAsync(device.Message{
			MessageID: fault.NewTrackingID(),
			Payload:   fmt.Appendf(nil, "test wind speed %d", number),
		}, func(err error) { acknowledged <- err })
		underWay.Go(func() {
			defer func() { <-places }()
			if err == nil {
				select {
				case err = <-acknowledged:
				case <-ctx.Done():
					err = fmt.Errorf("wait for the acknowledgement: %w", context.Cause(ctx))
				}
			}
			if err != nil {
				mutex.Lock()
				defer mutex.Unlock()
				failed = errors.Join(failed, fmt.Errorf("send message #%d: %w", number, err))
				return
			}
			say("done sending message", number)
		})
	}
	underWay.Wait()
	return errors.Join(failed, client.Close())
}

// at is a host with the port at which it is reached.
func (s Simulation) at(host string) string { return net.JoinHostPort(host, strconv.Itoa(s.Port)) }
