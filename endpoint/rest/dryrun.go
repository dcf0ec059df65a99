package rest

import (
	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/enroll"
)

// attestations are the parameters by which a dry run is told what earlier calls of the same
// would have created.
var attestations = []string{"x509", "symmetricKey", "tpm"}

// dryRuns are Azure's bulk operations done dry. They are Berth's own, and here because
// they are those operations in all but what is written.
func (s *service) dryRuns() []https.Operation {
	return []https.Operation{
		dps("POST", contract.EnrollmentsDryRunPath, provisioning.EnrollmentWrite, https.LargeBody,
			s.dryRunEnrollments).With(attestations...),
		dps("POST", contract.GroupsDryRunPath, provisioning.EnrollmentWrite, https.LargeBody, s.dryRunGroups).
			With(attestations...),
	}
}

// dryRunEnrollments says what bulkEnrollments would, and writes nothing. It has an
// address of its own: a parameter that another service does not know would be ignored.
func (s *service) dryRunEnrollments(c *https.Call) (any, error) {
	if err := dryRun(c); err != nil {
		return nil, err
	}
	return s.bulkEnrollments(c)
}

// dryRunGroups is dryRunEnrollments for groups.
func (s *service) dryRunGroups(c *https.Call) (any, error) {
	if err := dryRun(c); err != nil {
		return nil, err
	}
	return s.bulkGroups(c)
}

// dryRun makes the call one that writes nothing. The address says how many with each
// attestation earlier calls of the same dry run would have created.
func dryRun(c *https.Call) error {
	created := make(map[string]int)
	for _, mechanism := range attestations {
		n, err := c.Number(mechanism, c.Query(mechanism), 0, 1<<30)
		if err != nil {
			return err
		}
		created[mechanism] = n
	}
	c.Request = c.WithContext(enroll.DryRun(c.Context(), created))
	return nil
}
