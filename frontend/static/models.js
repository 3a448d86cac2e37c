// What predictions are made by, and how well that would have told the shop's own past.

import { figure } from "./about.js";
import * as api from "./api.js";
import { h } from "./dom.js";
import { fold } from "./leaving.js";
import { picture, table } from "./picture.js";
import { degraded } from "./risk.js";
import { RISKS, candidateWords, date, number, percent, withoutCodes } from "./words.js";

const points = (value) => `${(100 * value).toFixed(1)} points`;
const two = (value) => value.toFixed(2);

/** What each figure is called, reads like and means; less says that less is better. */
const FIGURES = {
  auc: [
    "AUC",
    two,
    "Of two customers, one who came back and one who did not: how often the one who stayed away was told the higher risk. 1 tells all apart, 0.5 nothing.",
  ],
  ece: [
    "Off by",
    points,
    "How far what was told is from what came, on average over groups of customers who were told much the same. Less is better.",
  ],
  log_loss: [
    "Log loss",
    (value) => value.toFixed(3),
    "What models are chosen by: it punishes being sure and wrong. Less is better.",
  ],
  brier: ["Brier", (value) => value.toFixed(3), "The mean square of what was told less what came. Less is better."],
  mae: [
    "Mean error",
    number,
    "How far what was told of a customer's spend is from what came, on average. Less is better.",
  ],
  rmse: ["RMSE", number, "The same, with large errors weighing more. Less is better."],
  spearman: ["Order kept", two, "How well customers are put in order by what they spend: 1 is the very order, 0 none."],
  ratio: ["Told of what came", (value) => percent(100 * value), "All that was told, as a share of all that came."],
  mape: [
    "Off by",
    (value) => percent(100 * value),
    "How far a month that was told is from what came, on average, up to 12 months ahead. Less is better.",
  ],
  coverage: [
    "In its interval",
    (value) => percent(100 * value),
    "The share of what came that lay within the interval told for it; 80 % should.",
  ],
};
const SHOWN = Object.keys(FIGURES);
/** What a narrow window leaves out. */
const DETAILS = ["log_loss", "brier", "mae", "ratio"];
const HEADLINE = ["auc", "mape", "rmse"];
const SIDE = 230;
const HORIZONS = { own_horizon: "Within their own horizon", months: "Months ahead" };

export async function modelsPart(here, signal, shop) {
  const wanted = (here.open ?? "").split(".");
  // Models name neither zone nor run: where the shop's are not known yet, another answer of the same training tells them.
  const [answer, all] = await Promise.all([api.models(signal), shop.timezone ? null : api.churn(signal)]);
  Object.assign(answer, { timezone: all?.timezone ?? shop.timezone, run_id: all?.run_id });
  const open = answer.models.map(({ name }) => name).filter((name) => wanted.includes(name));
  // What the address asks to be open is there at once, so that nothing moves.
  const proofs = await Promise.all(open.map((name) => api.backtest(name, signal)));
  return {
    answer,
    identified: all ? all.total_customers !== null : null,
    content: [
      h(
        "p",
        { class: "outlook-note" },
        "Each prediction was tried on days of this shop's past, told by what was known when the day began, beside simpler ways of telling. What did best is served.",
      ),
      answer.models.map((model) =>
        fold(heading(model), () => proof(model, { answer, known: proofs[open.indexOf(model.name)] }), {
          open: open.includes(model.name),
        }),
      ),
    ],
  };
}

/** "How likely each customer is to stay away: AUC 0.87, the best simple way 0.85" */
function heading(model) {
  const name = HEADLINE.find((each) => typeof model.figures[each] === "number");
  const told = name && `${FIGURES[name][0]} ${FIGURES[name][1](model.figures[name])}`;
  const others = model.baselines.map(({ figures }) => figures[name]).filter((value) => typeof value === "number");
  const best = others.length > 0 && (name === "auc" ? Math.max(...others) : Math.min(...others));
  return [
    model.tells,
    model.status === "degraded" && h("span", { class: "chip" }, "plain rule"),
    told &&
      h(
        "span",
        { class: "fine" },
        ` ${told}`,
        best !== false && `; the best other way tried ${FIGURES[name][1](best)}`,
      ),
  ];
}

function proof(model, { answer: from, known }) {
  const body = h("div", { class: "proof", "aria-live": "polite" }, h("p", { class: "fine" }, "One moment."));
  const show = (told) =>
    body.replaceChildren(
      ...[
        degraded({ ...told, degraded_because: told.why }),
        told.message && h("p", {}, told.message),
        ...told.horizons.map((each) => horizon(each, from)),
        h("p", { class: "fine" }, learned(told)),
      ].filter(Boolean),
    );
  const fill = async () => {
    try {
      show(await api.backtest(model.name, api.newest(`backtest-${model.name}`)));
    } catch (problem) {
      if (problem.name === "AbortError") return;
      const retry = h("button", { class: "button", type: "button", onclick: fill }, "Try again");
      body.replaceChildren(h("p", { class: "fine" }, "How good it is could not be read. ", retry));
    }
  };
  if (known) show(known);
  else fill();
  return body;
}

function learned({ candidate, version, trained_from: first, trained_to: last, why, status }) {
  const from = first && last ? `, learned from ${date(first)} to ${date(last)}` : "";
  return `Served: ${candidateWords(candidate)}, version ${version}${from}.${why && status !== "degraded" ? ` Why: ${withoutCodes(why)}.`.replace("..", ".") : ""}`;
}

function horizon(each, from) {
  const days = /^(\d+)d$/.exec(each.horizon);
  const levels = each.slices.filter(({ by, observed }) => by === "level" && typeof observed === "number");
  return h(
    "section",
    { class: "horizon" },
    h("h3", {}, days ? `Within ${days[1]} days` : (HORIZONS[each.horizon] ?? each.horizon)),
    h(
      "div",
      { class: each.chart ? "horizon-parts" : "" },
      h(
        "div",
        {},
        each.reliability.length > 0 && h("p", {}, each.says),
        levels.length > 0 &&
          h(
            "p",
            {},
            "Of those told ",
            levels.map(
              ({ name, observed }, at) =>
                `${at > 0 ? ", " : ""}${RISKS[name]?.word.toLowerCase() ?? name} ${percent(Math.round(100 * observed))}`,
            ),
            " stayed away.",
          ),
        h("div", { class: "scroll-x" }, candidates(each.candidates, from)),
      ),
      each.chart &&
        picture(
          { ...each.chart, height: SIDE },
          {
            caption: "What came against what was told, by groups of customers who were told much the same",
            head: [
              { title: "Were told" },
              { title: "Stayed away", number: true },
              { title: "95 % interval", number: true },
              { title: "Customers", number: true },
            ],
            rows: each.reliability.map(({ n, mean_predicted: mean, observed, low, high }) => [
              percent(100 * mean),
              percent(100 * observed),
              `${percent(100 * low)} to ${percent(100 * high)}`,
              n === null ? "" : number(n),
            ]),
            name: "square",
            width: 380,
          },
        ),
    ),
  );
}

function candidates(tried, from) {
  const names = SHOWN.filter((name) => tried.some(({ measures }) => typeof measures[name] === "number"));
  return table({
    caption: "How each way of telling did",
    head: [
      { title: "Told by" },
      ...names.map((name) => ({
        title: figure(FIGURES[name][0], { title: FIGURES[name][0], meaning: FIGURES[name][2], from }),
        number: true,
        wide: DETAILS.includes(name),
      })),
    ],
    rows: tried.map(({ candidate, status, measures }) => [
      status === "candidate"
        ? candidateWords(candidate)
        : h("strong", {}, candidateWords(candidate), h("span", { class: "fine" }, " (served)")),
      ...names.map((name) => (typeof measures[name] === "number" ? FIGURES[name][1](measures[name]) : "")),
    ]),
  });
}
