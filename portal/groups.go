package portal

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/attest"
)

// groupRoutes are the enrollment groups.
var groupRoutes = map[string]handler{
	"GET groups":         reading(listGroups),
	"GET groups/new":     reading(newGroup),
	"POST groups/new":    writing(typedGroup, saveGroup),
	"GET group/{id}":     reading(editGroup),
	"POST group/{id}":    writing(typedGroup, saveGroup),
	"POST groups/delete": writing(confirmGroups, deleteGroups),
}

func listGroups(c *call) error {
	return c.show("groups", nil, func() (any, error) {
		l := list[provisioning.EnrollmentGroup]{place: place{Prefix: c.query("prefix"), After: c.query("after")}}
		var err error
		l.Items, l.Next, err = c.config.Provisioning.Groups(c.r.Context(), l.Prefix, l.After, pageSize)
		return l, err
	})
}

func (c *call) groupDeletion() deletion {
	return deletion{
		Back:    "groups",
		Title:   "Delete %d enrollment group?|Delete %d enrollment groups?",
		Explain: "Their devices can't register any more, unless they have an enrollment of their own. Those that did stay in their hub, and their registration records stay too.",
		Done:    "%d enrollment group was deleted|%d enrollment groups were deleted",
		gone:    fault.GroupNotFound,
		kind:    audit.Group,
		ids:     idsOf(c.config.Provisioning.Groups, func(g provisioning.EnrollmentGroup) string { return g.EnrollmentGroupID }),
		delete: func(ctx context.Context, id string) error {
			return c.config.Provisioning.DeleteGroup(ctx, id, "")
		},
	}
}

func confirmGroups(c *call) error { return c.confirm(c.groupDeletion()) }
func deleteGroups(c *call) error  { return c.deleteSelected(c.groupDeletion()) }

// groupPage is the form that adds or edits a group, and for a group that there is
// its devices.
type groupPage struct {
	terms
	GroupID string
	Replace bool // existing devices
	Stored  provisioning.EnrollmentGroup
	Members list[provisioning.Registration]
	Device  derivedKeys
}

// derivedKeys are those of one device of a group with symmetric keys.
type derivedKeys struct {
	RegistrationID string // that was asked for
	Keys           *keys
	Problem        *fault.Error
}

func newGroup(c *call) error {
	return c.renderGroup(http.StatusOK, groupPage{terms: newTerms(true)})
}

func editGroup(c *call) error {
	return c.show("group", nil, func() (any, error) {
		ctx, service, id := c.r.Context(), c.config.Provisioning, c.r.PathValue("id")
		stored, err := service.Group(ctx, id)
		if err != nil {
			return nil, err
		}
		page := groupPage{terms: termsOf(&stored.EnrollmentSettings, true), GroupID: stored.EnrollmentGroupID, Replace: stored.ReplaceExistingDevices != nil && *stored.ReplaceExistingDevices, Stored: stored}
		if page.HasKeys && c.asksFor("keys") {
			if page.StoredKeys, err = keysOf(service.GroupAttestationMechanism(ctx, id)); err != nil {
				return nil, err
			}
		}
		if page.Device, err = c.deriveKeys(page); err != nil {
			return nil, err
		}
		return c.completeGroup(page)
	})
}

// deriveKeys returns the keys of the device that the page was asked for.
func (c *call) deriveKeys(page groupPage) (device derivedKeys, err error) {
	device.RegistrationID = c.query("registrationId")
	if device.RegistrationID == "" || !page.HasKeys || c.session.Role != Operator {
		return device, nil
	}
	// The service knows what a registration id is, and says what is wrong with one.
	if _, err := c.config.Provisioning.Registration(c.r.Context(), device.RegistrationID); errors.Is(err, fault.InvalidRegistrationID) {
		device.Problem = fault.From(err)
		return device, nil
	}
	group, err := keysOf(c.config.Provisioning.GroupAttestationMechanism(c.r.Context(), page.GroupID))
	if err == nil && group != nil {
		device.Keys = &keys{attest.DeriveKey(group.Primary, device.RegistrationID), attest.DeriveKey(group.Secondary, device.RegistrationID)}
	}
	return device, err
}

// completeGroup adds what the page shows beside the form.
func (c *call) completeGroup(page groupPage) (groupPage, error) {
	page.offerHubs(c.config.Provisioning.LinkedHubs())
	page.named()
	choices, err := c.verifiedAuthorities()
	if err != nil {
		return page, err
	}
	page.Choices = choices
	for _, name := range []string{page.Authority, page.Next} {
		if name != "" && !slices.Contains(page.Choices, name) {
			page.Choices = append(page.Choices, name) // no longer verified, and named all the same
		}
	}
	if page.New || page.Vanished {
		return page, nil
	}
	page.Members = list[provisioning.Registration]{place: place{After: c.query("after")}, Part: "registrations"}
	page.Members.Items, page.Members.Next, err = c.config.Provisioning.GroupRegistrations(c.r.Context(), page.GroupID, page.Members.After, pageSize)
	return page, err
}

func (c *call) renderGroup(status int, page groupPage) error {
	page, err := c.completeGroup(page)
	if err != nil {
		return err
	}
	return c.render(status, "group", page)
}

// readGroup takes what was typed, with what is wrong in it.
func (c *call) readGroup() (groupPage, error) {
	page := groupPage{terms: c.readTerms(true), GroupID: c.text("groupId"), Replace: c.value("replace") != ""}
	if !page.New {
		page.GroupID = c.r.PathValue("id")
	}
	stored, err := c.config.Provisioning.Group(c.r.Context(), page.GroupID)
	switch {
	case err == nil && !page.New:
		page.Stored = stored
		page.setStored(&stored.EnrollmentSettings)
	case err == nil: // saving it says that there is one already
	case errors.Is(err, fault.GroupNotFound):
		page.Vanished = !page.New
	case page.New && fault.From(err).Code.Status() < 500:
		page.Problems["groupId"] = fault.From(err)
	default:
		return page, err
	}
	page.check()
	return page, nil
}

// typedGroup shows again what was typed.
func typedGroup(c *call) error {
	page, err := c.readGroup()
	if err != nil {
		return err
	}
	return c.renderGroup(http.StatusOK, page)
}

// saveGroup writes what was typed, if nobody else wrote meanwhile.
func saveGroup(c *call) error {
	page, err := c.readGroup()
	if err != nil {
		return err
	}
	if page.wrong() {
		return c.renderGroup(http.StatusBadRequest, page)
	}
	wanted := page.group()
	ctx, service := c.r.Context(), c.config.Provisioning
	if page.creates() {
		_, err = service.CreateGroup(ctx, wanted)
	} else {
		_, err = service.PutGroup(ctx, wanted, page.ETag)
	}
	if err == nil {
		c.say("ok", c.language.T("The enrollment group %s was saved", wanted.EnrollmentGroupID))
		return c.redirect("groups")
	}
	status := page.refuse(err, comparableGroup(page.Stored), comparableGroup(wanted))
	if status >= 500 {
		return err
	}
	return c.renderGroup(status, page)
}

// group is what the form asks to be stored.
func (p *groupPage) group() provisioning.EnrollmentGroup {
	wanted := p.Stored
	wanted.EnrollmentGroupID = p.GroupID
	if wanted.ReplaceExistingDevices = nil; p.Replace || p.Stored.ReplaceExistingDevices != nil {
		wanted.ReplaceExistingDevices = &p.Replace
	}
	p.write(&wanted.EnrollmentSettings)
	return wanted
}

// comparableGroup is what two people may have changed differently, as text.
func comparableGroup(g provisioning.EnrollmentGroup) string {
	bare(&g.EnrollmentSettings, true)
	return jsonOf(g)
}
