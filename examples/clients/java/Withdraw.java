import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;

/**
 * A command handler, with JDBC: read, decide, append; and anew where somebody was faster.
 *
 * java -cp postgresql.jar Withdraw.java URL ACCOUNT AMOUNT
 */
public class Withdraw {
    static String withdraw(Connection connection, String account, long amount) throws SQLException {
        String balanceOf = "SELECT max(version), sum(CASE type WHEN 'Deposited' THEN 1 ELSE -1 END * (data->>'amount')::bigint) FROM es_read(?)";
        try (PreparedStatement read = connection.prepareStatement(balanceOf);
             PreparedStatement append = connection.prepareStatement("SELECT es_append(?, ?, ?, ?)")) {
            while (true) {
                read.setString(1, "account-" + account);
                ResultSet stream = read.executeQuery();
                stream.next();
                if (stream.getLong(2) < amount) return "refused: there are " + stream.getLong(2);
                append.setString(1, "account-" + account);
                append.setLong(2, stream.getLong(1));
                append.setString(3, "Withdrawn");
                append.setString(4, "{\"amount\": " + amount + "}");
                try (ResultSet result = append.executeQuery()) {
                    result.next();
                    return "done: version " + result.getLong(1);
                } catch (SQLException error) {
                    if (!error.getSQLState().equals("SE001")) throw error; // wrong_expected_version: the decision is out of date
                }
            }
        }
    }

    public static void main(String[] arguments) throws SQLException {
        try (Connection connection = DriverManager.getConnection(arguments[0])) {
            System.out.println(withdraw(connection, arguments[1], Long.parseLong(arguments[2])));
        }
    }
}
