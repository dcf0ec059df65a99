package provisioningpages

import (
	"net/http"
	"strings"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/portal/web"
	"github.com/berth-iot/berth/provisioning"
)

func (p *Pages) checkRoutes() web.Routes {
	return web.Routes{
		"GET check":  web.RequireSession(p.showCheck),
		"POST check": web.RequireOperator(p.showCheck, p.checkChain),
	}
}

type chainPage struct {
	Chain, ID string
	Decision  *provisioning.Decision
	Problem   *fault.Error
	Command   string
}

func (p *Pages) showCheck(c *web.Call) error {
	return c.Render(
		http.StatusOK,
		"check",
		chainPage{Chain: c.Text("chain"), ID: c.Value("registrationId"), Command: "berth cert check chain.pem"},
	)
}

// checkChain judges a chain as if a device came with it now.
func (p *Pages) checkChain(c *web.Call) error {
	page := chainPage{
		Chain:   c.Text("chain"),
		ID:      strings.TrimSpace(c.Value("registrationId")),
		Command: "berth cert check chain.pem",
	}
	if page.ID != "" {
		page.Command += " --registration-id " + web.Quote(page.ID)
	}
	decision, err := p.Provisioning.CheckChain(c.Context(), []byte(page.Chain), page.ID)
	if err != nil {
		page.Problem = fault.From(err)
		if credential.HoldsPrivateKey([]byte(page.Chain)) {
			page.Chain = "" // it goes back to nobody
		}
		return c.Render(page.Problem.Code.Status(), "check", page)
	}
	page.Decision = &decision
	return c.Render(http.StatusOK, "check", page)
}
