package portal

import (
	"net/http"
	"strings"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning"
)

var checkRoutes = map[string]handler{
	"GET check":  reading(checkPage),
	"POST check": writing(checkPage, checkChain),
}

type chainPage struct {
	Chain, ID string
	Judgement *provisioning.Judgement
	Problem   *fault.Error
	Command   string
}

func checkPage(c *call) error {
	return c.render(http.StatusOK, "check", chainPage{Chain: c.text("chain"), ID: c.value("registrationId"), Command: "berth cert check chain.pem"})
}

// checkChain judges a chain as if a device came with it now.
func checkChain(c *call) error {
	page := chainPage{Chain: c.text("chain"), ID: strings.TrimSpace(c.value("registrationId")), Command: "berth cert check chain.pem"}
	if page.ID != "" {
		page.Command += " --registration-id " + Quote(page.ID)
	}
	judgement, err := c.config.Provisioning.CheckChain(c.r.Context(), []byte(page.Chain), page.ID)
	if err != nil {
		page.Problem = fault.From(err)
		if holdsPrivateKey(page.Chain) {
			page.Chain = "" // it goes back to nobody
		}
		return c.render(page.Problem.Code.Status(), "check", page)
	}
	page.Judgement = &judgement
	return c.render(http.StatusOK, "check", page)
}
