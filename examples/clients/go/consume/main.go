// A consumer, with pgx: fetch, work and ack in one transaction, so that each event counts once.
//
//	go run ./consume CONSUMER      until SIGTERM; PGHOST, PGDATABASE etc. say where the store is
package main

import (
	"context"
	"errors"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

type event struct {
	Position int64
	Stream   string
	Type     string
	Data     struct {
		Amount int64 `json:"amount"`
	}
	Token int64
}

func enter(ctx context.Context, tx pgx.Tx, e event) error {
	amount := e.Data.Amount
	if e.Type != "Deposited" {
		amount = -amount
	}
	_, err := tx.Exec(ctx, "INSERT INTO ledger VALUES ($1, $2, $3)", e.Position, e.Stream, amount)
	return err
}

func work(ctx context.Context, tx pgx.Tx, subscription, consumer string) error {
	fetch := "SELECT position, stream, type, data, token FROM es_fetch($1, $2, max_count => 100, wait => '1 s')"
	rows, _ := tx.Query(ctx, fetch, subscription, consumer)
	events, err := pgx.CollectRows(rows, pgx.RowToStructByPos[event])
	if err != nil || len(events) == 0 {
		return err
	}
	for _, e := range events {
		if err := enter(ctx, tx, e); err != nil {
			return err
		}
	}
	last := events[len(events)-1]
	_, err = tx.Exec(ctx, "SELECT es_ack($1, $2, $3)", subscription, last.Token, last.Position)
	return err
}

// The transaction is void and is begun again: the lease is lost, a deadlock, a serialization failure.
func isToBeginAgain(err error) bool {
	var failure *pgconn.PgError
	return errors.As(err, &failure) && (failure.Code == "SE005" || failure.Code == "40P01" || failure.Code == "40001")
}

func main() {
	ctx := context.Background()
	stopping, _ := signal.NotifyContext(ctx, syscall.SIGTERM)
	conn, err := pgx.Connect(ctx, "")
	for err == nil && stopping.Err() == nil {
		err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return work(ctx, tx, "ledger", os.Args[1]) })
		if isToBeginAgain(err) {
			err = nil
		}
	}
	if err == nil {
		_, err = conn.Exec(ctx, "SELECT es_release($1, $2)", "ledger", os.Args[1])
	}
	if err != nil {
		log.Fatal(err)
	}
}
