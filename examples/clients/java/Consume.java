import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.Set;

/**
 * A consumer, with JDBC: fetch, work and ack in one transaction, so that each event counts once.
 *
 * java -cp postgresql.jar Consume.java URL CONSUMER      until SIGTERM
 */
public class Consume {
    /** The transaction is void and is begun again: the lease is lost, a deadlock, a serialization failure. */
    static final Set<String> BEGIN_AGAIN = Set.of("SE005", "40P01", "40001");

    static volatile boolean isStopping = false;

    /** Enters what was fetched into the ledger; true if there was something. */
    static boolean work(Connection connection, String subscription, String consumer) throws SQLException {
        String fetch = "SELECT *, CASE type WHEN 'Deposited' THEN 1 ELSE -1 END * (data->>'amount')::bigint AS amount FROM es_fetch(?, ?, ?, ?)";
        long token = 0, position = 0;
        try (PreparedStatement fetching = connection.prepareStatement(fetch);
             PreparedStatement entering = connection.prepareStatement("INSERT INTO ledger VALUES (?, ?, ?)");
             PreparedStatement acknowledging = connection.prepareStatement("SELECT es_ack(?, ?, ?)")) {
            fetching.setString(1, subscription);
            fetching.setString(2, consumer);
            fetching.setInt(3, 100);
            fetching.setString(4, "1 s");
            ResultSet events = fetching.executeQuery();
            while (events.next()) {
                token = events.getLong("token");
                position = events.getLong("position");
                entering.setLong(1, position);
                entering.setString(2, events.getString("stream"));
                entering.setLong(3, events.getLong("amount"));
                entering.executeUpdate();
            }
            if (position == 0) return false;
            acknowledging.setString(1, subscription);
            acknowledging.setLong(2, token);
            acknowledging.setLong(3, position);
            return acknowledging.execute();
        }
    }

    public static void main(String[] arguments) throws SQLException, InterruptedException {
        Thread main = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            isStopping = true;
            try { main.join(); } catch (InterruptedException e) { }
        }));
        try (Connection connection = DriverManager.getConnection(arguments[0])) {
            connection.setAutoCommit(false);
            while (!isStopping) {
                try {
                    work(connection, "ledger", arguments[1]);
                    connection.commit();
                } catch (SQLException error) {
                    connection.rollback();
                    if (!BEGIN_AGAIN.contains(error.getSQLState())) throw error;
                }
            }
            try (PreparedStatement releasing = connection.prepareStatement("SELECT es_release(?, ?)")) {
                releasing.setString(1, "ledger");
                releasing.setString(2, arguments[1]);
                releasing.execute();
            }
            connection.commit();
        }
    }
}
