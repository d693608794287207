"""A real broker that asks for a password, and lets its users do only what they are given."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from tests.backends.kafka import KafkaServer
from tests.backends.process import LOCALHOST, free_port

USER, PASSWORD = "alice", "wonderland-7"
_MODULE = "org.apache.kafka.common.security.plain.PlainLoginModule"


class SecuredKafka(KafkaServer):
    """Beside its open listener, for the tests, it has one for `USER`, who may do nothing."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.secured_port = free_port()
        self.properties = {
            "listeners": f"PLAINTEXT://{LOCALHOST}:{self.port},"
            f"SASL_PLAINTEXT://{LOCALHOST}:{self.secured_port},"
            f"CONTROLLER://{LOCALHOST}:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://{LOCALHOST}:{self.port},"
            f"SASL_PLAINTEXT://{LOCALHOST}:{self.secured_port}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,"
            "SASL_PLAINTEXT:SASL_PLAINTEXT",
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl_plaintext.plain.sasl.jaas.config": f"{_MODULE} required "
            f'user_{USER}="{PASSWORD}";',
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        }

    @property
    def secured(self) -> str:
        """The address for `USER`."""
        return f"{LOCALHOST}:{self.secured_port}"

    def options(self, password: str = PASSWORD) -> dict[str, str]:
        """What goes into `kafka.options`."""
        return {
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "PLAIN",
            "sasl.username": USER,
            "sasl.password": password,
        }

    def allow(self, prefix: str, operations: Sequence[AclOperation]) -> None:
        """Let `USER` do something with all topics whose names begin with `prefix`."""
        bindings = [
            AclBinding(
                ResourceType.TOPIC,
                prefix,
                ResourcePatternType.PREFIXED,
                f"User:{USER}",
                "*",
                operation,
                AclPermissionType.ALLOW,
            )
            for operation in operations
        ]
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers})
        for future in admin.create_acls(bindings).values():
            future.result(10)
        # They are in the log of the cluster then, and a moment later what the broker goes by.
        deadline = time.monotonic() + 60
        for binding in bindings:
            wanted = AclBindingFilter(
                binding.restype, binding.name, binding.resource_pattern_type, binding.principal,
                binding.host, binding.operation, binding.permission_type,
            )  # fmt: skip
            while not admin.describe_acls(wanted).result(10):
                assert time.monotonic() < deadline, f"{binding} is not there"
                time.sleep(0.05)
