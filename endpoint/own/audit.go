package own

import (
	"slices"
	"time"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/fault"
)

// auditEntries are the changes that operators made, the latest first.
func (s *service) auditEntries(c *https.Call) (any, error) {
	most, err := c.Number("top", c.Query("top"), https.DefaultPage, https.MaxPage)
	if err != nil {
		return nil, err
	}
	filter := audit.Filter{Kind: audit.Kind(c.Query("kind")), ID: c.Query("id"), Actor: c.Query("actor"), Max: most,
		After: c.Query("after")}
	if filter.Kind != "" && !slices.Contains(audit.Kinds, filter.Kind) {
		return nil, fault.New(fault.ArgumentInvalid, "kind must be %s, not %.32q", alternatives(audit.Kinds),
			string(filter.Kind))
	}
	for name, into := range map[string]*time.Time{"since": &filter.Since, "until": &filter.Until} {
		if text := c.Query(name); text != "" {
			if *into, err = time.Parse(time.RFC3339Nano, text); err != nil {
				return nil, fault.New(fault.ArgumentInvalid,
					"%s must be a time such as 2026-11-23T12:00:00Z, not %.64q", name, text)
			}
			if beginning := name == "since" && into.IsZero(); !beginning && !document.InLogs(*into) {
				return nil, fault.New(fault.ArgumentInvalid, "%s must be a time of the years 1678 to 2262, not %.64q",
					name, text)
			}
		}
	}
	entries, next, err := s.Audit.Entries(c.Context(), filter)
	return contract.Page[audit.Entry]{Items: entries, Next: next}, err
}

// bulkItems are the things of a bulk operation, by the name that its entry has.
func (s *service) bulkItems(c *https.Call) (any, error) {
	items, next, err := s.Audit.Items(c.Context(), c.Parameter("bulk"), c.Query("after"))
	if err == nil && len(items) == 0 && c.Query("after") == "" {
		err = fault.New(fault.NotFound, "The audit has no bulk operation %.64q, or no longer", c.Parameter("bulk"))
	}
	return contract.Page[audit.Item]{Items: items, Next: next}, err
}

func (s *service) listLockouts(c *https.Call) (any, error) {
	return s.Provisioning.Lockouts().List(c.Context())
}

func (s *service) liftLockout(c *https.Call) (any, error) {
	return nil, s.Provisioning.Lockouts().Lift(c.Context(), c.Parameter("source"))
}

// alternatives names words as one says them: a, b or c.
func alternatives[T ~string](words []T) string {
	text := ""
	for i, word := range words {
		switch {
		case i > 0 && i == len(words)-1:
			text += " or "
		case i > 0:
			text += ", "
		}
		text += string(word)
	}
	return text
}
