// What the nats command cannot do: an open-loop load with several tailing readers, and reading everything back to see
// that it is all there. Prints one line of JSON.
//
// Arguments: a command, then flags.
package main

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"hash/crc32"
	"log"
	"math"
	"os"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	stampBytes = 16 // sequence number, and when it was due
	crcBytes   = 4
	// Records that have not come back by then, after the last was sent, are lost.
	patience = 30 * time.Second
	// Enough never to wait where the server keeps up.
	pendingMax = 4096
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type load struct {
	js          jetstream.JetStream
	stream      string
	records     int
	warmUp      int
	recordBytes int
	rate        float64
	readers     int
	streams     int
	remove      bool
}

func main() {
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	server := flags.String("server", "", "host and port")
	var l load
	flags.StringVar(&l.stream, "stream", "", "stream, and its subject")
	flags.IntVar(&l.records, "records", 0, "records to count")
	flags.IntVar(&l.warmUp, "warm-up", 0, "records before those")
	flags.IntVar(&l.recordBytes, "record-bytes", 1024, "bytes of a record")
	flags.Float64Var(&l.rate, "rate", 1000, "records a second")
	flags.IntVar(&l.readers, "readers", 1, "readers at the end of the stream")
	flags.IntVar(&l.streams, "streams", 1, "streams to create; the first has the name, the others a number too")
	flags.BoolVar(&l.remove, "delete", false, "delete the stream afterwards")
	must(flags.Parse(os.Args[2:]))

	connection := connect(*server)
	defer connection.Close()
	l.js = jetStream(connection)
	switch os.Args[1] {
	case "create":
		l.create()
	case "paced":
		l.paced(*server)
	case "verify":
		l.verify()
	default:
		log.Fatalf("unknown command %s", os.Args[1])
	}
}

func connect(server string) *nats.Conn {
	connection, err := nats.Connect("nats://" + server)
	must(err)
	return connection
}

func jetStream(connection *nats.Conn) jetstream.JetStream {
	js, err := jetstream.New(connection,
		jetstream.WithPublishAsyncMaxPending(pendingMax),
		jetstream.WithPublishAsyncErrHandler(func(_ jetstream.JetStream, _ *nats.Msg, err error) { log.Fatal(err) }))
	must(err)
	return js
}

// Streams whose subjects are their names and whatever is below.
func (l *load) create() {
	for number := range l.streams {
		name := l.stream
		if 0 < number {
			name = fmt.Sprintf("%s-%d", l.stream, number)
		}
		_, err := l.js.CreateStream(context.Background(), jetstream.StreamConfig{
			Name:     name,
			Subjects: []string{name, name + ".>"},
			Storage:  jetstream.FileStorage,
		})
		must(err)
	}
	fmt.Println("{}")
}

// Records that are due at stated times, and readers at the end of the stream, a connection each.
func (l *load) paced(server string) {
	all := make([][]int64, l.readers)
	done := make(chan struct{})
	for reader := range all {
		connection := connect(server)
		defer connection.Close()
		l.tail(jetStream(connection), &all[reader], done)
	}

	start := time.Now()
	interval := float64(time.Second) / l.rate
	for i := range l.warmUp + l.records {
		due := start.Add(time.Duration(float64(i) * interval))
		for early := time.Until(due); 0 < early; early = time.Until(due) {
			time.Sleep(early)
		}
		_, err := l.js.PublishAsync(l.stream, value(i, due, l.recordBytes))
		must(err)
	}
	<-l.js.PublishAsyncComplete()
	for range all {
		select {
		case <-done:
		case <-time.After(patience):
			log.Fatal("not every record came back")
		}
	}
	elapsed := time.Since(start) - time.Duration(float64(l.warmUp)*interval)
	report(l.records, elapsed, slices.Concat(all...))
}

// Reads until all records were seen, in order and unharmed; says when each came, in nanoseconds after it was due.
func (l *load) tail(js jetstream.JetStream, latencies *[]int64, done chan<- struct{}) {
	ctx := context.Background()
	consumer, err := js.OrderedConsumer(ctx, l.stream, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverNewPolicy,
	})
	must(err)
	*latencies = make([]int64, 0, l.records)
	next, last := 0, uint64(0)
	_, err = consumer.Consume(func(message jetstream.Msg) {
		data, now := message.Data(), time.Since(origin)
		metadata, err := message.Metadata()
		must(err)
		index := int(binary.BigEndian.Uint64(data))
		due := time.Duration(binary.BigEndian.Uint64(data[8:]))
		contiguous := last == 0 || metadata.Sequence.Stream == last+1
		if index != next || !contiguous || crc(data) != binary.BigEndian.Uint32(data[len(data)-crcBytes:]) {
			log.Fatalf("record %d is not as it was sent", index)
		}
		next, last = next+1, metadata.Sequence.Stream
		if l.warmUp <= index {
			*latencies = append(*latencies, int64(now-due))
		}
		if next == l.warmUp+l.records {
			done <- struct{}{}
		}
	})
	must(err)
}

// Reads everything, and deletes the stream if so asked.
func (l *load) verify() {
	ctx := context.Background()
	stream, err := l.js.Stream(ctx, l.stream)
	must(err)
	info, err := stream.Info(ctx)
	must(err)
	if int(info.State.Msgs) != l.records || info.State.NumDeleted != 0 {
		log.Fatalf("%d of %d records are there", info.State.Msgs, l.records)
	}
	consumer, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	must(err)
	done, next := make(chan struct{}), uint64(1)
	_, err = consumer.Consume(func(message jetstream.Msg) {
		metadata, err := message.Metadata()
		must(err)
		if metadata.Sequence.Stream != next || len(message.Data()) != l.recordBytes {
			log.Fatalf("sequence %d is out of turn, or has another size", metadata.Sequence.Stream)
		}
		if next++; int(next) == l.records+1 {
			close(done)
		}
	})
	must(err)
	select {
	case <-done:
	case <-time.After(5 * time.Minute):
		log.Fatal("not every record was read")
	}
	if l.remove {
		must(l.js.DeleteStream(ctx, l.stream))
	}
	fmt.Printf("{\"records\":%d}\n", next-1)
}

// What due times count from.
var origin = time.Now()

// Stamp, bytes that do not compress, CRC-32C of both.
func value(index int, due time.Time, size int) []byte {
	bytes := make([]byte, max(size, stampBytes+crcBytes))
	binary.BigEndian.PutUint64(bytes, uint64(index))
	binary.BigEndian.PutUint64(bytes[8:], uint64(due.Sub(origin)))
	state := uint64(index)*0x9E3779B97F4A7C15 | 1
	for at := stampBytes; at+8+crcBytes <= len(bytes); at += 8 {
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
		binary.BigEndian.PutUint64(bytes[at:], state)
	}
	binary.BigEndian.PutUint32(bytes[len(bytes)-crcBytes:], crc(bytes))
	return bytes
}

func crc(value []byte) uint32 {
	return crc32.Checksum(value[:len(value)-crcBytes], castagnoli)
}

func report(records int, elapsed time.Duration, latencies []int64) {
	slices.Sort(latencies)
	at := func(quantile float64) float64 {
		rank := int(math.Ceil(quantile * float64(len(latencies))))
		return float64(latencies[max(rank, 1)-1]) / 1e3
	}
	fmt.Printf("{\"records\":%d,\"deliveries\":%d,\"seconds\":%.6f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f}\n",
		records, len(latencies), elapsed.Seconds(), at(0.5), at(0.99), at(0.999))
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
