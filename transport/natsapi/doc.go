// Package natsapi serves endpoints over NATS, and implements a client for them.
//
// # Requests
//
// For the endpoint "auth.v1.Auth/Me", a server subscribes to the subject auth.v1.Auth.Me, in a
// queue group, so that the instances of the service share the requests. Each instance supports the
// discovery of NATS micro services (ADR-32): "nats micro ls", "info" and "stats".
// docs/guide/messages.md describes messages and headers. An error also has the headers
// Nats-Service-Error, with its message, and Nats-Service-Error-Code, with the number of its code.
//
// At most [Config].MaxConcurrent calls run at once, and at most [Config].MaxQueued calls wait;
// further requests are refused immediately with [chassi.Unavailable]. Before [Server.Stop]
// disconnects, it handles the requests that have arrived.
//
// # Clients
//
// With [Config].NamedClients, requests arrive on from.NAME.SUBJECT, where the NATS server permits
// only the client NAME to publish, by a mapping between accounts or by permissions.
// [chassi.Call].PeerName is then "nats:NAME". The server serves the clients in turn, and runs at
// most [Config].MaxConcurrentPerClient calls of one client at once. A [Broker], such as the server
// of package embedded, provides these subjects automatically.
//
// Responses use a separate connection, and are sent only to subjects that match
// [Config].ReplySubjects. A request with another reply subject is dropped. docs/brokers.md lists
// the permissions that services and clients need.
//
// # Streams
//
// A stream ([chassi.NewStream]) has one request and many replies. The replies have these headers:
//
//	Stream-Kind          open, then item and heartbeat, and finally end or error
//	Stream-Seq           1, 2, ... for items; for other messages, the number of the last item
//	Stream-Control       with open: the control subject is the request's subject, a dot and this
//	Stream-Heartbeat-Ms  with open: the interval of heartbeats
//	Content-Type         with item: as that of the request, or JSON if the encoding would be empty
//
// An error has the headers and the body of an error of a call. An error before the stream is open
// is the only reply. An end without a preceding open means that there is nothing to send. A gap in
// the numbers means that messages were lost. The last message is followed by an empty message
// without headers, the sentinel of ADR-47 of NATS; of all other messages, only end has an empty
// body.
//
// The client controls the stream with messages to the control subject, which no other client has
// received. A message with Stream-Kind "read" has the number of the last item that the client has
// read in Stream-Seq; a message with Stream-Kind "cancel" ends the stream. The server sends no item
// while 64 items, or items of 1 MiB in total, are unread, so the client sends "read" after each 32
// items or 512 KiB. The client also sends "read" in each heartbeat interval, even if it has read no
// further item: the server ends the stream after three intervals without "read".
//
// A client that never sends "read" receives the first 64 items or 1 MiB of a stream, within three
// heartbeat intervals (45 s by default). That is enough for a short stream; this command shows the
// items that arrive within ten seconds:
//
//	nats req --replies=0 --timeout=10s quotes.v1.Quotes.Export '{}'
//
// The example of the package shows a program that reads any stream.
//
// An open stream does not count toward [Config].MaxConcurrent. [Config].Streams limits the number
// of open streams. When a connection is lost, streams end with [chassi.Unavailable] or
// [chassi.DataLoss].
//
// # Durable work
//
// [Server.Consume] binds an endpoint to a work queue of JetStream. A message is acknowledged after
// its call has succeeded. After a temporary error, the message is delivered again later. After a
// permanent error or too many attempts, it is moved to the dead letters, on the subject dead.NAME.
// Each instance makes at most [Config].MaxConcurrent calls for each work queue at once, in addition
// to the calls of requests. Delivery is at least once; JetStream drops a message whose ID was
// already published within the last two minutes. The names of subjects and streams begin with
// [Config].Prefix; docs/guide/messages.md lists them, with the rules for producers in other
// languages.
package natsapi
