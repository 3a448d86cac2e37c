// A chart of the service with the same numbers as a table beside it, one key away. Its place is kept while it is drawn.

import { drawGiven, heightOf } from "./charts.js";
import { announce, h } from "./dom.js";

const MARGINS = 50; // of a narrow window

/** chart : Vega-Lite, or null for the table alone; width : that it has at most; head : [{title, number}]; rows : cells, the first names the row
 * name : a class, such as one that holds it narrow
 */
export function picture(chart, { caption, head, rows, name = "", width = 760 }) {
  const numbers = h("div", { class: "scroll-x" }, table({ caption, head, rows }));
  if (!chart) return numbers;
  const canvas = h("div", { class: "chart" });
  canvas.style.setProperty("min-height", `${heightOf(chart, Math.min(width, innerWidth - MARGINS))}px`);
  numbers.hidden = true;
  const turn = h(
    "button",
    { class: "button quiet turn", type: "button", "aria-pressed": "false", "aria-keyshortcuts": "T", "data-key": "t" },
    "Show as a table",
  );
  turn.addEventListener("click", () => {
    numbers.hidden = !numbers.hidden;
    canvas.hidden = !numbers.hidden;
    turn.setAttribute("aria-pressed", String(canvas.hidden));
    turn.textContent = canvas.hidden ? "Show as a chart" : "Show as a table";
    announce(canvas.hidden ? "Shown as a table" : "Shown as a chart");
  });
  paint(canvas, chart);
  return h("figure", { class: `picture ${name}`.trim() }, canvas, numbers, turn);
}

/** Once it stands in the page and has a width. */
export function paint(canvas, chart) {
  const failed = () =>
    canvas.replaceChildren(h("p", { class: "fine" }, "The chart could not be drawn. The table has the same numbers."));
  requestAnimationFrame(() => drawGiven(canvas, chart).catch(failed));
}

export function table({ caption, head, rows, name = "" }) {
  return h(
    "table",
    { class: `table ${name}`.trim() },
    h("caption", { class: "visually-hidden" }, caption),
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        head.map(({ title, number, wide }) => h("th", { scope: "col", class: classes(number, wide) }, title)),
      ),
    ),
    h(
      "tbody",
      {},
      rows.map((cells) => row(cells, head)),
    ),
  );
}

export const row = (cells, head) =>
  h(
    "tr",
    {},
    cells.map((cell, at) =>
      h(
        at === 0 ? "th" : "td",
        { scope: at === 0 ? "row" : null, class: classes(head[at].number, head[at].wide) },
        cell,
      ),
    ),
  );

const classes = (number, wide) => [number && "number", wide && "wide-cell"].filter(Boolean).join(" ") || null;
