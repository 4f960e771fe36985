// Package amqpapi serves endpoints over AMQP 0.9.1 with RabbitMQ, and implements a client for them.
// docs/brokers.md describes the permissions that servers and clients need.
//
// # Requests
//
// The service auth.v1.Auth has a durable direct exchange auth.v1.Auth and a durable queue
// auth.v1.Auth.requests, which is bound to the exchange with a routing key for each method, such as
// auth.v1.Auth.Me. All instances of the service share the queue. A request has the properties
// reply_to, correlation_id, content_type for its format, and expiration for its timeout;
// docs/guide/messages.md describes all properties and headers. A request without reply_to is
// executed without a response.
//
// A request is acknowledged after its call has ended and its response has been sent or queued, or
// could not be sent. If the instance ends or loses its connection before that, RabbitMQ delivers
// the request again, marked as redelivered. A redelivered request of a [chassi.Idempotent] endpoint
// is acknowledged and then executed; any other redelivered request gets the error [chassi.Aborted]
// with the reason may_have_been_done. A call is therefore executed at most once, unless its endpoint
// is idempotent. A request whose expiration has passed is not executed.
//
// # Responses
//
// Responses use a separate connection, optionally with a separate user ([Responses]). Two kinds of
// addresses are allowed: direct reply-to, and the reply queues of the user that RabbitMQ has
// authenticated as the publisher ([Config].ReplyQueues). A request with another reply_to is not
// executed. A response that cannot be sent is counted and logged.
//
// # Clients
//
// The property user_id, which [Client] sets, identifies the client: RabbitMQ refuses a message
// whose user_id is not the user of the connection, unless that user has the tag impersonator.
// [chassi.Call].PeerName is "amqp:" followed by the user, or only "amqp:" for a request without
// user_id. The header X-Forwarded-For is trusted only from [Config].TrustedClients.
//
// # Limits
//
// At most [Config].MaxConcurrent requests are executed at once, and at most
// [Config].MaxConcurrentPerClient requests of one user, or half as many for all requests without
// user_id together; further requests of the client are refused. In addition, at most
// [Config].MaxConcurrent messages of each work queue are handled at once. The queue of a service
// holds the waiting requests, up to [Config].MaxQueueLength and [Config].MaxQueueBytes; the broker
// rejects further requests. A request has at most 100 headers, of which only text, numbers and
// booleans are read. The body of a response has at most 16 MiB, and the headers of a published
// message have at most 64 KiB.
//
// A message that is larger than the broker's max_message_size results in an error at the client.
// The broker reports this limit only when it refuses a message, and then closes the channel. While
// the limit is unknown, a message that is larger than both 64 KiB and every accepted message
// therefore uses a separate channel, and a response of this size a separate connection.
//
// # Durable work
//
// [Server.Consume] binds an endpoint to a work queue, and a [Publisher] publishes messages to the
// queue; docs/guide/messages.md describes the messages for producers in other languages. The work
// queue NAME is a quorum queue with this name, and has an exchange with the same name for
// publishers. A message whose call has failed waits for MS milliseconds in a queue NAME.retry.MS
// and then returns to NAME. After a permanent error or too many attempts, the message is moved to
// NAME.dead. The broker confirms each move before the message is acknowledged. A work queue holds
// at most a million messages and 1 GiB, and rejects further messages. NAME.dead holds at most
// 100,000 messages and 1 GiB, each message for 30 days, and drops its oldest message when it is
// full.
//
// # Lost connections
//
// Servers and clients reconnect automatically and repeat their declarations. The calls of a client
// that are in flight when its connection is lost fail with [chassi.Unavailable].
package amqpapi
