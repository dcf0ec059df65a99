package provisioningpages

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/berth-iot/berth/portal/web"
	"github.com/berth-iot/berth/provisioning/allocation"
	"github.com/berth-iot/berth/provisioning/enroll"
)

// A form that is saved as it came keeps the address of a web service that another
// allocation policy does not ask, and what reprovisionPolicy only the service API can say.
func TestUnusedWebhookIsKept(t *testing.T) {
	h := newFixture(t)
	b, service := h.loggedIn(web.Operator), h.Provisioning
	custom := allocation.CustomDefinition{WebhookURL: "https://example.com/allocate", APIVersion: "2021-10-01"}
	policy := enroll.ReprovisionPolicy{MigrateDeviceData: true}
	stored, err := service.Enrollments().Create(ctx, enroll.Enrollment{RegistrationID: "meter",
		Settings: enroll.Settings{Attestation: enroll.AttestationMechanism{Type: enroll.SymmetricKey},
			AllocationPolicy: allocation.Hashed, CustomAllocationDefinition: &custom, ReprovisionPolicy: &policy}})
	h.Must(err)
	_, page := b.Get("enrollment/meter")
	b.Shows(page, `name="webhook" type="url" value="https://example.com/allocate"`,
		`<option value="" selected>As set by`)
	form := url.Values{"mechanism": {"symmetricKey"}, "enabled": {"yes"}, "allocation": {"hashed"}, "reprovision": {""},
		"webhook": {custom.WebhookURL}, "webhookVersion": {custom.APIVersion}, "etag": {stored.ETag}}
	b.Send("enrollment/meter", http.StatusOK, form)
	stored, err = service.Enrollments().Get(ctx, "meter")
	h.Must(err)
	if got := stored.CustomAllocationDefinition; got == nil || *got != custom || *stored.ReprovisionPolicy != policy {
		t.Errorf("it has the webhook %+v and the policy %+v", got, *stored.ReprovisionPolicy)
	}
	form["allocation"], form["etag"] = []string{"custom"}, []string{stored.ETag}
	b.Send("enrollment/meter", http.StatusOK, form)
	if stored, err = service.Enrollments().Get(ctx, "meter"); err != nil ||
		*stored.CustomAllocationDefinition != custom {
		t.Errorf("with the policy custom it has the webhook %+v, error %v", stored.CustomAllocationDefinition, err)
	}
	stored.AllocationPolicy = allocation.Hashed
	stored, err = service.Enrollments().Put(ctx, stored, "")
	h.Must(err)
	form["allocation"] = []string{"hashed"}
	form["webhook"], form["webhookVersion"], form["etag"] = []string{""}, []string{""}, []string{stored.ETag}
	b.Send("enrollment/meter", http.StatusOK, form)
	if stored, err = service.Enrollments().Get(ctx, "meter"); err != nil || stored.CustomAllocationDefinition != nil {
		t.Errorf("without an address it has the webhook %+v, error %v", stored.CustomAllocationDefinition, err)
	}
}
