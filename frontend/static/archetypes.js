// Kinds of customer: the list by worth or size, and one of them on a page of its own.

import * as api from "./api.js";
import { figure } from "./about.js";
import { traitLine } from "./card.js";
import { announce, foreign, h, section } from "./dom.js";
import { address } from "./place.js";
import { ago, axisWords, counted, exactMoney, inOrder, money, number, percent, words } from "./words.js";

export const METRICS = { total_ltv: "Total spent", avg_ltv: "Spent each", member_count: "Size" };
const DEFAULT_METRIC = "total_ltv";
export const TOP = 10;
export const MOST = 100;
const MEMBERS = 20;

export const metricOf = (place) => (place.metric in METRICS ? place.metric : DEFAULT_METRIC);

/** The welcome: how to begin, and the kinds of customer worth most. */
export function welcome(answer, place, { identified }) {
  const metric = metricOf(place);
  const all = place.show === "all";
  const { archetypes, total_archetypes: total } = answer;
  const widest = Math.max(...archetypes.map((each) => each.population_percentage ?? 0), 0.1);
  return h(
    "div",
    { class: "welcome" },
    h(
      "header",
      { class: "lead" },
      h("h1", { id: "view-title", tabindex: "-1" }, "Who is in front of you?"),
      h(
        "p",
        {},
        `Find them by ${identified ? "name, e-mail, id or order number" : "pseudonym"}`,
        h("span", { class: "wide" }, " (press ", h("kbd", {}, "/"), ")"),
        ", or look at a ",
        h("a", { href: "?customer=random" }, "random customer"),
        ".",
      ),
    ),
    section(
      "Archetypes",
      { name: "archetypes" },
      h(
        "div",
        { class: "fold-bar" },
        h(
          "p",
          { class: "fine" },
          `The kinds of customer found in what they buy: ${number(total)} kinds`,
          archetypes.length < total && `, the first ${number(archetypes.length)} here`,
          ".",
        ),
        metricSwitch(metric, place),
      ),
      h(
        "ol",
        { class: "archetype-list" },
        archetypes.map((each) => row(each, { answer, widest, metric })),
      ),
      archetypes.length < total &&
        !all &&
        h(
          "p",
          {},
          h(
            "a",
            { class: "button", href: address({ metric: place.metric, show: "all" }) },
            total > MOST ? `Show the first ${MOST}` : `Show all ${number(total)}`,
          ),
        ),
    ),
  );
}

const metricSwitch = (metric, place) =>
  h(
    "nav",
    { class: "switch", "aria-label": "Sort by" },
    Object.entries(METRICS).map(([name, text]) =>
      h(
        "a",
        {
          href: address({ metric: name === DEFAULT_METRIC ? "" : name, show: place.show }),
          "aria-current": name === metric ? "true" : null,
        },
        text,
      ),
    ),
  );

function row(archetype, { answer, widest, metric }) {
  const { archetype_id: id, segment_name: name, member_count: members, population_percentage: part } = archetype;
  const { currency } = answer;
  const other = id === "other";
  const fill = h("span", { class: "share-fill" });
  fill.style.setProperty("width", `${(100 * (part ?? 0)) / widest}%`);
  const numbers = [
    [
      "total_ltv",
      "Total spent",
      archetype.total_ltv,
      (value) => money(value, currency),
      (value) => exactMoney(value, currency),
      "What all customers of this kind have spent together, less refunds.",
    ],
    [
      "avg_ltv",
      "Spent each",
      archetype.avg_ltv,
      (value) => money(value, currency),
      (value) => exactMoney(value, currency),
      "What a customer of this kind has spent on average, less refunds.",
    ],
    ["member_count", "Customers", members, number, String, "How many customers are of this kind."],
  ];
  return h(
    "li",
    { class: "archetype" },
    h(
      "div",
      { class: "archetype-what" },
      h("h3", {}, other ? name : h("a", { href: `?archetype=${encodeURIComponent(id)}` }, name)),
      other
        ? h(
            "p",
            { class: "fine" },
            "Kinds with fewer than 20 customers, told together so that nobody can be singled out.",
          )
        : archetype.key_traits?.length > 0 &&
            h("ul", { class: "traits inline" }, archetype.key_traits.slice(0, 2).map(traitLine)),
    ),
    h(
      "div",
      { class: "archetype-share" },
      h("span", { class: "share-track", "aria-hidden": "true" }, fill),
      figure(percent(part), {
        title: "Share",
        meaning: `Customers of this kind, as a share of ${answer.population ?? "segmented customers"}.`,
        from: answer,
      }),
    ),
    h(
      "dl",
      { class: "archetype-numbers" },
      numbers
        .filter(([, , value]) => value !== null && value !== undefined)
        .map(([key, title, value, shown, exact, meaning]) =>
          h(
            "div",
            { class: key === metric ? "sorted" : null },
            h("dt", {}, title),
            h("dd", {}, figure(shown(value), { title, exact: exact(value), meaning, from: answer })),
          ),
        ),
    ),
  );
}

/** One archetype of any level. */
export function archetypePage(answer) {
  const { metrics = {}, currency } = answer;
  const deeper = answer.sub_archetypes ?? {};
  const about = (title, meaning, value, shown, exact = "") =>
    value !== null &&
    value !== undefined &&
    h(
      "div",
      { class: "tile small" },
      h("dt", {}, title),
      h("dd", {}, figure(shown, { title, meaning, exact, from: answer, name: "big" })),
    );
  return h(
    "article",
    { class: "archetype-view", "aria-labelledby": "view-title" },
    h(
      "header",
      { class: "lead" },
      h(
        "nav",
        { class: "crumbs", "aria-label": "Where this is" },
        h("a", { href: "/" }, "Archetypes"),
        answer.parent_id && [
          " › ",
          h("a", { href: `?archetype=${encodeURIComponent(answer.parent_id)}` }, "The kind it belongs to"),
        ],
      ),
      h("h1", { id: "view-title", tabindex: "-1" }, answer.segment_name),
    ),
    h(
      "dl",
      { class: "tiles four" },
      size(answer),
      about(
        "Spent each",
        "What a customer of this kind has spent on average, less refunds.",
        metrics.avg_ltv,
        money(metrics.avg_ltv, currency),
        exactMoney(metrics.avg_ltv, currency),
      ),
      about(
        "Total spent",
        "What all of them have spent together, less refunds.",
        metrics.total_ltv,
        money(metrics.total_ltv, currency),
        exactMoney(metrics.total_ltv, currency),
      ),
      about(
        "Orders each",
        "Orders of a customer of this kind, on average.",
        metrics.avg_orders,
        number(metrics.avg_orders ?? 0),
      ),
      about(
        "Average order",
        "What they have spent, divided by their orders.",
        metrics.avg_order_value,
        money(metrics.avg_order_value, currency),
        exactMoney(metrics.avg_order_value, currency),
      ),
      about(
        "Last order",
        "Days since the last order, on average.",
        metrics.avg_recency_days,
        ago(Math.round(metrics.avg_recency_days ?? 0)),
      ),
    ),
    h(
      "div",
      { class: "columns" },
      h(
        "div",
        {},
        answer.key_traits?.length > 0 &&
          section(
            "What sets them apart",
            { name: "tile" },
            h("ul", { class: "traits" }, answer.key_traits.map(traitLine)),
          ),
        signature(answer),
      ),
      h(
        "div",
        {},
        membersOf(answer),
        finer("By how clearly they belong", answer, deeper.level2),
        finer("By what they lean to", answer, deeper.level3),
      ),
    ),
  );
}

function size(answer) {
  const { member_count: members, population_percentage: part } = answer;
  const hidden = members === null || members === undefined;
  const about = {
    title: "Customers of this kind",
    meaning: [
      "Customers whose strongest segments agree on every axis with clear groups, and those who come closest to them.",
      `The share is of ${answer.population ?? "segmented customers"}.`,
    ],
    from: answer,
    name: "big",
  };
  return h(
    "div",
    { class: "tile small" },
    h("dt", {}, hidden ? "Share" : "Customers"),
    h(
      "dd",
      {},
      figure(hidden ? percent(part) : number(members), about),
      !hidden && h("span", { class: "fine" }, ` ${percent(part)} of all`),
    ),
  );
}

function signature(answer) {
  const axes = inOrder(answer.dominant_segments);
  if (axes.length === 0) return null;
  return section(
    "Their signature",
    { name: "tile" },
    h(
      "dl",
      { class: "signature" },
      axes.map(([axis, segment]) => h("div", {}, h("dt", {}, axisWords(axis)), h("dd", {}, words(segment)))),
    ),
  );
}

function finer(title, answer, groups) {
  if (!groups?.length) return null;
  const most = Math.max(...groups.map((group) => group.population_percentage ?? 0), 0.1);
  return section(
    title,
    { name: "tile" },
    h(
      "ul",
      { class: "plain-list" },
      groups.map((group) => {
        const fill = h("span", { class: "share-fill" });
        fill.style.setProperty("width", `${(100 * (group.population_percentage ?? 0)) / most}%`);
        const name = within(group, answer.segment_name);
        return h(
          "li",
          {},
          group.archetype_id === "other"
            ? h("span", {}, name)
            : h("a", { href: `?archetype=${encodeURIComponent(group.archetype_id)}` }, name),
          h("span", { class: "share-track", "aria-hidden": "true" }, fill),
          h(
            "span",
            { class: "number fine" },
            group.member_count ? counted(group.member_count, "customer") : percent(group.population_percentage ?? 0),
          ),
        );
      }),
    ),
  );
}

/** A finer kind's name without its kind's, which stands above: "…, Leaning Mid Tier" -> "Leaning Mid Tier" */
function within({ segment_name: name, second_segments: seconds }, kind) {
  if (name === kind) return seconds ? "Leaning nowhere else" : "All alike";
  return name.startsWith(`${kind}, `) ? name.slice(kind.length + 2) : name;
}

function membersOf(answer) {
  const rows = h("tbody");
  const status = h("p", { class: "fine", role: "status" }, "Loading");
  const more = h("button", { class: "button", type: "button", hidden: true }, "Show more");
  const table = h(
    "table",
    { class: "table members", hidden: true },
    h("caption", { class: "visually-hidden" }, "Members, by what they have spent, largest first"),
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        h("th", { scope: "col" }, "Customer"),
        h("th", { scope: "col", class: "number" }, "Spent"),
        h("th", { scope: "col", class: "number" }, "Orders"),
        h("th", { scope: "col", class: "number" }, "Last order"),
      ),
    ),
    rows,
  );
  let cursor = "";
  const load = async () => {
    more.disabled = true;
    try {
      const page = await api.members(answer.archetype_id, { limit: MEMBERS, cursor }, api.newest("members"));
      const found = page.members.map((member) => memberRow(member, answer));
      rows.append(...found);
      if (cursor) {
        found[0]?.querySelector("a").focus();
        announce(`${found.length} more`);
      }
      cursor = page.next_cursor;
      more.hidden = !cursor;
      table.hidden = rows.childElementCount === 0;
      status.textContent = order(rows.childElementCount, answer);
    } catch (problem) {
      if (problem.name === "AbortError") return;
      status.textContent =
        problem.kind === "scope"
          ? problem.detail || "This key does not see who they are."
          : "The members could not be read. Reload to try again.";
    } finally {
      more.disabled = false;
    }
  };
  more.addEventListener("click", load);
  load();
  return section("Who they are", { name: "tile members-tile" }, status, table, more);
}

/** What stands above the members. A key that may not count them is told a few, and that there are no more for it. */
function order(shown, { member_count: members }) {
  if (shown === 0) return "Nobody is of this kind any more.";
  return members === null
    ? `The ${number(shown)} worth most; this key may not see more.`
    : "By what they have spent, largest first.";
}

const memberRow = (member, answer) =>
  h(
    "tr",
    {},
    h(
      "th",
      { scope: "row" },
      h(
        "a",
        { href: `?customer=${encodeURIComponent(member.customer_id)}` },
        foreign(member.name || member.customer_id),
      ),
    ),
    h(
      "td",
      { class: "number", title: exactMoney(member.lifetime_value, answer.currency) },
      money(member.lifetime_value, answer.currency),
    ),
    h("td", { class: "number" }, number(member.total_orders)),
    h("td", { class: "number" }, ago(member.days_since_last_purchase)),
  );
