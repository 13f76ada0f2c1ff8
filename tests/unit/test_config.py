"""Settings: what is accepted, what wins, and the one line a user reads when it is not."""

from __future__ import annotations

import argparse
import dataclasses
import pathlib

import pytest

from nsexporter import config

ROOT = pathlib.Path(__file__).parents[2]
ADDRESS = "an address such as :10061, localhost:10061, [::1]:10061 or unix:/run/nsexporter.sock"
LEAVES = "interval, max_age, max_cgroups, cgroup_allow, cgroup_deny, exact"
KNOWN = "path, web, security, log, collection, collectors, metadata, oom, labels, compat"
ON, OFF = config.Switch(True), config.Switch(False)
SYSTEM = '(try ["^/system[.]slice/"])'

ERRORS = [
    # Wrong types and bad values.
    (
        'collection: {interval: "10x"}',
        'config.yaml: collection.interval: "10x" is not a duration (try 15s)',
    ),
    (
        "collection: {interval: 15}",
        "config.yaml: collection.interval: 15 is not a duration (try 15s)",
    ),
    (
        "collection: {interval: }",
        "config.yaml: collection.interval: null is not a duration (try 15s)",
    ),
    (
        'collection: {interval: ""}',
        'config.yaml: collection.interval: "" is not a duration (try 15s)',
    ),
    (
        "collection: {interval: 99ms}",
        'config.yaml: collection.interval: "99ms" is not from 100ms to 365d (try 15s)',
    ),
    (
        "collection: {max_age: 366d}",
        'config.yaml: collection.max_age: "366d" is not from 0s to 365d (try 1s)',
    ),
    (
        "collection: {max_age: 1s1m}",
        'config.yaml: collection.max_age: "1s1m" is not a duration (try 1s)',
    ),
    (
        "collection: {max_cgroups: -1}",
        "config.yaml: collection.max_cgroups: -1 is not an integer of 0 or more (try 20000)",
    ),
    (
        "web: {max_connections: true}",
        "config.yaml: web.max_connections: true is not an integer of 1 or more (try 128)",
    ),
    (
        "labels: {container_id_length: 65}",
        "config.yaml: labels.container_id_length: 65 is not an integer from 12 to 64 (try 12)",
    ),
    (
        "labels: {container_id_length: 0x" + "f" * 9999 + "}",
        "config.yaml: labels.container_id_length: a huge integer is not an integer from 12 to 64"
        " (try 12)",
    ),
    (
        'collectors: {pressure: "yes"}',
        'config.yaml: collectors.pressure: "yes" is not true, false or a mapping (known: enabled)',
    ),
    (
        "collectors: {pids: {enabled: 1}}",
        "config.yaml: collectors.pids.enabled: 1 is not true or false (try true)",
    ),
    (
        "collectors: {pids: {color: 1}}",
        "config.yaml: collectors.pids.color: unknown key (known: enabled)",
    ),
    (
        "log: {level: loud}",
        'config.yaml: log.level: "loud" is not one of debug, info, warning, error (try info)',
    ),
    (
        "log: {format: [json]}",
        "config.yaml: log.format: a list is not one of logfmt, json (try logfmt)",
    ),
    (
        "path: {procfs: 2024-01-01}",
        'config.yaml: path.procfs: "2024-01-01" is not a path (try /proc)',
    ),
    ('path: {rootfs: ""}', 'config.yaml: path.rootfs: "" is not a path (try /)'),
    ('path: {sysfs: "\\ud800"}', 'config.yaml: path.sysfs: "\\ud800" is not a path (try /sys)'),
    ('path: {sysfs: "/\\0"}', 'config.yaml: path.sysfs: "/\\u0000" is not a path (try /sys)'),
    (
        "web: {telemetry_path: metrics}",
        'config.yaml: web.telemetry_path: "metrics" is not a URL path that begins with /'
        " (try /metrics)",
    ),
    (
        "web: {telemetry_path: '/a?b'}",
        'config.yaml: web.telemetry_path: "/a?b" is not a URL path that begins with /'
        " (try /metrics)",
    ),
    (
        'web: {listen_addresses: ":1"}',
        'config.yaml: web.listen_addresses: ":1" is not a list (try [":10061"])',
    ),
    (
        "web: {listen_addresses: []}",
        "config.yaml: web.listen_addresses: an empty list is not a list of 1 or more"
        ' (try [":10061"])',
    ),
    (
        'web: {listen_addresses: [":1", "::1:65536"]}',
        f'config.yaml: web.listen_addresses: "::1:65536" is not {ADDRESS} (try [":10061"])',
    ),
    (
        'web: {listen_addresses: [":65536"]}',
        f'config.yaml: web.listen_addresses: ":65536" is not {ADDRESS} (try [":10061"])',
    ),
    (
        'collection: {cgroup_deny: ["("]}',
        'config.yaml: collection.cgroup_deny: "(" is not a regular expression:'
        f" missing ), unterminated subpattern at position 0 {SYSTEM}",
    ),
    (
        "collection: {cgroup_allow: [1]}",
        f"config.yaml: collection.cgroup_allow: 1 is not a regular expression {SYSTEM}",
    ),
    (
        'log: {level: "a\\u2028\\e[2Jé"}',
        'config.yaml: log.level: "a\\u2028\\u001b[2Jé" is not one of debug, info, warning, error'
        " (try info)",
    ),
    # Unknown keys.
    (
        "collection: {intervall: 10s}",
        "config.yaml: collection.intervall: unknown key (did you mean interval?)",
    ),
    (
        "collecton: {interval: 10s}",
        "config.yaml: collecton: unknown key (did you mean collection?)",
    ),
    (
        "max_cgroups: 1",
        "config.yaml: max_cgroups: unknown key (did you mean collection.max_cgroups?)",
    ),
    (
        "collection.interval: 10s",
        "config.yaml: collection.interval: unknown key (write it below collection:)",
    ),
    ("zzz: 1", f"config.yaml: zzz: unknown key (known: {KNOWN})"),
    ("on: 1", f"config.yaml: true: unknown key (known: {KNOWN})"),
    ("collection: {42: 1}", f"config.yaml: collection.42: unknown key (known: {LEAVES})"),
    # Shapes.
    ("hello", f'config.yaml: "hello" is not a mapping (known: {KNOWN})'),
    ("- 1", f"config.yaml: a list is not a mapping (known: {KNOWN})"),
    ("&a [*a]", f"config.yaml: a list is not a mapping (known: {KNOWN})"),
    ("collection: 15s", f'config.yaml: collection: "15s" is not a mapping (known: {LEAVES})'),
    # YAML itself.
    (
        "log:\n  level: info\n  level: debug\n",
        "config.yaml: line 3: key level is there twice (keep one; the other: line 2)",
    ),
    (
        "log: {level: info, 'level': info}",
        "config.yaml: line 1: key level is there twice (keep one; the other: line 1)",
    ),
    (
        "log: {}\nlog: {}\n",
        "config.yaml: line 2: key log is there twice (keep one; the other: line 1)",
    ),
    (
        "log: {&a level: info, *a : info}",
        "config.yaml: line 1: key level is there twice (keep one; the other: line 1)",
    ),
    ('log: {level: "\\UFFFFFFFF"}', "config.yaml: line 1: a character or number out of range"),
    (
        "log: &a {level: info}\nweb: {<<: *a}\n",
        "config.yaml: line 2: could not determine a constructor for the tag"
        " 'tag:yaml.org,2002:merge'",
    ),
    ("log:\n  level: a: b\n", "config.yaml: line 2: mapping values are not allowed here"),
    (
        "log:\n\tlevel: info\n",
        "config.yaml: line 2: found character '\\t' that cannot start any token",
    ),
    ("{}\n---\n{}\n", "config.yaml: line 2: but found another document"),
    (
        "log: !python/name:os.system x",
        "config.yaml: line 1: could not determine a constructor for the"
        " tag '!python/name:os.system'",
    ),
    (
        "log: {level: !foo x}",
        "config.yaml: line 1: could not determine a constructor for the tag '!foo'",
    ),
    (
        "\nlog: {level: 2024-13-45}",
        'config.yaml: line 2: "2024-13-45" is not a timestamp (try quotes)',
    ),
    ("log: {level: !!bool x}", 'config.yaml: line 1: "x" is not a bool (try quotes)'),
    ("? [a]\n: 1\n", "config.yaml: line 1: found unhashable key"),
    ("\nlog: \x07", "config.yaml: line 2: a control character (escape it)"),
    ("[" * 5000, "config.yaml: line 1: nested too deeply"),
]


def write(directory: pathlib.Path, content: bytes) -> str:
    path = directory / "config.yaml"
    path.write_bytes(content)
    return str(path)


def parse(*arguments: str) -> dict[str, object]:
    parser = argparse.ArgumentParser()
    config.add_flags(parser)
    return config.overrides(parser.parse_args(arguments))


@pytest.mark.parametrize(("text", "line"), ERRORS, ids=[line[:70] for _, line in ERRORS])
def test_a_mistake_in_the_file_is_one_line(
    text: str, line: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, text.encode())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(config.ConfigError) as caught:
        config.load("config.yaml")
    assert str(caught.value) == line
    assert line.splitlines() == [line] and line.isprintable()


def test_a_file_that_is_not_utf8_is_one_line_with_its_line(tmp_path: pathlib.Path) -> None:
    path = write(tmp_path, b"log:\n  level: \xff\n")
    with pytest.raises(config.ConfigError) as caught:
        config.load(path)
    assert str(caught.value) == f"{path}: line 2: not UTF-8"


def test_a_missing_file_is_one_line() -> None:
    with pytest.raises(config.ConfigError) as caught:
        config.load("/nonexistent/c.yaml")
    line = "/nonexistent/c.yaml: No such file or directory (a readable YAML file is needed)"
    assert str(caught.value) == line


def test_a_directory_as_the_file_is_one_line(tmp_path: pathlib.Path) -> None:
    with pytest.raises(config.ConfigError) as caught:
        config.load(str(tmp_path))
    assert str(caught.value) == f"{tmp_path}: Is a directory (a readable YAML file is needed)"


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "{}", "\ufeff", "log:\nweb:\n"])
def test_an_empty_file_or_section_is_the_defaults(text: str, tmp_path: pathlib.Path) -> None:
    assert config.load(write(tmp_path, text.encode())) == config.load(None)


def test_the_defaults_are_the_documented_ones() -> None:
    assert config.load(None) == config.Config(
        path=config.Path("/proc", "/sys", "/"),
        web=config.Web((":10061",), "/metrics", 128, None, False),
        security=config.Security("auto"),
        log=config.Log("info", "logfmt"),
        collection=config.Collection(15.0, 1.0, 20000, (), (), False),
        collectors=config.Collectors(
            config.Memory(True, 200, 1.0, False, False),
            ON,
            ON,
            config.Namespaces(True, 8, False, 256, 1000),
            ON,
            OFF,
            OFF,
        ),
        metadata=config.Metadata(config.SOURCES, 0.2),
        oom=config.Oom(3600.0, 10000, 8192, "/dev/kmsg", "auto"),
        labels=config.Labels(12, ("com.docker.compose.project", "com.docker.compose.service")),
        compat=config.Compat(False),
    )


def test_the_file_changes_only_the_keys_it_has(tmp_path: pathlib.Path) -> None:
    text = (
        "collection: {interval: 1m30s, cgroup_deny: [^/user]}\ncollectors: {self: false}\n"
        'web: {listen_addresses: ["[::1]:0", "localhost:9", "unix:/run/x"]}\n'
    )
    default = config.load(None)
    assert config.load(write(tmp_path, text.encode())) == dataclasses.replace(
        default,
        web=config.Web(("[::1]:0", "localhost:9", "unix:/run/x"), "/metrics", 128, None, False),
        collection=config.Collection(90.0, 1.0, 20000, (), ("^/user",), False),
        collectors=dataclasses.replace(default.collectors, self=OFF),
    )


def test_flags_win_over_the_file(tmp_path: pathlib.Path) -> None:
    path = write(tmp_path, b"collection: {interval: 1m, max_age: 2s}\ncollectors: {pids: false}\n")
    flags = parse("--collection.interval=500ms", "--collector.pids", "--no-collector.self")
    loaded = config.load(path, flags)
    assert loaded.collection == config.Collection(0.5, 2.0, 20000, (), (), False)
    assert loaded.collectors == dataclasses.replace(config.load(None).collectors, self=OFF)


def test_flags_not_given_override_nothing() -> None:
    assert parse() == {}


def test_a_listen_address_flag_repeats_and_replaces_the_default() -> None:
    flags = parse("--web.listen-address=:1", "--web.listen-address", "[::1]:2")
    assert flags == {"web.listen_addresses": (":1", "[::1]:2")}


@pytest.mark.parametrize(
    ("argument", "line"),
    [
        ("--collection.interval=10x", '--collection.interval: "10x" is not a duration (try 15s)'),
        ("--collection.max-age=-1s", '--collection.max-age: "-1s" is not a duration (try 1s)'),
        ("--web.listen-address=x", f'--web.listen-address: "x" is not {ADDRESS} (try :10061)'),
        ("--path.procfs=", '--path.procfs: "" is not a path (try /proc)'),
    ],
)
def test_a_mistake_in_a_flag_is_one_line_that_names_the_flag(argument: str, line: str) -> None:
    with pytest.raises(config.ConfigError) as caught:
        parse(argument)
    assert str(caught.value) == line


def test_the_help_names_every_flag() -> None:
    parser = argparse.ArgumentParser()
    config.add_flags(parser)
    text = parser.format_help()
    assert [row.flag for row in config.ROWS if row.flag and row.flag not in text] == []


def test_the_flags_are_these() -> None:
    collectors = ("memory", "pids", "pressure", "namespaces", "self", "numa", "hugetlb")
    assert {row.flag for row in config.ROWS if row.flag} == {
        *("--path.procfs", "--path.sysfs", "--path.rootfs"),
        *("--web.listen-address", "--web.telemetry-path", "--web.config.file"),
        *("--security.landlock", "--log.level", "--log.format"),
        *("--web.disable-status-page", "--compat.cadvisor"),
        *("--collection.exact", "--collection.interval", "--collection.max-age"),
        *(f"--collector.{name}" for name in collectors),
    }


def leaves(settings: object, above: str = "") -> list[str]:
    """The dotted keys of a dataclass of settings."""
    if not dataclasses.is_dataclass(settings):
        return [above[:-1]]
    return [
        key
        for field in dataclasses.fields(settings)
        for key in leaves(getattr(settings, field.name), f"{above}{field.name}.")
    ]


def test_every_row_is_a_field_and_every_field_a_row() -> None:
    assert sorted(row.key for row in config.ROWS) == sorted(leaves(config.load(None)))


@pytest.mark.parametrize("word", ["on", "off", "auto", "'on'"])
def test_on_and_off_need_no_quotes(word: str, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(f"security: {{landlock: {word}}}\n")
    assert config.load(str(file)).security.landlock == word.strip("'")


def test_a_collector_is_switched_by_a_word_or_by_its_key(tmp_path: pathlib.Path) -> None:
    short = config.load(write(tmp_path, b"collectors: {pids: false}\n"))
    long = config.load(write(tmp_path, b"collectors: {pids: {enabled: false}}\n"))
    assert short == long
    assert short.collectors.pids == OFF


def test_the_example_file_is_generated_from_the_rows() -> None:
    assert (ROOT / "config.example.yaml").read_text() == config.example()


def test_the_example_file_loads_as_the_defaults() -> None:
    assert config.load(str(ROOT / "config.example.yaml")) == config.load(None)


def test_the_example_file_has_every_key() -> None:
    text = (ROOT / "config.example.yaml").read_text()
    for row in config.ROWS:
        assert f"# {row.why}" in text


def test_the_settings_are_frozen() -> None:
    loaded = config.load(None)
    with pytest.raises(dataclasses.FrozenInstanceError):
        loaded.log.level = "debug"  # type: ignore[misc]
