package allocation

import (
	"cmp"
	"context"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

// Custom allocation asks a web service of the operator's which hub a device goes
// to (Azure, concepts-custom-allocation).

// CustomDefinition is the web service that is asked.
type CustomDefinition struct {
	WebhookURL string `json:"webhookUrl"` // https, or http on this machine
	APIVersion string `json:"apiVersion"` // is sent along; 2021-10-01 when empty
}

// WithVersion is the definition with the version that it means; nil for nil.
func (d *CustomDefinition) WithVersion() *CustomDefinition {
	if d == nil {
		return nil // the group's was taken away meanwhile
	}
	return &CustomDefinition{d.WebhookURL, cmp.Or(d.APIVersion, "2021-10-01")}
}

// isLoopback reports whether a host is this machine by what it is called, and not by
// what some name service says.
func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && ip.IsLoopback()
}

// checkCustom holds the web service against what can be called.
func checkCustom(settings Settings) error {
	definition := settings.Custom
	if definition == nil || definition.WebhookURL == "" {
		return fault.New(fault.ArgumentInvalid, "allocationPolicy custom needs customAllocationDefinition.webhookUrl")
	}
	address, err := url.Parse(definition.WebhookURL)
	if err != nil || address.Hostname() == "" { // it is not shown: it may hold a key
		return fault.New(fault.ArgumentInvalid,
			"customAllocationDefinition.webhookUrl must be an address such as https://example.com/allocate")
	}
	if port := address.Port(); port != "" {
		if number, err := strconv.ParseUint(port, 10, 16); err != nil || number == 0 {
			return fault.New(fault.ArgumentInvalid,
				"customAllocationDefinition.webhookUrl has the port %.20s. Ports are from 1 to 65535", port)
		}
	}
	if address.Scheme != "https" && !(address.Scheme == "http" && isLoopback(address.Hostname())) {
		return fault.New(fault.ArgumentInvalid,
			"customAllocationDefinition.webhookUrl, of the host %.253q, is not https. "+
				"Without TLS the webhook must be on "+
				"this machine: localhost, 127.0.0.1 or [::1]", address.Host)
	}
	return nil
}

func chooseCustom(ctx context.Context, a *Allocator, request Request, hubs []*linkedhub.Linked) (choice, error) {
	hub, answer, err := a.askWebhook(ctx, request, hubs)
	return choice{hub: hub, reason: fault.Say("as the webhook says"), answer: answer}, err
}
