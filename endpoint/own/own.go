// Package own is Berth's own REST API, below /berth/: for what Azure has in its portal, in
// its management API or by other protocols, and for what it has not. The command line and
// the portal can do the same. What all operations have in common is in endpoint/https.
package own

import (
	"context"
	"slices"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/issuance"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/linkedhub"
	"github.com/berth-iot/berth/store"
)

// Config names what the operations are carried out by, besides the hub of a call.
type Config struct {
	Provisioning *provisioning.Service
	Issuer       *issuance.Service
	Audit        *audit.Log
	Records      Records
	LoginLink    func(ctx context.Context, role string) (credential.LoginLink, error)
	CreateHub    func(ctx context.Context, name, host string) (linkedhub.Link, error)
	// PoliciesChanged is told that keys or rights of the provisioning service's
	// policies are others now.
	PoliciesChanged func()
}

// Records are the records of all services that can't be read.
type Records interface {
	// Unreadable reads all records and returns those that can't be read.
	Unreadable(ctx context.Context) ([]store.Unreadable, error)
	// Known returns those of the collections whose names start with prefix that were
	// met so far.
	Known(prefix string) []store.Unreadable
	// DeleteUnreadable deletes such a record. One that can be read is fault 409000, one
	// that is not there fault 404000.
	DeleteUnreadable(ctx context.Context, collection, key string) error
}

// Operations returns Berth's own operations of all services.
func Operations(config Config) []https.Operation {
	s := &service{config}
	return slices.Concat(s.management(), s.authorities(), s.injection(), s.allocation(), s.credentials(),
		s.policies(),
		s.records(), s.messages(), s.indexes(), s.configurations(), jobs(), s.faults())
}

// service carries the operations out.
type service struct{ Config }

// dps and iot return an operation of one of the services.
var (
	dps = https.ProvisioningAPI.Operation
	iot = https.HubAPI.Operation
)
