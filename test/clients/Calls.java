import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.time.OffsetDateTime;
import java.util.UUID;
import org.postgresql.util.PSQLException;

/**
 * The verbs as JDBC calls them: each argument as what a programmer has in his hands, strings by setString. Prints what each call returned.
 *
 * java -cp postgresql.jar Calls.java URL
 */
public class Calls {
    static final UUID ID = UUID.fromString("0193c000-0000-7000-8000-000000000003");
    static final OffsetDateTime LATER = OffsetDateTime.now().plusDays(1);
    static final String QUERY = "[{\"tags\": [\"x\"]}]";

    static final Object[][] CALLS = {
        {"events", "es_append(?, ?, ?)", "a-1", 0L, "[{\"type\": \"A\"}, {\"type\": \"B\"}]"},
        {"an event", "es_append(?, ?, ?, ?, ?, ?)", "a-1", 2, "C", "{\"n\": 1}", "{\"by\": \"me\"}", ID.toString()},
        {"its retry", "es_append(?, ?, ?, ?, ?, ?)", "a-1", 2L, "C", "{\"n\": 1}", "{\"by\": \"me\"}", ID},
        {"tags", "es_append(?, ?, ?, ?, ?, ?, ?)", "a-1", 3L, "D", "{\"n\": 1}", null, null, new String[] {"x"}},
        {"streams", "version FROM es_append_streams(?)", "[{\"stream\": \"b-1\", \"expected_version\": 0, \"events\": {\"type\": \"A\"}}]"},
        {"condition", "es_append_if(?, ?, ?, ?)", "c-1", "{\"type\": \"A\"}", QUERY, 1L << 40},
        {"stream", "count(*) FROM es_read(?, ?, ?, ?)", "a-1", 1, 10, false},
        {"all", "count(*) FROM es_read_all(?, ?, ?)", 0L, 100, new String[] {"A", "B"}},
        {"query", "count(*) FROM es_read_query(?, ?, ?)", QUERY, 0L, 10L},
        {"as of", "count(*) FROM es_stream_as_of(?, ?)", "a-1", LATER},
        {"position", "es_position_at(?) = es_head()", LATER},
        {"wait", "es_wait(?, ?, ?) > 0", 0L, "1 s", "a"},
        {"snapshot", "es_save_snapshot(?, ?, ?, ?)::text", "a-1", 3L, "{\"n\": 3}", 2L},
        {"load", "version FROM es_load_json(?, ?)", "a-1", 2L},
        {"fold", "es_fold(?, ?, ?)::text", "a-1", "counted", "0"},
        {"subscription", "es_create_subscription(?, ?, ?, ?, ?, ?, ?)::text", "s", "a", new String[] {"A", "B"}, 0L, 8L, 3, "1 min"},
        {"fetch", "count(*) FROM es_fetch(?, ?, ?, ?)", "s", "me", 100L, "1 s"},
        {"nack", "es_nack(?, token, position, ?, ?, ?)::text FROM es_fetch('s', ?) LIMIT 1", "s", "why", "park", "1 s", "me"},
        {"replay", "es_replay_parked(?, ?)", "s", 5L},
        {"ack", "es_ack(?, max(token), max(position))::text FROM es_fetch('s', ?)", "s", "me"},
        {"protect", "es_reveal(es_protect(?, ?))::text", "ada", "\"secret\""},
        {"projection", "es_create_state_projection(?, ?, ?)::text", "counts", "counted", "0"},
        {"projection at a time", "es_projection_as_of(?, ?, ?, ?)", "counts", "counts_then", null, LATER},
        {"redact", "es_redact(?, ?, ?)::text", ID.toString(), "a test", new String[] {"n"}},
        {"retention", "es_set_retention(?, ?, ?)::text", "a", "1 year", 1000},
        {"grant", "es_grant(?, ?)::text", "reporting", "read"},
        {"conflict", "es_append(?, ?, ?, ?)", "a-1", 1L, "E", "{}"},
    };

    static String call(Connection connection, Object[] call) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement("SELECT " + call[1])) {
            for (int i = 2; i < call.length; i++) {
                if (call[i] instanceof String[]) {
                    statement.setArray(i - 1, connection.createArrayOf("text", (String[]) call[i]));
                } else {
                    statement.setObject(i - 1, call[i]); // of a String, as setString; of a Long, as setLong
                }
            }
            ResultSet result = statement.executeQuery();
            result.next();
            String answer = result.getObject(1) == null ? "" : result.getObject(1).toString();
            return answer.isEmpty() ? "done" : answer;
        } catch (PSQLException error) {
            String detail = error.getServerErrorMessage().getDetail();
            return error.getSQLState() + " " + (detail == null ? error.getMessage() : detail);
        }
    }

    public static void main(String[] arguments) throws SQLException {
        try (Connection connection = DriverManager.getConnection(arguments[0])) {
            for (Object[] call : CALLS) {
                System.out.println(call[0] + ": " + call(connection, call));
            }
        }
    }
}
