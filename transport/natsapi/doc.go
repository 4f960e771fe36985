// Package natsapi serves endpoints over NATS, and implements the client.
//
// # Requests
//
// The endpoint "auth.v1.Auth/Me" subscribes to subject auth.v1.Auth.Me, in a queue group, so
// that instances share the load. Each instance supports the discovery of NATS micro services
// (ADR-32): "nats micro ls", "info" and "stats". docs/guide/messages.md describes
// messages and headers. Errors also have the headers Nats-Service-Error and
// Nats-Service-Error-Code, the latter with the number of the code.
//
// At most [Config].MaxConcurrent calls run at once, and MaxQueued wait; further requests are
// refused as Unavailable at once. A stop drains: the requests that have arrived are handled.
//
// # Clients
//
// With [Config].NamedClients, requests arrive on from.NAME.SUBJECT, which the NATS server
// permits only to the client NAME, by a mapping between accounts or by permissions.
// [chassi.Call].PeerName is then "nats:NAME", clients are served in turn, and each has at most
// [Config].MaxConcurrentPerClient of the calls. A [Broker], such as package embedded's, sets
// this up automatically.
//
// Responses use a separate connection, and only [Config].ReplySubjects. A request with another
// reply subject is dropped. docs/brokers.md lists the permissions that services and clients
// need.
//
// # Streams
//
// A stream ([chassi.NewStream]) has one request, and many replies with these headers:
//
//	Stream-Kind          open, then item and heartbeat, and finally end or error
//	Stream-Seq           1, 2, ... for items; for other messages, the number of the last item
//	Stream-Control       with open: the end of the control subject, after the request's subject and a dot
//	Stream-Heartbeat-Ms  with open: the interval of heartbeats
//	Content-Type         with item: as that of the request, or JSON for an item without a value
//
// An error has the headers and the body of an error of a call. An error before the stream is
// open is the only reply; an end without an open means that there is nothing to send. A number
// that does not follow means that messages were lost. The last message is followed by an empty
// message without headers, the sentinel of ADR-47 of NATS; apart from it, only end is empty.
//
// A client publishes to the control subject, which only it has received, with Stream-Kind "read"
// and with the number of the last item that it has read in Stream-Seq, or with Stream-Kind
// "cancel". The server sends at most 64 items more than were read, and none while 1 MiB of items
// is unread: a client sends "read" after each 32 items or 512 KiB. It also sends "read" in each
// interval of heartbeats, even if it has read no further item: after three intervals without "read",
// the stream ends. A client that never sends "read" receives the first 64 items or 1 MiB of a
// stream, within three intervals of heartbeats (45 s by default). That is enough for a short stream;
// this command shows the items that arrive within ten seconds:
//
//	nats req --replies=0 --timeout=10s quotes.v1.Quotes.Export '{}'
//
// The example shows a program that reads any stream.
//
// An open stream does not count for [Config].MaxConcurrent. [Config].Streams limits the number of
// open streams. When a connection is lost, streams end as [chassi.Unavailable] or
// [chassi.DataLoss].
//
// # Durable work
//
// [Server.Consume] binds an endpoint to a work queue of JetStream: a message is acknowledged after
// its call has succeeded. It is tried again later after a temporary error, and becomes a dead
// letter, on the subject dead.NAME, after a permanent error or too many attempts. Delivery is at
// least once; JetStream drops a message that was published under the same id within two minutes.
// The names of subjects and streams begin with [Config].Prefix; docs/guide/messages.md lists them,
// with the rules for producers in other languages.
package natsapi
