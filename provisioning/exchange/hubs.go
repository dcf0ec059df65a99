package exchange

import (
	"slices"
	"strings"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/allocation"
	"github.com/berth-iot/berth/provisioning/enroll"
)

// Origin fits what another service exported to the service that it is imported into:
// the hubs there have other names. It counts what can't come over.
type Origin struct {
	// Hubs are host names here by those in the file.
	Hubs map[string]string
	// IgnoreHubs leaves out the hubs that are not among Hubs, so that any linked hub may
	// take the devices.
	IgnoreHubs bool

	used    map[string]bool // of Hubs, in lower case
	without Without
}

// Without is what the rows of a file had that is not imported.
type Without struct {
	// Hubs are rows whose hubs were left out.
	Hubs int `json:"hubs,omitempty"`
	// Keys are rows that were exported without their keys, in place of which others are made.
	Keys int `json:"keys,omitempty"`
	// Registrations are rows whose devices have registered: they are assigned anew.
	Registrations int `json:"registrations,omitempty"`
	// Members are rows by the members that there is no place for.
	Members map[string]int `json:"members,omitempty"`
}

type (
	enrollmentRow = Row[enroll.Enrollment]
	groupRow      = Row[enroll.Group]
)

// ParseHubs reads pairs OLD=NEW. It returns fault 400004 for what is none, and for a hub
// that two pairs name otherwise.
func ParseHubs(pairs []string) (map[string]string, error) {
	hubs := make(map[string]string)
	for _, pair := range pairs {
		old, own, ok := strings.Cut(pair, "=")
		if old, own = strings.TrimSpace(old), strings.TrimSpace(own); !ok || old == "" || own == "" {
			return nil, fault.New(fault.ArgumentInvalid,
				"Hubs must be given as OLD=NEW, such as contoso.azure-devices.net=hub.example.com, not as %.253q", pair)
		}
		for name, other := range hubs {
			if strings.EqualFold(name, old) && !strings.EqualFold(other, own) {
				return nil, fault.New(fault.ArgumentInvalid, "The hub %.253q can't be both %.253q and %.253q here", old,
					other, own)
			}
		}
		hubs[old] = own
	}
	return hubs, nil
}

// Enrollments fits the rows of a file before they are handed on.
func (o *Origin) Enrollments(each func(enrollmentRow) error) func(enrollmentRow) error {
	return func(row enrollmentRow) error {
		if e := &row.Item; row.Err == nil {
			o.adaptHubs(&e.HubHostName, &e.Hubs, &e.AllocationPolicy)
			o.count(row.Unknown, &e.Attestation, e.ETag != "" || !e.CreatedDateTimeUTC.IsZero())
			if e.RegistrationState != nil && e.RegistrationState.AssignedHub != "" {
				o.without.Registrations++
			}
		}
		return each(row)
	}
}

// Groups is Enrollments for groups.
func (o *Origin) Groups(each func(groupRow) error) func(groupRow) error {
	return func(row groupRow) error {
		if g := &row.Item; row.Err == nil {
			o.adaptHubs(&g.HubHostName, &g.Hubs, &g.AllocationPolicy)
			o.count(row.Unknown, &g.Attestation, g.ETag != "" || !g.CreatedDateTimeUTC.IsZero())
		}
		return each(row)
	}
}

// Without returns what the rows that were handed on had, and don't have any more. It is
// asked for when all are.
func (o *Origin) Without() Without { return o.without }

// Unused returns those of Hubs that no row named.
func (o *Origin) Unused() (names []string) {
	for name := range o.Hubs {
		if !o.used[strings.ToLower(name)] {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (o *Origin) adaptHubs(bound *string, hubs *[]string, policy *allocation.Policy) {
	if len(o.Hubs) == 0 && !o.IgnoreHubs {
		return
	}
	before := len(*hubs)
	fitted := make([]string, 0, before)
	for _, host := range *hubs {
		if host == "" {
			fitted = append(fitted, host) // for the service to refuse
			continue
		}
		host = o.hub(host)
		same := func(other string) bool { return strings.EqualFold(host, other) }
		if host != "" && !slices.ContainsFunc(fitted, same) {
			fitted = append(fitted, host)
		}
	}
	lost := *bound != "" && o.hub(*bound) == "" || before > 0 && len(fitted) == 0
	if *bound, *hubs = o.hub(*bound), fitted; len(fitted) == 0 {
		*hubs = nil
	}
	if lost {
		o.without.Hubs++
	}
	if lost && policy.Binds() && *bound == "" && len(fitted) == 0 {
		*policy = "" // without the hub that it stays with
	}
}

// hub is the host name here of one in the file, "" for one that is left out.
func (o *Origin) hub(host string) string {
	for name, own := range o.Hubs {
		if strings.EqualFold(host, name) {
			if o.used == nil {
				o.used = make(map[string]bool)
			}
			o.used[strings.ToLower(name)] = true
			return own
		}
	}
	if o.IgnoreHubs {
		return ""
	}
	return host
}

func (o *Origin) count(unknown []string, attestation *enroll.AttestationMechanism, exported bool) {
	attestation.Type = typeOf(attestation.Type)
	keys := attestation.SymmetricKey
	if exported && attestation.Type == enroll.SymmetricKey && (keys == nil || keys.PrimaryKey == "") {
		o.without.Keys++
	}
	for _, name := range append(idleMechanisms(attestation), unknown...) {
		if o.without.Members == nil {
			o.without.Members = make(map[string]int)
		}
		if _, known := o.without.Members[name]; known || len(o.without.Members) < maxMembers {
			o.without.Members[name]++
		}
	}
}

// idleMechanisms are the members of an attestation that are of another type than its own.
func idleMechanisms(a *enroll.AttestationMechanism) (members []string) {
	for _, one := range []struct {
		kind  string
		given bool
	}{
		{enroll.X509, a.X509 != nil && *a.X509 != enroll.X509Attestation{}},
		{enroll.SymmetricKey, a.SymmetricKey != nil && *a.SymmetricKey != enroll.SymmetricKeyAttestation{}},
		{enroll.TPM, a.TPM != nil && *a.TPM != enroll.TPMAttestation{}},
	} {
		if one.given && one.kind != a.Type {
			members = append(members, "attestation."+one.kind)
		}
	}
	return members
}

// maxMembers bounds how many different members are told of.
const maxMembers = 50
