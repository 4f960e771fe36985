package event_test

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi/event"
	"github.com/chassi-go/chassi/internal/dbtest"
)

// A database may have a collation that ignores punctuation, as glibc before 2.28 does for most
// languages: events are relayed nevertheless, and nodes that died are noticed.
func TestCollation(t *testing.T) {
	t.Parallel()
	address := dbtest.Postgres(t)
	server := open(t, address)
	name := fmt.Sprintf("chassi_test_%d", rand.Uint64())
	if _, err := server.SQL().ExecContext(t.Context(),
		"CREATE DATABASE "+name+" TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US-u-ka-shifted' LOCALE 'C'"); err != nil {
		if strings.Contains(err.Error(), "SQLSTATE 42601") || strings.Contains(err.Error(), "SQLSTATE 0A000") {
			t.Skipf("the server has no databases with a collation of ICU: %v", err)
		}
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := server.SQL().Exec("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			t.Error(err)
		}
	})
	u, err := url.Parse(address)
	must(t, err)
	u.Path = "/" + name
	db := open(t, u.String())
	var l log
	topic := event.NewTopic[order]("test.v1.Order")
	start(t, db, event.Options{Lease: 3 * time.Second}, topic, event.Subscribe(topic, "sub", l.add))
	_, err = db.Exec(t.Context(), "INSERT INTO chassi_leases (name, owner) VALUES ('node/DEAD', 'DEAD')")
	must(t, err)
	eventually(t, "the dead node is noticed", func() bool {
		return count(t, db, "SELECT count(*) FROM chassi_leases WHERE owner = 'DEAD'") == 0
	})
	publish(t, db, topic, numbered("a", 20)...)
	eventually(t, "all events are handled", func() bool { return l.len() == 20 })
}
