"""Prints what CloudFormation makes of a SAM template: transform.py TEMPLATE [PARAMETER=VALUE]...

Each function's code is the object <logical id>.zip of the bucket "functions".
"""

import json
import sys

from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse


class NoManagedPolicies:
    """The template names none."""

    def load(self):
        return {}


with open(sys.argv[1]) as file:
    template = yaml_parse(file.read())
parameters = {
    name: parameter["Default"]
    for name, parameter in template["Parameters"].items()
    if "Default" in parameter
}
parameters.update(argument.split("=", 1) for argument in sys.argv[2:])
# Of the two transforms, CloudFormation makes this one by itself: it only lets DeletionPolicy be a condition.
template["Transform"].remove("AWS::LanguageExtensions")
for name, resource in template["Resources"].items():
    if resource["Type"] == "AWS::Serverless::Function":
        resource["Properties"]["CodeUri"] = {"Bucket": "functions", "Key": f"{name}.zip"}
print(json.dumps(transform(template, parameters, NoManagedPolicies())))
