"""YAML as Prometheus reads it: what stands for a text is that text, and each key is there once."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from yaml import SafeLoader
else:  # That of C is eight times as fast, and not built everywhere.
    SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

__all__ = ["YamlError", "load"]


class YamlError(ValueError):
    """A text that is no YAML; it says where."""


class _Loader(SafeLoader):
    """Leaves scalars as they are written: ``on``, ``1`` and ``5m`` are texts, ``null`` is empty."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - declared so by the library
        "<": [("tag:yaml.org,2002:merge", re.compile(r"^(?:<<)$"))],
        "~": [("tag:yaml.org,2002:null", re.compile(r"^~$"))],
        "n": [("tag:yaml.org,2002:null", re.compile(r"^null$"))],
        "N": [("tag:yaml.org,2002:null", re.compile(r"^(?:Null|NULL)$"))],
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in keys:
                    line = key.start_mark.line + 1
                    raise YamlError(f'line {line}: the key "{key.value}" is there twice')
                keys.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.add_constructor("tag:yaml.org,2002:null", lambda _, __: "")


def load(text: str) -> Any:
    """Return what a text says: mappings, lists and texts; nothing is an empty text.

    Raises:
        YamlError: it is no YAML, or a mapping has a key twice.
    """
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f"line {mark.line + 1}: " if mark else ""
        raise YamlError(f"{line}{error.problem}") from None
    except yaml.YAMLError as error:
        raise YamlError(str(error)) from None
