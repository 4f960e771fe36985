package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/smtp"
	"time"

	"github.com/chassi-go/chassi/event"
)

// OrderCreated is the event of a new order. It is published in the transaction that stores the
// order.
type OrderCreated struct {
	ID       string `event:"key"      json:"id"`
	Product  string `json:"product"`
	Quantity int64  `json:"quantity"`
	Total    int64  `json:"total"` // cents
}

// OrdersCreated is the topic of the OrderCreated events, which are kept for seven days.
var OrdersCreated = event.NewTopic[OrderCreated]("orders.v1.OrderCreated", event.Keep(7*24*time.Hour), event.Doc("A customer has placed an order."))

// MailConfig configures the notifications of new orders.
type MailConfig struct {
	Server string `config:"server" help:"host:port of an SMTP server without a login; empty logs instead of mailing"`
	From   string `config:"from"   default:"orders@example.com" help:"sender of mails"`
	To     string `config:"to"     default:"shop@example.com"   help:"address that receives notifications of new orders"`
}

// Mailer notifies the shop of new orders.
type Mailer struct {
	config MailConfig
	logger *slog.Logger
}

// Created sends an email about a new order, or logs the order if no SMTP server is configured. After
// a crash between sending and the end of the event's delivery, the email is sent again with the same
// Message-ID, so that the receiver can recognize it.
func (m *Mailer) Created(ctx context.Context, e *OrderCreated) error {
	if m.config.Server == "" {
		m.logger.InfoContext(ctx, "a new order", "order", e.ID, "event", event.ID(ctx))
		return nil
	}
	text := fmt.Sprintf("Message-ID: <%s@orders>\r\nFrom: %s\r\nTo: %s\r\nSubject: Order %s\r\n\r\n%d %s for %d cents\r\n",
		event.ID(ctx), m.config.From, m.config.To, e.ID, e.Quantity, e.Product, e.Total)
	return m.send(ctx, []byte(text))
}

func (m *Mailer) send(ctx context.Context, text []byte) (err error) {
	host, _, err := net.SplitHostPort(m.config.Server)
	if err != nil {
		return fmt.Errorf("mail.server: %w", err)
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", m.config.Server)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	c, err := smtp.NewClient(conn, host)
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	defer func() { _ = c.Close() }() // a no-op after Quit
	if err := errors.Join(c.Mail(m.config.From), c.Rcpt(m.config.To)); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(text); err != nil {
		return err
	}
	return errors.Join(w.Close(), c.Quit())
}
