package event

import (
	"context"
	"errors"
	"path"

	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/internal/task"
)

// receivers is the prefix of the names of the lease groups of subscriptions. Each group has one
// lease, and the node that owns it receives the messages of the subscription.
const receivers = "receive/"

// receive stores the messages of a subscription as tasks, whenever this node has the lease for it,
// until ctx ends.
func (s *Server) receive(ctx context.Context, sub *Subscription) {
	for task.Sleep(ctx, s.o.Poll) {
		owned, session, err := s.engine.Share(ctx, receivers+sub.name, 1)
		if err == nil && len(owned) > 0 {
			err = s.receiveAs(ctx, sub, session)
		}
		if err != nil && ctx.Err() == nil && !errors.Is(err, errReceiver) {
			s.outages.Failed(err)
		}
	}
}

// receiveAs receives the messages of a subscription from its stored position on, and stores them
// while the session has the lease.
func (s *Server) receiveAs(ctx context.Context, sub *Subscription, session string) error {
	position, err := s.position(ctx, sub)
	if err != nil {
		return err
	}
	return s.o.Backend.Receive(ctx, sub.topic.name, sub.name, position, func(ctx context.Context, messages []Message) error {
		return s.deliver(ctx, sub, session, messages)
	})
}

// errReceiver means that another node receives the messages of the subscription.
var errReceiver = errors.New("event: another node receives the messages of the subscription")

// deliver stores the messages that the inbox does not have as tasks, together with the position, in
// one transaction. It ignores messages for other subscriptions, and logs how many invalid messages
// it has ignored.
func (s *Server) deliver(ctx context.Context, sub *Subscription, session string, messages []Message) error {
	var keys []task.Key
	var received, duplicate, invalid int
	var last error
	err := s.db.WriteShared(ctx, func(ctx context.Context, tx *database.Tx) error {
		keys, received, duplicate, invalid = keys[:0], 0, 0, 0
		if err := s.own(ctx, tx, receivers+sub.name+"/0", session); err != nil {
			return err
		}
		for _, m := range messages {
			if err := m.read(); err != nil {
				invalid, last = invalid+1, err
				continue
			}
			if m.target != "" && m.target != sub.name {
				continue
			}
			key, isNew, err := s.insert(ctx, tx, sub, &m)
			if err != nil {
				return err
			}
			if !isNew {
				duplicate++
				continue
			}
			received++
			keys = append(keys, task.Key{Queue: sub.name, Key: key})
		}
		_, err := tx.Exec(ctx, "UPDATE chassi_subscriptions SET position = $2 WHERE name = $1", sub.name, messages[len(messages)-1].Position)
		return err
	})
	if err != nil {
		return err
	}
	s.outages.Succeeded()
	if invalid > 0 {
		s.o.Logger.ErrorContext(ctx, "events: invalid messages are ignored", "subscription", sub.name, "messages", invalid, "error", last.Error())
	}
	s.observe.Count("received", received)
	s.observe.Count("duplicate", duplicate)
	err = s.engine.Advance(ctx, keys...)
	s.engine.Notify()
	return err
}

// own returns an error unless the session has the lease, and keeps other sessions from taking the
// lease before the end of the transaction.
func (s *Server) own(ctx context.Context, tx *database.Tx, lease, session string) error {
	var one int
	err := tx.QueryRow(ctx, s.sql.own, lease, session).Scan(&one)
	if errors.Is(err, database.ErrNotFound) {
		return errReceiver
	}
	return err
}

// insert stores a message as a task of the subscription, unless the inbox has the message already.
// It returns the key of the task, and whether the message is new.
func (s *Server) insert(ctx context.Context, tx *database.Tx, sub *Subscription, m *Message) (key string, isNew bool, err error) {
	n, err := tx.Exec(ctx, s.sql.receive, sub.name, m.ID)
	if err != nil || n == 0 {
		return "", false, err
	}
	row := task.New{Queue: sub.name, UID: path.Base(m.ID), Hold: sub.hold, Headers: m.Headers, Body: m.Body}
	if sub.ordered {
		row.Key = m.key
	}
	_, err = task.Insert(ctx, tx, row)
	return row.Key, true, err
}
