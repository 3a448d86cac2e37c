"""What the shop sells."""

from dataclasses import dataclass

import numpy as np

from app.pipeline.sample.chance import Floats, Ints, Rng


@dataclass(frozen=True, slots=True)
class Category:
    name: str
    stocked: float  # share of the catalogue
    sold: float  # weight among the lines of a buyer without likes
    price: float  # median, in dollars
    spread: float  # of log price
    quantity: float  # mean of a line
    noun: str


# fmt: off
CATEGORIES = (
    #        name       stocked sold price spread quantity noun
    Category("fabric",     .46,  .40,  6.2, .25, 2.6, "Cotton, half yard"),
    Category("precuts",    .08,  .08, 24.0, .40, 1.2, "Charm Pack"),
    Category("thread",     .12,  .12,  7.9, .35, 1.8, "Thread Spool"),
    Category("batting",    .02,  .04, 28.0, .50, 1.2, "Batting"),
    Category("patterns",   .10,  .10, 11.5, .25, 1.1, "Quilt Pattern"),
    Category("books",      .04,  .04, 24.0, .30, 1.0, "Book"),
    Category("notions",    .07,  .09,  9.0, .60, 1.3, "Notions Set"),
    Category("rulers",     .03,  .04, 19.0, .40, 1.1, "Ruler"),
    Category("kits",       .03,  .02, 68.0, .45, 1.0, "Quilt Kit"),
    Category("feet",      .025,  .02, 32.0, .50, 1.1, "Presser Foot"),
    Category("gifts",     .015,  .03, 15.0, .50, 1.3, "Gift"),
    Category("machines",  .010, .001, 950., .60, 1.0, "Sewing Machine"),
)
# fmt: on
VENDORS = (
    *("Alder Mills", "Birch & Daughters", "Cedar Studio", "Elm Works", "Fir Textiles", "Hazel House", "Juniper Co"),
    *("Larch Looms", "Maple Press", "Oak & Iron", "Pine Notions", "Rowan Prints", "Spruce Supply", "Willow Lane"),
)
TINTS = ("Amber", "Berry", "Cocoa", "Dusk", "Ember", "Frost", "Indigo", "Moss", "Rust", "Sage", "Slate", "Teal")
MOTIFS = ("Bird", "Block", "Dot", "Fern", "Floral", "Lattice", "Leaf", "Paisley", "Plaid", "Star", "Stripe", "Vine")


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Products by category and, within it, by popularity. reach: the category's number + cumulative share within it."""

    category: Ints
    cents: Ints
    reach: Floats
    vendor: Ints
    ids: list[str]
    titles: list[str]


def stock(rng: Rng, n_products: int) -> Catalogue:
    edges = np.round(n_products * np.cumsum([0, *(c.stocked for c in CATEGORIES)])).astype(np.int64)
    sizes = np.diff(edges)
    category = np.repeat(np.arange(len(CATEGORIES)), sizes)
    median, spread = (np.array([getattr(c, field) for c in CATEGORIES])[category] for field in ("price", "spread"))
    price = median * np.exp(spread * rng.standard_normal(n_products))
    popularity = [(10.0 + np.arange(size)) ** -0.95 for size in sizes]  # Zipf, without a runaway first
    titles = [
        f"{TINTS[rng.integers(len(TINTS))]} {MOTIFS[rng.integers(len(MOTIFS))]} {CATEGORIES[c].noun} No. {number}"
        for c, number in zip(category, np.arange(n_products) - edges[category] + 1, strict=True)
    ]
    # A vendor is known for some categories: each category has six of them, the first two leading.
    vendor = (3 * category + rng.choice(6, n_products, p=(0.35, 0.25, 0.15, 0.1, 0.1, 0.05))) % len(VENDORS)
    return Catalogue(
        category=category,
        cents=50 * np.ceil(2 * price).astype(np.int64) - 1,
        reach=np.concatenate([i + np.cumsum(p) / p.sum() for i, p in enumerate(popularity)]),
        vendor=vendor,
        ids=[f"P{number:06}" for number in range(1, n_products + 1)],
        titles=titles,
    )
