"""Each real server starts, takes a write, gives it back, and comes back on the same port."""

import uuid

import pytest
from confluent_kafka import Consumer, Message, Producer
from confluent_kafka.admin import AdminClient
from elasticsearch import ConflictError, Elasticsearch
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

from tests.backends.elasticsearch import ElasticsearchServer
from tests.backends.influxdb import BUCKET, InfluxdbAccess, InfluxdbServer
from tests.backends.kafka import KafkaServer
from tests.conftest import RotelFactory, TopicFactory


def test_kafka_keeps_its_records_when_it_is_killed(
    kafka_server: KafkaServer, topic: TopicFactory
) -> None:
    address = kafka_server.bootstrap_servers
    name = topic(3, on=address)
    produce(address, name, [b"one", b"two"])

    kafka_server.kill()
    assert not kafka_server.running
    kafka_server.start()

    assert kafka_server.bootstrap_servers == address
    assert {message.value() for message in consume(address, name, 2)} == {b"one", b"two"}


def test_a_stopped_kafka_is_running_again_in_the_next_test(kafka_server: KafkaServer) -> None:
    kafka_server.stop()
    kafka_server.start()
    assert kafka_server.running


def test_a_topic_has_the_partitions_that_were_asked_for(kafka: str, topic: TopicFactory) -> None:
    name = topic(4)
    metadata = AdminClient({"bootstrap.servers": kafka}).list_topics(name, timeout=10)
    assert len(metadata.topics[name].partitions) == 4


def test_metrics_of_the_sdk_reach_kafka_through_rotel(
    kafka: str, topic: TopicFactory, rotel: RotelFactory
) -> None:
    topics = (topic(name="metrics"), topic(name="logs"), topic(name="spans"))
    collector = rotel(topics=topics)
    exporter = OTLPMetricExporter(endpoint=f"{collector.http_endpoint}/v1/metrics")
    provider = MeterProvider(metric_readers=[PeriodicExportingMetricReader(exporter)])
    provider.get_meter("test").create_counter("requests").add(3, {"route": "/"})
    provider.force_flush()
    provider.shutdown()

    (message,) = consume(kafka, topics[0], 1)

    request = ExportMetricsServiceRequest.FromString(message.value() or b"")
    (metric,) = request.resource_metrics[0].scope_metrics[0].metrics
    assert metric.name == "requests"
    assert metric.sum.data_points[0].as_int == 3


def test_elasticsearch_keeps_a_document_when_it_is_killed(
    elasticsearch_server: ElasticsearchServer,
) -> None:
    url = elasticsearch_server.url
    with Elasticsearch(url) as client:
        client.create(index="logs", id="orders-0-17", document={"message": "refused"})
        elasticsearch_server.kill()
        elasticsearch_server.start()
        assert elasticsearch_server.url == url
        found = client.get(index="logs", id="orders-0-17")
    assert found["_source"] == {"message": "refused"}


def test_elasticsearch_refuses_to_create_the_same_document_again(elasticsearch: str) -> None:
    index = f"test-{uuid.uuid4().hex}"
    with Elasticsearch(elasticsearch) as client:
        client.create(index=index, id="orders-0-17", document={"message": "refused"})
        with pytest.raises(ConflictError):
            client.create(index=index, id="orders-0-17", document={"message": "refused"})


def test_influxdb_keeps_a_point_when_it_is_killed(influxdb_server: InfluxdbServer) -> None:
    access = influxdb_server.access
    with InfluxDBClient(access.url, access.token, org=access.org) as client:
        client.write_api(SYNCHRONOUS).write(
            BUCKET, record="cpu,host=a load=0.5 1700000000000000000"
        )
        influxdb_server.kill()
        influxdb_server.start()
        assert influxdb_server.access == access
        tables = client.query_api().query(f'from(bucket: "{BUCKET}") |> range(start: 0)')
    assert [(r["_time"].timestamp(), r["host"], r["_value"]) for t in tables for r in t] == [
        (1_700_000_000, "a", 0.5)
    ]


def test_influxdb_lets_its_token_make_buckets(influxdb: InfluxdbAccess) -> None:
    name = f"test-{uuid.uuid4().hex}"
    with InfluxDBClient(influxdb.url, influxdb.token, org=influxdb.org) as client:
        client.buckets_api().create_bucket(bucket_name=name)
        assert client.buckets_api().find_bucket_by_name(name).name == name


def produce(address: str, topic: str, values: list[bytes]) -> None:
    producer = Producer({"bootstrap.servers": address})
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(10) == 0


def consume(address: str, topic: str, count: int, seconds: float = 90) -> list[Message]:
    """Read `count` records of a topic from its beginning."""
    consumer = Consumer(
        {"bootstrap.servers": address, "group.id": "test", "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([topic])
    try:
        return consumer.consume(count, timeout=seconds)
    finally:
        consumer.close()
