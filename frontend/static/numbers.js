// A customer's numbers: what each is called, how it reads to the digit, and what it means.

import { source } from "./about.js";
import { h } from "./dom.js";
import {
  TIERS,
  counted,
  date,
  daysBefore,
  exactMoney,
  isOfRun,
  number,
  percent,
  rfmWords,
  share,
  today,
  words,
} from "./words.js";

/** What a predicted number is from: its own moment and training, not those of the profile it stands in. */
export const predicted = (profile) => ({
  as_of: profile.churn_risk.as_of,
  timezone: profile.timezone,
  prediction_id: profile.churn_risk.prediction_id,
});

/** What the card's numbers are called, read to the digit, and mean. rest : what the sentence goes on to say of one */
export function numbersOf(profile) {
  const { currency, business_metrics: metrics } = profile;
  const days = metrics.days_since_last_purchase;
  const gap = metrics.usual_gap_days;
  const top = profile.ltv_top_percent;
  const end = isOfRun(profile) ? "the end of the records" : "today";
  return {
    spent: {
      title: "Spent in all",
      exact: exactMoney(metrics.lifetime_value, currency),
      meaning: "What all their orders came to, less what was refunded.",
    },
    orders: {
      title: "Orders",
      exact: counted(metrics.total_orders, "order"),
      meaning: "Orders in the records. One that was refunded counts as well.",
    },
    average: {
      title: "Average order",
      exact: exactMoney(metrics.avg_order_value, currency),
      meaning: "Spent in all, divided by the number of orders.",
    },
    last: days >= 0 &&
      days !== null &&
      profile.as_of && {
        title: "Last order",
        exact: `${date(daysBefore(today(profile), days))}, ${counted(days, "day")} ago`,
        meaning: `Whole days on the shop's calendar from the last order to ${end}.`,
      },
    gap: gap > 0 && {
      title: "Usual gap",
      exact: `${number(gap)} days`,
      meaning: "The mean number of days from one day with an order to the next.",
    },
    top:
      top > 0 &&
      (top > 50
        ? {
            title: "Rank by spend",
            exact: `${percent(100 - top)} of customers`,
            rest: " spent less",
            meaning: "Of the customers with a purchase, those who have spent less.",
          }
        : {
            title: "Rank by spend",
            exact: `Top ${percent(top)}`,
            rest: " of customers",
            meaning: "The share of customers with a purchase who have spent at least as much.",
          }),
    tier: profile.ltv_tier && {
      title: "Tier",
      exact: TIERS[profile.ltv_tier] ?? words(profile.ltv_tier),
      meaning: tierMeaning(profile),
    },
    rfm: profile.rfm && {
      title: "RFM group",
      exact: rfmTold(profile.rfm),
      rest: rfmBefore(profile.rfm),
      meaning: [
        "R, F and M go from 1 to 5 by fifths of this shop's customers: how lately, how often and for how much they have bought.",
        "The group follows from R and F.",
      ],
    },
    tenure: metrics.customer_tenure_days > 0 && {
      title: "Customer for",
      exact: counted(metrics.customer_tenure_days, "day"),
      meaning: `Days on the shop's calendar from the first order to ${end}.`,
    },
    ...expected(profile),
  };
}

/** What is predicted of a customer; nothing where nothing is. */
function expected(profile) {
  const { churn_risk: risk, currency, predicted_ltv_12m: year, expected_spend_90d: spend, next_order: next } = profile;
  if (!risk) return {};
  const chance = (title, value, days) =>
    value !== null &&
    value !== undefined && {
      title,
      exact: exactShare(value),
      meaning: `The chance of no order within ${days} days, whoever it is. Of who comes every three months a high one says little.`,
    };
  return {
    risk: {
      title: "Risk of staying away",
      exact: exactShare(risk.churn_risk_score),
      meaning: [
        risk.definition,
        "The days are about three times as long as they usually take between orders, from 30 days to a year, unless the service sets the same for everybody.",
        risk.confidence?.says,
        "Critical from 70 %, high from 50 %, medium from 30 %.",
      ].filter(Boolean),
    },
    month: chance("No order within 30 days", risk.p_no_purchase_30d, 30),
    quarter: chance("No order within 90 days", risk.p_no_purchase_90d, 90),
    year: year !== null &&
      year !== undefined && {
        title: "Next 12 months",
        exact: exactMoney(year, currency),
        meaning:
          "What they are expected to spend in the next twelve months, refunds taken off: what customers like them come to on average, so it is seldom a sum anybody pays.",
      },
    spend: spend && {
      title: "Next 90 days",
      exact: `${exactMoney(spend.expected, currency)}, ${between(spend, currency)}`,
      meaning: `What they are expected to spend in the next 90 days, refunds taken off. With ${share(spend.level)} it comes to between ${exactMoney(spend.low, currency)} and ${exactMoney(spend.high, currency)}.`,
    },
    next: next?.expected_on && {
      title: "Next order",
      exact: date(next.expected_on),
      meaning: [
        "By the end of this day an order is as likely to have come as not.",
        next.earliest_on && next.latest_on
          ? `Eight times in ten it comes between ${date(next.earliest_on)} and ${date(next.latest_on)}.`
          : next.earliest_on &&
            `Nine times in ten it does not come before ${date(next.earliest_on)}; how late it may be cannot be told.`,
      ].filter(Boolean),
    },
  };
}

export const between = ({ low, high }, currency) => `${exactMoney(low, currency)} to ${exactMoney(high, currency)}`;

const exactShare = (value) => `${(100 * value).toFixed(1)}\u00a0%`;

/** "champion (R5 F4 M5)"; without the scores where the group may not be told */
function rfmTold({ group, recency_score: recency, frequency_score: frequency, monetary_score: monetary }) {
  const scores = recency === null ? "" : ` (R${recency} F${frequency} M${monetary})`;
  return `${rfmWords(group)}${scores}`;
}

function rfmBefore({ previous_group: before, changed_on: day }) {
  return before && day ? `, was ${rfmWords(before)} until ${date(day)}` : "";
}

function tierMeaning({ ltv_tier_cutoffs: cutoffs, currency }) {
  const from = ["vip", "high", "standard"]
    .filter((name) => cutoffs?.[name] !== null && cutoffs?.[name] !== undefined)
    .map((name) => `${TIERS[name]} from ${exactMoney(cutoffs[name], currency)}`);
  const compared = "Tiers compare customers of this shop: the top 5 %, the next 15 %, the middle 60 % and the rest.";
  return [
    cutoffs?.mode === "percentile" ? compared : "Tiers go by what was spent.",
    from.length > 0 && `${from.join(", ")}; below that ${TIERS.low}.`,
  ].filter(Boolean);
}

/** All of them, one under the other. */
export function everyNumber(profile) {
  const rows = Object.values(numbersOf(profile))
    .filter(Boolean)
    .map(({ title, exact, rest = "", meaning }) =>
      h(
        "div",
        {},
        h("dt", {}, title),
        h("dd", { class: "number" }, exact, rest),
        h("dd", { class: "fine" }, [meaning].flat().join(" ")),
      ),
    );
  return [
    h("dl", { class: "numbers" }, rows),
    source(profile, "fine"),
    profile.churn_risk && h("div", { class: "fine" }, "What is expected: ", source(predicted(profile), "inline")),
  ];
}
