package provisioningpages

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/portal/web"
	"github.com/berth-iot/berth/provisioning/inject"
)

func (p *Pages) misbehaviourRoutes() web.Routes {
	return web.Routes{
		"GET misbehaviours":       web.RequireSession(p.listMisbehaviours),
		"POST misbehaviours":      web.RequireOperator(p.listMisbehaviours, p.misbehave),
		"POST misbehaviours/stop": web.RequireOperator(p.listMisbehaviours, p.behave),
	}
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

func (p *Pages) misbehavioursPage(c *web.Call) (page misbehavioursPage, err error) {
	page = misbehavioursPage{Kinds: misbehaviourKinds, Kind: c.Value("kind"), ID: strings.TrimSpace(c.Value("registrationId")), Group: strings.TrimSpace(c.Value("group")),
		Times: c.Value("times"), Seconds: c.Value("seconds"), HubHost: strings.TrimSpace(c.Value("hubHost"))}
	if page.Times == "" {
		page.Times = "1"
	}
	page.Armed, err = p.Provisioning.Injector().List(c.Context())
	return page, err
}

func (p *Pages) listMisbehaviours(c *web.Call) error {
	page, err := p.misbehavioursPage(c)
	if err != nil {
		return err
	}
	return c.Render(http.StatusOK, "misbehaviours", page)
}

// misbehave arms what was typed.
func (p *Pages) misbehave(c *web.Call) error {
	page, err := p.misbehavioursPage(c)
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
		_, err = p.Provisioning.Injector().Add(c.Context(), wanted)
	}
	if err != nil {
		page.Problem = fault.From(err)
		return c.Render(page.Problem.Code.Status(), "misbehaviours", page)
	}
	return c.Redirect("misbehaviours")
}

// behave ends one misbehaviour, or all.
func (p *Pages) behave(c *web.Call) error {
	if err := p.Provisioning.Injector().Remove(c.Context(), c.Value("id")); err != nil && fault.From(err).Code != fault.NotFound {
		return err // one that has just been used up is as well gone
	}
	return c.Redirect("misbehaviours")
}
