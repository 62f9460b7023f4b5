"""Send the metrics of a service to statsd: python examples/statsd_exporter.py HOST PORT

It asks `blazeio-supervisor metrics` every ten seconds (--every), so nothing is lost
while it does not run: counters go on, and the next difference is sent. With DogStatsD
labels become tags; --no-tags puts their values into the name.
"""

import argparse
import socket
import subprocess
import time

from prometheus_client.parser import text_string_to_metric_families

LEFT_OUT = ("_bucket", "_created")


def read_metrics(command):
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if not sample.name.endswith(LEFT_OUT):
                is_counter = family.type in ("counter", "histogram")
                yield (
                    sample.name,
                    tuple(sample.labels.items()),
                    sample.value,
                    is_counter,
                )


def write_line(name, labels, value, kind, has_tags):
    if has_tags:
        tags = ",".join(f"{key}:{text}" for key, text in labels if text)
        return f"{name}:{value:g}|{kind}" + (f"|#{tags}" if tags else "")
    parts = [name, *(text.replace(".", "_") for _, text in labels if text)]
    return f"{'.'.join(parts)}:{value:g}|{kind}"


def compare(before, metrics, has_tags):
    """Lines for statsd: gauges as they are, counters as the difference."""
    for name, labels, value, is_counter in metrics:
        if not is_counter:
            yield write_line(name, labels, value, "g", has_tags)
            continue
        change = value - before.get((name, labels), value)
        before[name, labels] = value
        if change > 0:
            yield write_line(name, labels, change, "c", has_tags)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("host", nargs="?", default="127.0.0.1")
    parser.add_argument("port", nargs="?", type=int, default=8125)
    parser.add_argument("--every", type=float, default=10)
    parser.add_argument("--instance")
    parser.add_argument("--no-tags", action="store_true")
    options = parser.parse_args()
    command = ["blazeio-supervisor", "metrics"]
    if options.instance:
        command += ["--instance", options.instance]
    before = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        while True:
            metrics = read_metrics(command)
            for line in compare(before, metrics, not options.no_tags):
                sock.sendto(line.encode(), (options.host, options.port))
            time.sleep(options.every)


if __name__ == "__main__":
    main()
