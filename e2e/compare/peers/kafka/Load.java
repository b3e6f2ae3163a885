import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import java.util.zip.CRC32C;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * What Apache's own tools cannot do: an open-loop load with several tailing readers, one record at a time with
 * percentiles, and reading everything back to see that it is all there. Prints one line of JSON.
 *
 * <p>Arguments: a command, then pairs of name and value.
 */
public final class Load {
  /** Sequence number, and when it was due. */
  private static final int STAMP_BYTES = 16;

  private static final int CRC_BYTES = 4;

  /** Records that have not come back by then, after the last was sent, are lost. */
  private static final Duration PATIENCE = Duration.ofSeconds(30);

  private final Map<String, String> arguments;

  private Load(Map<String, String> arguments) {
    this.arguments = arguments;
  }

  public static void main(String[] words) throws Exception {
    Map<String, String> arguments = new HashMap<>();
    for (int i = 1; i + 1 < words.length; i += 2) {
      arguments.put(words[i], words[i + 1]);
    }
    Load load = new Load(arguments);
    switch (words[0]) {
      case "count" -> load.count();
      case "create" -> load.create();
      case "one-at-a-time" -> load.oneAtATime();
      case "paced" -> load.paced();
      case "probe" -> load.probe();
      case "verify" -> load.verify();
      default -> throw new IllegalArgumentException(words[0]);
    }
  }

  private String topic() {
    return arguments.get("topic");
  }

  private int number(String name) {
    return Integer.parseInt(arguments.get(name));
  }

  private Properties common() {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", arguments.get("server"));
    properties.put("reconnect.backoff.max.ms", "50");
    return properties;
  }

  private KafkaProducer<byte[], byte[]> producer() {
    Properties properties = common();
    properties.put("acks", "all");
    properties.put("linger.ms", arguments.getOrDefault("linger-ms", "0"));
    properties.put("batch.size", arguments.getOrDefault("batch-bytes", "131072"));
    return new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer());
  }

  /** Reads all partitions, without a group. */
  private KafkaConsumer<byte[], byte[]> consumer(boolean fromStart) {
    Properties properties = common();
    properties.put("enable.auto.commit", "false");
    properties.put("auto.offset.reset", "earliest");
    KafkaConsumer<byte[], byte[]> consumer =
        new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    List<TopicPartition> partitions = new ArrayList<>();
    consumer.partitionsFor(topic()).forEach(p -> partitions.add(new TopicPartition(topic(), p.partition())));
    consumer.assign(partitions);
    if (fromStart) {
      consumer.seekToBeginning(partitions);
    } else {
      consumer.seekToEnd(partitions);
      partitions.forEach(consumer::position);
    }
    return consumer;
  }

  private void create() throws Exception {
    Map<String, String> configs = new HashMap<>();
    if (arguments.containsKey("flush-messages")) {
      configs.put("flush.messages", arguments.get("flush-messages"));
    }
    try (Admin admin = Admin.create(common())) {
      NewTopic topic = new NewTopic(topic(), number("partitions"), (short) 1).configs(configs);
      admin.createTopics(List.of(topic)).all().get();
    }
    System.out.println("{}");
  }

  /** Waits until the broker knows where every partition ends. */
  private void probe() {
    consumer(false).close();
    System.out.println("{}");
  }

  /** How many records there are. */
  private void count() {
    try (KafkaConsumer<byte[], byte[]> consumer = consumer(true)) {
      long count = consumer.endOffsets(consumer.assignment()).values().stream().mapToLong(Long::longValue).sum();
      System.out.println("{\"records\":" + count + ",\"seconds\":0}");
    }
  }

  /** Each record is sent when the one before is acknowledged. */
  private void oneAtATime() throws Exception {
    int records = number("records");
    int warmUp = number("warm-up");
    long[] latencies = new long[records];
    long start = 0;
    try (KafkaProducer<byte[], byte[]> producer = producer()) {
      for (int i = -warmUp; i < records; i++) {
        byte[] value = value(i, System.nanoTime(), number("record-bytes"));
        long sent = System.nanoTime();
        if (i == 0) {
          start = sent;
        }
        producer.send(new ProducerRecord<>(topic(), value)).get();
        if (0 <= i) {
          latencies[i] = System.nanoTime() - sent;
        }
      }
    }
    report(records, System.nanoTime() - start, latencies);
  }

  /** Records that are due at stated times, and readers at the end of the log. */
  private void paced() throws Exception {
    int records = number("records");
    int warmUp = number("warm-up");
    int readers = number("readers");
    long[][] latencies = new long[readers][records];
    CountDownLatch ready = new CountDownLatch(readers);
    AtomicReference<Throwable> failure = new AtomicReference<>();
    List<Thread> threads = new ArrayList<>();
    for (long[] own : latencies) {
      Thread thread =
          new Thread(
              () -> {
                try (KafkaConsumer<byte[], byte[]> consumer = consumer(false)) {
                  ready.countDown();
                  tail(consumer, warmUp, own);
                } catch (Throwable error) {
                  failure.set(error);
                  ready.countDown();
                }
              });
      thread.start();
      threads.add(thread);
    }
    ready.await();
    long start = System.nanoTime();
    double interval = 1e9 / number("rate");
    try (KafkaProducer<byte[], byte[]> producer = producer()) {
      for (int i = 0; i < warmUp + records; i++) {
        long due = start + (long) (i * interval);
        for (long early = due - System.nanoTime(); 0 < early; early = due - System.nanoTime()) {
          LockSupport.parkNanos(early);
        }
        ProducerRecord<byte[], byte[]> record =
            new ProducerRecord<>(topic(), value(i, due, number("record-bytes")));
        producer.send(
            record,
            (metadata, error) -> {
              if (error != null) {
                failure.set(error);
              }
            });
      }
    }
    for (Thread thread : threads) {
      thread.join();
    }
    if (failure.get() != null) {
      throw new IllegalStateException(failure.get());
    }
    long elapsed = System.nanoTime() - start - (long) (warmUp * interval);
    report(records, elapsed, Arrays.stream(latencies).flatMapToLong(Arrays::stream).toArray());
  }

  /** Reads until all records were seen, once each and unharmed. */
  private void tail(KafkaConsumer<byte[], byte[]> consumer, int warmUp, long[] latencies) {
    int left = warmUp + latencies.length;
    boolean[] seen = new boolean[left];
    Map<Integer, Long> next = new HashMap<>();
    long deadline = Long.MAX_VALUE;
    while (0 < left) {
      var records = consumer.poll(Duration.ofMillis(100));
      long now = System.nanoTime();
      if (!records.isEmpty()) {
        deadline = now + PATIENCE.toNanos();
      } else if (deadline < now) {
        throw new IllegalStateException(left + " records did not come back");
      }
      for (ConsumerRecord<byte[], byte[]> record : records) {
        Long wanted = next.put(record.partition(), record.offset() + 1);
        ByteBuffer value = ByteBuffer.wrap(record.value());
        int index = (int) value.getLong();
        long due = value.getLong();
        boolean contiguous = wanted == null || wanted == record.offset();
        if (!contiguous || seen[index] || crc(record.value()) != value.getInt(value.limit() - CRC_BYTES)) {
          throw new IllegalStateException("record " + index + " is not as it was sent");
        }
        seen[index] = true;
        left--;
        if (warmUp <= index) {
          latencies[index - warmUp] = now - due;
        }
      }
    }
  }

  /** Reads everything, and deletes the topic if so asked. The client checks the CRC of each batch. */
  private void verify() throws Exception {
    long wanted = Long.parseLong(arguments.get("records"));
    long count = 0;
    try (KafkaConsumer<byte[], byte[]> consumer = consumer(true)) {
      Map<TopicPartition, Long> ends = consumer.endOffsets(consumer.assignment());
      long there = ends.values().stream().mapToLong(Long::longValue).sum();
      if (there != wanted) {
        throw new IllegalStateException(there + " of " + wanted + " records are there");
      }
      Map<Integer, Long> next = new HashMap<>();
      long deadline = System.nanoTime() + PATIENCE.toNanos();
      while (count < wanted) {
        for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(100))) {
          if (record.offset() != next.getOrDefault(record.partition(), 0L)) {
            throw new IllegalStateException("offset " + record.offset() + " is out of turn");
          }
          if (record.serializedValueSize() != number("record-bytes")) {
            throw new IllegalStateException("offset " + record.offset() + " has another size");
          }
          next.put(record.partition(), record.offset() + 1);
          count++;
          deadline = System.nanoTime() + PATIENCE.toNanos();
        }
        if (deadline < System.nanoTime()) {
          throw new IllegalStateException(count + " of " + wanted + " records were read");
        }
      }
    }
    if (arguments.containsKey("delete")) {
      try (Admin admin = Admin.create(common())) {
        admin.deleteTopics(List.of(topic())).all().get();
      }
    }
    System.out.println("{\"records\":" + count + "}");
  }

  /** Stamp, bytes that do not compress, CRC-32C of both. */
  private static byte[] value(long index, long due, int size) {
    byte[] bytes = new byte[Math.max(size, STAMP_BYTES + CRC_BYTES)];
    ByteBuffer value = ByteBuffer.wrap(bytes).putLong(index).putLong(due);
    long state = index * 0x9E3779B97F4A7C15L | 1;
    while (Long.BYTES + CRC_BYTES <= value.remaining()) {
      state ^= state << 13;
      state ^= state >>> 7;
      state ^= state << 17;
      value.putLong(state);
    }
    value.putInt(bytes.length - CRC_BYTES, crc(bytes));
    return bytes;
  }

  private static int crc(byte[] value) {
    CRC32C crc = new CRC32C();
    crc.update(value, 0, value.length - CRC_BYTES);
    return (int) crc.getValue();
  }

  private static void report(long records, long elapsedNanos, long[] latencies) {
    Arrays.sort(latencies);
    System.out.printf(
        java.util.Locale.ROOT,
        "{\"records\":%d,\"deliveries\":%d,\"seconds\":%.6f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f}%n",
        records,
        latencies.length,
        elapsedNanos / (double) TimeUnit.SECONDS.toNanos(1),
        at(latencies, 0.5),
        at(latencies, 0.99),
        at(latencies, 0.999));
  }

  private static double at(long[] sorted, double quantile) {
    int rank = (int) Math.ceil(quantile * sorted.length);
    return sorted[Math.max(rank, 1) - 1] / 1e3;
  }
}
