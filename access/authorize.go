package access

import (
	"slices"
	"strings"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
)

// nobodysKey is of no policy.
var nobodysKey = credential.NewKey(32)

// authorize finds the policy that signed a back end's token and checks that the
// token is good for what is asked, has not expired and has the right. Every
// refusal is a fault 401 that says which of these it was, but for an unknown
// policy and a wrong signature, which are told apart for nobody. Where only the
// resource or the right is missing, the policy comes with it.
func authorize(
	policies []Policy, token string, asked credential.Resource, right string, now time.Time,
) (Policy, error) {
	if token == "" {
		return Policy{}, fault.New(fault.UnauthorizedAccess,
			"The request has no Authorization. Send a shared access signature of a policy with the right %s", right)
	}
	parsed, err := credential.ParseToken(token)
	if err != nil {
		return Policy{}, fault.New(fault.UnauthorizedAccess, "The shared access signature is malformed: %v", err)
	}
	// A policy that is not there costs the same time.
	policy := Policy{PrimaryKey: nobodysKey, SecondaryKey: nobodysKey}
	i := slices.IndexFunc(policies, func(p Policy) bool { return p.Name == parsed.KeyName })
	if i >= 0 {
		policy = policies[i]
	}
	primary, secondary := parsed.SignedBy(policy.PrimaryKey), parsed.SignedBy(policy.SecondaryKey)
	if i < 0 || !primary && !secondary {
		return Policy{}, fault.New(fault.UnauthorizedAccess,
			"The shared access signature was not made with a key of a policy of this service. "+
				"Get the current connection string (berth info)")
	}
	if parsed.Expired(now) {
		return Policy{}, fault.New(fault.TokenExpired,
			"The shared access signature expired at %s, it is %s here. Make a new one, and check the clock",
			parsed.Expiry.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	if !parsed.Covers(asked) {
		return policy, fault.New(fault.UnauthorizedAccess,
			"The shared access signature is for %.300q (sr), and this is %.300q. "+
				"Make one for that, or for %s as a whole",
			parsed.Resource, asked.String(), asked.Host)
	}
	if !policy.Allows(right) {
		return policy, fault.New(fault.UnauthorizedAccess,
			"Policy %s has no right %s. It has %s", policy.Name, right, strings.Join(policy.Rights, ", "))
	}
	return policy, nil
}
