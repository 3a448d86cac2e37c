"""Questions to every route there is, made up from the API's description: a new route is asked without anyone thinking
of it.

What the description cannot know, such as whose id there is, is told by `known`: {name of a parameter: values}. A
parameter of which nothing is known is an error, so that somebody says what it may be.
"""

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

import httpx

Known = Mapping[str, Sequence[Any]]
Schema = Mapping[str, Any]


@dataclass(frozen=True, eq=False)  # each is itself
class Question:
    method: str
    route: str
    path: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    scopes: Sequence[str] = ()

    def __str__(self) -> str:
        asked = "&".join(f"{name}={value}" for name, value in self.parameters.items())
        return f"{self.method} {self.path}{'?' if asked else ''}{asked}{'' if self.body is None else f' {self.body}'}"


async def put_to(asking: httpx.AsyncClient, question: Question, **how: Any) -> httpx.Response:
    body = {} if question.body is None else {"json": question.body}
    return await asking.request(question.method, question.path, params=question.parameters, **body, **how)


def questions(described: Mapping[str, Any], known: Known, scopes: Collection[str] = ()) -> Iterator[Question]:
    """Each route with what it must be given, and with each thing more that it may be, one at a time.

    scopes : only what a key with one of these may ask, and what needs none; everything without it
    """
    for route, operations in described["paths"].items():
        for method, operation in operations.items():
            needed_scopes = operation.get("x-scopes", ())
            if scopes and needed_scopes and not set(scopes) & set(needed_scopes):
                continue
            parameters = [each for each in operation.get("parameters", []) if each["in"] != "header"]
            of_path = [each["name"] for each in parameters if each["in"] == "path"]
            of_query = {each["name"]: each for each in parameters if each["in"] == "query"}
            needed = {name: each for name, each in of_query.items() if each.get("required")}
            bodies = list(_bodies(described, operation, known))
            for path in _paths(route, of_path, known):
                for given in _each(needed, described, known):
                    plain = Question(method.upper(), route, path, given, bodies[0], needed_scopes)
                    yield plain
                    for name, parameter in of_query.items():
                        if name not in needed:
                            for value in _values(name, parameter["schema"], described, known):
                                yield replace(plain, parameters={**given, name: str(value)})
                    if {"start_date", "end_date"} <= of_query.keys():
                        span = {name: str(known[name][0]) for name in ("start_date", "end_date")}
                        yield replace(plain, parameters={**given, **span})
                    for body in bodies[1:]:
                        yield replace(plain, body=body)


def _paths(route: str, names: Sequence[str], known: Known) -> Iterator[str]:
    missing = [name for name in names if name not in known]
    assert not missing, f"{route}: nothing is known of {', '.join(missing)}; say what it may be"
    for values in itertools.product(*(known[name] for name in names)):
        path = route
        for name, value in zip(names, values, strict=True):
            path = path.replace(f"{{{name}}}", quote(str(value), safe=""))
        yield path


def _each(needed: Mapping[str, Any], described: Mapping[str, Any], known: Known) -> Iterator[dict[str, str]]:
    values = [_values(name, each["schema"], described, known) for name, each in needed.items()]
    for chosen in itertools.product(*values):
        yield {name: str(value) for name, value in zip(needed, chosen, strict=True)}


def _bodies(described: Mapping[str, Any], operation: Mapping[str, Any], known: Known) -> Iterator[Any]:
    """The least that is taken, then with each field that may be there."""
    if "requestBody" not in operation:
        yield None
        return
    schema = resolved(described, operation["requestBody"]["content"]["application/json"]["schema"])
    needed = set(schema.get("required", []))
    least = {
        name: _values(name, schema["properties"][name], described, known)[0] for name in schema.get("required", [])
    }
    yield least
    for name, each in schema["properties"].items():
        for value in _values(name, each, described, known)[1 if name in needed else 0 :]:
            yield {**least, name: value}


def _values(name: str, schema: Schema, described: Mapping[str, Any], known: Known) -> Sequence[Any]:
    """What it may be: what is known, all there are, or the least and the most."""
    if name in known:
        return known[name]
    schema = resolved(described, schema)
    if "enum" in schema:
        return list(schema["enum"])
    if "const" in schema:
        return [schema["const"]]
    match schema.get("type"):
        case "boolean":
            return [True, False]
        case "integer" if "minimum" in schema and "maximum" in schema:
            return [int(schema["minimum"]), int(schema["maximum"])]
        case "number" if "minimum" in schema and "maximum" in schema:
            return [schema["minimum"], schema["maximum"]]
        case "array":
            return [[each] for each in _values("", schema["items"], described, known)]
        case "string" if schema.get("default") is not None:
            return [schema["default"]]
    raise AssertionError(f"nothing is known of {name}; say what it may be")


def resolved(described: Mapping[str, Any], schema: Schema) -> Schema:
    """What a schema stands for, where it may be left out as well."""
    for each in schema.get("anyOf", []):
        if each.get("type") != "null":
            return resolved(described, {**each, **{k: v for k, v in schema.items() if k != "anyOf"}})
    if "$ref" in schema:
        return resolved(described, described["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    return schema
