package rest

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/issuance"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

// The versions of the service API name the credential policy of an enrollment in
// three ways; here they are one policy. Whatever the version of a request, a policy
// that it names in any of them is taken. What a version does not know and a request
// does not name stays as it is stored.

// policyNaming is how a version of the API names the policy.
type policyNaming int

const (
	policyUnknown      policyNaming = iota // before 2025-07-01-preview
	policyByName                           // credentialPolicyName, from then on
	policyByResourceID                     // certificatePolicyResourceId, from 2026-07-01-preview on
	policyByParts                          // namespaceName and two more, from 2026-11-01 on
)

// policyNamings are the first versions of each, the latest first. A date compares as
// text; the preview of a date counts as that date.
var policyNamings = []struct {
	since  string
	naming policyNaming
}{{"2026-11-01", policyByParts}, {"2026-07-01", policyByResourceID}, {"2025-07-01", policyByName}}

func policyNamingOf(apiVersion string) policyNaming {
	for _, n := range policyNamings {
		if strings.TrimSuffix(apiVersion, "-preview") >= n.since {
			return n.naming
		}
	}
	return policyUnknown
}

// policyNamespace is the namespace of all policies: a service has one, as it is
// linked to one namespace of Azure Device Registry.
const policyNamespace = "berth"

// policyResource is the resource id of a policy. Berth has neither subscriptions nor
// resource groups, so any may stand there.
var policyResource = regexp.MustCompile(`(?i)^/subscriptions/[^/]+/resourceGroups/[^/]+` +
	`/providers/Microsoft\.DeviceRegistry` +
	`/(?:deviceRegistryNamespaces|namespaces)/([^/]+)/certificateAuthorities/([^/]+)/certificatePolicies/([^/]+)$`)

// policyResourceForm is what a resource id looks like, and what is answered.
const policyResourceForm = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/berth" +
	"/providers/Microsoft.DeviceRegistry/namespaces/%s/certificateAuthorities/%s/certificatePolicies/%s"

// policyReference is how later versions of the API name the credential policy that
// credentialPolicyName names.
type policyReference struct {
	// ResourceID is of api-version 2026-07-01-preview.
	ResourceID string `json:"certificatePolicyResourceId,omitempty"`

	// Namespace, Authority and Policy are of api-version 2026-11-01: berth, the policy's
	// issuing authority, and the policy.
	Namespace string `json:"namespaceName,omitempty"`
	Authority string `json:"certificateAuthorityName,omitempty"`
	Policy    string `json:"certificatePolicyName,omitempty"`
}

// sentEnrollment is an individual enrollment as any version of the API has it.
type sentEnrollment struct {
	enroll.Enrollment
	policyReference
	present presentFields

	// What only the service writes is left aside, whatever its type.

	CreatedAside     json.RawMessage `json:"createdDateTimeUtc"`     // read only
	LastUpdatedAside json.RawMessage `json:"lastUpdatedDateTimeUtc"` // read only
	StateAside       json.RawMessage `json:"registrationState"`      // read only
}

// sentGroup is an enrollment group as any version of the API has it.
type sentGroup struct {
	enroll.Group
	policyReference
	present presentFields

	// As of an individual enrollment.

	CreatedAside     json.RawMessage `json:"createdDateTimeUtc"`     // read only
	LastUpdatedAside json.RawMessage `json:"lastUpdatedDateTimeUtc"` // read only
}

// presentFields are the properties that a request says something of, if only that they are
// empty or null.
type presentFields struct {
	policy, parent bool
	misplaced      error // what is wrong with where its initial twin has its properties
}

func (b *sentEnrollment) UnmarshalJSON(text []byte) error {
	type plain sentEnrollment
	if err := json.Unmarshal(text, (*plain)(b)); err != nil {
		return err
	}
	return b.present.read(text)
}

func (b *sentGroup) UnmarshalJSON(text []byte) error {
	type plain sentGroup
	if err := json.Unmarshal(text, (*plain)(b)); err != nil {
		return err
	}
	return b.present.read(text)
}

func (f *presentFields) read(text []byte) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return err
	}
	for name, member := range members {
		switch strings.ToLower(name) {
		case "credentialpolicyname", "certificatepolicyresourceid", "namespacename", "certificateauthorityname",
			"certificatepolicyname":
			f.policy = true
		case "parentdeviceid":
			f.parent = true
		case "initialtwin":
			f.misplaced = linkedhub.CheckPlaces(member)
		}
	}
	return nil
}

// kept are the properties that a request of this version leaves as they are stored.
func (f presentFields) kept(apiVersion string) enroll.Kept {
	return enroll.Kept{
		CredentialPolicy: !f.policy && policyNamingOf(apiVersion) == policyUnknown,
		Parent:           !f.parent, // Berth's own: no version knows it
	}
}

// resolve returns the name of the policy that is meant, "" for none. named is what
// credentialPolicyName says.
func (r policyReference) resolve(ctx context.Context, issuer *issuance.Service, named string) (string, error) {
	if r.ResourceID != "" {
		parts := policyResource.FindStringSubmatch(r.ResourceID)
		if parts == nil {
			return "", fault.New(fault.ArgumentInvalid, "certificatePolicyResourceId must have the form %s, not %.400q",
				fmt.Sprintf(policyResourceForm, policyNamespace, "AUTHORITY", "POLICY"), r.ResourceID)
		}
		byID := policyReference{Namespace: parts[1], Authority: parts[2], Policy: parts[3]}
		policy, err := byID.resolve(ctx, issuer, named)
		if err != nil {
			return "", err
		}
		named = policy
	}
	switch {
	case r.Namespace == "" && r.Authority == "" && r.Policy == "":
		return named, nil
	case r.Namespace == "" || r.Authority == "" || r.Policy == "":
		return "", fault.New(fault.ArgumentInvalid,
			"A policy is named by namespaceName, certificateAuthorityName and certificatePolicyName together. Send "+
				"all three, or none")
	case !strings.EqualFold(r.Namespace, policyNamespace):
		return "", fault.New(fault.ArgumentInvalid,
			"There is no namespace %.64q. This service has one, %s: send that as namespaceName",
			r.Namespace, policyNamespace)
	case named != "" && !strings.EqualFold(named, r.Policy):
		return "", fault.New(fault.ArgumentInvalid,
			"The request names two credential policies, %.64q and %.64q. Name one, or the same one twice", named,
			r.Policy)
	}
	policy, err := issuer.Policy(ctx, r.Policy)
	if err != nil {
		return "", fault.New(fault.ArgumentInvalid, "certificatePolicyName: %s", fault.From(err).Message).Because(err)
	}
	if !strings.EqualFold(policy.Authority, r.Authority) {
		return "", fault.New(fault.ArgumentInvalid,
			"The credential policy %s is of the issuing authority %s, not of %.64q: send that as "+
				"certificateAuthorityName",
			policy.Name, policy.Authority, r.Authority)
	}
	return policy.Name, nil
}

// policyRenderer names the policies of an answer as the request's version does.
type policyRenderer struct {
	ctx         context.Context
	issuer      *issuance.Service
	naming      policyNaming
	authorities map[string]string // by policy: a page of enrollments may name the same a thousand times
}

func (s *service) policyRenderer(c *https.Call) *policyRenderer {
	return &policyRenderer{c.Context(), s.Issuer, policyNamingOf(c.Query("api-version")), make(map[string]string)}
}

// reference is a policy in the terms of later versions. The authority of a policy that
// is not there any more is unknown.
func (p *policyRenderer) reference(name string) (reference policyReference) {
	if name == "" {
		return policyReference{}
	}
	authority, known := p.authorities[name]
	if !known {
		authority = "unknown"
		if policy, err := p.issuer.Policy(p.ctx, name); err == nil {
			authority = policy.Authority
		}
		p.authorities[name] = authority
	}
	if p.naming == policyByResourceID {
		return policyReference{ResourceID: fmt.Sprintf(policyResourceForm, policyNamespace, authority, name)}
	}
	return policyReference{Namespace: policyNamespace, Authority: authority, Policy: name}
}

func (p *policyRenderer) enrollment(e enroll.Enrollment) any {
	if p.naming < policyByResourceID {
		return e
	}
	body := sentEnrollment{Enrollment: e, policyReference: p.reference(e.CredentialPolicyName)}
	body.CredentialPolicyName = ""
	return body
}

func (p *policyRenderer) group(g enroll.Group) any {
	if p.naming < policyByResourceID {
		return g
	}
	body := sentGroup{Group: g, policyReference: p.reference(g.CredentialPolicyName)}
	body.CredentialPolicyName = ""
	return body
}

// renderPage renders the items of a page, if it could be had.
func renderPage[T any](items []T, next string, err error, render func(T) any) ([]any, string, error) {
	rendered := make([]any, len(items))
	for i, item := range items {
		rendered[i] = render(item)
	}
	return rendered, next, err
}

// readSettings takes the settings of an enrollment or a group as the version of the
// request means them, and refuses what would be lost.
func (s *service) readSettings(ctx context.Context, settings *enroll.Settings, policy policyReference,
	present presentFields) (err error) {
	if present.misplaced != nil {
		return present.misplaced
	}
	settings.CredentialPolicyName, err = policy.resolve(ctx, s.Issuer, settings.CredentialPolicyName)
	return err
}

// createEnrollment creates an enrollment, as the version of the request means it.
func (s *service) createEnrollment(ctx context.Context, body sentEnrollment) (written enroll.Enrollment,
	err error) {
	if err := s.readSettings(ctx, &body.Settings, body.policyReference, body.present); err != nil {
		return written, err
	}
	return s.Provisioning.Enrollments().Create(ctx, body.Enrollment)
}

// replaceEnrollment changes an enrollment as a request of this version means it.
func (s *service) replaceEnrollment(ctx context.Context, apiVersion string, body sentEnrollment,
	ifMatch string) (written enroll.Enrollment, err error) {
	if err := s.readSettings(ctx, &body.Settings, body.policyReference, body.present); err != nil {
		return written, err
	}
	return s.Provisioning.Enrollments().PutKeeping(ctx, body.Enrollment, body.present.kept(apiVersion), ifMatch)
}

func (s *service) createGroup(ctx context.Context, body sentGroup) (written enroll.Group, err error) {
	if err := s.readSettings(ctx, &body.Settings, body.policyReference, body.present); err != nil {
		return written, err
	}
	return s.Provisioning.Groups().Create(ctx, body.Group)
}

func (s *service) replaceGroup(ctx context.Context, apiVersion string, body sentGroup,
	ifMatch string) (written enroll.Group, err error) {
	if err := s.readSettings(ctx, &body.Settings, body.policyReference, body.present); err != nil {
		return written, err
	}
	return s.Provisioning.Groups().PutKeeping(ctx, body.Group, body.present.kept(apiVersion), ifMatch)
}
