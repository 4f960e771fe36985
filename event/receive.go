package event

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/internal/task"
	"github.com/chassi-go/chassi/transport"
)

// receive stores the messages of a subscription as tasks, while this node has the lease for that.
func (s *Server) receive(ctx context.Context, sub *Subscription) {
	lease := "receive/" + sub.name
	for pause(ctx, s.o.Poll) {
		held, session, err := s.engine.Hold(ctx, lease)
		position := ""
		if err == nil && held {
			position, err = s.position(ctx, sub)
		}
		if err == nil && held {
			err = s.o.Backend.Receive(ctx, sub.topic.name, sub.name, position, func(ctx context.Context, messages []Message) error {
				return s.deliver(ctx, sub, lease, session, messages)
			})
		}
		if err != nil && ctx.Err() == nil && !errors.Is(err, errReceiver) {
			s.outages.Failed(err)
		}
	}
}

// errReceiver means that another node receives.
var errReceiver = errors.New("event: another node receives the messages of the subscription")

// maxID is the maximum length of an id in bytes.
const maxID = 100

// check returns an error for a message that no program of this version sends, and that could not
// be stored.
func (m Message) check() error {
	switch {
	case m.ID == "" || len(m.ID) > maxID || !transport.IsMetadataValue(m.ID):
		return fmt.Errorf("the id %.200q: want 1 to %d printable ASCII characters", m.ID, maxID)
	case len(m.Replay) > maxID || !transport.IsMetadataValue(m.Replay):
		return fmt.Errorf("the replay %.200q: want at most %d printable ASCII characters", m.Replay, maxID)
	case len(m.Key) > maxKey || !utf8.ValidString(m.Key) || strings.ContainsRune(m.Key, 0):
		return fmt.Errorf("the key %.200q: want at most %d bytes of UTF-8 without NUL", m.Key, maxKey)
	case len(m.Body) > MaxBody:
		return fmt.Errorf("a body of %d bytes, more than %d", len(m.Body), MaxBody)
	}
	return transport.CheckMetadata(&m.Headers)
}

// deliver stores messages that the inbox does not have, in one transaction.
func (s *Server) deliver(ctx context.Context, sub *Subscription, lease, session string, messages []Message) error {
	var keys []task.Key
	var received, duplicate int
	err := s.db.WriteShared(ctx, func(ctx context.Context, tx *database.Tx) error {
		keys, received, duplicate = keys[:0], 0, 0
		if err := s.own(ctx, tx, lease, session); err != nil {
			return err
		}
		for _, m := range messages {
			if !s.isFor(ctx, sub, m) {
				continue
			}
			key, isNew, err := s.insert(ctx, tx, sub, m)
			if err != nil {
				return err
			}
			if !isNew {
				duplicate++
				continue
			}
			received++
			if key != "" {
				keys = append(keys, task.Key{Queue: sub.name, Key: key})
			}
		}
		_, err := tx.Exec(ctx, "UPDATE chassi_subscriptions SET position = $2 WHERE name = $1", sub.name, messages[len(messages)-1].Position)
		return err
	})
	if err != nil {
		return err
	}
	s.outages.Succeeded()
	for range received {
		s.o.Observe("received")
	}
	for range duplicate {
		s.o.Observe("duplicate")
	}
	err = s.engine.Advance(ctx, keys...)
	s.engine.Notify()
	return err
}

// isFor reports whether a message is an event for the subscription.
func (s *Server) isFor(ctx context.Context, sub *Subscription, m Message) bool {
	if m.Target != "" && m.Target != sub.name {
		return false
	}
	if err := m.check(); err != nil {
		s.o.Logger.ErrorContext(ctx, "events: an invalid message is ignored", "subscription", sub.name, "error", err.Error())
		return false
	}
	return true
}

// own returns an error unless the session has the lease, and keeps others from taking it before
// the end of the transaction.
func (s *Server) own(ctx context.Context, tx *database.Tx, lease, session string) error {
	query := "SELECT owner FROM chassi_leases WHERE name = $1"
	if s.db.Dialect() == database.Postgres {
		query += " FOR KEY SHARE"
	}
	var owner string
	if err := tx.QueryRow(ctx, query, lease).Scan(&owner); err != nil && !errors.Is(err, database.ErrNotFound) {
		return err
	}
	if owner != session {
		return errReceiver
	}
	return nil
}

// insert stores a message as a task of the subscription, unless the inbox has it. It returns the
// key of the task.
func (s *Server) insert(ctx context.Context, tx *database.Tx, sub *Subscription, m Message) (key string, isNew bool, err error) {
	id := m.ID
	if m.Replay != "" {
		id = m.Replay + "/" + m.ID
	}
	n, err := tx.Exec(ctx, s.sql.receive, sub.name, id)
	if err != nil || n == 0 {
		return "", false, err
	}
	row := task.New{Queue: sub.name, UID: m.ID, Hold: sub.hold, Headers: m.Headers, Body: m.Body}
	if sub.ordered {
		row.Key = m.Key
	}
	_, err = task.Insert(ctx, tx, row)
	return row.Key, true, err
}
