"""The API against its own OpenAPI description: schemathesis makes requests up, right and wrong ones, and checks every answer."""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import load_all_checks, not_a_server_error
from schemathesis.specs.openapi import checks

from minigpt4_model.chat.backends.echo import EchoBackend
from minigpt4_model.serving.api import ApiOptions
from tests.api_server import serving

KEY = "sk-fuzz"

load_all_checks()


@pytest.fixture(scope="module")
def description():
    with serving(EchoBackend(), ApiOptions(keys=(KEY,))) as server:
        yield schemathesis.openapi.from_url(server.url + "/openapi.json")


schema = schemathesis.pytest.from_fixture("description")

# A right request by the description can still be refused: a model that is not there, a conversation that ends with an answer.
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
    checks.missing_required_header,
    checks.unsupported_method,
    checks.ignored_auth,
]


@schema.parametrize()
@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_as_described(case):
    if isinstance(case.body, dict) and isinstance(case.body.get("messages"), list) and case.body.get("model"):
        case.body["model"] = "echo"  # else nearly all would end at a model that is not there
    case.call_and_validate(checks=CHECKS, headers={"Authorization": f"Bearer {KEY}"}, timeout=60)
