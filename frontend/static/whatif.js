// What would be if customers behaved otherwise: four sliders beside the line that nothing changes.

import { figure } from "./about.js";
import * as api from "./api.js";
import { h, section } from "./dom.js";
import { fold, tile } from "./leaving.js";
import { paint, picture } from "./picture.js";
import { place, rename } from "./place.js";
import { exactMoney, money, month, number, percent, signed } from "./words.js";

const WAIT_MS = 120;
const MOST = 50;
const STEP = 5;

const CHANGES = [
  ["repeat_rate_change", "Repeat rate", "Orders after a customer's first."],
  ["order_value_change", "Order value", "What an order comes to."],
  ["acquisition_change", "Acquisition", "Customers who are new or won back."],
  ["churn_change", "Churn", "The share of customers who lapse each month."],
];

export async function whatIfPart(here, signal) {
  const given = (here.if ?? "").split(".").map(Number);
  const percents = CHANGES.map((_, at) => Math.max(-MOST, Math.min(MOST, Math.round(given[at]) || 0)));
  const told = await api.whatIf(asked(percents), signal);
  const identified = told.monthly.length > 0 ? told.monthly[0].customers !== null : null;
  return { answer: told, identified, content: sliders(told, percents) };
}

const asked = (percents) => Object.fromEntries(CHANGES.map(([name], at) => [name, percents[at] / 100]));

function sliders(first, start) {
  const percents = [...start];
  const says = h("p", { class: "what-if-says", role: "status" });
  const outcome = h("dl", { class: "tiles two" });
  const frame = h("div");
  const assumptions = h("ul", { class: "traits fine" });
  let pictured = null;
  const show = (told) => {
    says.textContent = percents.some(Boolean)
      ? told.says
      : "Move a slider to see what would come of it. Nothing is changed yet.";
    outcome.replaceChildren(...outcomes(told));
    assumptions.replaceChildren(...told.assumptions.map((each) => h("li", {}, each)));
    pictured = redraw(frame, pictured, told);
  };
  let waiting = 0;
  const change = () => {
    clearTimeout(waiting);
    const signal = api.newest("what-if");
    waiting = setTimeout(async () => {
      rename({ ...place(), if: percents.some(Boolean) ? percents.join(".") : "" });
      try {
        show(await api.whatIf(asked(percents), signal));
      } catch (problem) {
        if (problem.name === "AbortError") return;
        says.textContent = "This could not be worked out. Move a slider to try again.";
      }
    }, WAIT_MS);
  };
  const controls = CHANGES.map(([name, title, meaning], at) => control({ name, title, meaning, percents, at, change }));
  const reset = h("button", { class: "button", type: "button" }, "Nothing changes");
  reset.addEventListener("click", () => {
    controls.forEach(({ set }) => set(0));
    change();
  });
  show(first);
  return [
    section(
      "If customers behaved otherwise",
      { name: "tile what-if" },
      h(
        "div",
        { class: "sliders" },
        controls.map(({ element }) => element),
      ),
      h("div", { class: "fold-bar" }, says, reset),
    ),
    outcome,
    section("As projected and as it would be", { name: "tile" }, frame),
    fold("How this is worked out", () => assumptions),
  ];
}

function control({ name, title, meaning, percents, at, change }) {
  const told = h("output", { for: name, class: "number" });
  const range = h("input", {
    id: name,
    type: "range",
    min: -MOST,
    max: MOST,
    step: STEP,
    "aria-describedby": `${name}-means`,
  });
  const say = () => {
    told.textContent = percents[at] === 0 ? "as it is" : signed(percents[at]);
    range.setAttribute("aria-valuetext", told.textContent);
  };
  const set = (value) => {
    percents[at] = value;
    range.value = String(value);
    say();
  };
  set(percents[at]);
  range.addEventListener("input", () => {
    percents[at] = Number(range.value);
    say();
    change();
  });
  const element = h(
    "div",
    { class: "slider" },
    h("label", { for: name }, title),
    told,
    range,
    h("span", { class: "fine", id: `${name}-means` }, meaning),
  );
  return { element, set };
}

function outcomes(told) {
  const { customers, revenue, currency, monthly } = told;
  const last = monthly.at(-1);
  const one = (title, { unchanged, changed, change_pct: change }, as, exact, meaning) =>
    changed === null || changed === undefined
      ? null
      : tile(
          title,
          figure(as(changed), { title, exact: exact(changed), meaning, from: told, name: "big" }),
          change ? `${signed(change)} against ${as(unchanged)}` : "as projected",
        );
  const until = last ? `at the end of ${month(last.month)}` : "then";
  return [
    one(
      "Active customers",
      customers,
      number,
      number,
      `Customers with an order in the 365 days before, ${until}. Where a key sees no numbers, 100 is now.`,
    ),
    one(
      "Net revenue",
      revenue,
      (value) => money(value, currency),
      (value) => exactMoney(value, currency),
      "What is paid less what is given back, from the month under way on, over all months told.",
    ),
  ].filter(Boolean);
}

/** The first time with a table beside it; from then on the picture alone is painted over, and the table written anew. */
function redraw(into, before, told) {
  const { monthly, chart, currency } = told;
  const counted = monthly[0]?.customers !== null && monthly[0]?.customers !== undefined;
  const [customers, changed] = counted ? ["customers", "changed_customers"] : ["index", "changed_index"];
  const cell = (value, as = number) => (value === null || value === undefined ? "" : as(value));
  const made = picture(chart, {
    caption: "Customers and revenue by month, as projected and as it would be",
    head: [
      { title: "Month" },
      { title: "Customers", number: true },
      { title: "would be", number: true },
      { title: "Revenue", number: true },
      { title: "would be", number: true },
    ],
    rows: monthly.map((each) => [
      month(each.month),
      cell(each[customers]),
      cell(each[changed]),
      cell(each.revenue, (value) => money(value, currency)),
      cell(each.changed_revenue, (value) => money(value, currency)),
    ]),
  });
  if (!before || !chart) {
    into.replaceChildren(made);
    return made;
  }
  before.querySelector("table").replaceWith(made.querySelector("table"));
  const canvas = before.querySelector(".chart");
  if (!canvas.hidden) paint(canvas, chart);
  else before.querySelector(".turn").addEventListener("click", () => paint(canvas, chart), { once: true });
  return before;
}
