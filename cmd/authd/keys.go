package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/chassi-go/chassi/auth/service"
	"github.com/chassi-go/chassi/config"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/standard"
	"github.com/chassi-go/chassi/token"
)

// masterKeys contains the keys in the settings token.master_key and token.old_master_key. A key
// that is not set is nil.
type masterKeys struct{ current, old []byte }

func (c *Config) masterKeys() (m masterKeys, err error) {
	current, err := parseMasterKey("token.master_key", c.MasterKey)
	old, oldErr := parseMasterKey("token.old_master_key", c.OldMasterKey)
	return masterKeys{current, old}, errors.Join(err, oldErr)
}

func parseMasterKey(setting string, secret config.Secret) ([]byte, error) {
	text := secret.Reveal()
	if text == "" {
		return nil, nil
	}
	key, err := token.ParseMasterKey(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", setting, err)
	}
	return key, nil
}

func keyList(ctx context.Context, p *program) error {
	return p.withReader(ctx, func(ctx context.Context, s *service.Service) error {
		keys, err := s.Keys(ctx)
		if err != nil {
			return err //nolint:wrapcheck // says where
		}
		table := tabwriter.NewWriter(p.Out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "KID\tALGORITHM\tENCRYPTED\tSIGNS FROM\tVERIFIES UNTIL")
		for _, k := range keys {
			until := "-"
			if !k.ExpiresAt.IsZero() {
				until = k.ExpiresAt.Format(time.RFC3339)
			}
			fmt.Fprintf(table, "%s\t%s\t%t\t%s\t%s\n", k.ID, k.Algorithm, k.Sealed, k.ActiveAt.Format(time.RFC3339), until)
		}
		return table.Flush() //nolint:wrapcheck // stdout's
	})
}

func keyRotate(ctx context.Context, p *program) error { return p.rotate(ctx, false) }

func keyRevoke(ctx context.Context, p *program) error { return p.rotate(ctx, true) }

func (p *program) rotate(ctx context.Context, revoke bool) error {
	return p.withService(ctx, func(ctx context.Context, s *service.Service) error {
		k, err := s.RotateKey(ctx, revoke)
		if err != nil {
			return refused(err)
		}
		if revoke {
			return p.say("%s signs now; all older keys and their tokens have ended, on every node within seconds", k.ID)
		}
		return p.say("%s signs from %s; older keys verify until their tokens have expired", k.ID, k.ActiveAt.Format(time.RFC3339))
	})
}

func keyRewrap(ctx context.Context, p *program) error {
	return p.withService(ctx, func(ctx context.Context, s *service.Service) error {
		n, err := s.RewrapKeys(ctx)
		if err != nil {
			return refused(err)
		}
		return p.say("%d signing keys are encrypted with token.master_key now", n)
	})
}

func keyReset(ctx context.Context, p *program) error {
	return p.withService(ctx, func(ctx context.Context, s *service.Service) error {
		if p.Config.MasterKey.Reveal() == "" { // probably by mistake; it would invalidate all tokens
			return errors.New("token.master_key is not set; set it to the new master key, which the nodes use; nothing was changed")
		}
		if err := p.confirm("delete all signing keys and end all tokens"); err != nil {
			return err
		}
		k, err := s.ResetKeys(ctx)
		if err != nil {
			return refused(err)
		}
		return p.say("%s signs now; all older keys and their tokens have ended. Restart nodes that have another master key", k.ID)
	})
}

// refused returns err, the error of a change of the stored keys, with a note that nothing was
// changed or, after [database.ErrCommitUnknown], with advice to check the keys. For
// [service.ErrMasterKey] the note contains a hint.
func refused(err error) error {
	switch {
	case errors.Is(err, service.ErrMasterKey):
		return fmt.Errorf("%w; nothing was changed, for the nodes could not have opened the result. "+
			"Set token.master_key to the value that the nodes run with; if that is lost, run authd key reset", err)
	case errors.Is(err, database.ErrCommitUnknown):
		return fmt.Errorf("%w; check the keys with authd key list before you repeat the command", err)
	default:
		return fmt.Errorf("%w; nothing was changed", err)
	}
}

// watchKeys adds the state of the signing keys on this node to the readiness status and to the
// metrics. The readiness status fails if no key is usable.
func watchKeys(app *standard.App, s *service.Service) error {
	app.AddCheck("signing_key", s.CheckKeys)
	app.AddStatus("keys", func() (status, detail string) {
		keys := s.KeyStatus()
		switch {
		case !keys.Loaded:
			return "unknown", keys.Text
		case keys.Unreadable > 0:
			return "degraded", keys.Text
		}
		return "ok", keys.Text
	})
	const name, help = "authd_signing_keys", "Stored signing keys, as this node can use them."
	return app.Telemetry.RegisterGauges(name, help, "state", func() map[string]float64 { //nolint:wrapcheck // says where
		status := s.KeyStatus()
		if !status.Loaded { // the database is unavailable: the master key may be right
			return nil
		}
		return map[string]float64{"usable": float64(status.Usable), "unreadable": float64(status.Unreadable), "plain": float64(status.Plain)}
	})
}
