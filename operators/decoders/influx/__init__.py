"""Line protocol of InfluxDB and Telegraf."""
