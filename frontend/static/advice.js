// What to do: one recommendation at most. Where a risk is predicted, the service's own, by its offer policy.
//
// Where none is, each is from a rule that can be read here and from facts that are on the card. These are rules of thumb
// and say so; none of them predicts. Where no rule applies there is no recommendation.

import { TIERS, every, percent, span } from "./words.js";

/** More than so many usual gaps without an order: overdue. */
export const OVERDUE_GAPS = 2;

/** How a customer stands in their own rhythm: on_time | late | overdue, or null where they have shown none. */
export function rhythm(profile) {
  const { usual_gap_days: gap, days_since_last_purchase: since, total_orders: orders } = profile.business_metrics;
  if (!(orders >= 2) || !(gap >= 1) || !(since >= 0)) return null;
  const gaps = since / gap;
  return { gap, since, gaps, state: gaps > OVERDUE_GAPS ? "overdue" : gaps > 1 ? "late" : "on_time" };
}

const RULES = [
  {
    when: ({ rhythm, valuable }) => rhythm?.state === "overdue" && valuable,
    say: "Get in touch in person.",
    because: (facts) => [usually(facts), worth(facts), price(facts)],
  },
  {
    when: ({ rhythm }) => rhythm?.state === "overdue",
    say: "Invite them back.",
    because: (facts) => [usually(facts), price(facts)],
  },
  {
    when: ({ orders }) => orders === 1,
    say: "Invite them to a second order.",
    because: ({ since }) => [`One order so far, ${since === 0 ? "placed today" : `${span(since)} ago`}.`],
  },
  {
    when: ({ rhythm, valuable }) => rhythm && valuable,
    say: "Serve them first.",
    because: (facts) => [
      worth(facts),
      facts.rhythm.state === "late" ? usually(facts) : "They order in their usual rhythm.",
    ],
  },
  {
    when: ({ rhythm }) => rhythm?.state === "late",
    say: "Remind them.",
    because: (facts) => [usually(facts), price(facts)],
  },
  {
    when: ({ rhythm }) => rhythm?.state === "on_time",
    say: "Nothing special is needed.",
    because: () => ["They order in their usual rhythm."],
  },
];

/** {say, because, offer}: what the service recommends, why, and what may be given, in words; null where it does not. */
export function recommended({ churn_risk: risk }) {
  if (!risk?.recommendation) return null;
  const at = risk.recommendation.indexOf(". ");
  const [say, because] =
    at < 0 ? [risk.recommendation, ""] : [risk.recommendation.slice(0, at + 1), risk.recommendation.slice(at + 2)];
  return { say, because, offer: risk.offer && offerWords(risk.offer) };
}

function offerWords({ percent: off, up_to: most, extras, follow_up: who, personal }) {
  const discount = off > 0 ? `${percent(off)} off the next order` : "No discount";
  return [
    discount + (most > off ? `, up to ${percent(most)} by an agent` : ""),
    ...(extras ?? []).map((extra) => extra.replaceAll("_", " ")),
    who &&
      `${who === "agent" ? "an agent" : `a ${who.replaceAll("_", " ")}`} follows up${personal ? " in person" : ""}`,
  ]
    .filter(Boolean)
    .join("; ");
}

/** {say, because}: a recommendation and its reason, or null. */
export function advice(profile) {
  const metrics = profile.business_metrics;
  const facts = {
    rhythm: rhythm(profile),
    orders: metrics.total_orders,
    since: metrics.days_since_last_purchase,
    tier: profile.ltv_tier,
    topPercent: profile.ltv_top_percent,
    valuable: profile.ltv_tier === "vip" || profile.ltv_tier === "high",
    priceSegment: profile.dominant_segments?.price_sensitivity ?? "",
  };
  const rule = RULES.find(({ when }) => when(facts));
  return rule ? { say: rule.say, because: rule.because(facts).filter(Boolean).join(" ") } : null;
}

const usually = ({ rhythm }) =>
  `They usually order ${every(rhythm.gap)}; their last order was ${span(rhythm.since)} ago.`;

function worth({ tier, topPercent }) {
  return topPercent > 0 ? `They are in the top ${percent(topPercent)} by spend.` : `Their tier is ${TIERS[tier]}.`;
}

function price({ priceSegment }) {
  if (priceSegment.endsWith("deal_hunter")) return "They buy mostly on offer, so bring one.";
  if (priceSegment.endsWith("full_price_buyer")) return "They mostly pay full price, so begin without a discount.";
  return "";
}
