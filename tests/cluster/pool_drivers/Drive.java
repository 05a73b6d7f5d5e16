// What an application does with pgjdbc: prepared statements that become server-side ones after five executions, autocommit on
// and off, batches, fetch sizes, errors inside transactions. Ends with 0 when every answer was right.
// usage: java -cp postgresql.jar Drive.java URL SECONDS THREADS
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;

public class Drive {
  static final AtomicLong rounds = new AtomicLong();
  static final AtomicReference<Throwable> failure = new AtomicReference<>();

  static void check(boolean right, String what) {
    if (!right) throw new AssertionError(what);
  }

  static void prepared(Connection c, int n) throws SQLException {
    try (PreparedStatement s = c.prepareStatement("SELECT ?::int + 1, ?::text")) {
      for (int i = 0; i < 8; i++) {
        s.setInt(1, n + i);
        s.setString(2, "text " + i);
        try (ResultSet r = s.executeQuery()) {
          check(r.next() && r.getInt(1) == n + i + 1 && r.getString(2).equals("text " + i), "prepared " + i);
        }
      }
    }
  }

  static void batch(Connection c, int thread) throws SQLException {
    c.setAutoCommit(false);
    try (PreparedStatement s = c.prepareStatement("INSERT INTO driven (thread, n) VALUES (?, ?)")) {
      for (int i = 0; i < 30; i++) {
        s.setInt(1, thread);
        s.setInt(2, i);
        s.addBatch();
      }
      check(s.executeBatch().length == 30, "batch");
    }
    try (PreparedStatement s = c.prepareStatement("SELECT count(*) FROM driven WHERE thread = ?")) {
      s.setInt(1, thread);
      try (ResultSet r = s.executeQuery()) {
        check(r.next() && r.getInt(1) == 30, "rows of the batch");
      }
    }
    c.rollback();
    c.setAutoCommit(true);
  }

  static void cursor(Connection c) throws SQLException {
    c.setAutoCommit(false);
    try (PreparedStatement s = c.prepareStatement("SELECT generate_series(1, 100)")) {
      s.setFetchSize(7);
      int sum = 0;
      try (ResultSet r = s.executeQuery()) {
        while (r.next()) sum += r.getInt(1);
      }
      check(sum == 5050, "fetch size");
    }
    c.commit();
    c.setAutoCommit(true);
  }

  static void errors(Connection c) throws SQLException {
    c.setAutoCommit(false);
    try (PreparedStatement s = c.prepareStatement("SELECT 1 / ?::int")) {
      s.setInt(1, 0);
      s.executeQuery();
      throw new AssertionError("no error");
    } catch (SQLException expected) {
      check("22012".equals(expected.getSQLState()), expected.toString());
    }
    c.rollback();
    c.setAutoCommit(true);
    try (Statement s = c.createStatement()) {
      s.addBatch("SELECT nonsense");
      s.executeBatch();
      throw new AssertionError("no error of the batch");
    } catch (BatchUpdateException expected) {
      check("42703".equals(expected.getSQLState()), expected.toString());
    }
  }

  static void run(String url, int thread, long end) {
    try (Connection c = DriverManager.getConnection(url)) {
      for (int n = 0; n == 0 || System.nanoTime() < end; n++) {
        prepared(c, n);
        batch(c, thread);
        cursor(c);
        errors(c);
        rounds.incrementAndGet();
      }
    } catch (Throwable t) {
      failure.compareAndSet(null, t);
    }
  }

  public static void main(String[] args) throws Exception {
    long end = System.nanoTime() + (long) (Double.parseDouble(args[1]) * 1e9);
    List<Thread> threads = new ArrayList<>();
    for (int i = 0; i < Integer.parseInt(args[2]); i++) {
      int thread = i;
      threads.add(new Thread(() -> run(args[0], thread, end)));
    }
    for (Thread t : threads) t.start();
    for (Thread t : threads) t.join();
    if (failure.get() != null) {
      failure.get().printStackTrace();
      System.exit(1);
    }
    System.out.println(rounds.get() + " rounds");
  }
}
