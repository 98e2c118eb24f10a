// The verbs as pgx calls them: each argument as what a programmer has in his hands. Prints what each call returned.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

type object map[string]any

var id = [16]byte{0x01, 0x93, 0xc0, 0, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, 3}
var later = time.Now().Add(24 * time.Hour)

const query = `[{"tags": ["x"]}]`

type call struct {
	name      string
	sql       string
	arguments []any
}

var calls = []call{
	{"events", "es_append($1, $2, $3::jsonb)", []any{"a-1", 0, []object{{"type": "A"}, {"type": "B"}}}},
	{"an event", "es_append($1, $2, $3, $4, $5, $6)", []any{"a-1", 2, "C", `{"n": 1}`, `{"by": "me"}`, "0193c000-0000-7000-8000-000000000003"}},
	{"its retry", "es_append($1, $2, $3, $4::jsonb, $5::jsonb, $6::uuid)", []any{"a-1", int64(2), "C", object{"n": 1}, object{"by": "me"}, id}},
	{"tags", "es_append($1, $2, $3, $4, $5, $6, $7)", []any{"a-1", 3, "D", `{"n": 1}`, nil, nil, []string{"x"}}},
	{"streams", "version FROM es_append_streams($1)", []any{`[{"stream": "b-1", "expected_version": 0, "events": {"type": "A"}}]`}},
	{"condition", "es_append_if($1, $2, $3, $4)", []any{"c-1", `{"type": "A"}`, query, int64(1) << 40}},
	{"stream", "count(*) FROM es_read($1, $2, $3, $4)", []any{"a-1", 1, 10, false}},
	{"all", "count(*) FROM es_read_all($1, $2, $3)", []any{0, 100, []string{"A", "B"}}},
	{"query", "count(*) FROM es_read_query($1, $2, $3)", []any{query, 0, 10}},
	{"as of", "count(*) FROM es_stream_as_of($1, $2)", []any{"a-1", later}},
	{"position", "es_position_at($1) = es_head()", []any{later}},
	{"wait", "es_wait($1, $2, $3) > 0", []any{0, time.Second, "a"}},
	{"snapshot", "es_save_snapshot($1, $2, $3, $4)::text", []any{"a-1", 3, `{"n": 3}`, 2}},
	{"load", "version FROM es_load_json($1, $2)", []any{"a-1", 2}},
	{"fold", "es_fold($1, $2, $3)::text", []any{"a-1", "counted", "0"}},
	{"subscription", "es_create_subscription($1, $2, $3, $4, $5, $6, $7)::text", []any{"s", "a", []string{"A", "B"}, 0, 8, 3, time.Minute}},
	{"fetch", "count(*) FROM es_fetch($1, $2, $3, $4)", []any{"s", "me", 100, "1 s"}},
	{"nack", "es_nack($1, token, position, $2, $3, $4)::text FROM es_fetch($1, $5) LIMIT 1", []any{"s", "why", "park", time.Second, "me"}},
	{"replay", "es_replay_parked($1, $2::bigint)", []any{"s", 5}},
	{"ack", "es_ack($1, max(token), max(position))::text FROM es_fetch($1, $2)", []any{"s", "me"}},
	{"protect", "es_reveal(es_protect($1, $2))::text", []any{"ada", `"secret"`}},
	{"projection", "es_create_state_projection($1, $2, $3)::text", []any{"counts", "counted", "0"}},
	{"projection at a time", "es_projection_as_of($1, $2, $3, $4)", []any{"counts", "counts_then", nil, later}},
	{"redact", "es_redact($1::uuid, $2, $3)::text", []any{id, "a test", []string{"n"}}},
	{"retention", "es_set_retention($1, $2, $3)::text", []any{"a", 365 * 24 * time.Hour, 1000}},
	{"grant", "es_grant($1, $2)::text", []any{"reporting", "read"}},
	{"conflict", "es_append($1, $2, $3, $4)", []any{"a-1", 1, "E", "{}"}},
}

func answer(ctx context.Context, conn *pgx.Conn, c call) string {
	var value any
	err := conn.QueryRow(ctx, "SELECT "+c.sql, c.arguments...).Scan(&value)
	var failure *pgconn.PgError
	if errors.As(err, &failure) && failure.Detail != "" {
		return failure.Code + " " + failure.Detail
	}
	if err != nil {
		return err.Error()
	}
	if value == nil || value == "" {
		return "done"
	}
	return fmt.Sprint(value)
}

func main() {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, "")
	if err != nil {
		log.Fatal(err)
	}
	for _, c := range calls {
		fmt.Printf("%s: %s\n", c.name, answer(ctx, conn, c))
	}
}
