"""An axis read from two sources: customers with tickets enough from these, everyone else from orders.

Values read from tickets and values read from orders are never clustered together: the clusters would show where a
number came from, not behaviour. Each reading has its own features, scaler and centers; the axis's segments are those of
its readings put together, and a customer belongs to the segments of one reading alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.segmentation.axes import Axis, Need, Source
from app.segmentation.clustering import FittedAxis, fit_scaler
from app.segmentation.membership import Array, Kernel

#: With fewer a customer is read from orders: one ticket is an accident, and has no mean, share or spread.
MIN_TICKETS = 2
#: Customers a reading is clustered from at least, where an axis has two; those of a small corner of the shop would make
#: clusters of chance.
MIN_READERS = 100


@dataclass(frozen=True, slots=True)
class Reading:
    """Customers read from one source. first : position on the axis of its first segment"""

    source: Source
    fitted: FittedAxis
    first: int = 0

    @property
    def positions(self) -> slice:
        """Where its segments stand among those of the axis."""
        return slice(self.first, self.first + self.fitted.n_segments)

    def memberships(self, values: Mapping[str, Array]) -> Array:
        """(n_customers, k) shares in this reading's own segments. values : feature -> (n_customers,)"""
        return self.fitted.memberships(np.column_stack([values[name] for name in self.fitted.features]))


def asks(values: Mapping[str, Array]) -> NDArray[np.bool_]:
    """(n_customers,) who has tickets enough to be read from them."""
    result: NDArray[np.bool_] = values["total_tickets"] >= MIN_TICKETS
    return result


def reading_of(readings: Sequence[Reading], values: Mapping[str, Array]) -> Reading:
    """The reading that is one customer's, of those of an axis. values : theirs, each (1,)"""
    if len(readings) == 1:
        return readings[0]
    source = Source.tickets if asks(values)[0] else Source.orders
    return next(reading for reading in readings if reading.source is source)


def memberships_in(readings: Sequence[Reading], values: Mapping[str, Array]) -> Array:
    """Shares of any customers in all segments of an axis.

    readings : the axis's, one or one of each source; where there is one, it is everyone's
    values   : feature -> (n_customers,), with total_tickets where there are two readings
    returns  : (n_customers, k of all readings), each row sums to 1 and is 0 in the reading that is not the customer's
    """
    if len(readings) == 1:
        return readings[0].memberships(values)
    asking = asks(values)
    shares = np.zeros((len(asking), sum(reading.fitted.n_segments for reading in readings)))
    for reading in readings:
        rows = asking if reading.source is Source.tickets else ~asking
        if rows.any():
            own = {name: values[name][rows] for name in reading.fitted.features}
            shares[rows, reading.positions] = reading.memberships(own)
    return shares


def readers(axis: Axis, values: Mapping[str, Array], *, available: frozenset[Need]) -> dict[Source, NDArray[np.bool_]]:
    """Who is read from what, in the order of the axis's readings; everyone once, no source without customers.

    An axis that has something else to read waits until MIN_READERS have tickets enough.
    """
    asking = np.zeros(len(values[axis.feature_names[0]]), dtype=np.bool_)
    if axis.ticket_features and Need.tickets in available:
        enough = asks(values)
        if axis.quiet or enough.sum() >= MIN_READERS:
            asking = enough
    return {source: rows for source, rows in ((Source.orders, ~asking), (Source.tickets, asking)) if rows.any()}


def undivided(axis: Axis, source: Source, values: Array, *, robust: bool, kernel: Kernel) -> FittedAxis:
    """A reading of one segment, without a look for clusters. values : (n_customers, n_features) of its readers"""
    features = axis.features_from(source)
    scaler = fit_scaler(values, tuple(feature.transform for feature in features), robust=robust)
    return FittedAxis(
        name=axis.name,
        features=tuple(feature.name for feature in features),
        scaler=scaler,
        centers=scaler.apply(values).mean(axis=0, keepdims=True),
        kernel=kernel,
        silhouette=None,
        null_silhouette=None,
        smallest_share=1.0,
        has_structure=False,
    )
