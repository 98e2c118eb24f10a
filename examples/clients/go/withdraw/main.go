// A command handler, with pgx: read, decide, append; and anew where somebody was faster.
//
// pgx asks the server for the types of parameters: what is not cast is text.
//
//	go run ./withdraw ACCOUNT AMOUNT      PGHOST, PGDATABASE etc. say where the store is
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

type money struct {
	Amount int64 `json:"amount"`
}

func withdraw(ctx context.Context, conn *pgx.Conn, account string, amount int64) (string, error) {
	stream := "account-" + account
	for {
		var version, balance int64
		var kind string
		var data money
		rows, _ := conn.Query(ctx, "SELECT version, type, data FROM es_read($1)", stream)
		_, err := pgx.ForEachRow(rows, []any{&version, &kind, &data}, func() error {
			if kind != "Deposited" {
				data.Amount = -data.Amount
			}
			balance += data.Amount
			return nil
		})
		if err != nil {
			return "", err
		}
		if balance < amount {
			return fmt.Sprintf("refused: there are %d", balance), nil
		}
		err = conn.QueryRow(ctx, "SELECT es_append($1, $2, 'Withdrawn', $3::jsonb)", stream, version, money{amount}).Scan(&version)
		var failure *pgconn.PgError
		if errors.As(err, &failure) && failure.Code == "SE001" { // wrong_expected_version: the decision is out of date
			continue
		}
		return fmt.Sprintf("done: version %d", version), err
	}
}

func main() {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, "")
	if err != nil {
		log.Fatal(err)
	}
	amount, _ := strconv.ParseInt(os.Args[2], 10, 64)
	answer, err := withdraw(ctx, conn, os.Args[1], amount)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(answer)
}
