// Package amqpapi serves endpoints over AMQP 0.9.1, as RabbitMQ speaks it, and
// calls them there.
//
// # Requests
//
// A service has a durable queue of its name, bound to the direct exchange
// "chassi" by a routing key for each method: auth.v1.Auth.Me. Instances share the
// queue. A request names reply_to and correlation_id; properties and headers are
// those of package message, with content_type and expiration for format and
// deadline. A message is acknowledged after its answer was sent, so that one whose
// instance died is handled by another: delivery is at least once.
//
// At most [Config].MaxConcurrent calls run at once; the queue keeps the rest.
//
// # Durable work
//
// [Server.Consume] binds an endpoint to a work queue, a quorum queue of its name:
// a message whose call failed goes to a queue NAME.retry.MS to wait and comes back
// from there; after a permanent fault, or too many tries, it goes to NAME.dead.
// Each step is confirmed by the broker before the message is acknowledged.
//
// # Lost connections
//
// Server and client connect again by themselves, declare again what they need,
// and go on. Calls under way at that moment fail Unavailable at the client.
package amqpapi
