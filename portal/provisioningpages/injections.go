package provisioningpages

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/portal/web"
	"github.com/berth-iot/berth/provisioning/inject"
)

func (p *Pages) injectionRoutes() web.Routes {
	return web.Routes{
		"GET misbehaviours":       web.RequireSession(p.listInjections),
		"POST misbehaviours":      web.RequireOperator(p.listInjections, p.injectFault),
		"POST misbehaviours/stop": web.RequireOperator(p.listInjections, p.removeFault),
	}
}

// injectionKinds are the choices of what happens to the next devices.
var injectionKinds = []struct {
	Value inject.Kind
	Text  string
}{
	{inject.Fail, "Fail: answer 500001"},
	{inject.Throttle, "Throttle: answer 429001, with the time to come back at"},
	{inject.Delay, "Delay: answer late"},
	{inject.Drop, "Drop: end the connection without an answer"},
	{inject.WrongHub, "Wrong hub: name another hub than the one that has the device"},
}

// injectionsPage is what is injected, and what is typed.
type injectionsPage struct {
	Faults                                   []inject.Fault
	Kinds                                    any
	Kind, ID, Group, Times, Seconds, HubHost string
	Problem                                  *fault.Error
}

func (p *Pages) injectionsPage(c *web.Call) (page injectionsPage, err error) {
	page = injectionsPage{
		Kinds:   injectionKinds,
		Kind:    c.Value("kind"),
		ID:      strings.TrimSpace(c.Value("registrationId")),
		Group:   strings.TrimSpace(c.Value("group")),
		Times:   c.Value("times"),
		Seconds: c.Value("seconds"),
		HubHost: strings.TrimSpace(c.Value("hubHost")),
	}
	if page.Times == "" {
		page.Times = "1"
	}
	page.Faults, err = p.Provisioning.Injector().List(c.Context())
	return page, err
}

func (p *Pages) listInjections(c *web.Call) error {
	page, err := p.injectionsPage(c)
	if err != nil {
		return err
	}
	return c.Render(http.StatusOK, "misbehaviours", page)
}

// injectFault injects what was typed.
func (p *Pages) injectFault(c *web.Call) error {
	page, err := p.injectionsPage(c)
	if err != nil {
		return err
	}
	wanted := inject.Fault{
		Kind:           inject.Kind(page.Kind),
		RegistrationID: page.ID,
		GroupID:        page.Group,
		HubHostName:    page.HubHost,
	}
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

// removeFault removes one injected fault, or all.
func (p *Pages) removeFault(c *web.Call) error {
	if err := p.Provisioning.Injector().Remove(c.Context(), c.Value("id")); err != nil &&
		fault.From(err).Code != fault.NotFound {
		return err // one that has just been used up is as well gone
	}
	return c.Redirect("misbehaviours")
}
