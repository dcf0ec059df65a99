package server

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/endpoint/own"
	"github.com/berth-iot/berth/endpoint/rest"
	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/portal"
	"github.com/berth-iot/berth/portal/web"
	"github.com/berth-iot/berth/wire/admission"
)

func (s *Server) newPortal() *web.Site {
	dataDir, err := filepath.Abs(s.config.DataDir)
	if err != nil {
		dataDir = s.config.DataDir // it is only shown
	}
	dataFlag := ""
	if dataDir != s.config.DefaultDir {
		dataFlag = " --data " + web.Quote(dataDir)
	}
	info := s.Info()
	return portal.New(portal.Config{
		Provisioning:    s.provisioning,
		Hubs:            s.hubs,
		Audit:           s.audit,
		CreateHub:       s.CreateHub,
		Documents:       s.documents,
		Issuer:          s.issuer,
		PoliciesChanged: s.policiesChanged,
		Proven:          admission.Proven,
		Records:         records{s},
		CAFile:          info.CAFile,
		DataDir:         dataDir,
		DataFlag:        dataFlag,
		MQTTPort:        info.Ports.MQTT,
		HTTPSPort:       info.Ports.HTTPS,
		Now:             s.config.Now,
		Trusted:         s.clock.Trusted,
		Health:          s.health,
		Logger:          s.config.Logger,
		Panics:          s.panics,
	})
}

// LoginLink makes a link that logs in to the portal once, as operator or reader;
// "" is operator. It returns fault 400004 for another role.
func (s *Server) LoginLink(ctx context.Context, role string) (credential.LoginLink, error) {
	wanted, err := web.ParseRole(role)
	if err != nil {
		return credential.LoginLink{}, err
	}
	path, expires, err := s.portal.Link(ctx, wanted)
	if err != nil {
		return credential.LoginLink{}, err
	}
	return credential.LoginLink{
		URL:      fmt.Sprintf("http://127.0.0.1:%d%s", s.Info().Ports.Portal, path),
		HTTPSURL: "https://" + net.JoinHostPort(s.config.Host, strconv.Itoa(s.Info().Ports.HTTPS)) + path,
		Role:     string(wanted),
		Expires:  expires,
	}, nil
}

// web is what HTTPS serves: the portal below its path, and the services.
func (s *Server) web() http.Handler {
	azure := rest.Operations(rest.Config{Provisioning: s.provisioning, Issuer: s.issuer, Audit: s.audit,
		Panics: s.panics})
	berth := own.Operations(own.Config{Provisioning: s.provisioning, Issuer: s.issuer, Audit: s.audit,
		Records: records{s}, LoginLink: s.LoginLink, CreateHub: s.CreateHub, PoliciesChanged: s.policiesChanged})
	services := https.New(https.Config{Provisioning: s.provisioning, Hubs: s.hubs, Audit: s.audit,
		MQTT: s.mqtt.ServeConn, Proven: admission.Proven, Logger: s.config.Logger}, slices.Concat(azure, berth)...)
	services = s.containPanics(panics.HTTPS, services)
	pages := s.containPanics(panics.Portal, s.portal)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch path := r.URL.Path; {
		case strings.HasPrefix(path, web.Root):
			pages.ServeHTTP(w, r)
		case (path == "/" || path+"/" == web.Root) && r.Method == http.MethodGet &&
			strings.Contains(r.Header.Get("Accept"), "text/html"):
			http.Redirect(w, r, web.Root, http.StatusSeeOther) // a browser: no client of the services asks for a page
		default:
			services.ServeHTTP(w, r)
		}
	})
}
