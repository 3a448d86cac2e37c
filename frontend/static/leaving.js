// Who may not come back: everybody by level of risk, what those at risk are worth, and who they are.

import { figure } from "./about.js";
import * as api from "./api.js";
import { announce, foreign, h, section } from "./dom.js";
import { picture, row, table } from "./picture.js";
import { address } from "./place.js";
import { degraded, levelBadge } from "./risk.js";
import { RISKS, TIERS, ago, chance, counted, exactMoney, money, number, percent, roughly } from "./words.js";

const SORTS = { ltv_at_risk: "Value at risk", risk: "Risk", ltv: "Spent" };
const FIRST = "ltv_at_risk";
const PAGE = 20;
const sortOf = ({ sort }) => (sort in SORTS ? sort : FIRST);

export async function atRiskPart(here, signal) {
  const sort = sortOf(here);
  const [all, those] = await Promise.all([api.churn(signal), api.atRisk({ sort, limit: PAGE }, signal)]);
  return {
    answer: all,
    identified: all.total_customers !== null,
    content: [levels(all, those), worth(all), byTier(all), list(those, sort)],
  };
}

function levels(all, those) {
  const shares = [...Object.keys(RISKS), "other"]
    .map((level) => {
      const told = all.churn_risk_distribution[level];
      return level === "other" ? { level, part: told } : { level, part: told?.percentage, count: told?.count };
    })
    .filter(({ part }) => part > 0);
  const share = those.share ?? 0;
  const about = {
    title: "At risk",
    exact:
      those.count === null
        ? percent(100 * share)
        : `${counted(those.count, "customer")} of ${number(all.total_customers)}`,
    meaning: [
      "Customers of high or critical risk. A risk is the chance of no order within a customer's own horizon: about three times as long as they usually take, from 30 days to a year.",
      "Critical from 70 %, high from 50 %, medium from 30 %.",
      all.note,
    ],
    from: all,
  };
  return section(
    "Will they come back?",
    { name: "tile" },
    h(
      "p",
      { class: "headline" },
      figure(percent(100 * share), about),
      h("span", { class: "unit" }, " of customers are at high or critical risk of staying away"),
    ),
    stacked(shares),
    h(
      "ul",
      { class: "levels" },
      shares.map(({ level, part, count }) =>
        h(
          "li",
          {},
          level === "other" ? "Smaller levels together" : levelBadge(level, { short: true }),
          h("span", { class: "number" }, percent(part)),
          count !== null && count !== undefined && h("span", { class: "fine" }, counted(count, "customer")),
        ),
      ),
    ),
    h(
      "p",
      { class: "fine" },
      share > 0.5 && "Most customers of all time have long gone. ",
      "Who is worth a word stands below, the most valuable first.",
    ),
    degraded(all.model),
  );
}

/** One bar of the whole shop; what it shows is written below it. */
function stacked(shares) {
  return h(
    "div",
    { class: "stacked", "aria-hidden": "true" },
    shares.map(({ level, part }) => {
      const piece = h("span", { class: `piece risk-${level}` });
      piece.style.setProperty("width", `${part}%`);
      return piece;
    }),
  );
}

function worth(all) {
  const { ltv_at_risk: value, currency } = all;
  const amount = (title, sum, meaning) =>
    sum !== null &&
    tile(
      title,
      figure(money(sum, currency), { title, exact: exactMoney(sum, currency), meaning, from: all, name: "big" }),
    );
  // Null where the shop is so small that even a share of everybody would tell of one.
  const shareOf = (value) => (value === null ? "not told" : chance(value));
  const away = (days) => {
    const share = all[`estimated_churn_${days}_days_share`];
    const n = all[`estimated_churn_${days}_days`];
    const interval = all[`estimated_churn_${days}_days_interval`];
    const title = `No order in ${days} days`;
    return tile(
      title,
      figure(n === null ? shareOf(share) : number(n), {
        title,
        exact:
          n === null ? shareOf(share) : `${number(n)} customers, ${number(interval.low)} to ${number(interval.high)}`,
        meaning: [
          `How many will not order within ${days} days: the sum of everybody's chances, those of customers who have long gone among them.`,
          interval && "In 95 of 100 such intervals lies what comes.",
        ].filter(Boolean),
        from: all,
        name: "big",
      }),
      interval ? `${number(interval.low)} to ${number(interval.high)}` : "of customers",
    );
  };
  return h(
    "dl",
    { class: "tiles four" },
    amount(
      "Value at risk",
      value.historic,
      "What customers of high and critical risk have spent so far, times their risk.",
    ),
    amount(
      "Still expected of them",
      value.predicted_12m,
      "What customers of high and critical risk are expected to spend in the next twelve months all the same.",
    ),
    away(30),
    away(90),
  );
}

export const tile = (title, shown, besides = "") =>
  h(
    "div",
    { class: "tile small" },
    h("dt", {}, title),
    h("dd", {}, shown, besides && h("span", { class: "fine" }, ` ${besides}`)),
  );

function byTier(all) {
  const levels = Object.keys(RISKS);
  const shown = (value) => (value === null || value === undefined ? "" : percent(value));
  return fold("By what they are worth", () =>
    picture(all.chart, {
      caption: "Levels of risk by tier of value",
      head: [
        { title: "Tier" },
        ...levels.map((level) => ({ title: RISKS[level].word, number: true })),
        { title: "Value at risk", number: true },
      ],
      rows: all.by_value_tier.map((each) => [
        TIERS[each.ltv_tier] ?? "Not in the segmentation",
        ...levels.map((level) => shown(each.percentages[level])),
        each.ltv_at_risk.historic === null ? "" : money(each.ltv_at_risk.historic, all.currency),
      ]),
      name: "narrow",
    }),
  );
}

/** A folded part of the outlook, filled when first opened. */
export function fold(title, fill, { open = false, id = null } = {}) {
  const body = h("div", { class: "fold-body" });
  const summary = h("summary", {}, h("h2", {}, title));
  const details = h("details", { class: "fold single", id }, summary, body);
  const opened = () => body.childElementCount === 0 && body.append(...[fill()].flat().filter(Boolean));
  summary.addEventListener("click", opened);
  details.addEventListener("toggle", () => details.open && opened());
  if (open) {
    details.open = true;
    opened();
  }
  return details;
}

// Who they are

const HEAD = [
  { title: "Customer" },
  { title: "Risk", number: true },
  { title: "Spent", number: true, wide: true },
  { title: "At risk", number: true },
  { title: "Next 12 months", number: true, wide: true },
  { title: "Last order", number: true },
];

function list(those, sort) {
  const rows = customers(those);
  const shown = table({
    caption: `Customers at risk, by ${SORTS[sort].toLowerCase()}, largest first`,
    head: HEAD,
    rows,
    name: "members",
  });
  const body = shown.querySelector("tbody");
  const more = h("button", { class: "button", type: "button", hidden: !those.next_cursor }, "Show more");
  const status = h("p", { class: "fine", role: "status" }, summary(those, rows.length));
  let cursor = those.next_cursor;
  more.addEventListener("click", async () => {
    more.disabled = true;
    try {
      const page = await api.atRisk({ sort, limit: PAGE, cursor }, api.newest("at-risk"));
      const found = customers(page).map((cells) => row(cells, HEAD));
      body.append(...found);
      found[0]?.querySelector("a").focus();
      announce(`${found.length} more`);
      cursor = page.next_cursor;
      more.hidden = !cursor;
    } catch (problem) {
      if (problem.name === "AbortError") return;
      // Its predictions are served no more where a newer training has come.
      status.textContent = "More could not be read. Reload to see the latest.";
    } finally {
      more.disabled = false;
    }
  });
  return section(
    "Who they are",
    { name: "tile members-tile" },
    h("div", { class: "fold-bar" }, status, rows.length > 0 && sorting(sort)),
    rows.length > 0 && h("div", { class: "scroll-x" }, shown),
    more,
  );
}

function summary({ message, count, next_cursor: more }, shown) {
  if (shown === 0) return message ?? "Nobody is at high or critical risk.";
  if (count === null) return `The first ${number(shown)}; this key may not see more.`;
  return more
    ? `${counted(count, "customer")} at high or critical risk, the first ${number(shown)} here.`
    : counted(count, "customer");
}

const sorting = (sort) =>
  h(
    "nav",
    { class: "switch", "aria-label": "Sort by" },
    Object.entries(SORTS).map(([key, name]) =>
      h(
        "a",
        {
          href: address({ outlook: "risk", sort: key === FIRST ? "" : key }),
          "aria-current": key === sort ? "true" : null,
        },
        name,
      ),
    ),
  );

const customers = ({ customers: found, currency }) =>
  found.map((each) => [
    h(
      "span",
      {},
      h("a", { href: `?customer=${encodeURIComponent(each.customer_id)}` }, foreign(each.name || each.customer_id)),
      each.ltv_tier === "vip" && [" ", h("span", { class: "tier tier-vip small-badge" }, TIERS.vip)],
    ),
    h(
      "span",
      {
        class: "risk-cell",
        title: `${RISKS[each.risk_level].word} risk, ${(100 * each.churn_risk_score).toFixed(1)} %`,
      },
      h("span", { class: `shape ${RISKS[each.risk_level].shape} risk-${each.risk_level}`, "aria-hidden": "true" }),
      h("span", { class: "risk-word" }, `${RISKS[each.risk_level].word} `),
      h("span", {}, chance(each.churn_risk_score)),
    ),
    sum(each.ltv, currency),
    sum(each.ltv_at_risk, currency),
    each.predicted_ltv_12m === null ? "" : sum(each.predicted_ltv_12m, currency, roughly),
    each.days_since_last_purchase === null ? "" : ago(each.days_since_last_purchase),
  ]);

const sum = (value, currency, as = money) => h("span", { title: exactMoney(value, currency) }, as(value, currency));
