// How strongly a customer belongs to each segment of each axis: drawn, and as a table one key away.

import * as api from "./api.js";
import { draw, rowTop, stackedBars, stackedHeight } from "./charts.js";
import { announce, h } from "./dom.js";
import { axisName } from "./evidence.js";
import { reasons } from "./reasons.js";
import { SUPPORT_AXES, axisWords, inOrder, share, strengthWords, words } from "./words.js";

export function memberships(profile) {
  const axes = inOrder(profile.fuzzy_memberships).map(([axis, shares]) => ({
    axis,
    label: axisWords(axis),
    strength: profile.membership_strength?.[axis],
    parts: Object.entries(shares)
      .map(([name, value]) => ({ code: name, name: words(name), share: value }))
      .sort((one, other) => other.share - one.share),
  }));
  const groups = [
    ["What they buy, and when", axes.filter(({ axis }) => !SUPPORT_AXES.has(axis))],
    ["How they are to deal with", axes.filter(({ axis }) => SUPPORT_AXES.has(axis))],
  ].filter(([, rows]) => rows.length > 0);
  const charts = h(
    "div",
    { class: "charts" },
    groups.map(([title, rows]) => chart(title, rows)),
  );
  const numbers = h("div", { class: "scroll-x", hidden: true }, table(axes));
  const turn = h(
    "button",
    { class: "button", type: "button", "aria-pressed": "false", "aria-keyshortcuts": "T", "data-key": "t" },
    "Show as a table",
  );
  // Its place is kept, so that nothing moves when the words come.
  const note = h("p", { class: "fine axes-note" });
  const section = h(
    "div",
    { class: "memberships" },
    h(
      "div",
      { class: "fold-bar" },
      h(
        "p",
        { class: "fine" },
        "Everyone belongs to every segment of an axis, more or less. The darkest part is the strongest.",
      ),
      turn,
    ),
    charts,
    numbers,
    note,
    reasons(profile),
  );
  turn.addEventListener("click", () => {
    numbers.hidden = !numbers.hidden;
    charts.hidden = !numbers.hidden;
    turn.setAttribute("aria-pressed", String(charts.hidden));
    turn.textContent = charts.hidden ? "Show as a chart" : "Show as a table";
    announce(charts.hidden ? "Shown as a table" : "Shown as a chart");
  });
  addNotes(section, note);
  return section;
}

function chart(title, rows) {
  const told = rows
    .map(
      ({ label, parts }) => `${label}: ${parts.map(({ name, share: part }) => `${name} ${share(part)}`).join(", ")}.`,
    )
    .join(" ");
  const canvas = h("div", { class: "chart" });
  canvas.style.setProperty("min-height", `${stackedHeight(rows.length)}px`);
  const spec = stackedBars(rows, { told: `${title}. ${told}`, percent: share });
  // Drawn once it stands in the page and has a width.
  const failed = () =>
    canvas.replaceChildren(h("p", { class: "fine" }, "The chart could not be drawn. The table has the same numbers."));
  requestAnimationFrame(() => draw(canvas, spec).catch(failed));
  const names = rows.map(({ axis, label }, row) => {
    const name = h("div", { class: "row-name" }, axisName(axis, label));
    name.style.setProperty("top", `${rowTop(row)}px`);
    return name;
  });
  return h("figure", { class: "chart-group" }, h("figcaption", {}, title), h("div", { class: "rows" }, canvas, names));
}

function table(axes) {
  const rows = axes.flatMap(({ axis, label, strength, parts }) =>
    parts.map(({ code, name, share: part }, rank) =>
      h(
        "tr",
        { class: rank === 0 ? "first" : null, "data-axis": axis, "data-segment": code },
        rank === 0 &&
          h(
            "th",
            { scope: "rowgroup", rowspan: parts.length },
            axisName(axis, label),
            h("span", { class: "fine block" }, strength ? strengthWords(strength) : ""),
          ),
        h("td", { class: "segment-name" }, name),
        h("td", { class: "number" }, share(part)),
      ),
    ),
  );
  return h(
    "table",
    { class: "table" },
    h("caption", { class: "visually-hidden" }, "How strongly they belong to each segment of each axis"),
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        h("th", { scope: "col" }, "Question"),
        h("th", { scope: "col" }, "Segment"),
        h("th", { scope: "col", class: "number" }, "Membership"),
      ),
    ),
    h("tbody", {}, rows),
  );
}

/** What a segment's typical member does, and which axes are read from the next best records.
 *
 * Without an answer the numbers stand for themselves.
 */
async function addNotes(section, note) {
  let answer;
  try {
    answer = await api.axes(api.newest("axes"));
  } catch {
    return;
  }
  const proxies = (answer.axes ?? []).filter(({ status }) => status === "proxy");
  for (const { axis, segments } of answer.axes ?? []) {
    for (const { name, interpretation } of segments ?? []) {
      const row = section.querySelector(
        `tr[data-axis="${CSS.escape(axis)}"][data-segment="${CSS.escape(name)}"] .segment-name`,
      );
      if (row && interpretation) row.append(h("span", { class: "fine block" }, interpretation));
    }
  }
  if (proxies.length > 0) {
    const names = proxies.map(({ axis }) => axisWords(axis).toLowerCase()).join("; ");
    note.textContent = `Read from the next best records, as the shop holds none of the right kind: ${names}.`;
  }
}
