package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/chassi-go/chassi/transport/natsapi/embedded"
)

// natsClients are the clients of the NATS server in authd.
func (p *program) natsClients() embedded.Credentials {
	return embedded.Credentials(p.config.NATS.Embedded.CredentialsDir)
}

func natsAdd(_ context.Context, p *program) error {
	seedFile, err := p.natsClients().Add(p.args[0])
	if err != nil {
		return err //nolint:wrapcheck // says which client
	}
	return p.say("added %s; it connects with: nats --server nats://%s --nkey %s", p.args[0], p.config.NATS.Embedded.Addr, seedFile)
}

func natsRemove(_ context.Context, p *program) error {
	if err := p.natsClients().Remove(p.args[0]); err != nil {
		return err //nolint:wrapcheck // says which client
	}
	return p.say("removed %s", p.args[0])
}

func natsList(_ context.Context, p *program) error {
	clients, err := p.natsClients().List()
	if err != nil {
		return err //nolint:wrapcheck // says where
	}
	table := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tPUBLIC KEY")
	for _, c := range clients {
		fmt.Fprintf(table, "%s\t%s\n", c.Name, c.PublicKey)
	}
	return table.Flush() //nolint:wrapcheck // stdout's
}
