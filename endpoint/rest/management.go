package rest

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/hub/telemetry"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/attempts"
	"github.com/berth-iot/berth/store"
)

// management are Berth's own operations: what Azure shows in its portal or by
// other protocols.
func (h *handler) management() []route {
	return []route{
		{"GET", contract.ServicePath, provisioningAPI, provisioning.EnrollmentRead, 0, summary},
		{"GET", contract.EnrollmentListPath, provisioningAPI, provisioning.EnrollmentRead, 0, pageOfEnrollments},
		{"POST", contract.EnrollmentsDryRunPath, provisioningAPI, provisioning.EnrollmentWrite, largeBody,
			dryRunEnrollments},
		{"GET", contract.GroupListPath, provisioningAPI, provisioning.EnrollmentRead, 0, pageOfGroups},
		{"POST", contract.GroupsDryRunPath, provisioningAPI, provisioning.EnrollmentWrite, largeBody, dryRunGroups},
		{"GET", contract.RegistrationListPath, provisioningAPI, provisioning.RegistrationStatusRead, 0,
			pageOfRegistrations},
		{"GET", contract.AttemptsPath, provisioningAPI, provisioning.RegistrationStatusRead, 0, listAttempts},
		{"POST", contract.PortalLinksPath, provisioningAPI, provisioning.ServiceConfig, smallBody, loginLink},
		{"GET", contract.AttemptPath, provisioningAPI, provisioning.RegistrationStatusRead, 0, oneAttempt},
		{"POST", contract.CheckChainPath, provisioningAPI, provisioning.EnrollmentRead, smallBody, checkChain},
		{"GET", contract.AuditPath, provisioningAPI, provisioning.ServiceConfig, 0, auditEntries},
		{"GET", contract.AuditItemsPath, provisioningAPI, provisioning.ServiceConfig, 0, bulkItems},
		{"GET", contract.LockoutsPath, provisioningAPI, provisioning.RegistrationStatusRead, 0, listLockouts},
		{"DELETE", contract.LockoutPath, provisioningAPI, provisioning.ServiceConfig, 0, liftLockout},
		{"GET", contract.DeviceListPath, hubAPI, hub.RegistryRead, 0, pageOfDevices},
		{"GET", contract.TelemetryPath, hubAPI, hub.ServiceConnect, 0, followTelemetry},
	}
}

// Page is a part of a list. Next is the after of the next request, or "" at the
// end.
type Page[T any] struct {
	Items      []T                `json:"items"`
	Next       string             `json:"next,omitempty"`
	Unreadable []store.Unreadable `json:"unreadable,omitempty"` // records that belong among the items and can't be read
}

// page answers with a part of the records of a collection.
func page[T any](c *call, collection string, list func(prefix, after string, limit int) ([]T, string, error)) (any, error) {
	top, err := c.number("top", c.query("top"), defaultPage, maxPage)
	if err != nil {
		return nil, err
	}
	prefix, after := c.query("prefix"), c.query("after")
	items, next, err := list(prefix, after, top)
	if err != nil {
		return nil, err
	}
	if c.Records == nil {
		return Page[T]{Items: items, Next: next}, nil
	}
	// The list has passed over them.
	unreadable := slices.DeleteFunc(c.Records.Known(collection), func(r store.Unreadable) bool {
		return r.Collection != collection || !strings.HasPrefix(strings.ToLower(r.Key), strings.ToLower(prefix)) ||
			after != "" && r.Key <= after || next != "" && r.Key > next
	})
	return Page[T]{items, next, unreadable}, nil
}

func pageOfEnrollments(c *call) (any, error) {
	return page(c, provisioning.EnrollmentRecords, func(prefix, after string, limit int) ([]provisioning.Enrollment, string, error) {
		return c.Provisioning.Enrollments(c.Context(), prefix, after, limit)
	})
}

func pageOfGroups(c *call) (any, error) {
	return page(c, provisioning.GroupRecords, func(prefix, after string, limit int) ([]provisioning.EnrollmentGroup, string, error) {
		return c.Provisioning.Groups(c.Context(), prefix, after, limit)
	})
}

func pageOfRegistrations(c *call) (any, error) {
	return page(c, provisioning.RegistrationRecords, func(prefix, after string, limit int) ([]provisioning.Registration, string, error) {
		return c.Provisioning.Registrations(c.Context(), prefix, after, limit)
	})
}

func pageOfDevices(c *call) (any, error) {
	return page(c, c.hub.DeviceRecords(), func(prefix, after string, limit int) ([]hub.Device, string, error) {
		return c.hub.Devices(c.Context(), prefix, after, limit)
	})
}

// oneAttempt is an attempt with all that its judgement depended on.
func oneAttempt(c *call) (any, error) {
	sequence, err := strconv.ParseInt(c.parameters["sequence"], 10, 64)
	if err != nil {
		return nil, fault.New(fault.ArgumentInvalid, "The sequence of an attempt is a number, not %.32q", c.parameters["sequence"])
	}
	attempt, err := c.Provisioning.Attempts().Get(c.Context(), sequence)
	return attempt, err
}

// chainBody is a chain that somebody wants to be judged.
type chainBody struct {
	Certificates   string `json:"certificates"`   // PEM, the device's own first
	RegistrationID string `json:"registrationId"` // the common name of the first one when empty
}

// checkChain judges a chain before any device comes with it.
func checkChain(c *call) (any, error) {
	var asked chainBody
	if err := c.decode(&asked); err != nil {
		return nil, err
	}
	judgement, err := c.Provisioning.CheckChain(c.Context(), []byte(asked.Certificates), asked.RegistrationID)
	return judgement, err
}

// auditEntries are the changes that operators made, the latest first.
func auditEntries(c *call) (any, error) {
	most, err := c.number("top", c.query("top"), defaultPage, maxPage)
	if err != nil {
		return nil, err
	}
	filter := audit.Filter{Kind: audit.Kind(c.query("kind")), ID: c.query("id"), Actor: c.query("actor"), Max: most, After: c.query("after")}
	if filter.Kind != "" && !slices.Contains(audit.Kinds, filter.Kind) {
		return nil, fault.New(fault.ArgumentInvalid, "kind is %.32q. It is one of %v", string(filter.Kind), audit.Kinds)
	}
	for name, into := range map[string]*time.Time{"since": &filter.Since, "until": &filter.Until} {
		if text := c.query(name); text != "" {
			if *into, err = time.Parse(time.RFC3339Nano, text); err != nil {
				return nil, fault.New(fault.ArgumentInvalid, "%s is %.64q. It is a time such as 2026-11-23T12:00:00Z", name, text)
			}
		}
	}
	entries, next, err := c.Audit.Entries(c.Context(), filter)
	return Page[audit.Entry]{Items: entries, Next: next}, err
}

// bulkItems are the things of a bulk operation, by the name that its entry has.
func bulkItems(c *call) (any, error) {
	items, next, err := c.Audit.Items(c.Context(), c.parameters["bulk"], c.query("after"))
	if err == nil && len(items) == 0 && c.query("after") == "" {
		err = fault.New(fault.NotFound, "The audit has no bulk operation %.64q, or no longer", c.parameters["bulk"])
	}
	return Page[audit.Item]{Items: items, Next: next}, err
}

func listLockouts(c *call) (any, error) { return c.Provisioning.Lockouts().List(c.Context()) }

func liftLockout(c *call) (any, error) {
	return nil, c.Provisioning.Lockouts().Lift(c.Context(), c.parameters["source"])
}

func summary(c *call) (any, error) {
	summary, err := c.Provisioning.Summary(c.Context())
	return summary, err
}

func listAttempts(c *call) (any, error) {
	limit, err := c.number("max", c.query("max"), defaultPage, maxPage)
	if err != nil {
		return nil, err
	}
	return c.Provisioning.Attempts().Find(c.Context(), attempts.Filter{
		RegistrationID: c.query("registrationId"), Refused: c.query("refused") == "true", Max: limit})
}

// linkWanted says whom a way to log in is for.
type linkWanted struct {
	Role string `json:"role"` // operator or reader
}

// loginLink makes a way to log in to the portal, for who may do everything here.
func loginLink(c *call) (any, error) {
	var wanted linkWanted
	if err := c.decode(&wanted); err != nil {
		return nil, err
	}
	link, err := c.LoginLink(c.Context(), wanted.Role)
	return link, err
}

// patience is how long a reader of telemetry may take for one message.
const patience = 30 * time.Second

// followTelemetry streams messages as JSON, one a line, from a point in time on and
// for as long as the client stays, or until max have come.
func followTelemetry(c *call) (any, error) {
	from, err := position(c.query("from"))
	if err != nil {
		return nil, err
	}
	left, err := c.number("max", c.query("max"), 0, 1<<30)
	if err != nil {
		return nil, err
	}
	controller := http.NewResponseController(c.w)
	c.w.Header().Set("Content-Type", "application/x-ndjson")
	c.w.WriteHeader(http.StatusOK)
	c.streamed = true
	controller.Flush()
	encoder := json.NewEncoder(c.w)
	encoder.SetEscapeHTML(false) // a body is as its device wrote it
	err = c.hub.Telemetry().Follow(c.Context(), from, c.query("device"), func(message telemetry.Message) error {
		// A reader may wait for its messages for ever, but not let one wait.
		if err := controller.SetWriteDeadline(time.Now().Add(patience)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
		if err := encoder.Encode(message); err != nil {
			return err
		}
		if err := controller.Flush(); err != nil {
			return err
		}
		if left--; left == 0 {
			return telemetry.ErrStop
		}
		return nil
	})
	if c.Context().Err() != nil {
		return nil, nil // the client has gone, as it must to end this
	}
	return nil, err
}

func position(from string) (telemetry.Position, error) {
	switch from {
	case "", "latest":
		return telemetry.Position{}, nil
	case "earliest":
		return telemetry.Position{Earliest: true}, nil
	}
	at, err := time.Parse(time.RFC3339Nano, from)
	if err != nil {
		return telemetry.Position{}, fault.New(fault.ArgumentInvalid, "from is %.64q. It is earliest, latest, or a time such as 2026-11-23T12:00:00Z", from)
	}
	return telemetry.Position{Time: at}, nil
}
