// Package amqpapi serves endpoints over AMQP 0.9.1, as RabbitMQ speaks it, and
// calls them there. docs/brokers.md has the rights that both sides need.
//
// # Requests
//
// A service has a durable direct exchange of its name, auth.v1.Auth, and a durable queue
// auth.v1.Auth.requests, bound by a routing key for each method: auth.v1.Auth.Me.
// Instances share the queue. A request names reply_to and correlation_id; properties and
// headers are those of package message, with content_type and expiration for format and
// deadline. A request without reply_to is carried out and not answered.
//
// A request is acknowledged after its call and its answer, whatever became of the answer.
// If its instance dies or loses its connection before that, RabbitMQ delivers it again,
// marked as redelivered. Then it is acknowledged first, and carried out if its endpoint is
// [chassi.Idempotent]; its caller is otherwise answered Aborted, reason may_have_been_done.
// So a call is carried out at most once, and one of an idempotent endpoint at most twice.
// A request whose expiration has passed is not carried out.
//
// # Answers
//
// Answers go over a connection of their own, which may have a user of its own
// ([Config].AnswersURL), to two kinds of address: direct reply-to, and the reply queues of
// the user that RabbitMQ has authenticated as the publisher ([Config].ReplyQueues). A
// request with another reply_to is not carried out. An answer that cannot be sent is
// counted and logged.
//
// # Clients
//
// The property user_id names the client: RabbitMQ refuses a message in which it is not the
// user of the connection, unless that user has the tag impersonator. [chassi.Call].PeerName
// is "amqp:" and the user. The header X-Forwarded-For is believed of
// [Config].TrustedClients alone. [Client] sets the property.
//
// # Bounds
//
// At most [Config].MaxConcurrent calls run at once, and [Config].MaxPerClient of one
// client; the queue keeps the rest, up to [Config].MaxQueueLength and
// [Config].MaxQueueBytes, and refuses more to their publisher. A request has at most 100
// headers, of which those that are text are read. An answer has at most 16 MiB, and the
// headers of a message 64 KiB.
//
// # Durable work
//
// [Server.Consume] binds an endpoint to a work queue, a quorum queue of its name with an
// exchange of its name for publishers: a message whose call failed goes to a queue
// NAME.retry.MS to wait and comes back from there; after a permanent fault, or too many
// tries, it goes to NAME.dead. Each step is confirmed by the broker before the message is
// acknowledged. A work queue holds a million messages and 1 GiB and refuses more;
// NAME.dead holds 100,000 for 30 days and drops the oldest.
//
// # Lost connections
//
// Server and client connect again by themselves, declare again what they need,
// and go on. Calls under way at that moment fail Unavailable at the client.
package amqpapi
