"""What is done for each job. Each may be done twice, or by two at once, and comes to the same: a job is given out again
when its worker falls silent, and the silent one may still be at it.

For runs the store's advisory lock sees to that: one runs, the other waits, and then finds the run published. Scores are
taken from their list and written in one transaction.

To add a job: a name in `warehouse/jobs.py: Job`, and its handler in HANDLERS.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import structlog

from app.core.clock import utc_now
from app.core.config import Settings
from app.core.errors import NotEnoughHistory, OutdatedRun, PredictionInProgress, RunEnded, RunInProgress
from app.jobs.apart import Apart
from app.jobs.failures import WorkFailed
from app.pipeline.erasing import complete_open
from app.warehouse.changes import how_many
from app.warehouse.engine import Database
from app.warehouse.jobs import Asked, Job, enqueue, enqueue_discovery, let_others_ask
from app.warehouse.runs import being_segmented

log = structlog.get_logger()

_LOOK_AGAIN_SECONDS = 1.0
#: More customers than this are scored apart.
_MANY = 1_000


@dataclass(frozen=True, slots=True)
class Means:
    """What handlers work with."""

    database: Database
    settings: Settings
    apart: Apart


Handler = Callable[[Means, int, Asked], Awaitable[None]]


async def score(means: Means, job_id: int, asked: Asked) -> None:
    """Whoever's records have changed."""
    await let_others_ask(means.database, job_id)
    store_id = asked.store_id
    async with means.database.snapshot() as connection:
        n_changed = await how_many(connection, store_id, most=_MANY + 1)
    try:
        if n_changed > _MANY:
            said = await means.apart.run(Job.score.value, store_id, {})
            n_scored = said["n_customers"]
        else:
            scoring = await _loaded("app.pipeline.rescore")
            n_scored = await scoring.score_changed(means.database, store_id, now=utc_now())
    except (OutdatedRun, WorkFailed) as error:
        await _discover_where_outdated(means, store_id, error)
    else:
        log.info("customers.scored", store_id=store_id, n_customers=n_scored)


async def rescore(means: Means, job_id: int, asked: Asked) -> None:
    """Everyone; where segments have shifted too far since they were discovered, they are to be discovered anew."""
    await let_others_ask(means.database, job_id)
    store_id = asked.store_id
    try:
        said = await _run_apart(means, Job.rescore, asked)
    except WorkFailed as error:
        await _discover_where_outdated(means, store_id, error)
        return
    far = {axis: psi for axis, psi in said["drift"].items() if psi > means.settings.drift_threshold}
    async with means.database.transaction() as connection:
        if far:
            discovery = await enqueue_discovery(connection, store_id)
            log.info("drift.too_far", store_id=store_id, axes=far, discovery=discovery is not None)
        await enqueue(connection, Job.thin, store_id)
        if means.settings.slack_webhook_url is not None:
            await enqueue(connection, Job.alert, store_id)


async def discover(means: Means, _job_id: int, asked: Asked) -> None:
    """Its row among the runs is the token: whoever comes second finds it published."""
    await _run_apart(means, Job.discover, asked)


async def predict(means: Means, _job_id: int, asked: Asked) -> None:
    """Predictions trained anew. A shop with too little of a past is left as it is, until its next turn."""
    store_id = asked.store_id
    while True:
        try:
            said = await means.apart.run(Job.predict.value, store_id, {})
        except WorkFailed as failure:
            if failure.kind == NotEnoughHistory.__name__:
                log.info("predictions.too_early", store_id=store_id, why=str(failure))
                return
            if failure.kind != PredictionInProgress.__name__:
                raise
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        else:
            break
    if said["crossed"] and means.settings.slack_webhook_url is not None:
        async with means.database.transaction() as connection:
            await enqueue(connection, Job.tell_risk, store_id)


async def tell_risk(means: Means, _job_id: int, asked: Asked) -> None:
    """Who of the most valuable has become critical, told in Slack."""
    alerts = await _loaded("app.jobs.risk_alerts")
    await alerts.tell(means.database, asked.store_id, settings=means.settings, now=utc_now())


async def thin(means: Means, _job_id: int, asked: Asked) -> None:
    """History that takes less room the older it is."""
    thinning = await _loaded("app.pipeline.thinning")
    daily_days = means.settings.history_daily_days
    await thinning.thin(means.database, asked.store_id, now=utc_now(), daily_days=daily_days)


async def alert(means: Means, _job_id: int, asked: Asked) -> None:
    """What is worth a look, told in Slack."""
    alerts = await _loaded("app.jobs.alerts")
    await alerts.tell(means.database, asked.store_id, settings=means.settings, now=utc_now())


async def erase(means: Means, _job_id: int, asked: Asked) -> None:
    """Whoever is to be erased and is not yet. What has to wait is asked for again within a minute."""
    await complete_open(means.database, asked.store_id)


async def _loaded(module: str) -> Any:
    """What takes a second to load the first time, without anybody waiting for that."""
    return await asyncio.to_thread(import_module, module)


async def _discover_where_outdated(means: Means, store_id: str, error: Exception) -> None:
    """By the rules of an older version nobody can be placed: new ones are asked for. Any other error goes on."""
    kind = error.kind if isinstance(error, WorkFailed) else type(error).__name__
    if kind != OutdatedRun.__name__:
        raise error
    async with means.database.transaction() as connection:
        await enqueue_discovery(connection, store_id)
    log.info("run.outdated", store_id=store_id)


async def _run_apart(means: Means, job: Job, asked: Asked) -> Mapping[str, Any]:
    """What the process beside says of a run; nothing where the run had ended already. Waits until the store is free."""
    while True:
        if await _is_taken(means.database, asked.store_id):
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
            continue
        try:
            return await means.apart.run(job.value, asked.store_id, asked.parameters)
        except WorkFailed as failure:
            if failure.kind == RunEnded.__name__:
                log.info("job.done_before", job=job.value, store_id=asked.store_id)
                return {}
            if failure.kind != RunInProgress.__name__:
                raise


async def _is_taken(database: Database, store_id: str) -> bool:
    async with database.snapshot() as connection:
        return await being_segmented(connection, store_id)


HANDLERS: dict[Job, Handler] = {
    Job.score: score,
    Job.rescore: rescore,
    Job.discover: discover,
    Job.thin: thin,
    Job.alert: alert,
    Job.predict: predict,
    Job.tell_risk: tell_risk,
    Job.erase: erase,
}
#: Those whose work is done apart, one at a time.
TAKES_LONG = frozenset({Job.rescore, Job.discover, Job.predict})
