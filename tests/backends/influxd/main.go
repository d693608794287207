package main

import (
	"context"
	"os"

	"github.com/influxdata/influxdb/v2/cmd/influxd/launcher"
	_ "github.com/influxdata/influxdb/v2/tsdb/engine/tsm1"
	_ "github.com/influxdata/influxdb/v2/tsdb/index/tsi1"
	"github.com/spf13/viper"
)

func main() {
	command, err := launcher.NewInfluxdCommand(context.Background(), viper.New())
	if err != nil || command.Execute() != nil {
		os.Exit(1)
	}
}
