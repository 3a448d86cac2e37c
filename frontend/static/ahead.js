// How many customers the shop will have, and what it will take in.

import { figure } from "./about.js";
import * as api from "./api.js";
import { h, section } from "./dom.js";
import { fold, tile } from "./leaving.js";
import { picture, table } from "./picture.js";
import { address, go } from "./place.js";
import { degraded } from "./risk.js";
import {
  candidateWords,
  counted,
  date,
  exactMoney,
  money,
  month,
  number,
  percent,
  roughly,
  share,
  signed,
  words,
} from "./words.js";

const MONTHS = ["3", "6", "12", "24"];
const YEAR = "12";

/** Customers by month, each with those who come and go. */
export async function customersAhead(here, signal) {
  const months = MONTHS.includes(here.months) ? here.months : YEAR;
  const told = await api.growth(months, signal);
  const whole = told.current_customers !== null;
  const { summary } = told;
  const about = (title, meaning, exact = "") => ({ title, meaning, exact, from: told, name: "big" });
  const active = "Active customers: with an order in the last 365 days.";
  const [now, then, low, high] = whole
    ? [told.current_customers, summary?.projected_customers, summary?.low, summary?.high]
    : [100, summary?.index, summary?.low_index, summary?.high_index];
  const rate = (title, value, meaning) =>
    value !== null &&
    value !== undefined &&
    tile(title, figure(percent(100 * value), about(title, meaning)), "a month");
  const content = [
    section(
      "How many customers will there be?",
      { name: "tile" },
      h("p", { class: "headline" }, summary?.says ?? told.message),
      told.chart && h("div", { class: "fold-bar" }, h("p", { class: "fine" }, active), horizons(months)),
      told.chart &&
        picture(told.chart, {
          caption: "Active customers by month",
          ...monthly(told, whole),
        }),
      degraded(told.model),
    ),
    summary &&
      h(
        "dl",
        { class: "tiles four" },
        tile(
          "Now",
          figure(
            number(now),
            about(
              "Active now",
              [
                active,
                `Counted at the end of ${date(told.counted_on)}.`,
                !whole && "This key sees an index: 100 is now.",
              ].filter(Boolean),
            ),
          ),
        ),
        tile(
          `In ${counted(Number(months), "month")}`,
          figure(
            number(then),
            about("Active then", `${active} ${share(told.level)} of what comes should lie between the two.`),
          ),
          `${number(low)} to ${number(high)}`,
        ),
        rate(
          "Come, of those there are",
          told.assumptions?.monthly_acquisition_rate,
          "New customers and those won back each month, as a share of the active ones, on average.",
        ),
        rate(
          "Lapse",
          told.assumptions?.monthly_churn_rate,
          told.assumptions?.churn_measured
            ? "Active customers who lapse each month, on average: a year without an order."
            : "Nobody could have lapsed yet: the records are shorter than a year. This is the least that is assumed.",
        ),
      ),
    summary && fold("By kind of customer", () => kinds(months)),
    fold("How this is told, and how good it has been", () => howTold(told.model, told.assumptions?.notes ?? [])),
  ];
  return { answer: told, identified: whole, content };
}

const horizons = (at) =>
  h(
    "nav",
    { class: "switch", "aria-label": "How far ahead" },
    MONTHS.map((months) =>
      h(
        "a",
        {
          href: address({ outlook: "customers", months: months === YEAR ? "" : months }),
          "aria-current": months === at ? "true" : null,
        },
        months,
        h("span", { class: "wide" }, " months"),
        h("span", { class: "visually-hidden narrow-only" }, " months"),
      ),
    ),
  );

function monthly({ projections }, whole) {
  const names = whole
    ? ["estimated_customers", "acquired_customers", "lapsed_customers", "low", "high"]
    : ["index", "acquired_index", "lapsed_index", "low_index", "high_index"];
  return {
    head: [{ title: "Month" }, ...["Active", "Come", "Lapse", "Low", "High"].map((title) => ({ title, number: true }))],
    rows: (projections?.monthly ?? []).map((each) => [
      month(each.month),
      ...names.map((name) => number(each[name] ?? 0)),
    ]),
  };
}

/** Fetched when it is opened. */
function kinds(months) {
  const body = h("div", { "aria-live": "polite" }, h("p", { class: "fine" }, "One moment."));
  const fill = async () => {
    try {
      const told = await api.growthOfKinds(months, api.newest("kinds"));
      body.replaceChildren(
        ...[
          told.message && h("p", { class: "fine" }, told.message),
          told.says && h("p", {}, told.says),
          picture(told.chart, {
            caption: "Active customers by kind",
            head: [
              { title: "Kind" },
              { title: "Now", number: true },
              { title: "Then", number: true },
              { title: "Change", number: true },
            ],
            rows: told.archetypes.map((each) => [
              named(each),
              each.current_members === null ? "" : number(each.current_members),
              each.projected_members === null ? "" : number(each.projected_members),
              each.growth_rate_pct === null ? "" : signed(each.growth_rate_pct),
            ]),
          }),
        ].filter(Boolean),
      );
    } catch (problem) {
      if (problem.name === "AbortError") return;
      const retry = h("button", { class: "button", type: "button", onclick: fill }, "Try again");
      body.replaceChildren(h("p", { class: "fine" }, "Kinds could not be read. ", retry));
    }
  };
  fill();
  return body;
}

const TOGETHER = { other: "All others", guests: "Guests", unsegmented: "Not in the segmentation" };
const named = ({ archetype_id: id, segment_name: name }) =>
  TOGETHER[id] ?? h("a", { href: `?archetype=${encodeURIComponent(id)}` }, name ?? words(id));

function howTold(model, notes) {
  const { backtest: proof } = model ?? {};
  const others = {
    mape_naive: "naive",
    mape_seasonal_naive: "seasonal_naive",
    mape_seasonal_naive_yoy: "seasonal_naive_yoy",
  };
  const off = (value) => (value === null || value === undefined ? "" : percent(100 * value));
  return [
    proof?.n_told > 0 &&
      h(
        "p",
        {},
        `Told from each of the last ${proof.n_origins} months and held against what came, ${counted(proof.n_told, "month")} in all: ` +
          `off by ${off(proof.mape)} on average` +
          (proof.coverage === null ? "." : `; ${share(proof.coverage)} of what came lay within its interval.`),
      ),
    proof?.n_told > 0 &&
      table({
        caption: "How far off, beside plain ways of telling",
        head: [{ title: "Told by" }, { title: "Off by, on average", number: true }],
        rows: [
          [h("strong", {}, candidateWords(model.candidate)), off(proof.mape)],
          ...Object.entries(others)
            .filter(([name]) => proof[name] !== null && proof[name] !== undefined)
            .map(([name, candidate]) => [candidateWords(candidate), off(proof[name])]),
        ],
        name: "narrow",
      }),
    model?.why && !notes.some((note) => note.includes(model.why)) && h("p", { class: "fine" }, model.why),
    h(
      "ul",
      { class: "traits" },
      notes.map((note) => h("li", {}, note)),
    ),
  ];
}

// Revenue

const KINDS = 10;

const DEFAULT = "";
const PERIODS = [
  ["", "The next three months"],
  ["this month", "This month"],
  ["next month", "Next month"],
  ["this quarter", "This quarter"],
  ["next quarter", "Next quarter"],
  ["this year", "This year"],
  ["next year", "Next year"],
  ["q1", "Q1"],
  ["q2", "Q2"],
  ["q3", "Q3"],
  ["q4", "Q4"],
  ["valentine's day", "Valentine's Day"],
  ["easter", "Easter"],
  ["mother's day", "Mother's Day"],
  ["father's day", "Father's Day"],
  ["back to school", "Back to school"],
  ["halloween", "Halloween season"],
  ["thanksgiving", "Thanksgiving"],
  ["black friday", "Black Friday"],
  ["black friday weekend", "Black Friday to Cyber Monday"],
  ["cyber week", "Cyber Week"],
  ["christmas", "Christmas season"],
];

export async function revenueAhead(here, signal) {
  const period = here.period ?? DEFAULT;
  const told = await api.revenue({ period, by: "archetype" }, signal);
  return {
    answer: told,
    // A key without identities is told shares of kinds, no sums.
    identified: told.archetypes?.length > 0 ? told.archetypes[0].point !== null : null,
    content: [
      section(
        "What will the shop take in?",
        { name: "tile" },
        chooser(period),
        sums(told),
        told.chart && picture(told.chart, { caption: "Net revenue by month", ...drawn(told) }),
        degraded(told.model),
      ),
      who(told),
      told.archetypes?.length > 0 && fold("By kind of customer", () => ofKinds(told)),
      fold("How this is told, and how good it has been", () => howTold(told.model, told.assumptions)),
    ],
  };
}

function chooser(period) {
  const known = PERIODS.some(([value]) => value === period) ? PERIODS : [...PERIODS, [period, words(period)]];
  const select = h(
    "select",
    { id: "period" },
    known.map(([value, name]) => h("option", { value, selected: value === period }, name)),
  );
  select.addEventListener("change", () => go(address({ outlook: "revenue", period: select.value })));
  return h("p", { class: "chooser" }, h("label", { for: "period" }, "Period "), select);
}

function sums(told) {
  const { revenue: sum, period, currency } = told;
  if (sum.point === null) return h("p", { class: "headline" }, told.message ?? "Too few orders to tell.");
  const about = (title, exact, meaning) => ({ title, exact, meaning, from: told });
  const range = `${roughly(sum.low, currency)} to ${roughly(sum.high, currency)}`;
  const days =
    period.start_date === period.end_date
      ? date(period.start_date)
      : `${date(period.start_date)} to ${date(period.end_date)}`;
  const earned = sum.earned_share > 0 && sum.earned !== null;
  return [
    h("p", { class: "fine" }, `${days}, ${counted(period.days, "day")}`),
    h(
      "p",
      { class: "headline" },
      figure(money(sum.point, currency), {
        ...about(
          "Net revenue",
          `${exactMoney(sum.point, currency)}, ${exactMoney(sum.low, currency)} to ${exactMoney(sum.high, currency)}`,
          [
            "What is paid less what is given back: earned so far, and still to come.",
            sum.low !== null && `${share(sum.level)} of what comes should lie between the two.`,
            sum.coverage !== null && sum.coverage !== undefined && `On the shop's own past ${share(sum.coverage)} did.`,
          ].filter(Boolean),
        ),
        name: "big",
      }),
      sum.low !== null && h("span", { class: "unit" }, ` ${range}`),
    ),
    h(
      "p",
      {},
      earned && [
        figure(
          share(sum.earned_share),
          about(
            "Earned so far",
            exactMoney(sum.earned, currency),
            "Paid less given back in these days, up to the end of the records.",
          ),
        ),
        " of it is earned already. ",
      ],
      sum.change_pct !== null && [
        figure(
          signed(sum.change_pct),
          about(
            "Against a year before",
            exactMoney(sum.year_before, currency),
            "Net revenue of the same days a year before.",
          ),
        ),
        " against the same days a year before.",
      ],
    ),
  ];
}

/** The numbers that the chart draws: months that are over, then those to come in their interval. */
function drawn({ chart, currency }) {
  const [{ data: ahead }, , { data: past }] = chart.layer;
  const cell = (value) => (value === null || value === undefined ? "" : money(value, currency));
  return {
    head: [
      { title: "Month" },
      { title: "Net revenue", number: true },
      { title: "Low", number: true },
      { title: "High", number: true },
    ],
    rows: [
      ...past.values.map((each) => [month(each.month), cell(each.value), "", ""]),
      ...ahead.values
        .slice(1)
        .map((each) => [`${month(each.month)}, expected`, cell(each.value), cell(each.low), cell(each.high)]),
    ],
  };
}

/** Of a period with a name: how many will order, and whom to think of first. */
function who(told) {
  const { engagement: those, targets } = told;
  if (!those && targets.length === 0) return null;
  const counts = those && those.expected_customers !== null;
  const about = those && {
    title: "Customers who will order",
    exact: counts
      ? `${number(those.expected_customers)}, ${number(those.low)} to ${number(those.high)}`
      : `${percent(100 * those.share)}, ${percent(100 * those.share_low)} to ${percent(100 * those.share_high)}`,
    meaning: those.definition,
    from: told,
  };
  return section(
    "Who will order",
    { name: "tile" },
    those &&
      h(
        "p",
        {},
        figure(counts ? counted(those.expected_customers, "customer") : percent(100 * those.share), about),
        counts
          ? ` of today's will order, ${number(those.low)} to ${number(those.high)}: ${percent(100 * those.share)} of them`
          : " of today's customers will order",
        those.new_customers > 0 && `, and ${counted(those.new_customers, "new customer")}`,
        ".",
      ),
    targets.length > 0 &&
      h(
        "div",
        { class: "scroll-x" },
        table({
          caption: "Kinds with most expected orders",
          head: [
            { title: "Kinds with most orders expected" },
            { title: "Share of orders", number: true },
            { title: "Next to the shop's mean", number: true, wide: true },
          ],
          rows: targets
            .slice(0, 5)
            .map((each) => [
              named(each),
              each.share_of_orders === null ? "" : percent(100 * each.share_of_orders),
              each.orders_index === null ? "" : `${number(each.orders_index)} ×`,
            ]),
        }),
      ),
  );
}

function ofKinds({ archetypes, currency }) {
  const sums = archetypes.some(({ point }) => point !== null);
  const sorted = archetypes.toSorted((one, other) => (other.share ?? 0) - (one.share ?? 0));
  const [first, others] = [sorted.slice(0, KINDS), sorted.slice(KINDS)];
  const sum = (name) => others.reduce((all, each) => all + (each[name] ?? 0), 0);
  const rest = others.length > 0 && { share: sum("share"), point: sum("point"), earned: sum("earned") };
  return h(
    "div",
    { class: "scroll-x" },
    table({
      caption: "Net revenue by kind of customer",
      head: [
        { title: "Kind" },
        { title: "Share", number: true },
        ...(sums
          ? [
              { title: "Expected", number: true },
              { title: "Earned so far", number: true, wide: true },
            ]
          : []),
      ],
      rows: [...first, rest]
        .filter(Boolean)
        .map((each) => [
          each === rest ? counted(others.length, "other kind") : named(each),
          each.share === null ? "" : percent(100 * each.share),
          ...(sums ? [money(each.point, currency), money(each.earned, currency)] : []),
        ]),
    }),
  );
}
