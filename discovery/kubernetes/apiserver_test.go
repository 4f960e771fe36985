package kubernetes

import (
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type object = map[string]any

// change is an entry of the history that watches are served from.
type change struct {
	version int
	kind    string
	object  object
}

// apiServer is a server that lists and watches EndpointSlices as the Kubernetes API
// Concepts say: versions grow, a watch gets what came after its version, bookmarks if
// it wants them, ERROR with 410 for a version that is too old, and its end after
// timeoutSeconds. It is no Kubernetes.
type apiServer struct {
	server *httptest.Server
	dir    string // of the service account

	mu      sync.Mutex
	token   string
	version int
	oldest  int // version that a watch may begin with
	objects map[string]object
	history []change
	changed chan struct{} // closed with each change
	lists   int
	watches []url.Values
	gone    bool // answer a watch from too old a version by the status 410
	broken  bool // respond with 500
}

func startAPIServer(t *testing.T) *apiServer {
	t.Helper()
	s := &apiServer{version: 100, objects: make(map[string]object), changed: make(chan struct{}), dir: t.TempDir()}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /apis/discovery.k8s.io/v1/namespaces/prod/endpointslices", s.serve)
	s.server = httptest.NewTLSServer(mux)
	t.Cleanup(s.server.Close)
	s.write(t, "ca.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.server.Certificate().Raw})))
	s.write(t, "namespace", "prod\n")
	s.rotate(t, "first")
	return s
}

func (s *apiServer) write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, file), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// rotate makes the server take another token only.
func (s *apiServer) rotate(t *testing.T, token string) {
	t.Helper()
	s.write(t, "token", token+"\n")
	s.set(func(s *apiServer) { s.token = token })
}

func (s *apiServer) getenv(name string) string {
	host, port, _ := strings.Cut(s.server.Listener.Addr().String(), ":")
	return map[string]string{"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}[name]
}

func (s *apiServer) set(f func(*apiServer)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s)
}

// record is called with the lock held.
func (s *apiServer) record(kind string, o object) {
	s.version++
	o["metadata"].(object)["resourceVersion"] = strconv.Itoa(s.version)
	s.history = append(s.history, change{s.version, kind, o})
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *apiServer) apply(name string, o object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kind := "ADDED"
	if s.objects[name] != nil {
		kind = "MODIFIED"
	}
	o["metadata"] = object{"name": name, "namespace": "prod"}
	s.objects[name] = o
	s.record(kind, o)
}

func (s *apiServer) remove(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := object{"metadata": object{"name": name}}
	delete(s.objects, name)
	s.record("DELETED", o)
}

// compact forgets the history.
func (s *apiServer) compact() {
	s.set(func(s *apiServer) { s.version += 10; s.oldest, s.history = s.version, nil })
}

func (s *apiServer) serve(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	s.mu.Lock()
	token, broken := s.token, s.broken
	s.mu.Unlock()
	switch {
	case broken:
		http.Error(w, "etcd is down", http.StatusInternalServerError)
	case r.Header.Get("Authorization") != "Bearer "+token:
		http.Error(w, "Unauthorized", http.StatusUnauthorized)
	case query.Get("labelSelector") != "kubernetes.io/service-name=auth":
		http.Error(w, "the selector is "+query.Get("labelSelector"), http.StatusBadRequest)
	case query.Get("watch") != "":
		s.watch(w, r, query)
	default:
		s.list(w)
	}
}

func (s *apiServer) list(w http.ResponseWriter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lists++
	items := []object{}
	for _, o := range s.objects {
		items = append(items, o)
	}
	json.NewEncoder(w).Encode(object{"kind": "EndpointSliceList", "metadata": object{"resourceVersion": strconv.Itoa(s.version)}, "items": items})
}

func (s *apiServer) watch(w http.ResponseWriter, r *http.Request, query url.Values) {
	from, _ := strconv.Atoi(query.Get("resourceVersion"))
	seconds, _ := strconv.Atoi(query.Get("timeoutSeconds"))
	end := time.After(time.Duration(seconds) * time.Second)
	s.mu.Lock()
	s.watches = append(s.watches, query)
	tooOld, gone := from < s.oldest, s.gone
	s.mu.Unlock()
	if tooOld && gone {
		http.Error(w, "too old resource version", http.StatusGone)
		return
	}
	events := json.NewEncoder(w)
	if tooOld {
		events.Encode(object{"type": "ERROR", "object": object{"kind": "Status", "code": 410, "reason": "Expired"}})
		return
	}
	for {
		w.(http.Flusher).Flush()
		s.mu.Lock()
		changed, news := s.changed, s.since(from)
		for _, c := range news {
			events.Encode(object{"type": c.kind, "object": c.object})
			from = c.version
		}
		s.mu.Unlock()
		w.(http.Flusher).Flush()
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		case <-end:
			return
		}
	}
}

func (s *apiServer) since(version int) []change {
	i := slices.IndexFunc(s.history, func(c change) bool { return c.version > version })
	if i < 0 {
		return nil
	}
	return s.history[i:]
}

// bookmark sends the version to all watches, and discards earlier events.
func (s *apiServer) bookmark() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version += 50
	s.record("BOOKMARK", object{"metadata": object{}})
}

func (s *apiServer) counts() (lists, watches int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lists, len(s.watches)
}
