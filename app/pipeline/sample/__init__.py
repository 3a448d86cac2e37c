"""The built-in synthetic shop: a made-up store for quilters, of any size, whose truth is known.

    shoppers, catalogue -> habits of each buyer (= the truth) -> orders -> lines -> refunds -> tickets

A buyer is of one type, and the type says around where their habits lie. One hidden trait, keenness, bends several
habits of a buyer at once, as in real shops: the keen come more often, stay longer, buy wider and need fewer coupons.
docs/SAMPLE_SHOP.md says what is in it and how well it is found again.
"""

from app.pipeline.sample.catalogue import CATEGORIES
from app.pipeline.sample.shop import SampleShop
from app.pipeline.sample.shoppers import TYPES
from app.pipeline.sample.sizes import SIZES, ShopSize
from app.pipeline.sample.truth import CustomerTruth, write_truth

__all__ = ["CATEGORIES", "SIZES", "TYPES", "CustomerTruth", "SampleShop", "ShopSize", "write_truth"]
