package server

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berth-iot/berth/access"
	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/clock"
	"github.com/berth-iot/berth/cluster"
	"github.com/berth-iot/berth/credential"
	endpointmqtt "github.com/berth-iot/berth/endpoint/mqtt"
	"github.com/berth-iot/berth/health"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/issuance"
	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/portal/web"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/linkedhub"
	"github.com/berth-iot/berth/server/log"
	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/mark"
	"github.com/berth-iot/berth/store/pebble"
	"github.com/berth-iot/berth/store/segment"
	"github.com/berth-iot/berth/wire/admission"
	"github.com/berth-iot/berth/wire/header"
	"github.com/berth-iot/berth/wire/mqtt"
)

// Server is a running Berth.
type Server struct {
	config Config
	info   atomic.Pointer[Info]
	ready  atomic.Bool

	log      *log.Handler
	panics   *panics.Recorder
	health   *health.Set
	disk     *disk
	clock    *clock.Clock
	lastTime *mark.File    // the latest time that was trusted
	ending   chan struct{} // closed when nothing needs to be watched any more
	once     sync.Once     // to close it

	engine       store.Documents // below the others
	documents    *store.Inspector
	logs         store.Logs
	hubs         *hub.Directory
	certificates certificates
	audit        *audit.Log
	issuer       *issuance.Service
	provisioning *provisioning.Service
	budget       budget
	listeners    listeners
	changing     sync.Mutex // held while a hub is added
	outgoing     *outgoing
	mqtt         *mqtt.Server
	https        *http.Server
	portal       *web.Site

	stopReceiving func() // ends listening to what other nodes revoke; nil before it has begun

	failedConnections failedConnections
	local             *http.Server // the portal and the server's figures, on loopback

	stopRenewing    context.CancelFunc
	renewalFailures atomic.Uint64
	warned          time.Time // of what expires; known to the renewal alone

	serving sync.WaitGroup
	failed  chan error // a listener that ended on its own
}

// Start starts a server, from the data folder up to its listeners. The first
// start in a folder makes the authority, the ID scope, the policies and the hub;
// later ones find them. When it fails, nothing is left running.
func Start(ctx context.Context, config Config) (s *Server, err error) {
	config.complete()
	handler := log.NewHandler(config.Logger.Handler())
	config.Logger = slog.New(handler)
	s = &Server{
		config: config,
		log:    handler,
		panics: panics.NewRecorder(config.Logger),
		health: health.New(config.Logger, config.Now),
		hubs:   hub.NewDirectory(),
		failed: make(chan error, 3),
		ending: make(chan struct{}),
	}
	s.disk = &disk{
		folder:  config.DataDir,
		reserve: int64(config.DiskReserve),
		free:    freeBytes,
		health:  s.health,
		logger:  config.Logger,
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.closeServices(ctx))
			s = nil
		}
	}()
	if err := config.checkHosts(); err != nil {
		return s, err
	}
	if err := errors.Join(config.Telemetry.check("telemetry"), config.Events.check("events"),
		config.Attempts.check("attempts"), CheckMessageLimits(config.Messages)); err != nil {
		return s, err
	}
	s.budget = newBudget(descriptors(), config.Telemetry, config.Events, config.Attempts)
	s.outgoing = newOutgoing(s.budget.outgoing)
	if err := s.budget.check(config.MaxConnections); err != nil {
		return s, err
	}
	if err := os.MkdirAll(config.DataDir, 0o700); err != nil {
		return s, fmt.Errorf("make the data folder: %w", err)
	}
	hideFromOthers(config.DataDir, config.Logger)
	if err := errors.Join(s.disk.checkRoomToStart(), checkMissing(config.DataDir)); err != nil {
		return s, err
	}
	if err := s.openClock(); err != nil {
		return s, fmt.Errorf("note the time: %w", err)
	}
	s.certificates.earliest = s.clock.Earliest
	s.reportLost()
	s.serving.Go(s.watch)
	if err := s.openServices(ctx); err != nil {
		return s, err
	}
	pki := filepath.Join(config.DataDir, "pki")
	if err := s.certificates.open(pki, config.Logger, s.names(), config.Now()); err != nil {
		return s, err
	}
	s.openGates()
	if err := s.listeners.listen(config, tlsConfig(&s.certificates, config.NoCBC)); err != nil {
		return s, err
	}
	if err := s.describe(ctx); err != nil {
		return s, err
	}
	s.portal = s.newPortal()
	s.serve()
	renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stopRenewing = stop
	s.serving.Go(func() { s.runRenewals(renewing) })
	s.serving.Go(s.followHubs)
	s.ready.Store(true)
	return s, nil
}

// names are what the server certificate must be good for.
func (s *Server) names() []string {
	names := []string{"localhost", "127.0.0.1", "::1"}
	add := func(name string) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	add(s.config.Host)
	for _, h := range s.hubs.All() {
		add(h.Host())
	}
	return names
}

// openServices opens storage, the hub, and the provisioning service that is
// linked to it.
func (s *Server) openServices(ctx context.Context) (err error) {
	data := func(name string) string { return filepath.Join(s.config.DataDir, name) }
	marks := marksFolder(s.config.DataDir)
	documents := s.config.node.documents
	if documents == nil {
		documents, err = openDocuments(ctx, data("documents"), pebble.Options{Logger: s.config.Logger,
			MaxOpenFiles: s.budget.documents, Mark: filepath.Join(marks, documentsMark), Full: s.disk.full,
			Failing: s.disk.documentsFailing, Damaged: s.disk.documentsDamaged})
	}
	if err != nil {
		err = fmt.Errorf("open the data folder: %w", err)
		if isLocked(err) {
			err = fmt.Errorf("another server uses the data folder %s: "+
				"stop that one, or name another folder with --data", s.config.DataDir)
		}
		return err
	}
	s.engine = documents
	s.documents = store.Inspect(store.TrackReads(documents), s.config.Logger)
	if err := checkScope(ctx, documents, s.config.DataDir); err != nil {
		return fmt.Errorf("open the data folder: %w", err)
	}
	if s.logs = s.config.node.logs; s.logs == nil {
		s.logs, err = openLogs(data("logs"), segment.Options{Now: s.config.Now, Trusted: s.clock.Trusted,
			Logger: s.config.Logger, Panics: s.panics, Marks: marks, Room: s.disk.room, Failing: s.disk.logFailing,
			Damaged: s.disk.logDamaged})
	}
	if err != nil {
		return fmt.Errorf("open the data folder: %w", err)
	}
	attempts, err := s.logs.Open("provisioning.attempts", s.config.Attempts.options())
	if err != nil {
		return fmt.Errorf("open the registration attempts: %w", err)
	}
	s.audit = audit.Open(s.documents, s.config.Now)
	if s.issuer, err = issuance.Open(ctx,
		issuance.Config{Documents: s.documents, Now: s.config.Now, Trusted: s.clock.Trusted, Earliest: s.clock.Earliest,
			Exact: s.config.Exact, Audit: s.audit}); err != nil {
		return err
	}
	if err := s.openHubs(ctx); err != nil {
		return err
	}
	var local []linkedhub.Hub
	for _, h := range s.hubs.All() {
		local = append(local, localHub{h})
	}
	scope, err := s.idScope(ctx)
	if err != nil {
		return err
	}
	s.provisioning, err = provisioning.Open(ctx, provisioning.Config{
		IDScope:   scope,
		Host:      s.config.Host,
		Documents: s.documents,
		Attempts:  attempts,
		Hubs:      local,
		Reach:     s.outgoing.newRemoteHub,
		Issuer:    s.issuer,
		Webhook:   newWebhook(s.config.Webhooks),
		Outgoing:  s.outgoing.begin,
		Pace:      s.config.Pace,
		Limits:    s.config.Limits,
		Replace:   s.config.Replace,
		Audit:     s.audit,
		Node:      s.config.node.name,
		Now:       s.config.Now,
		Trusted:   s.clock.Trusted,
		Logger:    s.config.Logger,
		Panics:    s.panics,
	})
	if err != nil {
		return err
	}
	if s.stopReceiving, err = s.config.node.bus.Receive(revocations, s.endRevokedConnections); err != nil {
		return fmt.Errorf("listen to what other nodes revoke: %w", err)
	}
	s.issuer.OnRevoke(s.distributeRevocation)
	return nil
}

// revocations is the topic on the bus of what was revoked, an issuance.Revocation as JSON.
const revocations = "revocations"

// endRevokedConnections ends the connections to this node that what was revoked at any
// node had let in. A node that is not reached keeps its own until they end: it would let
// them in no more.
func (s *Server) endRevokedConnections(message []byte) {
	var revocation issuance.Revocation
	if err := json.Unmarshal(message, &revocation); err != nil {
		s.config.Logger.Error("a revocation of another node can't be read", "error", err)
		return
	}
	for _, h := range s.hubs.All() {
		h.Connections().EndRevoked(revocation)
	}
}

// distributeRevocation takes what was revoked from those who use it: at once from the
// nodes of this service, and as fast as they answer from hubs elsewhere, for as long as the
// server runs.
func (s *Server) distributeRevocation(revocation issuance.Revocation) {
	message, err := json.Marshal(revocation)
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), cluster.RequestTimeout)
		err = s.config.node.bus.Broadcast(ctx, revocations, message)
		cancel()
	}
	if err != nil {
		s.config.Logger.Error("a revocation has not reached other nodes", "thumbprint",
			revocation.Thumbprint, "authority", revocation.Authority,
			"registrationId", revocation.RegistrationID, "error", err)
		s.endRevokedConnections(message)
	}
	s.serving.Go(func() {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		s.serving.Go(func() {
			defer cancel()
			select {
			case <-s.ending:
			case <-ctx.Done():
			}
		})
		err := s.panics.Do(panics.Background, func() error { return s.provisioning.Revoked(ctx, revocation) })
		if err != nil {
			s.config.Logger.Error("a revocation has not reached all hubs elsewhere", "thumbprint",
				revocation.Thumbprint, "authority", revocation.Authority,
				"registrationId", revocation.RegistrationID, "error", err)
		}
	})
}

// openDocuments returns no typed nil.
func openDocuments(ctx context.Context, dir string, options pebble.Options) (store.Documents, error) {
	documents, err := pebble.OpenContext(ctx, dir, options)
	if err != nil {
		return nil, err
	}
	return documents, nil
}

// openLogs returns no typed nil.
func openLogs(dir string, options segment.Options) (store.Logs, error) {
	logs, err := segment.Open(dir, options)
	if err != nil {
		return nil, err
	}
	return logs, nil
}

// Where the ID scope is kept.
const (
	settingsRecords = "server/settings"
	scopeRecord     = "idScope"
)

// idScope returns the ID scope, which the first start draws.
func (s *Server) idScope(ctx context.Context) (string, error) {
	settings := store.NewTable[string](s.documents, settingsRecords)
	var random [4]byte
	rand.Read(random[:]) // never fails, see crypto/rand
	_, err := s.documents.Commit(ctx, settings.Put(scopeRecord, store.Absent, fmt.Sprintf("0ne%X", random)))
	if _, exists := store.IsConflict(err); err != nil && !exists {
		return "", fmt.Errorf("draw an ID scope: %w", err)
	}
	scope, _, err := settings.Get(ctx, scopeRecord)
	if store.IsUnreadable(err) || err == nil && scope == "" {
		return "", fmt.Errorf("the ID scope, by which devices name this service, is lost: "+
			"restore the data folder from a backup (%w)",
			cmp.Or(err, errors.New("the record server/settings \"idScope\" is empty")))
	}
	return scope, err
}

// describe writes down what others need to reach this server.
func (s *Server) describe(ctx context.Context) error {
	caFile, err := filepath.Abs(s.certificates.caFile())
	if err != nil {
		return err
	}
	owner, err := s.provisioning.Access().Owner(ctx)
	if err != nil {
		return err
	}
	info := Info{
		IDScope:                      s.provisioning.IDScope(),
		ProvisioningHost:             s.config.Host,
		CAFile:                       caFile,
		PortalURL:                    fmt.Sprintf("http://127.0.0.1:%d/", portOf(s.listeners.portal)),
		ProvisioningConnectionString: connectionString(s.config.Host, owner),
		Ports: Ports{
			MQTT:   portOf(s.listeners.mqtt),
			HTTPS:  portOf(s.listeners.https),
			Portal: portOf(s.listeners.portal),
		},
	}
	for _, h := range s.hubs.All() {
		if owner, err = h.Access().Owner(ctx); err != nil {
			return err
		}
		info.Hubs = append(info.Hubs, HubInfo{
			Name:             h.Name(),
			Host:             h.Host(),
			ConnectionString: connectionString(h.Host(), owner),
		})
	}
	if err := info.write(s.config.DataDir); err != nil {
		return fmt.Errorf("write down how the server is reached: %w", err)
	}
	s.info.Store(&info)
	return nil
}

// connectionString is that of a policy, "" of none.
func connectionString(host string, policy access.Policy) string {
	if policy.Name == "" {
		return ""
	}
	return credential.ConnectionString{
		HostName:            host,
		SharedAccessKeyName: policy.Name,
		SharedAccessKey:     policy.PrimaryKey,
	}.String()
}

// serve begins to answer on every listener.
func (s *Server) serve() {
	s.mqtt = &mqtt.Server{
		Backend: endpointmqtt.New(endpointmqtt.Config{Provisioning: s.provisioning, Hubs: s.hubs, Exact: s.config.Exact,
			Logger: s.config.Logger, QoS0AnswerDelay: s.config.QoS0AnswerDelay, ConnectFailed: s.connectFailed}),
		Logger: s.config.Logger,

		Panicked: s.panicked,
	}
	for door, listener := range map[panics.Door]*admission.Listener{
		panics.MQTT: s.listeners.mqtt, panics.HTTPS: s.listeners.https,
	} {
		listener.HandshakeFailed = s.handshakeFailed(door)
		listener.Panicked = func(remote net.Addr, value any) { s.panics.Record(door, value, "remote", remote) }
	}
	s.https, s.local = s.newHTTP(header.Handler(s.web())), s.newHTTP(s.operations())
	s.run("MQTT", func() error { return s.mqtt.Serve(s.listeners.mqtt) })
	s.run("HTTPS", func() error { return s.https.Serve(header.Listen(s.listeners.https, maxHeader)) })
	s.run("portal", func() error { return s.local.Serve(s.listeners.portal) })
}

// maxHeader is the size of the largest header of a request, in bytes.
const maxHeader = 32 << 10

// newHTTP is an HTTP server with a limit and a deadline for all that comes.
func (s *Server) newHTTP(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		WriteTimeout:      2 * time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    maxHeader,
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return header.Context(provisioning.WithFailures(admission.Context(ctx, conn)), conn)
		},
		ErrorLog: slog.NewLogLogger(s.config.Logger.Handler(), slog.LevelDebug),
	}
}

func (s *Server) run(name string, serve func() error) {
	s.serving.Go(func() {
		if err := serve(); err != nil && !errors.Is(err, http.ErrServerClosed) {
			s.failed <- fmt.Errorf("%s ended: %w", name, err)
		}
	})
}

// Info returns how the server is reached.
func (s *Server) Info() Info { return *s.info.Load() }

// Failed returns a channel that gets an error when the server can't go on.
func (s *Server) Failed() <-chan error { return s.failed }

// Shutdown stops the server in the reverse order of its start: no new
// connections, then the acknowledgements that are owed, then the services, then
// storage. What is not done when ctx ends is cut off; nothing that was
// acknowledged is lost either way.
func (s *Server) Shutdown(ctx context.Context) error {
	s.ready.Store(false)
	s.stopRenewing()
	s.portal.Close()
	err := s.mqtt.Shutdown(ctx) // also ends WebSockets
	// A reader of telemetry stays until it is sent away.
	quick, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if s.https.Shutdown(quick) != nil {
		err = errors.Join(err, s.https.Close())
	}
	err = errors.Join(err, s.local.Close())
	s.end()
	s.serving.Wait()
	return errors.Join(err, s.closeServices(ctx))
}

func (s *Server) closeServices(ctx context.Context) error {
	defer s.log.Flush()
	s.end()
	s.serving.Wait()
	err := s.listeners.close()
	if s.stopReceiving != nil {
		s.stopReceiving()
	}
	if s.provisioning != nil {
		err = errors.Join(err, s.provisioning.Close(ctx))
	}
	for _, h := range s.hubs.All() {
		err = errors.Join(err, h.Close(ctx))
	}
	if s.logs != nil {
		err = errors.Join(err, s.logs.Close())
	}
	if s.documents != nil {
		err = errors.Join(err, s.documents.Close())
	}
	if s.lastTime != nil {
		err = errors.Join(err, s.lastTime.Close())
	}
	return err
}
