package enroll

// Kept are properties that stay as they are stored when an enrollment or a group is
// replaced, because who writes it does not know them: a client of an earlier version
// of the API must not take from a device what it can't see.
type Kept struct {
	CredentialPolicy bool
	Parent           bool
}

// restore puts what is kept of the stored one in the place of what was written.
func (k Kept) restore(written *Settings, stored Settings) {
	if k.CredentialPolicy {
		written.CredentialPolicyName = stored.CredentialPolicyName
	}
	if k.Parent {
		written.ParentDeviceID = stored.ParentDeviceID
	}
}
