// Package amqpapi serves endpoints over AMQP 0.9.1 with RabbitMQ, and implements the client.
// docs/brokers.md describes the permissions that both sides need.
//
// # Requests
//
// A service has a durable direct exchange with its name, auth.v1.Auth, and a durable queue
// auth.v1.Auth.requests, bound with a routing key for each method: auth.v1.Auth.Me. Instances
// share the queue. A request sets reply_to and correlation_id, and content_type and expiration
// for format and deadline; docs/guide/messages.md describes all properties and headers. A request
// without reply_to is executed without a response.
//
// A request is acknowledged after its call and its response, even if the response cannot be
// sent. If the instance ends or loses its connection before that, RabbitMQ delivers the request
// again, marked as redelivered. A redelivered request is acknowledged first, and executed if
// its endpoint is [chassi.Idempotent]; otherwise the response is Aborted, reason
// may_have_been_done. So a call is executed at most once, but a call of an idempotent endpoint at
// most twice. A request whose expiration has passed is not executed.
//
// # Responses
//
// Responses use a separate connection, optionally with a separate user ([Responses]). Two kinds
// of address are allowed: direct reply-to, and the reply queues of the user that RabbitMQ has
// authenticated as the publisher ([Config].ReplyQueues). A request with another reply_to is not
// executed. A response that cannot be sent is counted and logged.
//
// # Clients
//
// The property user_id names the client: RabbitMQ refuses a message whose user_id is not the
// user of the connection, unless that user has the tag impersonator. [chassi.Call].PeerName is
// "amqp:" and the user. The header X-Forwarded-For is trusted only from
// [Config].TrustedClients. [Client] sets the property.
//
// # Limits
//
// At most [Config].MaxConcurrent calls run at once, and [Config].MaxConcurrentPerClient of one
// client; the queue holds further requests, up to [Config].MaxQueueLength and
// [Config].MaxQueueBytes, and then refuses them. A request has at most 100 headers, of which
// only text, numbers and booleans are read. A response has at most 16 MiB, and the headers of a
// message 64 KiB. A message larger than the broker's max_message_size is an error for the
// client. The broker reports that limit only when it refuses a message and closes the channel,
// so a message larger than all earlier ones uses a separate channel.
//
// # Durable work
//
// [Server.Consume] binds an endpoint to a work queue, and a [Publisher] publishes messages to it;
// docs/guide/messages.md says what producers in other languages send. The work queue NAME is a
// quorum queue with this name, and has an exchange with the same name for publishers. A message
// whose call has failed waits in a queue NAME.retry.MS and returns from there; after a permanent
// error, or too many attempts, it goes to NAME.dead. Each step is confirmed by the broker before the
// message is acknowledged. A work queue holds at most a million messages and 1 GiB, and refuses
// more. NAME.dead holds at most 100,000 messages and 1 GiB, each message for 30 days, and drops the
// oldest.
//
// # Lost connections
//
// Server and client reconnect automatically and repeat their declarations. Calls in flight at
// that moment fail as Unavailable at the client.
package amqpapi
