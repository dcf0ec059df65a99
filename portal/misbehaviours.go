package portal

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/inject"
)

var misbehaviourRoutes = map[string]handler{
	"GET misbehaviours":       reading(listMisbehaviours),
	"POST misbehaviours":      writing(listMisbehaviours, misbehave),
	"POST misbehaviours/stop": writing(listMisbehaviours, behave),
}

// misbehaviourKinds are the choices of what happens to the next devices.
var misbehaviourKinds = []struct {
	Value inject.Kind
	Text  string
}{
	{inject.Fail, "Fail: answer 500001"},
	{inject.Throttle, "Throttle: answer 429001, with the time to come back at"},
	{inject.Delay, "Delay: answer late"},
	{inject.Drop, "Drop: end the connection without an answer"},
	{inject.WrongHub, "Wrong hub: name another hub than the one that has the device"},
}

// misbehavioursPage is what is armed, and what is typed.
type misbehavioursPage struct {
	Armed                                    []inject.Fault
	Kinds                                    any
	Kind, ID, Group, Times, Seconds, HubHost string
	Problem                                  *fault.Error
}

func (c *call) misbehavioursPage() (page misbehavioursPage, err error) {
	page = misbehavioursPage{Kinds: misbehaviourKinds, Kind: c.value("kind"), ID: strings.TrimSpace(c.value("registrationId")), Group: strings.TrimSpace(c.value("group")),
		Times: c.value("times"), Seconds: c.value("seconds"), HubHost: strings.TrimSpace(c.value("hubHost"))}
	if page.Times == "" {
		page.Times = "1"
	}
	page.Armed, err = c.config.Provisioning.Injector().List(c.r.Context())
	return page, err
}

func listMisbehaviours(c *call) error {
	page, err := c.misbehavioursPage()
	if err != nil {
		return err
	}
	return c.render(http.StatusOK, "misbehaviours", page)
}

// misbehave arms what was typed.
func misbehave(c *call) error {
	page, err := c.misbehavioursPage()
	if err != nil {
		return err
	}
	wanted := inject.Fault{Kind: inject.Kind(page.Kind), RegistrationID: page.ID, GroupID: page.Group, HubHostName: page.HubHost}
	wanted.Times, err = strconv.Atoi(page.Times)
	if err == nil && page.Seconds != "" {
		wanted.Seconds, err = strconv.Atoi(page.Seconds)
	}
	if err != nil {
		err = fault.New(fault.ArgumentInvalid, "How often and how many seconds are whole numbers")
	} else {
		_, err = c.config.Provisioning.Injector().Add(c.r.Context(), wanted)
	}
	if err != nil {
		page.Problem = fault.From(err)
		return c.render(page.Problem.Code.Status(), "misbehaviours", page)
	}
	return c.redirect("misbehaviours")
}

// behave ends one misbehaviour, or all.
func behave(c *call) error {
	if err := c.config.Provisioning.Injector().Remove(c.r.Context(), c.value("id")); err != nil && fault.From(err).Code != fault.NotFound {
		return err // one that has just been used up is as well gone
	}
	return c.redirect("misbehaviours")
}
