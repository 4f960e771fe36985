package etcd_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chassi-go/chassi/internal/disctest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// member is a real etcd, a process of its own.
type member struct {
	url  string
	args []string
	dir  string
	run  *exec.Cmd
}

// newMembers prepares a cluster of n that is not started.
func newMembers(t *testing.T, n int) []*member {
	t.Helper()
	binary, err := exec.LookPath("etcd")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("the etcd server: %v", err)
		}
		t.Skip("needs the program etcd: install the package etcd-server")
	}
	var initial []string
	members := make([]*member, n)
	for i := range members {
		name, peer := fmt.Sprintf("m%d", i), freeURL(t)
		m := &member{url: freeURL(t), dir: filepath.Join(t.TempDir(), "data")}
		m.args = []string{
			binary, "--name", name, "--data-dir", m.dir, "--log-level", "error", "--listen-client-urls", m.url, "--advertise-client-urls", m.url,
			"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster",
		}
		initial = append(initial, name+"="+peer)
		members[i] = m
		t.Cleanup(func() { m.kill() })
	}
	for _, m := range members {
		m.args = append(m.args, strings.Join(initial, ","))
	}
	return members
}

func freeURL(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

// startEtcd starts one alone.
func startEtcd(t *testing.T) *member {
	t.Helper()
	m := newMembers(t, 1)[0]
	m.start(t)
	m.await(t)
	return m
}

func (m *member) start(t *testing.T) {
	t.Helper()
	m.run = exec.Command(m.args[0], m.args[1:]...)
	if err := m.run.Start(); err != nil {
		t.Fatal(err)
	}
}

// await waits until it has a leader.
func (m *member) await(t *testing.T) {
	t.Helper()
	disctest.Eventually(t, "etcd answers", func() bool { return m.try("/v3/kv/range", `{"key":"YQ=="}`, nil) == nil })
}

// kill is kill -9.
func (m *member) kill() {
	if m.run != nil {
		m.run.Process.Kill()
		m.run.Wait()
		m.run = nil
	}
}

var plain = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

func (m *member) try(path, in string, out any) error {
	response, err := plain.Post(m.url+path, "application/json", strings.NewReader(in))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %d %s", path, response.StatusCode, body)
	}
	if out == nil {
		return nil
	}
	return json.NewDecoder(bytes.NewReader(body)).Decode(out)
}

// do sends "$TEXT$" as base64.
func (m *member) do(t *testing.T, path, in string, out any) {
	t.Helper()
	parts := strings.Split(in, "$")
	for i := 1; i < len(parts); i += 2 {
		parts[i] = base64.StdEncoding.EncodeToString([]byte(parts[i]))
	}
	if err := m.try(path, strings.Join(parts, ""), out); err != nil {
		t.Fatal(err)
	}
}

func (m *member) put(t *testing.T, key, value string) {
	t.Helper()
	m.do(t, "/v3/kv/put", `{"key":"$`+key+`$","value":"$`+value+`$"}`, nil)
}

func (m *member) del(t *testing.T, key string) {
	t.Helper()
	m.do(t, "/v3/kv/deleterange", `{"key":"$`+key+`$"}`, nil)
}

// value returns what is under a key, "" for nothing.
func (m *member) value(t *testing.T, key string) string {
	t.Helper()
	var response struct{ KVs []struct{ Value []byte } }
	m.do(t, "/v3/kv/range", `{"key":"$`+key+`$"}`, &response)
	if len(response.KVs) == 0 {
		return ""
	}
	return string(response.KVs[0].Value)
}

func (m *member) leases(t *testing.T) []string {
	t.Helper()
	var response struct{ Leases []struct{ ID string } }
	m.do(t, "/v3/lease/leases", `{}`, &response)
	var ids []string
	for _, l := range response.Leases {
		ids = append(ids, l.ID)
	}
	return ids
}
