"""What is usual in a shop, and what is unusual about someone in it.

Each feature's spread over the shop's customers is kept as percentiles. A trait is a feature whose percentile lies far
from the middle, told with the shop's own number beside it: "Deal hunter: 12 % of orders at full price (shop: 71 %)".
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.domain.features import STAND_INS
from app.segmentation.axes import Axis, Feature, Source
from app.segmentation.membership import Array
from app.segmentation.naming import SAYING_NOTHING

#: How far from the shop's middle a number must lie to be told, 0 the middle and 1 an end: .8 is the outer tenth.
UNUSUAL = 0.8
#: The same for the typical member of a group, who lies nearer the middle than single customers do.
UNUSUAL_FOR_A_GROUP = 0.5
MOST_TRAITS = 3
#: In place of a trait where someone has no more of them.
NO_TRAIT = -1

#: What else it takes: a share this far from the shop's, or anything else this many times as much or as little.
_SHARE_APART, _TIMES_APART = 0.1, 1.4
#: How near a number must be to what is typical of a segment to go by its name: "Quarterly shopper: 1 day between
#: orders" would be read as a mistake.
_SHARE_ALIKE, _TIMES_ALIKE = 0.25, 2.5

#: Whose stand-in says that there was nothing to measure. Elsewhere it is a value like others: nobody back yet is 0 %.
NOTHING_TO_MEASURE = ("avg_days_between_orders", "days_since_last_ticket", "discount_depth", "product_switching")

_PERCENTILES = np.arange(101)


@dataclass(frozen=True, slots=True)
class ShopNorms:
    """The shop's customers, feature by feature, without those of whom too little is known to say it.

    percentiles : feature -> (101,) of its values, ascending
    typical     : feature -> the mean of a share, the median of anything else
    segments    : axis -> segment -> feature -> the same among its members, of the features they are read by
    """

    percentiles: Mapping[str, Array]
    typical: Mapping[str, float]
    segments: Mapping[str, Mapping[str, Mapping[str, float]]]

    def unusualness(self, feature: Feature, values: Array) -> Array:
        """How far values lie from the shop's middle, 0..1; 0 for a stand-in, and for what is hardly different."""
        grid, shop = self.percentiles[feature.name], self.typical[feature.name]
        # The middle of the percentiles that share a value: where most customers have 0, 0 is not unusual.
        rank = (np.searchsorted(grid, values, side="left") + np.searchsorted(grid, values, side="right")) / 2
        far: Array = np.abs(2 * np.clip(rank / len(grid), 0, 1) - 1)
        if feature.percent:
            differs = np.abs(values - shop) >= _SHARE_APART
        else:
            differs = (values >= _TIMES_APART * shop) | (values * _TIMES_APART <= shop)
        return np.where(differs & _known(feature.name, values), far, 0.0)

    def told_by(self, axis: Axis, segment: str, feature: Feature, value: float) -> str:
        """Whose name a number goes by: the segment's where its members are much the same and on the same side of the
        shop, else the axis's; of an axis without structure, whose one segment says nothing of anyone, the axis's.
        """
        shop = self.typical[feature.name]
        members = self.segments[axis.name][segment][feature.name]
        if feature.percent:
            alike = abs(value - members) <= _SHARE_ALIKE
        else:
            alike = members <= _TIMES_ALIKE * value and value <= _TIMES_ALIKE * members
        agrees = alike and (members - shop) * (value - shop) > 0
        return segment if agrees and segment not in SAYING_NOTHING else axis.name

    def read_by(self, axis: Axis, feature: Feature) -> frozenset[str]:
        """The segments of the axis whose customers are read by that feature."""
        return frozenset(name for name, typical in self.segments[axis.name].items() if feature.name in typical)

    def stored(self) -> dict[str, Any]:
        """Plain enough for JSON; `shop_norms_from` reads it back."""
        features = {
            name: {"percentiles": grid.tolist(), "typical": self.typical[name]}
            for name, grid in self.percentiles.items()
        }
        return {"features": features, "segments": self.segments}


def shop_norms(
    axes: Sequence[Axis],
    values: Mapping[str, Array],
    members: Mapping[str, Mapping[str, NDArray[np.intp]]],
    *,
    from_tickets: Mapping[str, Collection[str]] = MappingProxyType({}),
) -> ShopNorms:
    """The norms of a shop.

    values       : feature -> (n_customers,), at least one customer
    members      : axis -> segment -> positions of the customers whose dominant segment it is
    from_tickets : axis -> those of its segments whose customers are read from tickets
    """
    read_by = {
        axis.name: {
            segment: axis.features_from(Source.tickets if segment in from_tickets.get(axis.name, ()) else Source.orders)
            for segment in members[axis.name]
        }
        for axis in axes
    }
    features = {feature.name: feature for axis in axes for feature in axis.features}
    # What tickets say is usual among those who have them; orders everyone has.
    usual = {name: values[name] for name in features}
    for axis in axes:
        for feature in axis.ticket_features:
            who = [members[axis.name][each] for each, known in read_by[axis.name].items() if feature in known]
            if who and feature.name not in features:
                features[feature.name] = feature
                usual[feature.name] = values[feature.name][np.concatenate(who)]
    return ShopNorms(
        percentiles={name: np.percentile(_measured(name, usual[name]), _PERCENTILES) for name in features},
        typical={name: typical_value(feature, usual[name]) for name, feature in features.items()},
        segments={
            axis.name: {
                segment: {
                    feature.name: typical_value(feature, values[feature.name][who])
                    for feature in read_by[axis.name][segment]
                }
                for segment, who in members[axis.name].items()
            }
            for axis in axes
        },
    )


def shop_norms_from(stored: Mapping[str, Any]) -> ShopNorms:
    """The norms that `ShopNorms.stored` was taken from."""
    return ShopNorms(
        percentiles={name: np.array(each["percentiles"]) for name, each in stored["features"].items()},
        typical={name: each["typical"] for name, each in stored["features"].items()},
        segments=stored["segments"],
    )


def typical_value(feature: Feature, values: Array) -> float:
    """Of a share the mean, so that a rare thing does not read 0 %; of anything else the median.

    Only those count of whom it was measured; where it was of nobody, what stands in for it.
    """
    measured = _measured(feature.name, values)
    return float(measured.mean() if feature.percent else np.median(measured))


def _measured(feature: str, values: Array) -> Array:
    known = values[_known(feature, values)]
    return known if len(known) else values


def _known(feature: str, values: Array) -> NDArray[np.bool_]:
    """Where there was something to measure."""
    known: NDArray[np.bool_] = np.ones(len(values), dtype=np.bool_)
    return values != STAND_INS[feature] if feature in NOTHING_TO_MEASURE else known


def traits(
    norms: ShopNorms,
    axes: Sequence[Axis],
    segments: Sequence[Sequence[str]],
    values: Mapping[str, Array],
    *,
    unusual: float = UNUSUAL,
) -> list[list[str]]:
    """What is unusual about each customer, or each group by its typical values: at most three, the most unusual first.

    segments : per axis, the name of each one's segment
    values   : feature -> (n,)
    """
    texts, places = worded_traits(norms, axes, segments, values, unusual=unusual)
    return [[texts[place] for place in of_one if place != NO_TRAIT] for of_one in places.T.tolist()]


def worded_traits(
    norms: ShopNorms,
    axes: Sequence[Axis],
    segments: Sequence[Sequence[str]],
    values: Mapping[str, Array],
    *,
    unusual: float = UNUSUAL,
) -> tuple[list[str], NDArray[np.intp]]:
    """The same of many, each trait worded once: the texts, and (MOST_TRAITS, n) everyone's places among them, those
    they have before NO_TRAIT.
    """
    told, far = _candidates(norms, axes, segments, values)
    n = len(next(iter(values.values())))
    texts: list[str] = []
    places = np.full((MOST_TRAITS, n), NO_TRAIT, dtype=np.intp)
    if not len(far):
        return texts, places
    order = np.argsort(-far, axis=0, kind="stable")[:MOST_TRAITS]
    extreme, feature_of = (np.take_along_axis(each, order, axis=0) for each in (far, told))
    for axis_number, axis in enumerate(axes):
        names = segments[axis_number]
        for number, feature in enumerate(_features(axis)):
            ranks, whom = np.nonzero((order == axis_number) & (feature_of == number) & (extreme >= unusual))
            if not len(whom):
                continue
            shop = feature.number(norms.typical[feature.name])
            # What belongs to one segment and value is worded once: most are of many customers.
            known: dict[tuple[str, float], int] = {}
            found = []
            for who, value in zip(whom.tolist(), values[feature.name][whom].tolist(), strict=True):
                place = known.get((names[who], value))
                if place is None:
                    place = known[names[who], value] = len(texts)
                    label = words(norms.told_by(axis, names[who], feature, value))
                    texts.append(f"{label}: {feature.phrase(value)} (shop: {shop})")
                found.append(place)
            places[ranks, whom] = found
    return texts, places


def _features(axis: Axis) -> tuple[Feature, ...]:
    """All that an axis is read by, from any source, each once."""
    return tuple(dict.fromkeys((*axis.features, *axis.ticket_features)))


def _candidates(
    norms: ShopNorms, axes: Sequence[Axis], segments: Sequence[Sequence[str]], values: Mapping[str, Array]
) -> tuple[NDArray[np.intp], Array]:
    """Per axis its most unusual telling feature: its number among `_features` and its unusualness, both (n_axes, n).

    A feature of several axes speaks for the first of them, so that nothing is told twice. One that a customer is not
    read by tells nothing of them.
    """
    n = len(next(iter(values.values())))
    spoken: set[str] = set()
    told, far = [], []
    for axis, names in zip(axes, segments, strict=True):
        features = _features(axis)
        extremes = np.full((len(features), n), -1.0)
        # Once for the features of each source: going through everyone's segment takes longer than all the rest.
        read_by = cache(partial(_among, names, set(norms.segments[axis.name])))
        for number, feature in enumerate(features):
            if feature.telling and feature.name not in spoken and feature.name in norms.typical:
                spoken.add(feature.name)
                far_off = norms.unusualness(feature, values[feature.name])
                extremes[number] = np.where(read_by(norms.read_by(axis, feature)), far_off, -1.0)
        told.append(extremes.argmax(axis=0))
        far.append(extremes.max(axis=0))
    return np.array(told), np.array(far)


def _among(names: Sequence[str], every: Collection[str], wanted: frozenset[str]) -> NDArray[np.bool_]:
    """(n,) whose segment is one of those wanted; (1,) where every segment of the axis is."""
    if len(wanted) == len(every):
        return np.ones(1, dtype=np.bool_)
    return np.array([name in wanted for name in names], dtype=np.bool_)


@cache
def words(name: str) -> str:
    """A name for people: "deal_hunter" reads "Deal hunter"."""
    return name.replace("_", " ").capitalize()
