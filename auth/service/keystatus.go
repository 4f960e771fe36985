package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"

	"github.com/chassi-go/chassi/auth/store"
	"github.com/chassi-go/chassi/token"
)

// KeyStatus describes which of the stored signing keys a node can use.
type KeyStatus struct {
	Loaded     bool   // whether the keys have been read; if false, only Text is set
	Usable     int    // keys that sign or verify on this node
	Unreadable int    // keys that cannot be decrypted, including those still in use from memory
	Plain      int    // usable keys that are stored without encryption
	Text       string // a description for operators, with the IDs of unreadable keys and the reasons
}

// keyReport is the outcome of loading the keys.
type keyReport struct {
	pending       bool // nothing has been loaded yet
	usable, plain int
	exposed       bool              // a key or secret is stored unencrypted although there is a master key
	unreadable    map[string]string // IDs of the keys that cannot be decrypted, by the header of their tokens
	text          string            // the problems, "" if there are none
}

// problem records that k cannot be decrypted because of err. The parameter held reports whether the
// key stays in use from memory.
func (r *keyReport) problem(k store.SigningKey, err error, held bool) {
	r.unreadable[token.Header(k.ID, token.Algorithm(k.Algorithm), token.Access)] = k.ID
	r.add(fmt.Sprintf("signing key %s: %v", k.ID, err))
	if held {
		r.text += " (in use from memory until this process ends)"
	}
}

func (r *keyReport) add(text string) {
	if r.text != "" {
		r.text += "; "
	}
	r.text += text
}

func (r *keyReport) status() KeyStatus {
	s := KeyStatus{Loaded: !r.pending, Usable: r.usable, Unreadable: len(r.unreadable), Plain: r.plain, Text: r.text}
	if s.Text == "" {
		s.Text = fmt.Sprintf("%d in use", r.usable)
		if r.exposed {
			s.Text += fmt.Sprintf(", %d stored without encryption: run authd key rewrap once every node has token.master_key", r.plain)
		}
	}
	return s
}

// keyState is the state of the stored keys on this node. The fields held and logged may be used
// only between lock and unlock.
type keyState struct {
	loading chan struct{}
	held    map[string]*token.Key // by ID; keys decrypted earlier
	logged  keyReport
	report  atomic.Pointer[keyReport]
}

func newKeyState() *keyState {
	s := &keyState{loading: make(chan struct{}, 1)}
	s.report.Store(&keyReport{pending: true, text: "not loaded yet"})
	return s
}

// lock waits until no other load is running and then begins a load, which unlock ends. It returns
// ctx.Err() if ctx is done first. Loads are serialized so that an older state does not replace a
// newer one.
func (s *keyState) lock(ctx context.Context) error {
	select {
	case s.loading <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *keyState) unlock() { <-s.loading }

// use keeps the loaded keys for later loads and publishes r, the report about them. It logs when
// the problems change, when all of them have ended, and when a key or secret is first found stored
// without encryption although there is a master key.
func (s *keyState) use(ctx context.Context, logger *slog.Logger, keys []*token.Key, r keyReport) {
	s.held = make(map[string]*token.Key, len(keys))
	for _, k := range keys {
		s.held[k.ID] = k
	}
	switch {
	case r.text != "" && r.text != s.logged.text:
		logger.ErrorContext(ctx, "signing keys cannot be opened", "error", r.text, "usable", r.usable, "unreadable", len(r.unreadable))
	case r.text == "" && s.logged.text != "":
		logger.InfoContext(ctx, "all signing keys can be opened again", "usable", r.usable)
	}
	if r.exposed && !s.logged.exposed {
		logger.WarnContext(ctx, "token.master_key is set and signing keys are stored without encryption: run authd key rewrap once every node has it",
			"keys", r.plain)
	}
	s.logged = r
	s.report.Store(&r)
}

// unreadable reports whether the token raw names a key that exists and that this node cannot
// decrypt.
func (s *keyState) unreadable(raw string) bool {
	header, _, _ := strings.Cut(raw, ".")
	return s.report.Load().unreadable[header] != ""
}

// KeyStatus returns the state of the keys when they were last loaded successfully. A node loads them
// every few seconds while the database is available.
func (s *Service) KeyStatus() KeyStatus { return s.keys.report.Load().status() }

// CheckKeys returns an error if this node has no usable key and therefore can neither issue nor
// verify tokens.
func (s *Service) CheckKeys(context.Context) error { return s.anyKey() }

func (s *Service) anyKey() error {
	if r := s.keys.report.Load(); r.usable == 0 {
		return errors.New("no usable signing key: " + r.text)
	}
	return nil
}
