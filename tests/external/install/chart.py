"""Lints and renders a chart with Helm, and validates what it renders against Kubernetes' schemas.

chart.py CHART VALUES prints {"lint": …, "resources": [[path, resource], …]} or {"error": …}.
"""

import json
import sys

import helm_python as helm
import kubernetes_validate
import yaml

chart, values = sys.argv[1], json.loads(sys.argv[2])
lint = helm.lint(chart, values, strict=True)
try:
    with helm.Chart.load(chart) as loaded:
        rendered = loaded.render(values, name="demo", namespace="registry")
except helm.HelmValuesError as error:
    print(json.dumps({"error": str(error)}))
    sys.exit()
resources = [
    [path, resource]
    for path, text in sorted(rendered.items())
    if path.endswith(".yaml")
    for resource in yaml.safe_load_all(text)
    if resource is not None
]
for _, resource in resources:
    # Kubernetes has no schema of the custom resources of others.
    if resource["apiVersion"].startswith("monitoring.coreos.com/"):
        continue
    # The oldest version that Chart.yaml names, and the newest that is known.
    for version in ("1.27", kubernetes_validate.latest_version()):
        kubernetes_validate.validate(resource, version, strict=True)
notes = [text for path, text in rendered.items() if path.endswith("NOTES.txt")]
print(json.dumps({"lint": lint, "resources": resources, "notes": "".join(notes)}))
