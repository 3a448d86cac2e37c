// Whether a customer will come back, as it is predicted: the level in a word and a shape, the chance, and what makes it up.

import { figure, recordsEnd } from "./about.js";
import * as api from "./api.js";
import { h } from "./dom.js";
import { numbersOf, predicted } from "./numbers.js";
import { RISKS, candidateWords, chance, date, daysBetween, today, withoutCodes, words } from "./words.js";

export const badge = (word, shape, level) =>
  h("span", { class: `badge risk-${level}` }, h("span", { class: `shape ${shape}`, "aria-hidden": "true" }), word);

/** "High risk", or the word alone where a heading says what it is of. */
export function levelBadge(level, { short = false } = {}) {
  const { word, shape } = RISKS[level] ?? { word: words(level), shape: "circle" };
  return badge(short ? word : `${word} risk`, shape, level);
}

export function riskHeadline(profile) {
  const { churn_risk: risk } = profile;
  const about = { ...numbersOf(profile).risk, from: predicted(profile) };
  return h("p", { class: "headline" }, levelBadge(risk.risk_level), " ", figure(chance(risk.churn_risk_score), about));
}

/** What the number beside the level is the chance of. */
export const chanceLine = ({ churn_risk: risk }) =>
  h(
    "p",
    {},
    `No order within ${theirDays(risk.horizon_days)}`,
    h("span", { class: "visually-hidden" }, `: ${chance(risk.churn_risk_score)}`),
    ".",
  );

/** Days that a shop may have set for everybody are not called a customer's own. */
const theirDays = (days) => ([30, 60, 90, 120, 180, 365].includes(days) ? `${days} days` : `their own ${days} days`);

/** "Next order expected about 12 Nov 2025, in 20 days." */
export function nextOrderLine(profile) {
  const { next_order: next } = profile;
  if (!next) return null;
  if (!next.expected_on) return next.reason && h("p", {}, next.reason);
  const days = daysBetween(today(predicted(profile)), next.expected_on);
  return h(
    "p",
    {},
    "Next order expected about ",
    figure(h("time", { datetime: next.expected_on }, date(next.expected_on)), {
      ...numbersOf(profile).next,
      from: predicted(profile),
    }),
    days === 1 ? ", tomorrow." : days > 1 ? `, in ${days} days.` : ".",
  );
}

/** Said plainly where nothing better than a plain rule could be had. */
export const degraded = (model) =>
  model?.status === "degraded" &&
  h(
    "p",
    { class: "plain-model" },
    h("strong", {}, "Told by a plain rule. "),
    withoutCodes(model.degraded_because ?? "On the shop's own past nothing did better."),
  );

/** What makes the risk up: fetched when first opened. */
export function whyRisk(profile) {
  const body = h("div", { class: "why-risk", "aria-live": "polite" });
  const fill = async () => {
    body.replaceChildren(h("p", { class: "fine" }, "Weighing what they do"));
    try {
      body.replaceChildren(...told(await api.risk(profile.customer_id, api.newest("risk")), profile));
    } catch (problem) {
      if (problem.name === "AbortError") return;
      const retry = h("button", { class: "button", type: "button", onclick: fill }, "Try again");
      body.replaceChildren(h("p", { class: "fine" }, "The reasons could not be read. ", retry));
    }
  };
  fill();
  return body;
}

function told(answer, profile) {
  const { contributions, typical_customer: typical, churn_risk_score: score, message, model } = answer;
  const from = predicted({ ...profile, churn_risk: answer });
  const numbers = numbersOf({ ...profile, churn_risk: answer });
  return [
    contributions?.length > 0
      ? [
          h(
            "p",
            {},
            `The chance that they stay away is ${chance(score)}; for this shop's typical customer over the same days it is ${chance(typical)}.`,
          ),
          signedBars(contributions, { typical, score }),
        ]
      : h("p", {}, message ?? "What makes it up is not known."),
    answer.confidence?.says && h("p", {}, answer.confidence.says),
    h(
      "p",
      { class: "fine" },
      "No order within 30 days: ",
      figure(chance(answer.p_no_purchase_30d), { ...numbers.month, from }),
      "; within 90 days: ",
      figure(chance(answer.p_no_purchase_90d), { ...numbers.quarter, from }),
      ".",
    ),
    degraded(model),
    h(
      "p",
      { class: "fine" },
      model &&
        `Told by: ${candidateWords(model.candidate)} (version ${model.version}), training ${answer.prediction_id}, from records up to `,
      model && [recordsEnd(from), ". "],
      h("a", { href: "?outlook=models&open=churn" }, "How good it is on this shop's own past"),
    ),
  ]
    .flat()
    .filter(Boolean);
}

/** From the typical customer to this one: what raises the risk goes to the right, what lowers it to the left. */
function signedBars(contributions, { typical, score }) {
  const most = Math.max(...contributions.map(({ contribution }) => Math.abs(contribution)), 1e-6);
  const end = (name, share) =>
    h("li", { class: "signed-end" }, h("span", {}, name), h("span"), h("span", { class: "number" }, exact(share)));
  return h(
    "ul",
    { class: "signed" },
    end("The shop's typical customer", typical),
    contributions.map(({ contribution, says }) => {
      // "The time since their last order: +3.4 points"
      const at = says.lastIndexOf(": ");
      const fill = h("span", { class: contribution < 0 ? "signed-fill less" : "signed-fill more" });
      fill.style.setProperty("width", `${(50 * Math.abs(contribution)) / most}%`);
      return h(
        "li",
        {},
        h("span", {}, says.slice(0, at)),
        h("span", { class: "signed-track", "aria-hidden": "true" }, fill),
        h("span", { class: "number" }, says.slice(at + 2).replace("-", "\u2212")),
      );
    }),
    end("This customer", score),
  );
}

const exact = (share) => `${(100 * share).toFixed(1)}\u00a0%`;
