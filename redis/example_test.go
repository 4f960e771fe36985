package redis_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/chassi-go/chassi/redis"
)

// A script counts calls on a server that several nodes share. While the server is unavailable,
// as here, the caller uses its fallback: each node counts separately.
func ExampleDB_Run() {
	db, err := redis.Open(redis.Config{
		URL: "redis://127.0.0.1:1", Prefix: "shop:", Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()

	increment := redis.NewScript("increment", `return redis.call("INCRBY", KEYS[1], ARGV[1])`)
	var local atomic.Int64
	count := func(ctx context.Context) (total int64, source string) {
		numbers, err := db.Run(ctx, increment, []string{"orders"}, []string{"1"})
		if errors.Is(err, redis.ErrUnavailable) {
			return local.Add(1), "this node"
		}
		return numbers[0], "all nodes"
	}
	fmt.Println(count(context.Background()))
	fmt.Println(count(context.Background()))
	// Output:
	// 1 this node
	// 2 this node
}
