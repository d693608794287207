// Prometheus's query engine as an oracle.
//
//	engine < lines of JSON
//
// A line {"forget": true} empties the store; {"series": [{"labels", "ts", "values"}]} puts series in; {"make": {…}} makes many by a
// formula; {"query", "time"} is answered by a line with the result; {"tick": […], "time"} by one
// with the seconds that all these expressions took. Values are texts, for JSON has no NaN.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"math"
	"os"
	"sort"
	"strconv"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

type given struct {
	Labels map[string]string `json:"labels"`
	Ts     []int64           `json:"ts"`
	Values []string          `json:"values"`
}

type making struct {
	Metrics, Series, Samples int
	Step                     int64
}

type request struct {
	Series  []given
	Make    *making
	Query   string
	Tick    []string
	Time    int64
	Delayed bool
	Forget  bool
}

type row struct {
	Labels map[string]string `json:"labels"`
	Value  string            `json:"value"`
}

type answer struct {
	Error   string  `json:"error"`
	Rows    []row   `json:"rows"`
	Seconds float64 `json:"seconds"`
	Number  int     `json:"number"`
}

type series struct {
	labels  labels.Labels
	samples []chunks.Sample
}

type sample struct {
	t int64
	f float64
}

func sampleOf(t int64, f float64) chunks.Sample { return sample{t, f} }
func (s sample) T() int64                       { return s.t }
func (sample) ST() int64                        { return 0 }
func (s sample) F() float64                     { return s.f }
func (sample) H() *histogram.Histogram          { return nil }
func (sample) FH() *histogram.FloatHistogram    { return nil }
func (sample) Type() chunkenc.ValueType         { return chunkenc.ValFloat }
func (s sample) Copy() chunks.Sample            { return s }

// A store in memory: series by the name of their metric.
type store struct {
	byName map[string][]series
}

func main() {
	log.SetFlags(0)
	kept := &store{byName: map[string][]series{}}
	engines := map[bool]*promql.Engine{}
	for _, delayed := range []bool{false, true} {
		engines[delayed] = promql.NewEngine(promql.EngineOpts{
			MaxSamples: 1 << 30, Timeout: time.Hour, LookbackDelta: 5 * time.Minute,
			EnableAtModifier: true, EnableNegativeOffset: true,
			EnableDelayedNameRemoval: delayed,
			NoStepSubqueryIntervalFn: func(int64) int64 { return 60000 },
			Parser:                   parser.NewParser(parser.Options{EnableExperimentalFunctions: true, EnableBinopFillModifiers: true}),
		})
	}
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<28)
	out := bufio.NewWriter(os.Stdout)
	encoder := json.NewEncoder(out)
	for in.Scan() {
		var asked request
		if err := json.Unmarshal(in.Bytes(), &asked); err != nil {
			log.Fatal(err)
		}
		var said answer
		switch {
		case asked.Forget:
			kept.byName = map[string][]series{}
		case asked.Series != nil:
			for _, one := range asked.Series {
				kept.add(one)
			}
		case asked.Make != nil:
			kept.make(*asked.Make)
		case asked.Tick != nil:
			said = tick(engines[asked.Delayed], kept, asked)
		default:
			said = query(engines[asked.Delayed], kept, asked.Query, asked.Time)
		}
		if err := encoder.Encode(said); err != nil {
			log.Fatal(err)
		}
		out.Flush()
	}
}

func (s *store) add(one given) {
	made := series{labels: labels.FromMap(one.Labels)}
	for i, text := range one.Values {
		f := math.Float64frombits(value.StaleNaN)
		if text != "stale" {
			f, _ = strconv.ParseFloat(text, 64)
		}
		made.samples = append(made.samples, sampleOf(one.Ts[i], f))
	}
	name := one.Labels["__name__"]
	s.byName[name] = append(s.byName[name], made)
}

// Counters, whose value after k steps is 15 * k * (1 + number % 7).
func (s *store) make(m making) {
	for metric := range m.Metrics {
		name := fmt.Sprintf("m%d_total", metric)
		for number := range m.Series {
			one := series{labels: labels.FromStrings("__name__", name, "instance",
				fmt.Sprintf("i%d", number), "job", fmt.Sprintf("j%d", number%10), "zone", fmt.Sprintf("z%d", number%3))}
			for k := range m.Samples {
				one.samples = append(one.samples, sampleOf(int64(k)*m.Step, float64(15*k*(1+number%7))))
			}
			s.byName[name] = append(s.byName[name], one)
		}
	}
}

func query(engine *promql.Engine, kept *store, text string, at int64) answer {
	q, err := engine.NewInstantQuery(context.Background(), kept, nil, text, time.UnixMilli(at))
	if err != nil {
		return answer{Error: err.Error()}
	}
	defer q.Close()
	result := q.Exec(context.Background())
	if result.Err != nil {
		return answer{Error: result.Err.Error()}
	}
	said := answer{Rows: []row{}}
	switch found := result.Value.(type) {
	case promql.Vector:
		for _, one := range found {
			said.Rows = append(said.Rows, row{one.Metric.Map(), number(one.F)})
		}
	case promql.Scalar:
		said.Rows = append(said.Rows, row{map[string]string{}, number(found.V)})
	default:
		said.Error = "neither a vector nor a scalar"
	}
	return said
}

func number(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

func tick(engine *promql.Engine, kept *store, asked request) answer {
	begun := time.Now()
	rows := 0
	for _, text := range asked.Tick {
		q, err := engine.NewInstantQuery(context.Background(), kept, nil, text, time.UnixMilli(asked.Time))
		if err != nil {
			return answer{Error: err.Error()}
		}
		result := q.Exec(context.Background())
		if result.Err != nil {
			return answer{Error: result.Err.Error()}
		}
		if found, ok := result.Value.(promql.Vector); ok {
			rows += len(found)
		}
		q.Close()
	}
	return answer{Seconds: time.Since(begun).Seconds(), Number: rows}
}

func (s *store) Querier(_, _ int64) (storage.Querier, error) { return &querier{s}, nil }

type querier struct{ store *store }

func (*querier) Close() error { return nil }
func (*querier) LabelValues(context.Context, string, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}
func (*querier) LabelNames(context.Context, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

func (q *querier) Select(_ context.Context, _ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	var names []string
	for _, m := range matchers {
		if m.Name == "__name__" && m.Type == labels.MatchEqual {
			names = []string{m.Value}
		}
	}
	if names == nil {
		for name := range q.store.byName {
			names = append(names, name)
		}
		sort.Strings(names)
	}
	var found []storage.Series
	for _, name := range names {
	candidates:
		for _, one := range q.store.byName[name] {
			for _, m := range matchers {
				if !m.Matches(one.labels.Get(m.Name)) {
					continue candidates
				}
			}
			found = append(found, storage.NewListSeries(one.labels, one.samples))
		}
	}
	sort.Slice(found, func(i, j int) bool { return labels.Compare(found[i].Labels(), found[j].Labels()) < 0 })
	return &listed{found, -1}
}

type listed struct {
	all []storage.Series
	at  int
}

func (l *listed) Next() bool                      { l.at++; return l.at < len(l.all) }
func (l *listed) At() storage.Series              { return l.all[l.at] }
func (*listed) Err() error                        { return nil }
func (*listed) Warnings() annotations.Annotations { return nil }
