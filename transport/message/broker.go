package message

// BrokerStats are the figures of a server or client of a message broker, for metrics.
type BrokerStats struct {
	Connected    map[string]bool   // by connection: "requests", "answers", "work", "client"
	Reconnects   map[string]uint64 // of each connection, after its first success
	Consumers    int               // queues and subjects that are consumed now
	InFlight     int               // calls and messages that are worked on
	DeadLettered map[string]uint64 // messages given up, by work queue
}
