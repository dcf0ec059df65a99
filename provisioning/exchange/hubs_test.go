package exchange

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/allocation"
	"github.com/berth-iot/berth/provisioning/enroll"
)

// TestOrigin fits what another service has exported to the hubs that are here.
func TestOrigin(t *testing.T) {
	own := map[string]string{"Contoso.azure-devices.net": "own.example", "old.azure-devices.net": "own.example",
		"never.azure-devices.net": "own.example"}
	static := allocation.Static
	for name, c := range map[string]struct {
		origin      Origin
		bound       string
		hubs        []string
		policy      allocation.Policy
		wantBound   string
		wantHubs    []string
		wantPolicy  allocation.Policy
		wantWithout int
	}{
		"nothing asked": {Origin{}, "a.b", []string{"c.d"}, static, "a.b", []string{"c.d"}, static, 0},
		"other names":   {Origin{Hubs: own}, "contoso.AZURE-devices.net", nil, static, "own.example", nil, static, 0},
		"two become one": {Origin{Hubs: own}, "", []string{"contoso.azure-devices.net", "old.azure-devices.net", "c.d"},
			"", "", []string{"own.example", "c.d"}, "", 0},
		"ignored":     {Origin{IgnoreHubs: true}, "", []string{"a.b"}, static, "", nil, "", 1},
		"a bound one": {Origin{IgnoreHubs: true}, "a.b", nil, "", "", nil, "", 1},
		"some ignored": {Origin{Hubs: own, IgnoreHubs: true}, "", []string{"old.azure-devices.net", "a.b"}, static, "",
			[]string{"own.example"}, static, 0},
		"none named":        {Origin{IgnoreHubs: true}, "", nil, "hashed", "", nil, "hashed", 0},
		"an empty one":      {Origin{IgnoreHubs: true}, "", []string{""}, "", "", []string{""}, "", 0},
		"a policy that can": {Origin{IgnoreHubs: true}, "", []string{"a.b"}, "geoLatency", "", nil, "geoLatency", 1},
	} {
		t.Run(name, func(t *testing.T) {
			e := enroll.Enrollment{Settings: enroll.Settings{HubHostName: c.bound, Hubs: slices.Clone(c.hubs),
				AllocationPolicy: c.policy}}
			g := enroll.Group{Settings: enroll.Settings{HubHostName: c.bound, Hubs: slices.Clone(c.hubs),
				AllocationPolicy: c.policy}}
			check := func(bound string, hubs []string, policy allocation.Policy) {
				if bound != c.wantBound || !slices.Equal(hubs, c.wantHubs) || policy != c.wantPolicy {
					t.Errorf("it is bound to %q of %q, %s", bound, hubs, policy)
				}
			}
			ofGroups := c.origin
			_ = c.origin.Enrollments(func(row Row[enroll.Enrollment]) error {
				check(row.Item.HubHostName, row.Item.Hubs, row.Item.AllocationPolicy)
				return nil
			})(Row[enroll.Enrollment]{Item: e})
			_ = ofGroups.Groups(func(row Row[enroll.Group]) error {
				check(row.Item.HubHostName, row.Item.Hubs, row.Item.AllocationPolicy)
				return nil
			})(Row[enroll.Group]{Item: g})
			if c.origin.Without().Hubs != c.wantWithout || ofGroups.Without().Hubs != c.wantWithout {
				t.Errorf("%d and %d come over without hubs", c.origin.Without().Hubs, ofGroups.Without().Hubs)
			}
		})
	}

	// What was exported and can't come over is counted; what a person wrote has nothing.
	origin := Origin{Hubs: own}
	var ids []string
	err := ReadEnrollments(strings.NewReader(`[
{"registrationId":"exported","etag":"\"1\"","attestation":{"type":"symmetricKey","symmetricKey":{"primaryKey":null}},"iotHubs":["old.azure-devices.net"],
 "registrationState":{"registrationId":"exported","assignedHub":"old.azure-devices.net","status":"assigned","newer":1},"optionalDeviceInformation":null,"future":{"x":1},"empty":{},"capabilities":{"iotEdge":false,"more":true}},
{"registrationId":"written","attestation":{"type":"symmetricKey"}}]`), JSON, origin.Enrollments(func(row Row[enroll.Enrollment]) error {
		ids = append(ids, row.Item.RegistrationID)
		return row.Err
	}))
	without := origin.Without()
	if err != nil || fmt.Sprint(ids) != "[exported written]" || without.Keys != 1 || without.Registrations != 1 ||
		fmt.Sprint(without.Members) != "map[capabilities.more:1 future:1]" ||
		fmt.Sprint(origin.Unused()) != "[Contoso.azure-devices.net never.azure-devices.net]" {
		t.Errorf("%q come over without %+v, unused are %q, error %v", ids, without, origin.Unused(), err)
	}
	origin = Origin{}
	err = ReadEnrollments(strings.NewReader("registrationId,initialTwin\na,\"{\"\"tag\"\":{\"\"x\"\":1}}\"\n"), CSV,
		origin.Enrollments(func(row Row[enroll.Enrollment]) error { return row.Err }))
	if without := origin.Without(); err != nil || fmt.Sprint(without.Members) != "map[initialTwin.tag:1]" {
		t.Errorf("CSV comes over without %+v, error %v", without, err)
	}
	origin = Origin{}
	err = ReadEnrollments(strings.NewReader(`{"registrationId":"a","attestation":{"type":"symmetrickey","x509":null,`+
		`"symmetricKey":{"primaryKey":"k"},"tpm":{"endorsementKey":"e"}}}`), JSON,
		origin.Enrollments(func(row Row[enroll.Enrollment]) error {
			if row.Item.Attestation.Type != enroll.SymmetricKey {
				t.Errorf("the attestation is %q", row.Item.Attestation.Type)
			}
			return row.Err
		}))
	if without := origin.Without(); err != nil || fmt.Sprint(without.Members) != "map[attestation.tpm:1]" {
		t.Errorf("JSON comes over without %+v, error %v", without, err)
	}
	for _, pair := range []string{"a.b", "=b", "a=", "", "C=e"} {
		if _, err := ParseHubs([]string{"c=d", pair}); !errors.Is(err, fault.ArgumentInvalid) {
			t.Errorf("the pair %q: %v", pair, err)
		}
	}
}
