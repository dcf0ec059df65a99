package allocation

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

// Webhook calls the operator's web service. Implementations follow no redirects,
// and put nothing of the address into an error: it may hold a key.
type Webhook interface {
	// Call posts a JSON document and returns the status and at most so many bytes
	// of the answer's body. When the answer breaks off, the error comes with its
	// status.
	Call(ctx context.Context, address string, body []byte, most int) (status int, answer []byte, err error)
}

// A webhook that does not answer, or answers with a status of 429 or more, is asked
// again (Azure, how-to-use-custom-allocation-policies). Azure's pauses are longer,
// and its devices wait.
const (
	webhookTries     = 3
	webhookPause     = 500 * time.Millisecond
	webhookTime      = 5 * time.Second // for one try
	maxWebhookAnswer = 256 << 10       // bytes

	// maxPayload leaves room in the answer to the device, which is a message of at
	// most maxRequest as well.
	maxPayload = 64 << 10
)

// answer is what the webhook answers.
type answer struct {
	HubHostName string                 `json:"iotHubHostName"`
	InitialTwin *linkedhub.InitialTwin `json:"initialTwin"` // in place of the enrollment's
	Payload     json.RawMessage        `json:"payload"`     // for the device

	sentTwin json.RawMessage // initialTwin as it came
}

// askWebhook asks the enrollment's webhook for a hub among those allowed. What the
// webhook does wrong is an attest.Failure.
func (a *Allocator) askWebhook(ctx context.Context, request Request, hubs []*linkedhub.Linked,
) (*linkedhub.Linked, answer, error) {
	hosts := make([]string, len(hubs))
	for i, hub := range hubs {
		hosts[i] = hub.Host()
	}
	body, err := request.Body(ctx, hosts)
	if err != nil {
		return nil, answer{}, err
	}
	address := request.Custom.WebhookURL
	status, text, err := a.callWebhook(ctx, address, body)
	if ctx.Err() != nil {
		return nil, answer{}, ctx.Err() // nobody waits any more: that is not the webhook's fault
	}
	if err != nil {
		return nil, answer{}, unanswered(address, status, err)
	}
	answered, err := readAnswer(address, status, text)
	if err != nil {
		return nil, answered, err
	}
	hub, err := a.hubOfAnswer(answered, hubs)
	if err != nil {
		return nil, answered, err
	}
	if err := answered.checkTwin(hub, request.DeviceID); err != nil {
		return nil, answered, attest.NewFailure("allocation", fault.Say("an initialTwin that the hub takes"),
			fault.Say("Correct the initialTwin that the webhook answers with"),
			fault.New(fault.AllocationFailed, "The allocation webhook's initialTwin is refused: %v",
				fault.ReasonOf(err)).Because(err))
	}
	return hub, answered, nil
}

// checkTwin lets the hub look at the initial twin. The device's own keys are not known
// here, and others like them do.
func (a answer) checkTwin(hub linkedhub.Hub, deviceID string) error {
	if a.InitialTwin == nil {
		return nil
	}
	if err := linkedhub.CheckMembers(a.sentTwin); err != nil {
		return err
	}
	if err := a.InitialTwin.Complete(); err != nil {
		return err
	}
	return hub.Check(linkedhub.Admission{DeviceID: deviceID, PrimaryKey: linkedhub.UnusedKey,
		SecondaryKey: linkedhub.UnusedKey, Twin: a.InitialTwin})
}

// callWebhook calls the webhook until it answers.
func (a *Allocator) callWebhook(ctx context.Context, address string, body []byte) (status int, answer []byte,
	err error) {
	for try := 1; ; try++ {
		status, answer, err = a.tryWebhook(ctx, address, body)
		if err == nil && status < 429 || isCertificate(err) || try == webhookTries || ctx.Err() != nil {
			return status, answer, err
		}
		timer := time.NewTimer(webhookPause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// tryWebhook calls the webhook once. Its time begins when it is its turn.
func (a *Allocator) tryWebhook(ctx context.Context, address string, body []byte) (status int, answer []byte,
	err error) {
	if a.config.Outgoing != nil {
		end, err := a.config.Outgoing(ctx, hostOf(address))
		if err != nil {
			return 0, nil, err
		}
		defer end()
	}
	trying, cancel := context.WithTimeout(ctx, webhookTime)
	defer cancel()
	status, answer, err = a.config.Webhook.Call(trying, address, body, maxWebhookAnswer+1)
	if err == nil {
		err = trying.Err() // a webhook that sees the caller go may end its answer then
	}
	return status, answer, err
}

// isCertificate reports whether a call ended at the webhook's certificate.
func isCertificate(err error) bool {
	var refused *tls.CertificateVerificationError
	return errors.As(err, &refused)
}

// unanswered says why a webhook gave no answer. status is that of an answer that
// broke off.
func unanswered(address string, status int, err error) error {
	var (
		timeout   net.Error
		noName    *net.DNSError
		invalid   x509.CertificateInvalidError
		unknown   x509.UnknownAuthorityError
		otherHost x509.HostnameError
		noTLS     tls.RecordHeaderError
	)
	seconds := int(webhookTime / time.Second)
	late := errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
	expected := fault.Say("an answer of the webhook at %s", hostOf(address))
	switch {
	case late && status != 0:
		return unusableAnswer(expected,
			fault.Say("Let the webhook send its whole answer at once: it is waited for 5 seconds, three times"),
			fault.New(fault.AllocationFailed,
				"The allocation webhook began to answer with the status %d, and did not end within %d seconds",
				status, seconds).Because(err))
	case late:
		return unusableAnswer(expected,
			fault.Say("Look whether the webhook runs, and what it waits for: it has 5 seconds, three times"),
			fault.New(fault.AllocationFailed, "The allocation webhook did not answer within %d seconds",
				seconds).Because(err))
	case status != 0:
		return unusableAnswer(expected,
			fault.Say("Look into the webhook's log, and that of a proxy in between: "+
				"the connection ended before the answer did"),
			fault.New(fault.AllocationFailed,
				"The allocation webhook broke off its answer, which began with the status %d", status).Because(err))
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return unusableAnswer(expected,
			fault.Say("Renew the webhook's certificate, and look at the clocks of both machines"),
			fault.New(fault.AllocationFailed,
				"The allocation webhook's certificate has expired, or is not yet valid").Because(err))
	case errors.As(err, &unknown):
		return unusableAnswer(expected,
			fault.Say("Let this server trust the authority of the webhook's certificate: "+
				"berth up --webhook-ca-file FILE"),
			fault.New(fault.AllocationFailed,
				"The allocation webhook's certificate is of an authority that this server does not trust").Because(err))
	case errors.As(err, &otherHost):
		return unusableAnswer(expected,
			fault.Say("Give the webhook a certificate for the host in webhookUrl, "+
				"or put the host of its certificate there"),
			fault.New(fault.AllocationFailed, "The allocation webhook's certificate is for another host").Because(err))
	case isCertificate(err):
		return unusableAnswer(expected,
			fault.Say("Give the webhook another certificate. The server's log says what is wrong with this one"),
			fault.New(fault.AllocationFailed, "The allocation webhook's certificate is not valid").Because(err))
	case errors.As(err, &noTLS):
		return unusableAnswer(expected,
			fault.Say("Look at the port in webhookUrl: what listens there does not speak TLS"),
			fault.New(fault.AllocationFailed, "The allocation webhook does not speak TLS").Because(err))
	case errors.As(err, &noName):
		return unusableAnswer(expected, fault.Say("Correct the host in webhookUrl, or the name service of this server"),
			fault.New(fault.AllocationFailed, "The host of the allocation webhook is not found").Because(err))
	case errors.Is(err, syscall.ECONNREFUSED):
		return unusableAnswer(expected, fault.Say("Start the webhook, or correct the host and port in webhookUrl"),
			fault.New(fault.AllocationFailed,
				"Nothing listens where the allocation webhook should be: the connection is refused").Because(err))
	}
	return unusableAnswer(expected,
		fault.Say("Look whether the webhook runs and can be reached from this server, whose log says more"),
		fault.New(fault.AllocationFailed, "The allocation webhook did not answer").Because(err))
}

// hostOf is what may be told of a webhook's address: the rest may hold a key.
func hostOf(address string) string {
	parsed, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return parsed.Host
}

// readAnswer reads what a webhook answers.
func readAnswer(address string, status int, text []byte) (read answer, _ error) {
	expected := fault.Say("the status 200 with the JSON of an allocation")
	switch {
	case status == 401 || status == 403:
		refusal := fault.New(fault.WebhookUnauthorized,
			"The allocation webhook refused the service with the status %d", status)
		why := unusableAnswer(expected,
			fault.Say("Put the webhook's key into webhookUrl (?code=KEY of an Azure Function), "+
				"or let the webhook admit this server"), refusal)
		if strings.HasPrefix(address, "https:") { // a server with a certificate for its name: no finding
			return read, attest.NewFailure("allocation", expected, why.Advice, refusal)
		}
		return read, why
	case status >= 300 && status < 400:
		return read, unusableAnswer(expected,
			fault.Say("Put the address that the webhook redirects to into webhookUrl. Redirects are not followed"),
			fault.New(fault.AllocationFailed, "The allocation webhook redirects, with the status %d", status))
	case status == 404:
		return read, unusableAnswer(expected, fault.Say("Correct the path in webhookUrl"),
			fault.New(fault.AllocationFailed,
				"There is no allocation webhook at its address: the answer is the status 404"))
	case status >= 429:
		return read, unusableAnswer(expected, fault.Say("Look into the webhook's log. It was asked three times"),
			fault.New(fault.AllocationFailed, "The allocation webhook fails: the answer is the status %d", status))
	case status != 200:
		return read, unusableAnswer(expected,
			fault.Say("Look into the webhook's log: it must answer with the status 200"),
			fault.New(fault.AllocationFailed, "The allocation webhook answered with the status %d", status))
	case len(text) > maxWebhookAnswer:
		return read, unusableAnswer(expected,
			fault.Say("Let the webhook answer with iotHubHostName, initialTwin and payload alone"),
			fault.New(fault.AllocationFailed, "The allocation webhook's answer has more than %d bytes",
				maxWebhookAnswer))
	}
	if err := document.CheckDepth(text, document.MaxDepth); err != nil {
		return read, unusableAnswer(expected, fault.Say("Let the webhook answer with fewer levels of nesting"),
			fault.New(fault.AllocationFailed, "The allocation webhook's answer can't be taken: %v", err))
	}
	if err := document.CheckText(text); err != nil {
		return read, unusableAnswer(expected, fault.Say("Let the webhook answer in UTF-8"),
			fault.New(fault.AllocationFailed, "The allocation webhook's answer can't be taken: %v", err))
	}
	var syntax *json.SyntaxError
	misfit, misfits := document.FindMisfit(text, read)
	switch err := json.Unmarshal(text, &read); {
	case errors.As(err, &syntax):
		return read, unusableAnswer(expected,
			fault.Say("Let the webhook answer with a JSON object that has iotHubHostName"),
			fault.New(fault.AllocationFailed,
				"The allocation webhook's answer is not JSON: it breaks at byte %d of %d", syntax.Offset, len(text)))
	case misfits && misfit.Path != "":
		return read, attest.NewFailure("allocation", expected,
			fault.Say("Correct the property in the webhook's answer"),
			fault.New(fault.AllocationFailed, "In the allocation webhook's answer %s must be %s, not %s",
				misfit.Path, fault.Word(misfit.Wanted), fault.Word(misfit.Got)))
	case err != nil:
		return read, unusableAnswer(expected, fault.Say("Let the webhook answer with a JSON object"),
			fault.New(fault.AllocationFailed,
				"The allocation webhook's answer is not the JSON of an allocation").Because(err))
	}
	var sent struct {
		InitialTwin json.RawMessage `json:"initialTwin"`
	}
	if json.Unmarshal(text, &sent) == nil { // as it was read above
		read.sentTwin = sent.InitialTwin
	}
	if string(read.Payload) == "null" {
		read.Payload = nil
	}
	if len(read.Payload) > maxPayload {
		return read, attest.NewFailure("allocation", expected, fault.Say("Let the webhook send the device less"),
			fault.New(fault.AllocationFailed,
				"The allocation webhook's payload has %d bytes, the limit is %d", len(read.Payload), maxPayload))
	}
	if err := linkedhub.CheckFree("payload", read.Payload); err != nil {
		advice := fault.Say("Let the webhook send the device a payload in UTF-8, with fewer levels of nesting")
		if errors.As(err, new(*document.NumberError)) {
			advice = fault.Say("Let the webhook send the device numbers that fit into a double, " +
				"or texts in their place")
		}
		return read, attest.NewFailure("allocation", expected, advice,
			fault.New(fault.AllocationFailed, "The allocation webhook's answer is refused: %v", fault.ReasonOf(err)))
	}
	return read, nil
}

// hubOfAnswer is the hub that a webhook names, which is one of those it was given.
func (a *Allocator) hubOfAnswer(answered answer, candidates []*linkedhub.Linked) (*linkedhub.Linked, error) {
	expected := fault.Say("iotHubHostName is one of the linkedHubs that the webhook is sent")
	for _, hub := range candidates {
		if hub.Is(answered.HubHostName) {
			return hub, nil
		}
	}
	switch {
	case answered.HubHostName == "":
		return nil, attest.NewFailure("allocation", expected, fault.Say("Let the webhook answer with iotHubHostName"),
			fault.New(fault.HubNotSpecified, "The allocation webhook's answer names no hub"))
	case a.config.Links.Find(answered.HubHostName) != nil:
		return nil, attest.NewFailure("allocation", expected,
			fault.Say("Let the enrollment allow the hub (iotHubs), or the webhook name another"),
			fault.New(fault.HubNotSpecified,
				"The allocation webhook names the hub %.253q, which is linked, but not one of the enrollment's",
				answered.HubHostName))
	}
	return nil, attest.NewFailure("allocation", expected,
		fault.Say("Link the hub (berth hub link), or let the webhook name one of linkedHubs"),
		fault.New(fault.HubNotSpecified,
			"The allocation webhook names the hub %.253q, which is not linked to this service", answered.HubHostName))
}

// unusableAnswer is a failure of a webhook of which the device, and whoever reads, is told
// the same whatever there is at its address: who may write enrollments may have the
// service call any address. detail is for those who may configure the service.
func unusableAnswer(expected, advice fault.Text, detail *fault.Error) attest.Failure {
	told := fault.New(fault.AllocationFailed,
		"The allocation webhook gave no answer that can be used. Who may configure "+
			"the service finds the reason in the attempt (berth attempts)").Because(detail)
	return attest.Failure{Err: told, Check: "allocation", Expected: expected, Advice: advice, Detail: detail}
}
