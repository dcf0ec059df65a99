// Package rest is Azure's REST contract: the operations of devices that register, and of
// back ends on the provisioning service and on hubs. It turns their headers and bodies
// into calls on the domain, and holds no rule of it. What all operations have in common is
// in endpoint/https.
package rest

import (
	"slices"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/issuance"
	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/provisioning"
)

// Config names what the operations are carried out by, besides the hub of a call.
type Config struct {
	Provisioning *provisioning.Service
	Issuer       *issuance.Service
	Audit        *audit.Log
	Panics       *panics.Recorder // of what one request does on several goroutines
}

// Operations returns Azure's operations of all services.
func Operations(config Config) []https.Operation {
	s := &service{config}
	return slices.Concat(s.provisioningDevice(), s.provisioningService(), s.hubService(), hubModules(), hubTelemetry(),
		hubMessages(), hubMethods(), hubJobs(), hubTransfers(), hubConfigurations(), hubDigitalTwins(), s.dryRuns(),
		description(), unserved())
}

// service carries the operations out.
type service struct{ Config }

// dps and iot return an operation of one of the services.
var (
	dps = https.ProvisioningAPI.Operation
	iot = https.HubAPI.Operation
)
