package provisioning

// thumbprints returns the SHA-256 thumbprints of the enrolled certificates;
// secondary is "" when there is none.
func (e Enrollment) thumbprints() (primary, secondary string) {
	certificates := e.Attestation.X509.ClientCertificates
	primary = certificates.Primary.Info.SHA256Thumbprint
	if certificates.Secondary != nil {
		secondary = certificates.Secondary.Info.SHA256Thumbprint
	}
	return primary, secondary
}
