// What kind of customer they have been, what they were worth and how likely to stay away: fetched when first wanted.

import * as api from "./api.js";
import { h } from "./dom.js";
import { picture } from "./picture.js";
import { axisWords, chance, counted, date, money, roughly, words } from "./words.js";

const LATEST = 8;

export function past(profile) {
  const body = h("div", { class: "past", "aria-live": "polite" });
  const fill = async () => {
    body.replaceChildren(h("p", { class: "fine" }, "Looking back"));
    try {
      await tell(body, await api.past(profile.customer_id, api.newest("past")), profile);
    } catch (problem) {
      if (problem.name === "AbortError") return;
      const retry = h("button", { class: "button", type: "button", onclick: fill }, "Try again");
      body.replaceChildren(h("p", { class: "fine" }, "The past could not be read. ", retry));
    }
  };
  fill();
  return body;
}

async function tell(body, answer, { currency }) {
  const told = { currency, snapshots: answer.snapshots };
  const { snapshots, changes, deltas, chart, message } = answer;
  if (snapshots.length === 0) {
    body.replaceChildren(h("p", {}, message));
    return;
  }
  const lately = deltas.at(-1);
  body.replaceChildren(
    ...[
      h("p", {}, known(snapshots), lately && ` ${compared(lately, told)}`),
      chart && picture(chart, { ...days(told), name: "past-chart", width: 640 }),
      changes.length > 0 && list(changes),
      snapshots.length > 1 && untold(snapshots, changes),
    ].filter(Boolean),
  );
}

/** The same day by day, the latest first. */
function days({ currency, snapshots }) {
  const shown = (value, as) => (value === null || value === undefined ? "" : as(value));
  return {
    caption: "Kind, value and risk by day, the latest first",
    head: [
      { title: "Day" },
      { title: "Kind" },
      { title: "Spent", number: true },
      { title: "Risk", number: true },
      { title: "Next 12 months", number: true, wide: true },
    ],
    rows: snapshots
      .toReversed()
      .map((each) => [
        date(each.date),
        kind(each.segment_name),
        money(each.lifetime_value, currency),
        shown(each.churn_risk_score, chance),
        shown(each.predicted_ltv_12m, (value) => roughly(value, currency)),
      ]),
  };
}

const known = (snapshots) =>
  snapshots.length === 1
    ? `Known as of ${date(snapshots[0].date)} alone so far. Each day adds to this.`
    : `Kept of ${counted(snapshots.length, "day")}, from ${date(snapshots[0].date)} to ${date(snapshots.at(-1).date)}.`;

/** Without changes, whether there were none; and that some are not told to who may not see small groups. */
function untold(snapshots, changes) {
  const rare = snapshots.some(
    ({ archetype_id: kind, segments }) =>
      kind === "other" || Object.values(segments).some(({ segment_id: segment }) => segment === "other"),
  );
  if (rare) return h("p", { class: "fine" }, "What leads into or out of the rarer kinds and segments is not told.");
  return changes.length === 0 && h("p", {}, "Nothing about them has changed.");
}

/** "Since 5 Mar 2026: 2 more orders, $40 more spent, risk from 61 % to 42 %." */
function compared({ compared_with: day, orders, lifetime_value: value }, { currency, snapshots }) {
  const bought = orders > 0 ? counted(orders, "more order", "more orders") : "no further order";
  const spent = value === 0 ? "" : `, ${money(Math.abs(value), currency)} ${value > 0 ? "more" : "less"} spent`;
  const [before, now] = [snapshots.find((each) => each.date === day), snapshots.at(-1)].map(
    (each) => each?.churn_risk_score,
  );
  const risk = [before, now].every((each) => typeof each === "number")
    ? `, risk from ${chance(before)} to ${chance(now)}`
    : "";
  return `Since ${date(day)}: ${bought}${spent}${risk}.`;
}

/** The latest changes first; older ones when asked for. */
function list(changes) {
  const shown = h("ul", { class: "past-changes" }, changes.slice(0, LATEST).map(line));
  const older = changes.slice(LATEST);
  if (older.length === 0) return shown;
  const more = h("button", { class: "button", type: "button" }, `Show ${counted(older.length, "older change")}`);
  more.addEventListener("click", () => {
    shown.append(...older.map(line));
    more.remove();
  });
  return h("div", {}, shown, more);
}

function line({ axis, date: day, from_name: from, to_name: to, by_discovery: renamed }) {
  const what = axis === null ? [kind(from), kind(to)] : [words(from), words(to)];
  return h(
    "li",
    {},
    h("time", { datetime: day, class: "fine" }, date(day)),
    h(
      "span",
      {},
      axis === null ? h("strong", {}, "Kind of customer") : axisWords(axis),
      `: ${what[0]} → ${what[1]}`,
      renamed && h("span", { class: "fine block" }, "The shop was segmented anew that day; they had not moved."),
    ),
  );
}

const kind = (name) => (name === "Other" ? "One of the rarer kinds" : name);
