"""The API is as its description says, whatever is asked of it."""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import checks
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks as openapi

from tests.integrations.server.running import teach

CHECKS = [
    checks.not_a_server_error,
    openapi.content_type_conformance,
    openapi.ignored_auth,
    openapi.response_headers_conformance,
    openapi.response_schema_conformance,
    openapi.status_code_conformance,
    openapi.unsupported_method,
]
BOUNDED = settings(
    max_examples=25,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
    database=None,
)
OPERATIONS = """
    GET /healthz
    GET /metrics
    POST /v1/chat/completions
    POST /v1/responses
    POST /v1/embeddings
    GET /v1/models
    GET /v1/models/{model}
    POST /v1/feedback
    GET /v1/personas
    GET /v1/personas/{user_id}
    DELETE /v1/personas/{user_id}
    GET /v1/personas/{user_id}/versions
    GET /v1/personas/{user_id}/export
    GET /v1/personas/{user_id}/rulings
    POST /v1/personas/{user_id}/said
    POST /v1/personas/{user_id}/reject
    POST /v1/personas/{user_id}/keep
    POST /v1/personas/{user_id}/allow
    POST /v1/personas/{user_id}/pin
    POST /v1/personas/{user_id}/unpin
    POST /v1/personas/{user_id}/rollback
    GET /v1/explanations/{response_id}
""".strip().splitlines()


@pytest.fixture(scope="session")
def described(shared_locked):
    teach(shared_locked.personalizer.for_tenant("described"), "ann")
    return schemathesis.openapi.from_url(f"{shared_locked.url}/openapi.json")


@pytest.fixture(scope="session")
def key(shared_locked):
    return shared_locked.key("described")


def test_every_operation_is_tried(described):
    found = {result.ok().label for result in described.get_all_operations()}
    assert found == {one.strip() for one in OPERATIONS}


@pytest.mark.parametrize("operation", [one.strip() for one in OPERATIONS])
def test_any_request(described, key, up, operation):
    method, path = operation.split()
    of = described[path][method]
    # What is passed on, the server behind judges.
    own = [openapi.negative_data_rejection] if path.startswith(("/v1/f", "/v1/p", "/v1/ex")) else []

    @seed(7)
    @BOUNDED
    @given(st.one_of(*(of.as_strategy(generation_mode=mode) for mode in GenerationMode)), st.booleans())
    def holds(case, known):
        if known and "user_id" in case.path_parameters:
            case.path_parameters["user_id"] = "ann"
        case.call_and_validate(headers={"Authorization": f"Bearer {key}"}, checks=[*CHECKS, *own])

    holds()
