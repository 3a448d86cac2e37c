// Why a customer is in their strongest segment of each axis, and what would move them: asked for once, when first opened.

import * as api from "./api.js";
import { h } from "./dom.js";
import { axisWords, inOrder, words } from "./words.js";

/** One disclosure per axis that has groups. */
export function reasons(profile) {
  const axes = inOrder(profile.fuzzy_memberships).filter(([, shares]) => Object.keys(shares).length > 1);
  if (axes.length === 0) return null;
  let asked = null;
  const ask = () => {
    asked ??= api.why(profile.customer_id, api.newest("why")).catch((problem) => {
      asked = null;
      throw problem;
    });
    return asked;
  };
  return h(
    "section",
    { class: "reasons", "aria-labelledby": "reasons-title" },
    h("h4", { id: "reasons-title" }, "Why, and what would move them"),
    h(
      "p",
      { class: "fine" },
      "Points are hundredths of membership: what each habit adds to that of the shop's average customer, or takes from it.",
    ),
    h(
      "div",
      { class: "reason-list" },
      axes.map(([axis]) => reason(axis, profile.dominant_segments[axis], ask)),
    ),
  );
}

function reason(axis, segment, ask) {
  const body = h("div", { class: "reason-body", "aria-live": "polite" });
  const summary = h(
    "summary",
    {},
    h("span", { class: "fine" }, `${axisWords(axis)}: `),
    `why “${segment === "other" ? "One of the rarer groups" : words(segment)}”?`,
  );
  const details = h("details", { class: "reason", "data-axis": axis }, summary, body);
  const fill = async () => {
    body.replaceChildren(h("p", { class: "fine" }, "Trying what they could do next"));
    try {
      const told = (await ask()).why?.[axis];
      body.replaceChildren(...(told ? because(told) : [h("p", { class: "fine" }, "There is nothing to tell yet.")]));
    } catch (problem) {
      if (problem.name === "AbortError") return;
      const retry = h("button", { class: "button", type: "button", onclick: fill }, "Try again");
      body.replaceChildren(h("p", { class: "fine" }, "The reasons could not be read. ", retry));
    }
  };
  details.addEventListener("toggle", () => details.open && body.childElementCount === 0 && fill());
  return details;
}

function because({ contributions, says }) {
  const rows = contributions.map(({ says: told }) => {
    // "12 days between orders (average: 180): +34 points"
    const at = told.lastIndexOf(": ");
    return h("li", {}, h("span", {}, told.slice(0, at)), h("strong", { class: "number" }, told.slice(at + 2)));
  });
  return [rows.length > 0 && h("ul", { class: "contributions" }, rows), h("p", {}, says)].filter(Boolean);
}
