package job_test

import (
	"context"
	"fmt"

	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/job"
)

type Mail struct {
	To string `json:"to"`
}

// A run is added in the transaction that stores its cause.
func Example() {
	ctx := context.Background()
	db, err := database.Open(ctx, database.Config{URL: "sqlite::memory:"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = db.Close() }()

	sent := make(chan string)
	sendMail := job.New("send_mail", func(_ context.Context, m *Mail) error {
		sent <- m.To
		return nil
	}, job.Tries(10))

	server := job.NewServer(db, job.Options{}) // in a program, jobs.Add of package standard/jobs
	if err := server.Add(nil, sendMail); err != nil {
		fmt.Println(err)
		return
	}
	if err := server.Start(ctx); err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = server.Stop(ctx) }()

	err = db.Write(ctx, func(ctx context.Context, tx *database.Tx) error {
		_, err := sendMail.Enqueue(ctx, tx, &Mail{To: "ada@example.org"}, job.Unique("ada@example.org"))
		return err
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("sent to", <-sent)
	// Output: sent to ada@example.org
}
