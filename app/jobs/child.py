"""The process beside: reads one order, does it, writes one answer, each as JSON in a line. `python -m app.jobs.child`.

It gives way to whoever serves, takes one core, and ends when the process that gave the order does.
"""

import asyncio
import json
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from app.core.clock import utc_now
from app.core.config import Settings
from app.core.logging import configure_logging, hear_libraries
from app.jobs.failures import failure_of
from app.warehouse.engine import Database

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")
_NICENESS = 10
_INPUT, _OUTPUT, _ERRORS = 0, 1, 2

Work = Callable[[Database, Settings, str, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]


async def discover(
    database: Database, settings: Settings, store_id: str, parameters: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Segments found anew, by the options of the command line; of the axes, and of as few customers, as those served
    were asked for.

    parameters : run_id of the queued run that it is, and sample_size, min_k, max_k as far as they are asked for
    """
    # Here and not above: what it loads reads how many threads it may have.
    from app.domain.value_tiers import TierMode
    from app.pipeline.run import MIN_POPULATION, RunOptions, discovery_options, segment
    from app.segmentation.clustering import KRange
    from app.warehouse.runs import asked_of_rules

    async with database.snapshot() as connection:
        before = await asked_of_rules(connection, store_id)
    k_range = KRange(parameters.get("min_k"), parameters.get("max_k"), settings.enable_dynamic_k_range)
    options = RunOptions(
        axes=tuple(before["axes"]) if before.get("axes") else None,
        min_population=before.get("min_population", MIN_POPULATION),
        discovery=discovery_options(settings, k_range, sample_size=parameters.get("sample_size")),
        tier_mode=TierMode(settings.ltv_tier_mode.value),
    )
    result = await segment(database, store_id, options, now=utc_now(), run_id=parameters.get("run_id"))
    return {"run_id": result.run_id}


async def rescore(
    database: Database, _settings: Settings, store_id: str, _parameters: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Everyone placed again by the rules of the served run. Answers how far each axis has drifted from them."""
    from app.pipeline.rescore import rescore

    result = await rescore(database, store_id, now=utc_now())
    return {"run_id": result.run_id, "drift": result.report["drift"]}


async def score(
    database: Database, _settings: Settings, store_id: str, _parameters: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Whoever's records have changed placed again by the rules of the served run."""
    from app.pipeline.rescore import score_changed

    return {"n_customers": await score_changed(database, store_id, now=utc_now())}


async def predict(
    database: Database, settings: Settings, store_id: str, _parameters: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Predictions trained anew and told of everyone. Answers how many of the most valuable have become critical."""
    from app.domain.value_tiers import TierMode
    from app.pipeline.predict import PredictOptions, predict

    options = PredictOptions(horizon_days=settings.churn_horizon_days, tier_mode=TierMode(settings.ltv_tier_mode.value))
    result = await predict(database, store_id, options, now=utc_now())
    return {"prediction_id": result.prediction_id, "crossed": len(result.report["crossed"])}


#: What can be ordered.
WORK: dict[str, Work] = {"discover": discover, "rescore": rescore, "score": score, "predict": predict}


def main() -> None:
    """Answers {"failed", "kind", "passes"}, or what the work says."""
    # Ctrl-C is for who gave the order to answer. Of that one's session still, or its niceness would mean nothing to it.
    # Done here, because the loop that serving runs on cannot ask for it.
    os.setpgrp()
    order = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_the_input, daemon=True).start()
    for name in _THREADS:
        os.putenv(name, "1")
    os.nice(_NICENESS)
    # Whatever prints, prints to the errors: the output is for the answer.
    answers = os.dup(_OUTPUT)
    os.dup2(_ERRORS, _OUTPUT)
    answer = asyncio.run(_done(order))
    os.write(answers, json.dumps(answer).encode() + b"\n")


async def _done(order: Mapping[str, Any]) -> Mapping[str, Any]:
    settings = Settings(**order["settings"])
    configure_logging(level=settings.log_level, json_logs=settings.logs_as_json)
    hear_libraries(level=settings.log_level)
    database = Database(order["url"], settings)
    try:
        return await WORK[order["work"]](database, settings, order["store_id"], order["parameters"])
    except Exception as error:
        failure = failure_of(error)
        return {"failed": str(failure), "kind": failure.kind, "passes": failure.passes}
    finally:
        await database.close()


def _end_with_the_input() -> None:
    """Without a word: nobody is left to hear it. Postgres rolls back what was begun, and frees the store's lock."""
    while os.read(_INPUT, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
