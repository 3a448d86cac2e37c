// What the segments of an axis rest on: opened by its name, fetched when it is.

import { show } from "./about.js";
import * as api from "./api.js";
import { drawGiven } from "./charts.js";
import { h } from "./dom.js";
import { words } from "./words.js";

/** The name of an axis, which opens its evidence. */
export function axisName(axis, label) {
  const open = (event) => {
    const body = h("div", { class: "axis-evidence", "aria-busy": "true" }, h("p", { class: "fine" }, "One moment."));
    show(event.currentTarget, label, [body], { roomy: true });
    fill(body, axis);
  };
  return h(
    "button",
    { class: "figure axis-name", type: "button", "aria-haspopup": "dialog", onclick: open },
    label,
    h("span", { class: "visually-hidden" }, ", what its segments rest on"),
  );
}

async function fill(body, axis) {
  let answer;
  try {
    answer = await api.axis(axis, api.newest("axis"));
  } catch (problem) {
    if (problem.name === "AbortError") return;
    body.replaceChildren(h("p", {}, "This could not be fetched. Close it and try again."));
    body.removeAttribute("aria-busy");
    return;
  }
  const canvas = h("div", { class: "chart" });
  const parts = [
    h("p", {}, answer.says ?? "No evidence was kept of this segmentation. It comes with the next one."),
    answer.segments.length > 1 && h("ul", { class: "axis-segments" }, answer.segments.map(segment)),
    answer.chart && canvas,
  ];
  body.replaceChildren(...parts.filter(Boolean));
  body.removeAttribute("aria-busy");
  if (answer.chart) {
    const failed = () => canvas.replaceChildren(h("p", { class: "fine" }, "The chart could not be drawn."));
    await drawGiven(canvas, answer.chart).catch(failed);
  }
}

const segment = ({ name, interpretation }) =>
  h("li", {}, h("strong", {}, words(name)), h("span", { class: "fine block" }, interpretation));
