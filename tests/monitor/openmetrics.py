#!/usr/bin/python3
"""Read OpenMetrics text from stdin as Prometheus's own client library does, and
as strictly; print the families as JSON."""
import json
import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families

families = {
    f.name: {"type": f.type, "unit": f.unit, "help": f.documentation,
             "samples": [[s.name, s.labels, s.value] for s in f.samples]}
    for f in text_string_to_metric_families(sys.stdin.read())
}
json.dump(families, sys.stdout)
