package headwater;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.PropertyNamingStrategies;
import com.fasterxml.jackson.databind.SerializationFeature;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.CompressionType;
import org.apache.kafka.common.record.ControlRecordType;
import org.apache.kafka.common.record.EndTransactionMarker;
import org.apache.kafka.common.record.MemoryRecords;
import org.apache.kafka.common.record.MemoryRecordsBuilder;
import org.apache.kafka.common.record.MutableRecordBatch;
import org.apache.kafka.common.record.Record;
import org.apache.kafka.common.record.RecordBatch;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.utils.Utils;

/** Writes record batches with Apache's own client, and checks batches of others with it. */
public final class KafkaVectors {
    private static final ObjectMapper JSON = new ObjectMapper()
        .setPropertyNamingStrategy(PropertyNamingStrategies.SNAKE_CASE)
        .setSerializationInclusion(JsonInclude.Include.ALWAYS);

    /** Everything in a directory's vectors.json. */
    record Vectors(
        String madeBy,
        Map<String, List<RecordVector>> records,
        List<BatchVector> batches,
        List<PartitionVector> partitions) {}

    /** One file with one batch, and what its header says. `records` names a list of records. */
    record BatchVector(
        String file,
        String compression,
        long baseOffset,
        int leaderEpoch,
        long maxTimestampMs,
        boolean appendTime,
        boolean transactional,
        boolean control,
        long producerId,
        short producerEpoch,
        int baseSequence,
        int lastSequence,
        String records) {}

    /** Bytes are lower-case hex; "hex*n" repeats it n times. */
    record RecordVector(long timestampMs, String key, String value, List<HeaderVector> headers) {}

    record HeaderVector(String name, String value) {}

    record PartitionVector(String key, int partitions, int partition) {}

    public static void main(String[] args) throws IOException {
        if (args.length == 2 && args[0].equals("write")) {
            write(Path.of(args[1]));
        } else if (args.length == 2 && args[0].equals("verify")) {
            verify(Path.of(args[1]));
        } else {
            throw new IllegalArgumentException("usage: write DIR | verify DIR");
        }
    }

    private static void write(Path dir) throws IOException {
        Files.createDirectories(dir);
        Map<String, List<RecordVector>> records = new TreeMap<>();
        records.put("corners", corners());
        records.put("large", large());
        records.put("many", many());
        records.put("commit", List.of(new RecordVector(1_357_016_220_000L, "00000001", "000000000007", List.of())));
        records.put("abort", List.of(new RecordVector(1_357_016_220_000L, "00000000", "000000000007", List.of())));

        List<BatchVector> batches = new ArrayList<>();
        for (CompressionType type : CompressionType.values()) {
            for (String name : List.of("corners", "large", "many")) {
                batches.add(plain(dir, type, name, records.get(name)));
            }
        }
        batches.add(widestWindow(dir, records.get("large")));
        batches.add(idempotent(dir, records.get("corners")));
        batches.add(transactional(dir, records.get("corners")));
        batches.add(appendTime(dir, records.get("corners")));
        batches.add(marker(dir, "commit", ControlRecordType.COMMIT));
        batches.add(marker(dir, "abort", ControlRecordType.ABORT));
        Vectors vectors = new Vectors("kafka-clients 4.1.2", records, batches, partitions());
        Files.writeString(
            dir.resolve("vectors.json"),
            JSON.writer(SerializationFeature.INDENT_OUTPUT).writeValueAsString(vectors) + "\n");
    }

    private static List<RecordVector> corners() {
        List<RecordVector> records = new ArrayList<>();
        records.add(record(1_357_016_220_000L, hex("N14228"), hex("EWR-IAH")));
        records.add(record(1_357_016_220_000L, hex("N14228"), ""));
        records.add(record(1_357_016_219_000L, "", hex("earlier than the first")));
        records.add(record(1_357_016_230_500L, null, hex("no key")));
        records.add(record(0, hex("no value"), null));
        records.add(record(-1, null, null));
        records.add(new RecordVector(1_357_016_220_001L, hex("headers"), hex("value"), List.of(
            new HeaderVector("trace", hex("1")),
            new HeaderVector("trace", hex("2")),
            new HeaderVector("null", null),
            new HeaderVector("empty", ""),
            new HeaderVector("", hex("a header without a name")),
            new HeaderVector("größe", "00ff80"))));
        return records;
    }

    /** Larger than the blocks of every codec, and one that no codec can shrink. */
    private static List<RecordVector> large() {
        byte[] noise = new byte[1500];
        new Random(7).nextBytes(noise);
        return List.of(
            record(1_357_016_220_000L, hex("large"), hex("Headwater ") + "*7000"),
            record(1_357_016_220_001L, hex("noise"), HexFormat.of().formatHex(noise)));
    }

    private static List<RecordVector> many() {
        List<RecordVector> records = new ArrayList<>();
        for (int i = 0; i < 300; i++) {
            records.add(record(1_357_016_220_000L + i * 37L, hex("k" + i % 17), hex("value " + i)));
        }
        return records;
    }

    private static BatchVector plain(Path dir, CompressionType type, String name, List<RecordVector> records)
            throws IOException {
        Compression compression = Compression.of(type).build();
        return finish(dir, name + "-" + type.name, name, records, builder(compression, TimestampType.CREATE_TIME, 0,
            RecordBatch.NO_TIMESTAMP, RecordBatch.NO_PRODUCER_ID, RecordBatch.NO_PRODUCER_EPOCH,
            RecordBatch.NO_SEQUENCE, false, RecordBatch.NO_PARTITION_LEADER_EPOCH));
    }

    /** The highest level: its frame asks for a window of 128 MiB. */
    private static BatchVector widestWindow(Path dir, List<RecordVector> records) throws IOException {
        return finish(dir, "large-zstd-22", "large", records, builder(Compression.zstd().level(22).build(),
            TimestampType.CREATE_TIME, 0, RecordBatch.NO_TIMESTAMP, RecordBatch.NO_PRODUCER_ID,
            RecordBatch.NO_PRODUCER_EPOCH, RecordBatch.NO_SEQUENCE, false,
            RecordBatch.NO_PARTITION_LEADER_EPOCH));
    }

    /** Sequence numbers wrap from the largest to 0 inside the batch. */
    private static BatchVector idempotent(Path dir, List<RecordVector> records) throws IOException {
        return finish(dir, "idempotent", "corners", records, builder(Compression.zstd().build(),
            TimestampType.CREATE_TIME, 1L << 40, RecordBatch.NO_TIMESTAMP, 4711, (short) 3,
            Integer.MAX_VALUE - 2, false, 12));
    }

    private static BatchVector transactional(Path dir, List<RecordVector> records) throws IOException {
        return finish(dir, "transactional", "corners", records, builder(Compression.lz4().build(),
            TimestampType.CREATE_TIME, 17, RecordBatch.NO_TIMESTAMP, 4711, (short) 3, 0, true, 12));
    }

    private static BatchVector appendTime(Path dir, List<RecordVector> records) throws IOException {
        return finish(dir, "append-time", "corners", records, builder(Compression.NONE,
            TimestampType.LOG_APPEND_TIME, 99, 1_400_000_000_000L, RecordBatch.NO_PRODUCER_ID,
            RecordBatch.NO_PRODUCER_EPOCH, RecordBatch.NO_SEQUENCE, false, 1));
    }

    private static BatchVector marker(Path dir, String name, ControlRecordType type) throws IOException {
        MemoryRecords marker = MemoryRecords.withEndTransactionMarker(
            23, 1_357_016_220_000L, 5, 4711, (short) 3, new EndTransactionMarker(type, 7));
        return describe(dir, name, name, marker);
    }

    private static MemoryRecordsBuilder builder(Compression compression, TimestampType timestampType,
            long baseOffset, long appendTime, long producerId, short producerEpoch, int sequence,
            boolean transactional, int leaderEpoch) {
        return MemoryRecords.builder(ByteBuffer.allocate(1 << 20), RecordBatch.MAGIC_VALUE_V2,
            compression, timestampType, baseOffset, appendTime, producerId,
            producerEpoch, sequence, transactional, leaderEpoch);
    }

    private static BatchVector finish(Path dir, String file, String name, List<RecordVector> records,
            MemoryRecordsBuilder builder) throws IOException {
        for (RecordVector record : records) {
            Header[] headers = record.headers.stream()
                .map(header -> new RecordHeader(header.name, bytes(header.value)))
                .toArray(Header[]::new);
            builder.append(record.timestampMs, bytes(record.key), bytes(record.value), headers);
        }
        return describe(dir, file, name, builder.build());
    }

    private static BatchVector describe(Path dir, String file, String name, MemoryRecords records)
            throws IOException {
        byte[] bytes = Utils.toArray(records.buffer());
        Files.write(dir.resolve(file + ".batch"), bytes);
        return header(file + ".batch", name, onlyBatch(bytes));
    }

    private static BatchVector header(String file, String records, RecordBatch batch) {
        return new BatchVector(file, batch.compressionType().name, batch.baseOffset(),
            batch.partitionLeaderEpoch(), batch.maxTimestamp(),
            batch.timestampType() == TimestampType.LOG_APPEND_TIME, batch.isTransactional(),
            batch.isControlBatch(), batch.producerId(), batch.producerEpoch(), batch.baseSequence(),
            batch.lastSequence(), records);
    }

    private static List<PartitionVector> partitions() {
        List<PartitionVector> vectors = new ArrayList<>();
        List<byte[]> keys = new ArrayList<>();
        for (String key : List.of("", "a", "ab", "abc", "abcd", "abcde", "N14228", "größe",
                "a-little-bit-longer-string")) {
            keys.add(key.getBytes(StandardCharsets.UTF_8));
        }
        keys.add(new byte[] {(byte) 0x80, (byte) 0xff, 0, 1, (byte) 0xfe, 0x7f, (byte) 0x81});
        for (byte[] key : keys) {
            for (int partitions : List.of(1, 3, 6, 1000)) {
                vectors.add(new PartitionVector(hex(key), partitions,
                    BuiltInPartitioner.partitionForKey(key, partitions)));
            }
        }
        return vectors;
    }

    /** Reads every batch of the directory and compares all that its JSON says; throws at the first difference. */
    private static void verify(Path dir) throws IOException {
        Vectors vectors = JSON.readValue(dir.resolve("vectors.json").toFile(), Vectors.class);
        for (BatchVector expected : vectors.batches) {
            RecordBatch batch = onlyBatch(Files.readAllBytes(dir.resolve(expected.file)));
            same(expected.file, expected, header(expected.file, expected.records, batch));
            List<RecordVector> records = new ArrayList<>();
            long offset = expected.baseOffset;
            for (Record record : batch) {
                record.ensureValid();
                same(expected.file + " offset", offset++, record.offset());
                records.add(read(record));
            }
            List<RecordVector> wanted = vectors.records.get(expected.records).stream()
                .map(record -> expanded(record, expected))
                .toList();
            same(expected.file + " record count", wanted.size(), records.size());
            for (int i = 0; i < wanted.size(); i++) {
                same(expected.file + " record " + i, wanted.get(i), records.get(i));
            }
        }
        for (PartitionVector expected : vectors.partitions) {
            byte[] key = bytes(expected.key);
            same("partition of " + expected.key, expected.partition,
                BuiltInPartitioner.partitionForKey(key, expected.partitions));
        }
        System.out.printf("verified %d batches and %d partitions%n",
            vectors.batches.size(), vectors.partitions.size());
    }

    private static RecordVector read(Record record) {
        List<HeaderVector> headers = new ArrayList<>();
        for (Header header : record.headers()) {
            headers.add(new HeaderVector(header.key(), hex(header.value())));
        }
        return new RecordVector(record.timestamp(), hex(Utils.toNullableArray(record.key())),
            hex(Utils.toNullableArray(record.value())), headers);
    }

    /** The record as a reader sees it: repetitions written out, the append time in place of its own. */
    private static RecordVector expanded(RecordVector record, BatchVector batch) {
        long timestamp = batch.appendTime ? batch.maxTimestampMs : record.timestampMs;
        return new RecordVector(timestamp, hex(bytes(record.key)), hex(bytes(record.value)), record.headers);
    }

    private static RecordBatch onlyBatch(byte[] bytes) {
        List<MutableRecordBatch> batches = new ArrayList<>();
        MemoryRecords.readableRecords(ByteBuffer.wrap(bytes)).batches().forEach(batches::add);
        same("batches in a file", 1, batches.size());
        RecordBatch batch = batches.get(0);
        batch.ensureValid();
        same("batch size", bytes.length, batch.sizeInBytes());
        return batch;
    }

    private static void same(String what, Object expected, Object got) {
        if (!expected.equals(got)) {
            throw new AssertionError(what + ": expected " + expected + ", got " + got);
        }
    }

    private static RecordVector record(long timestampMs, String key, String value) {
        return new RecordVector(timestampMs, key, value, List.of());
    }

    private static String hex(String text) {
        return hex(text.getBytes(StandardCharsets.UTF_8));
    }

    private static String hex(byte[] bytes) {
        return bytes == null ? null : HexFormat.of().formatHex(bytes);
    }

    private static byte[] bytes(String hex) {
        if (hex == null) {
            return null;
        }
        String[] parts = hex.split("\\*");
        return HexFormat.of().parseHex(parts[0].repeat(parts.length == 2 ? Integer.parseInt(parts[1]) : 1));
    }
}
