"""The template of EC2 created on moto's server.

What belongs here: what its tests and the instance's share. What does not: what the template must say.
"""

import ast
import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import boto3
from cfnlint.decode import decode

TEMPLATE: Final = Path(__file__).parents[2] / "deploy" / "ec2.yaml"
SETTINGS: Final = {
    "ApiCidr": "203.0.113.0/24",
    "ApiDomain": "api.example.com",
    "RepositoryUrl": "https://example.com/films.git",
    "Version": "v1.2.0",
}


def template() -> dict[str, Any]:
    """As it is written, with the short forms of functions spelled out."""
    read, problems = decode(TEMPLATE)
    assert not problems
    plain: dict[str, Any] = json.loads(json.dumps(read))
    return plain


def create(session: boto3.session.Session, settings: Mapping[str, str] = SETTINGS) -> dict[str, str]:
    """The names of what was made, and the outputs as `Output...`. Canonical's parameter is not among moto's."""
    session.client("ssm").put_parameter(Name="/images/tested", Type="String", Value="ami-12c6146b")
    subnet = session.client("ec2").describe_subnets()["Subnets"][0]
    parameters = {**settings, "VpcId": subnet["VpcId"], "SubnetId": subnet["SubnetId"]}
    cloudformation = session.client("cloudformation")
    cloudformation.create_stack(
        StackName="films",
        TemplateBody=TEMPLATE.read_text().replace(template()["Parameters"]["ImageId"]["Default"], "/images/tested"),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        Capabilities=["CAPABILITY_IAM"],
    )
    (made,) = cloudformation.describe_stacks(StackName="films")["Stacks"]
    assert made["StackStatus"] == "CREATE_COMPLETE"
    resources = cloudformation.describe_stack_resources(StackName="films")["StackResources"]
    named = {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in resources if "LogicalResourceId" in one}
    # moto keeps them as Python writes dictionaries. Put again as JSON, it validates them and judges requests by them.
    iam = session.client("iam")
    for name in iam.list_role_policies(RoleName=named["Role"])["PolicyNames"]:
        kept = iam.get_role_policy(RoleName=named["Role"], PolicyName=name)["PolicyDocument"]
        document = json.dumps(ast.literal_eval(str(kept)))
        iam.put_role_policy(RoleName=named["Role"], PolicyName=name, PolicyDocument=document)
    return {**named, **{f"Output{output['OutputKey']}": output["OutputValue"] for output in made["Outputs"]}}


def user_data(session: boto3.session.Session, instance: str) -> str:
    """What an instance runs at its first boot."""
    found = session.client("ec2").describe_instance_attribute(InstanceId=instance, Attribute="userData")
    return base64.b64decode(found["UserData"]["Value"]).decode()
