package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/chassi-go/chassi/transport/natsapi/embedded"
)

// natsClients returns the credentials of the clients of the embedded NATS server.
func (p *program) natsClients() embedded.Credentials {
	return embedded.Credentials(p.Config.NATS.Embedded.CredentialsDir)
}

func natsAdd(_ context.Context, p *program) error {
	seedFile, err := p.natsClients().Add(p.Args[0])
	if err != nil {
		return err //nolint:wrapcheck // says which client
	}
	return p.say("added %s; it connects with: nats --server nats://%s --nkey %s", p.Args[0], p.Config.NATS.Embedded.Addr, seedFile)
}

func natsRemove(_ context.Context, p *program) error {
	if err := p.natsClients().Remove(p.Args[0]); err != nil {
		return err //nolint:wrapcheck // says which client
	}
	return p.say("removed %s", p.Args[0])
}

func natsList(_ context.Context, p *program) error {
	clients, err := p.natsClients().List()
	if err != nil {
		return err //nolint:wrapcheck // says where
	}
	table := tabwriter.NewWriter(p.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tPUBLIC KEY")
	for _, c := range clients {
		fmt.Fprintf(table, "%s\t%s\n", c.Name, c.PublicKey)
	}
	return table.Flush() //nolint:wrapcheck // stdout's
}
