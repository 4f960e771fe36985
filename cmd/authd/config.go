package main

import (
	"errors"
	"time"

	"github.com/chassi-go/chassi/auth/service"
	"github.com/chassi-go/chassi/config"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/ratelimit"
	"github.com/chassi-go/chassi/redis"
	"github.com/chassi-go/chassi/standard"
	"github.com/chassi-go/chassi/standard/amqpserver"
	"github.com/chassi-go/chassi/standard/grpcserver"
	"github.com/chassi-go/chassi/standard/natsembedded"
)

// Config is the configuration of authd.
type Config struct {
	standard.Config
	Auth

	GRPC  grpcserver.Config   `config:"grpc"`
	NATS  natsembedded.Config `config:"nats"`
	AMQP  amqpserver.Config   `config:"amqp"`
	Redis redis.Config        `config:"redis"`

	SignUpRate  ratelimit.Limit `config:"rate_limit.sign_up" default:"1000/1h" help:"rate of sign-ups for each client address (IPv6: /64), failed ones included; off disables the limit"`
	Database    database.Config `config:"database"`
	Hash        Hash            `config:"hash"`
	Idempotency Idempotency     `config:"idempotency"`
	MasterKey   config.Secret   `config:"token.master_key" help:"key that encrypts the stored signing keys and secrets: 32 bytes in hexadecimal or base64 (openssl rand -hex 32); empty stores them unencrypted"`

	OldMasterKey config.Secret `config:"token.old_master_key" help:"previous master key, while the master key is being replaced; see authd key rewrap"`
}

// Validate returns an error if a master key or the database settings are invalid. Tags cannot
// express these rules.
func (c *Config) Validate() error {
	_, err := c.masterKeys()
	return errors.Join(err, c.Database.Validate())
}

// Auth embeds the settings of the auth service, so that their names have no prefix.
type Auth struct{ service.Config }

// Hash contains the limits of password hashing.
type Hash struct {
	Workers int `config:"workers" default:"0" min:"0" max:"1024" help:"number of passwords hashed concurrently, each in argon2.memory_kib of memory; 0 is one for each core"`
	Queue   int `config:"max_queued" default:"0" min:"0" max:"100000" help:"maximum number of logins that wait for a worker; further logins get 503; 0 is sixteen for each worker; one client address (IPv6: /64) can use half of workers and queue"`
}

// Idempotency contains the settings of sign-ups with an Idempotency-Key.
type Idempotency struct {
	Keep  time.Duration `config:"ttl" default:"24h" min:"1m" max:"720h" help:"how long the response of a call with an Idempotency-Key is stored"`
	Store string        `config:"store" default:"database" oneof:"database,redis" help:"where responses are stored; redis is faster, but calls with a key fail while it is unavailable"`
}
