// Jaeger's own conversion between OTLP and the documents that it keeps in Elasticsearch.
//
// It is built inside of a copy of Jaeger's module, since the packages that it asks are internal.
// "documents" reads an OTLP message, mends it as the collector does, and writes JSON; "spans" reads JSON and writes an OTLP message.
package main

import (
	"bytes"
	"encoding/json"
	"io"
	"log"
	"os"
	"strings"

	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/jaegertracing/jaeger/internal/jptrace/sanitizer"
	"github.com/jaegertracing/jaeger/internal/storage/elasticsearch/dbmodel"
	"github.com/jaegertracing/jaeger/internal/storage/v2/elasticsearch/tracestore"
)

func main() {
	input, err := io.ReadAll(os.Stdin)
	check(err)
	switch os.Args[1] {
	case "documents":
		traces, err := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(input)
		check(err)
		encoder := json.NewEncoder(os.Stdout)
		encoder.SetIndent("", "  ")
		check(encoder.Encode(tracestore.ToDBModel(sanitizer.Sanitize(traces))))
	case "spans":
		var spans []dbmodel.Span
		decoder := json.NewDecoder(bytes.NewReader(input))
		decoder.UseNumber() // as Jaeger's reader does
		check(decoder.Decode(&spans))
		for i := range spans {
			spans[i].Tags = back(spans[i].Tags, spans[i].Tag)
			spans[i].Process.Tags = back(spans[i].Process.Tags, spans[i].Process.Tag)
		}
		traces, err := tracestore.FromDBModel(spans)
		check(err)
		output, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(traces)
		check(err)
		_, err = os.Stdout.Write(output)
		check(err)
	}
}

// back returns tags with those that are fields among them, as Jaeger's reader puts them back.
func back(tags []dbmodel.KeyValue, fields map[string]any) []dbmodel.KeyValue {
	for key, value := range fields {
		tag := dbmodel.KeyValue{Key: strings.ReplaceAll(key, "@", "."), Value: value, Type: dbmodel.StringType}
		switch number := value.(type) {
		case bool:
			tag.Type = dbmodel.BoolType
		case json.Number:
			tag.Type = dbmodel.Float64Type
			if _, err := number.Int64(); err == nil {
				tag.Type = dbmodel.Int64Type
			}
		}
		tags = append(tags, tag)
	}
	return tags
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
