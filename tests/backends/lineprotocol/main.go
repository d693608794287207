// Reads line protocol with InfluxDB's own decoder, and writes it with Telegraf's own serializer.
// One JSON object a line comes in and goes out; texts that need not be UTF-8 are base64.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/influxdata/line-protocol/v2/lineprotocol"
	"github.com/influxdata/telegraf/metric"
	"github.com/influxdata/telegraf/plugins/serializers/influx"
)

type pair struct {
	Key   []byte `json:"key"`
	Value []byte `json:"value"`
}

type field struct {
	Key   []byte `json:"key"`
	Kind  string `json:"kind"`
	Value []byte `json:"value"`
}

type point struct {
	Name   []byte  `json:"name"`
	Tags   []pair  `json:"tags"`
	Fields []field `json:"fields"`
	Time   *int64  `json:"time"`
}

type answer struct {
	Points []point `json:"points"`
	Text   []byte  `json:"text"`
	Error  string  `json:"error"`
}

func main() {
	handle := map[string]func([]byte) (answer, error){"read": read, "write": write}[os.Args[1]]
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<26)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	encoder := json.NewEncoder(out)
	for in.Scan() {
		found, err := handle(in.Bytes())
		if err != nil {
			found.Error = err.Error()
		}
		if err := encoder.Encode(found); err != nil {
			panic(err)
		}
		if err := out.Flush(); err != nil {
			panic(err)
		}
	}
}

func copied(text []byte) []byte { return append([]byte{}, text...) }

func read(request []byte) (answer, error) {
	var message answer
	if err := json.Unmarshal(request, &message); err != nil {
		panic(err)
	}
	found := answer{}
	decoder := lineprotocol.NewDecoderWithBytes(message.Text)
	for decoder.Next() {
		var line point
		name, err := decoder.Measurement()
		if err != nil {
			return found, err
		}
		line.Name = copied(name)
		for {
			key, value, err := decoder.NextTag()
			if err != nil {
				return found, err
			}
			if key == nil {
				break
			}
			line.Tags = append(line.Tags, pair{copied(key), copied(value)})
		}
		for {
			key, value, err := decoder.NextField()
			if err != nil {
				return found, err
			}
			if key == nil {
				break
			}
			text := []byte(fmt.Sprint(value.Interface()))
			line.Fields = append(line.Fields, field{copied(key), value.Kind().String(), text})
		}
		text, err := decoder.TimeBytes()
		if err != nil {
			return found, err
		}
		if text != nil {
			ts, err := strconv.ParseInt(string(text), 10, 64)
			if err != nil {
				return found, err
			}
			line.Time = &ts
		}
		found.Points = append(found.Points, line)
	}
	return found, nil
}

func write(request []byte) (answer, error) {
	var batch answer
	if err := json.Unmarshal(request, &batch); err != nil {
		panic(err)
	}
	serializer := &influx.Serializer{UintSupport: true}
	if err := serializer.Init(); err != nil {
		panic(err)
	}
	found := answer{}
	for _, line := range batch.Points {
		entry := metric.New(string(line.Name), nil, nil, time.Unix(0, *line.Time))
		for _, tag := range line.Tags {
			entry.AddTag(string(tag.Key), string(tag.Value))
		}
		for _, field := range line.Fields {
			entry.AddField(string(field.Key), valueOf(field))
		}
		text, err := serializer.Serialize(entry)
		if err != nil {
			return found, err
		}
		found.Text = append(found.Text, text...)
	}
	return found, nil
}

func valueOf(entry field) any {
	text := string(entry.Value)
	var value any
	var err error
	switch entry.Kind {
	case "float":
		value, err = strconv.ParseFloat(text, 64)
	case "int":
		value, err = strconv.ParseInt(text, 10, 64)
	case "uint":
		value, err = strconv.ParseUint(text, 10, 64)
	case "bool":
		value, err = strconv.ParseBool(text)
	default:
		value = text
	}
	if err != nil {
		panic(err)
	}
	return value
}
