"""The template of EC2, linted, created on moto's server, and read where moto's CloudFormation leaves something out.

moto makes the role, the security group, the instance and the bucket with its encryption. It ignores the bucket's other
properties, its policy, the instance's metadata options, and the patterns of parameters.
"""

import copy
import ipaddress
import re
from collections.abc import Iterator
from typing import Any

import boto3
import httpx
import pytest
from botocore.exceptions import ClientError
from cfnlint.api import lint_file
from cfnlint.decode import decode_str

from movie_platform_tests.deploy.cloudformation import TEMPLATE, create, template, user_data

pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse AWS..S3..BucketPolicy:UserWarning")

WITHOUT_RESOURCES = {
    "ssm:UpdateInstanceInformation",
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
}
"""The actions of the role that know no resource."""

OPEN = [
    "0.0.0.0/0",
    "::/0",
    "0.0.0.0/1",
    "128.0.0.0/1",
    "10.0.0.0/7",
    "203.0.113.7/0",
    "203.0.113.7/00",
    "0/0",
    "",
    "*",
]
CLOSED = ["203.0.113.0/24", "198.51.100.7/32", "10.0.0.0/8", "192.168.0.0/16", "172.16.0.0/12"]


def properties(resource: str) -> dict[str, Any]:
    """Of a resource of the template."""
    found: dict[str, Any] = template()["Resources"][resource]["Properties"]
    return found


def open_ways_in(read: dict[str, Any]) -> list[str]:
    """Every rule of a template that lets in more than a closed network, and why."""
    found = []
    for name, resource in read["Resources"].items():
        rules = {
            "AWS::EC2::SecurityGroup": resource.get("Properties", {}).get("SecurityGroupIngress", []),
            "AWS::EC2::SecurityGroupIngress": [resource.get("Properties", {})],
        }.get(resource["Type"], [])
        for rule in rules:
            for key in ("CidrIp", "CidrIpv6"):
                found += [f"{name}: {why}" for why in _too_wide(rule.get(key), read["Parameters"])]
            found += [f"{name}: {key}" for key in rule if key == "SourcePrefixListId"]
    return found


def _too_wide(cidr: Any, parameters: dict[str, Any]) -> list[str]:
    """What a rule's network may be that it must not."""
    if cidr is None:
        return []
    if isinstance(cidr, str):
        return [cidr] if ipaddress.ip_network(cidr).prefixlen < 8 else []
    return [one for one in OPEN if re.search(parameters[cidr["Ref"]].get("AllowedPattern", ""), one)]


# --- the template itself --------------------------------------------------------------------------


def test_cfn_lint_finds_nothing():
    assert lint_file(TEMPLATE) == []


def test_nothing_is_open_to_everybody():
    assert open_ways_in(template()) == []


@pytest.mark.parametrize(
    ("place", "change"),
    [
        (("Resources", "SecurityGroup", "Properties", "SecurityGroupIngress", 0, "CidrIp"), "0.0.0.0/0"),
        (("Resources", "SecurityGroup", "Properties", "SecurityGroupIngress", 0, "CidrIpv6"), "::/0"),
        (("Parameters", "ApiCidr", "AllowedPattern"), ".*"),
        (("Parameters", "ApiCidr", "AllowedPattern"), r"^[0-9./]+$"),
        (("Parameters", "ApiCidr"), {"Type": "String"}),
        (("Resources", "Ssh"), {"Type": "AWS::EC2::SecurityGroupIngress", "Properties": {"CidrIp": "0.0.0.0/0"}}),
    ],
)
def test_a_way_in_for_everybody_is_found(place: tuple[Any, ...], change: Any):
    """cfn-lint is silent about each of these."""
    read = copy.deepcopy(template())
    inner: Any = read
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = change
    assert open_ways_in(read)


def test_who_may_reach_the_api_must_be_said_and_cannot_be_everybody():
    parameter = template()["Parameters"]["ApiCidr"]
    assert "Default" not in parameter
    assert [cidr for cidr in OPEN if re.search(parameter["AllowedPattern"], cidr)] == []
    assert [cidr for cidr in CLOSED if not re.search(parameter["AllowedPattern"], cidr)] == []


@pytest.mark.parametrize(
    ("parameter", "refused"),
    [
        ("ParameterPath", "/"),
        ("ParameterPath", "/films/*"),
        ("Version", "v1\n/bin/sh"),
        ("Version", "--upload-pack=x"),
        ("RepositoryUrl", "http://example.com/x"),
        ("RepositoryUrl", 'https://example.com/x"]'),
        ("ApiTls", "tls internal }"),
        ("ApiDomain", "a.example { respond ok"),
        ("Registry", "ghcr.io/someone"),
    ],
)
def test_a_parameter_that_would_say_more_than_it_should_is_refused(parameter: str, refused: str):
    """They end up in the role's policy, the user data and Caddy's configuration."""
    assert not re.search(template()["Parameters"][parameter]["AllowedPattern"], refused)


def test_the_bucket_is_private_encrypted_versioned_and_kept():
    assert properties("Bucket")["PublicAccessBlockConfiguration"] == dict.fromkeys(
        ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"), True
    )
    assert properties("Bucket")["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    assert properties("Bucket")["VersioningConfiguration"] == {"Status": "Enabled"}
    for name in ("Bucket", "BucketPolicy"):
        resource = template()["Resources"][name]
        assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("Retain", "Retain")


def test_the_bucket_answers_by_tls_only():
    (statement,) = properties("BucketPolicy")["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "s3:*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert statement["Resource"] == [{"Fn::GetAtt": ["Bucket", "Arn"]}, {"Fn::Sub": "${Bucket.Arn}/*"}]


def test_nothing_in_the_bucket_outlives_six_months():
    """181 days at the least: each of S3's waits rounded up to the next midnight, and two days for it to be late."""
    rules = {rule["Id"]: rule for rule in properties("Bucket")["LifecycleConfiguration"]["Rules"]}
    assert all(rule["Status"] == "Enabled" for rule in rules.values())
    everything, backups = rules["versions"], rules["backups"]
    assert "Prefix" not in everything
    assert backups["Prefix"] == "backups/"
    deleted_by = 170 + 1  # MOVIE_PLATFORM_KEEP_DAYS, in the night after
    versions = everything["NoncurrentVersionExpiration"]["NoncurrentDays"] + 1
    copies = backups["ExpirationInDays"] + 1 + backups["NoncurrentVersionExpiration"]["NoncurrentDays"] + 1
    assert deleted_by + max(versions, copies) + 2 <= 181
    assert everything["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}


def test_the_instance_gives_its_role_to_containers_by_the_second_version_only_and_its_volume_is_encrypted():
    assert properties("Instance")["MetadataOptions"] == {
        "HttpEndpoint": "enabled",
        "HttpTokens": "required",
        "HttpPutResponseHopLimit": 2,
    }
    (volume,) = properties("Instance")["BlockDeviceMappings"]
    assert (volume["Ebs"]["VolumeType"], volume["Ebs"]["Encrypted"]) == ("gp3", True)
    assert "KeyName" not in properties("Instance")


# --- created on moto ------------------------------------------------------------------------------


@pytest.fixture
def aws(aws_environment: None, moto_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[boto3.session.Session]:
    """An empty account."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_endpoint)
    httpx.post(f"{moto_endpoint}/moto-api/reset", trust_env=False).raise_for_status()
    yield boto3.session.Session()
    httpx.post(f"{moto_endpoint}/moto-api/reset", trust_env=False).raise_for_status()


@pytest.fixture
def stack(aws: boto3.session.Session) -> dict[str, str]:
    """The template created: its resources' names, and its outputs."""
    return create(aws)


def policies(aws: boto3.session.Session, role: str) -> list[dict[str, Any]]:
    """Every statement of the role."""
    iam = aws.client("iam")
    assert iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"] == []
    documents = [
        iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        for name in iam.list_role_policies(RoleName=role)["PolicyNames"]
    ]
    return [statement for document in documents for statement in document["Statement"]]


def as_list(one_or_more: Any) -> list[str]:
    return [one_or_more] if isinstance(one_or_more, str) else list(one_or_more)


def test_the_api_is_all_that_is_open_and_to_its_network_only(aws: boto3.session.Session, stack: dict[str, str]):
    (group,) = aws.client("ec2").describe_security_groups(GroupIds=[stack["SecurityGroup"]])["SecurityGroups"]
    (rule,) = group["IpPermissions"]
    assert (rule["IpProtocol"], rule["FromPort"], rule["ToPort"]) == ("tcp", 443, 443)
    assert [network["CidrIp"] for network in rule["IpRanges"]] == ["203.0.113.0/24"]
    assert not any(rule.get(other) for other in ("Ipv6Ranges", "PrefixListIds", "UserIdGroupPairs"))


def test_only_actions_without_resources_are_allowed_on_all(aws: boto3.session.Session, stack: dict[str, str]):
    statements = policies(aws, stack["Role"])
    everywhere = {action for one in statements if "*" in as_list(one["Resource"]) for action in as_list(one["Action"])}
    assert everywhere == WITHOUT_RESOURCES
    assert not [action for one in statements for action in as_list(one["Action"]) if "*" in action]
    assert {one["Effect"] for one in statements} == {"Allow"}


def test_the_role_has_the_bucket_and_its_own_parameters(aws: boto3.session.Session, stack: dict[str, str]):
    allowed: dict[str, set[str]] = {}
    for one in policies(aws, stack["Role"]):
        for action in as_list(one["Action"]):
            allowed.setdefault(action, set()).update(as_list(one["Resource"]))
    bucket = f"arn:aws:s3:::{stack['Bucket']}"
    own = "arn:aws:ssm:us-east-1:123456789012:parameter/movie-platform"
    assert {action: where for action, where in allowed.items() if action not in WITHOUT_RESOURCES} == {
        "s3:ListBucket": {bucket},
        **{
            f"s3:{verb}": {f"{bucket}/*"} for verb in ("GetObject", "PutObject", "DeleteObject", "AbortMultipartUpload")
        },
        "ssm:GetParametersByPath": {own, f"{own}/*"},
        "kms:Decrypt": {"arn:aws:kms:us-east-1:123456789012:key/*"},
    }
    (decrypt,) = [one for one in policies(aws, stack["Role"]) if one["Action"] == "kms:Decrypt"]
    assert decrypt["Condition"] == {
        "StringEquals": {"kms:ViaService": "ssm.us-east-1.amazonaws.com"},
        "StringLike": {"kms:EncryptionContext:PARAMETER_ARN": f"{own}/*"},
    }


def test_only_instances_may_have_the_role(aws: boto3.session.Session, stack: dict[str, str]):
    trust = aws.client("iam").get_role(RoleName=stack["Role"])["Role"]["AssumeRolePolicyDocument"]
    assert [(one["Principal"], one["Action"]) for one in trust["Statement"]] == [
        ({"Service": "ec2.amazonaws.com"}, "sts:AssumeRole")
    ]


def test_with_the_role_other_buckets_are_refused(
    aws: boto3.session.Session, stack: dict[str, str], moto_endpoint: str, monkeypatch: pytest.MonkeyPatch
):
    """By moto's own judgement of the role's policies."""
    aws.client("s3").create_bucket(Bucket="others")
    aws.client("s3").put_object(Bucket="others", Key="secret", Body=b"x")
    session = aws.client("sts").assume_role(
        RoleArn=f"arn:aws:iam::123456789012:role/{stack['Role']}", RoleSessionName="test"
    )["Credentials"]
    s3 = boto3.session.Session(session["AccessKeyId"], session["SecretAccessKey"], session["SessionToken"]).client("s3")

    httpx.post(f"{moto_endpoint}/moto-api/reset-auth", content=b"0", trust_env=False).raise_for_status()
    try:
        s3.put_object(Bucket=stack["Bucket"], Key="data/x", Body=b"x")
        assert s3.get_object(Bucket=stack["Bucket"], Key="data/x")["Body"].read() == b"x"
        assert s3.list_objects_v2(Bucket=stack["Bucket"])["KeyCount"] == 1
        s3.delete_object(Bucket=stack["Bucket"], Key="data/x")
        own, others = {"Bucket": stack["Bucket"]}, {"Bucket": "others"}
        refused: list[tuple[str, dict[str, Any]]] = [
            ("get_object", {**others, "Key": "secret"}),
            ("put_object", {**others, "Key": "x", "Body": b"x"}),
            ("list_objects_v2", others),
            ("list_buckets", {}),
            ("delete_bucket_policy", own),
            ("delete_bucket", own),
        ]
        for operation, arguments in refused:
            with pytest.raises(ClientError, match="AccessDenied"):
                getattr(s3, operation)(**arguments)
    finally:
        httpx.post(f"{moto_endpoint}/moto-api/reset-auth", content=b"inf", trust_env=False).raise_for_status()


def test_the_bucket_is_encrypted(aws: boto3.session.Session, stack: dict[str, str]):
    found = aws.client("s3").get_bucket_encryption(Bucket=stack["Bucket"])["ServerSideEncryptionConfiguration"]
    assert found["Rules"][0]["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}


def test_the_first_boot_installs_the_version_and_writes_the_facts(aws: boto3.session.Session, stack: dict[str, str]):
    text = user_data(aws, stack["Instance"])
    assert text.startswith("#cloud-config\n")
    data, _ = decode_str(text)
    assert {"docker.io", "docker-compose-v2", "docker-buildx", "git", "python3-boto3"} == set(data["packages"])
    (facts,) = data["write_files"]
    assert (facts["path"], facts["content"].splitlines()) == (
        "/etc/movie-platform.env",
        [
            "AWS_DEFAULT_REGION=us-east-1",
            f"BUCKET={stack['Bucket']}",
            "PARAMETERS=/movie-platform",
            "REGISTRY=",
            "VERSION=v1.2.0",
            "API_ADDRESS=https://api.example.com:8443",
            "API_TLS=tls internal",
            "API_PORT=443:8443",
        ],
    )
    clone, install = data["runcmd"]
    assert clone[-4:] == ["--branch", "v1.2.0", "https://example.com/films.git", "/opt/movie-platform"]
    assert install == ["/opt/movie-platform/deploy/ec2-install"]


def test_the_outputs_say_how_to_reach_it(stack: dict[str, str]):
    assert stack["OutputUi"] == (
        f"aws ssm start-session --region us-east-1 --target {stack['Instance']} "
        "--document-name AWS-StartPortForwardingSession --parameters portNumber=3000,localPortNumber=3000"
    )
    assert stack["OutputBucketName"] == stack["Bucket"]
    assert stack["OutputApi"] == "https://api.example.com"
