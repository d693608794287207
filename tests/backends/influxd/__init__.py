"""How `influxd`, InfluxDB's server, is built where it cannot be downloaded as a binary."""
