"""What Schemathesis (`test_schemathesis.py`) cannot know: rules that no JSON Schema tells.

A valid request may be refused with 422 for these fields, which hang together with others or with what is there; for any
other it may not.
"""

import schemathesis
from schemathesis import Case, HookContext, Response
from schemathesis.core.failures import Failure

_SIGNED = {"cursor"}
_IN_ORDER = {"end_date"}
#: Whole days and moments up to now; orders are told as they are now alone.
_OF_THE_PAST = {"as_of", "include"}
UNTELLABLE = {
    "GET /api/mcp/customer/{customer_id}": _OF_THE_PAST,
    "GET /api/mcp/customers/{customer_id}": _OF_THE_PAST,
    "GET /api/mcp/customer/{customer_id}/orders": _SIGNED | _IN_ORDER,
    "GET /api/mcp/customer/{customer_id}/history": _IN_ORDER,
    "GET /api/mcp/archetypes/{archetype_id}/members": _SIGNED,
    "GET /api/mcp/segments/lineage": _SIGNED | {"axis"},  # one there is
    "GET /api/mcp/churn/at-risk": _SIGNED | {"archetype_id"},  # one there is
    "GET /api/analytics/anomalies": {"archetype_id"},  # one there is
    # A period is said in words; it, days and months each take the others' place; days must be among those foretold.
    "GET /api/mcp/revenue/forecast": {"period", "start_date", "end_date", "months"},
    "POST /api/admin/cluster": {"body", "Idempotency-Key"},  # min_k up to max_k; one key means one request
    "POST /api/privacy/export": {"body"},  # an id or an e-mail
    "POST /api/privacy/erase": {"body"},
    "GET /api/privacy/receipts": _SIGNED,
    "GET /api/admin/jobs": _SIGNED,
    "GET /api/admin/audit": _SIGNED,
}


@schemathesis.hook
def filter_failure(context: HookContext, failure: Failure, case: Case, response: Response) -> bool:
    """Whether a failure is one."""
    if failure.code != "ST202" or response.status_code != 422:  # a valid request was refused
        return True
    blamed = {each["field"] for each in response.json()["errors"]}
    return not blamed <= UNTELLABLE.get(case.operation.label, set())
