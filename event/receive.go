package event

import (
	"context"
	"errors"
	"path"

	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/internal/task"
)

// receivers is the prefix of the names of the lease groups of subscriptions. Each group has one
// lease. The node that owns the lease receives the messages of the subscription.
const receivers = "receive/"

// receive stores the messages of a subscription as tasks, whenever this node owns the lease of the
// subscription. It returns when ctx is done.
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

// receiveAs receives the messages of a subscription after its stored position and stores them as
// tasks, as long as the session owns the lease of the subscription. It returns the error that
// prevented or ended the delivery.
func (s *Server) receiveAs(ctx context.Context, sub *Subscription, session string) error {
	position, err := s.position(ctx, sub)
	if err != nil {
		return err
	}
	return s.o.Backend.Receive(ctx, sub.topic.name, sub.name, position, func(ctx context.Context, messages []Message) error {
		return s.deliver(ctx, sub, session, messages)
	})
}

// errReceiver means that this node does not own the lease of a subscription, so that another node
// may receive the messages of the subscription.
var errReceiver = errors.New("event: this node does not own the lease of the subscription")

// deliver stores messages as tasks, except for those that the inbox already contains, and stores
// the position of the last message in the same transaction. It ignores messages whose target is
// another subscription, and ignores and logs invalid messages. It returns errReceiver if the
// session does not own the lease of the subscription.
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

// own returns errReceiver if the session does not own the lease. Otherwise it prevents other
// sessions from taking the lease before the transaction ends.
func (s *Server) own(ctx context.Context, tx *database.Tx, lease, session string) error {
	var one int
	err := tx.QueryRow(ctx, s.sql.own, lease, session).Scan(&one)
	if errors.Is(err, database.ErrNotFound) {
		return errReceiver
	}
	return err
}

// insert stores a message as a task of the subscription, unless the inbox already contains the
// message. It returns the key of the task and whether the message is new.
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
