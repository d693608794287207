module lineprotocol

go 1.25.5

require (
	github.com/influxdata/line-protocol/v2 v2.2.1
	github.com/influxdata/telegraf v1.37.2
)
