// Prometheus's own code as an oracle: its messages, its encoder, and how it reads histograms.
//
//	model requests VERSION SEED NUMBER   random remote write requests, one a line, as JSON:
//	                                     the body, and what Prometheus itself sees in it
//	model serve ADDRESS                  an application with native histograms, for scraping
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"math"
	"math/rand"
	"net/http"
	"os"
	"strconv"

	"github.com/golang/snappy"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

// A bucket that holds something: its bounds and its count.
type bucket [3]float

// JSON has neither NaN nor infinity, so numbers travel as text.
type float float64

func (f float) MarshalJSON() ([]byte, error) {
	return json.Marshal(strconv.FormatFloat(float64(f), 'g', -1, 64))
}

type sample struct {
	Time, Start int64
	Value       float
	Stale       bool
}

type observed struct {
	Time, Start int64
	Valid       bool
	Gauge       bool
	Stale       bool
	Count, Sum  float
	Buckets     []bucket
}

type series struct {
	Labels     map[string]string
	Type       int32
	Unit       string
	Samples    []sample
	Histograms []observed
}

type request struct {
	Body   []byte
	Series []series
}

func main() {
	log.SetFlags(0)
	switch {
	case len(os.Args) == 5 && os.Args[1] == "requests":
		seed, number := integer(os.Args[3]), integer(os.Args[4])
		random := rand.New(rand.NewSource(int64(seed)))
		out := json.NewEncoder(os.Stdout)
		for range number {
			if err := out.Encode(make_request(random, os.Args[2])); err != nil {
				log.Fatal(err)
			}
		}
	case len(os.Args) == 3 && os.Args[1] == "serve":
		log.Fatal(http.ListenAndServe(os.Args[2], application()))
	default:
		log.Fatal("usage: model requests VERSION SEED NUMBER | model serve ADDRESS")
	}
}

func integer(text string) int {
	number, err := strconv.Atoi(text)
	if err != nil {
		log.Fatal(err)
	}
	return number
}

func make_request(random *rand.Rand, version string) request {
	var made request
	v1 := prompb.WriteRequest{}
	v2 := writev2.Request{}
	symbols := writev2.NewSymbolTable()
	for number := range 1 + random.Intn(5) {
		s := series{
			Labels: map[string]string{
				"__name__": fmt.Sprintf("metric_%d%s", random.Intn(9), pick(random, "", "_total", "_count", "_bucket")),
				"number":   strconv.Itoa(number),
				"größe":    pick(random, "klein", "groß", "日本"),
			},
			Type: int32(random.Intn(8)),
			Unit: pick(random, "", "seconds", "bytes"),
		}
		named := labels.FromMap(s.Labels)
		one := prompb.TimeSeries{Labels: prompb.FromLabels(named, nil)}
		two := writev2.TimeSeries{
			LabelsRefs: symbols.SymbolizeLabels(named, nil),
			Metadata: writev2.Metadata{
				Type:    writev2.Metadata_MetricType(s.Type),
				HelpRef: symbols.Symbolize("What it is."),
				UnitRef: symbols.Symbolize(s.Unit),
			},
		}
		for range random.Intn(3) {
			made := sample{Time: instant(random), Value: float(random.NormFloat64() * 1000)}
			if version == "2" {
				made.Start = made.Time - int64(random.Intn(2))*1000
				if made.Start == made.Time {
					made.Start = 0
				}
			}
			if made.Stale = random.Intn(5) == 0; made.Stale {
				made.Value = float(math.Float64frombits(value.StaleNaN))
			}
			s.Samples = append(s.Samples, made)
			one.Samples = append(one.Samples, prompb.Sample{Value: float64(made.Value), Timestamp: made.Time})
			two.Samples = append(two.Samples, writev2.Sample{
				Value: float64(made.Value), Timestamp: made.Time, StartTimestamp: made.Start,
			})
		}
		for range random.Intn(3) {
			ts, start := instant(random), int64(0)
			if version == "2" {
				start = int64(random.Intn(2)) * 1_600_000_000_000
			}
			if random.Intn(2) == 0 {
				h := integers(random, version == "2")
				s.Histograms = append(s.Histograms, observe(ts, start, h, nil))
				one.Histograms = append(one.Histograms, prompb.FromIntHistogram(ts, h))
				two.Histograms = append(two.Histograms, writev2.FromIntHistogram(start, ts, h))
			} else {
				h := integers(random, version == "2").ToFloat(nil)
				s.Histograms = append(s.Histograms, observe(ts, start, nil, h))
				one.Histograms = append(one.Histograms, prompb.FromFloatHistogram(ts, h))
				two.Histograms = append(two.Histograms, writev2.FromFloatHistogram(start, ts, h))
			}
		}
		v1.Timeseries = append(v1.Timeseries, one)
		v2.Timeseries = append(v2.Timeseries, two)
		made.Series = append(made.Series, s)
	}
	var body []byte
	var err error
	if version == "1" {
		body, err = v1.Marshal()
	} else {
		v2.Symbols = symbols.Symbols()
		body, err = v2.OptimizedMarshal(nil)
	}
	if err != nil {
		log.Fatal(err)
	}
	made.Body = snappy.Encode(nil, body)
	return made
}

func instant(random *rand.Rand) int64 { return 1_700_000_000_000 + int64(random.Intn(1_000_000)) }

func pick(random *rand.Rand, from ...string) string { return from[random.Intn(len(from))] }

// integers makes a histogram; some are made invalid in one way or another.
func integers(random *rand.Rand, custom bool) *histogram.Histogram {
	h := &histogram.Histogram{
		Schema:           int32(random.Intn(13) - 4),
		CounterResetHint: histogram.CounterResetHint(random.Intn(4)),
		Sum:              random.NormFloat64() * 100,
	}
	if custom && random.Intn(3) == 0 {
		h.Schema = histogram.CustomBucketsSchema
		bound := random.NormFloat64()
		for range random.Intn(8) {
			h.CustomValues = append(h.CustomValues, bound)
			bound += random.Float64() + 0.01
		}
		h.PositiveSpans, h.PositiveBuckets = side(random, h, len(h.CustomValues)+1)
	} else {
		h.ZeroThreshold = []float64{0, 0.001, 1, 2.938735877055719e-39}[random.Intn(4)]
		h.ZeroCount = uint64(random.Intn(3))
		h.Count += h.ZeroCount
		h.PositiveSpans, h.PositiveBuckets = side(random, h, -1)
		h.NegativeSpans, h.NegativeBuckets = side(random, h, -1)
	}
	switch random.Intn(16) {
	case 0:
		h.Count++
	case 1:
		h.PositiveSpans = append(h.PositiveSpans, histogram.Span{Offset: 1, Length: 2})
	case 2:
		h.PositiveSpans = append(h.PositiveSpans, histogram.Span{Offset: -1, Length: 0})
	case 3:
		h.PositiveBuckets = append(h.PositiveBuckets, -1000)
	case 4:
		h.CustomValues = append(h.CustomValues, math.Inf(1))
	case 5:
		h.CustomValues = append(h.CustomValues, -100, -100)
	case 6:
		h.Sum = math.NaN()
		h.Count++
	case 7:
		h.Sum = math.Float64frombits(value.StaleNaN)
	}
	return h
}

// side makes spans and deltas, within the given number of buckets if it is not negative.
func side(random *rand.Rand, h *histogram.Histogram, most int) ([]histogram.Span, []int64) {
	var spans []histogram.Span
	var deltas []int64
	previous, position := int64(0), 0
	for number := range random.Intn(4) {
		offset, length := random.Intn(3), random.Intn(4)
		if number == 0 && most < 0 {
			offset = random.Intn(21) - 10
		}
		if most >= 0 && position+offset+length > most {
			break
		}
		position += offset + length
		spans = append(spans, histogram.Span{Offset: int32(offset), Length: uint32(length)})
		for range length {
			count := int64(random.Intn(4))
			deltas = append(deltas, count-previous)
			previous = count
			h.Count += uint64(count)
		}
	}
	return spans, deltas
}

// observe says what Prometheus sees in a histogram, of which one is given.
func observe(ts, start int64, h *histogram.Histogram, f *histogram.FloatHistogram) observed {
	made := observed{Time: ts, Start: start}
	if h != nil {
		made.Valid, made.Gauge = h.Validate() == nil, h.CounterResetHint == histogram.GaugeType
		f = nil
		made.Count, made.Sum = float(h.Count), float(h.Sum)
		if made.Valid {
			f = h.ToFloat(nil)
		}
	} else {
		made.Valid, made.Gauge = f.Validate() == nil, f.CounterResetHint == histogram.GaugeType
		made.Count, made.Sum = float(f.Count), float(f.Sum)
		if !made.Valid {
			f = nil
		}
	}
	made.Stale = value.IsStaleNaN(float64(made.Sum))
	if f == nil {
		return made
	}
	for _, sides := range []histogram.BucketIterator[float64]{
		f.NegativeBucketIterator(), f.PositiveBucketIterator(),
	} {
		for sides.Next() {
			made.add(sides.At())
		}
	}
	if f.ZeroCount > 0 {
		made.add(f.ZeroBucket())
	}
	return made
}

func (o *observed) add(b histogram.Bucket[float64]) {
	if b.Count > 0 {
		o.Buckets = append(o.Buckets, bucket{float(b.Lower), float(b.Upper), float(b.Count)})
	}
}

// application has a native histogram with observations on both sides of zero, and a counter.
func application() http.Handler {
	registry := prometheus.NewRegistry()
	latency := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "model_latency_seconds", Help: "How long it took.", NativeHistogramBucketFactor: 1.1,
	}, []string{"route"})
	requests := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "model_requests_total", Help: "How many there were.",
	})
	registry.MustRegister(latency, requests)
	random := rand.New(rand.NewSource(1))
	handler := promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for range 100 {
			latency.WithLabelValues("/checkout").Observe(math.Exp(random.NormFloat64()) / 10)
			latency.WithLabelValues("/drift").Observe(random.NormFloat64())
			latency.WithLabelValues("/drift").Observe(0)
			requests.Inc()
		}
		handler.ServeHTTP(w, r)
	})
}
