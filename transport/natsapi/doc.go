// Package natsapi serves endpoints over NATS, and calls them there.
//
// # Requests
//
// The endpoint "auth.v1.Auth/Me" listens on subject auth.v1.Auth.Me, in a queue
// group, so that instances share the load. Each instance answers the discovery of
// NATS micro services (ADR-32): "nats micro ls", "info" and "stats" show it.
// Messages and headers are those of package message; errors carry the headers
// Nats-Service-Error and Nats-Service-Error-Code besides, the latter with the
// number of the code.
//
// At most [Config].MaxConcurrent calls run at once, and MaxQueued wait; further
// ones are answered Unavailable at once. A stop drains: what has arrived is
// answered.
//
// # Clients
//
// With [Config].NamedClients, requests arrive on from.NAME.SUBJECT, which the NATS
// server lets no client but NAME use: by a mapping between accounts or by
// permissions. Then [chassi.Call].PeerName is "nats:NAME", clients take turns, and
// none has more than [Config].MaxClientShare of the calls. A [Broker], such as
// package embedded's, does that by itself.
//
// Answers go over a connection of their own, to [Config].ReplySubjects only. A
// request that names another reply subject is dropped. docs/brokers.md lists the
// rights that services and clients need.
//
// # Durable work
//
// [Server.Consume] binds an endpoint to a work queue of JetStream: the message is
// acknowledged after the call succeeded, tried again later after a fault that may
// pass, and put aside on the subject NAME.dead after a permanent one or too many
// tries. Delivery is at least once; [Client.Publish] drops a message that was
// published under the same id within two minutes.
package natsapi
