// A customer's orders, fetched when asked for: newest first, a page at a time, searchable.

import * as api from "./api.js";
import { announce, foreign, h } from "./dom.js";
import { ago, counted, date, dayOf, daysBetween, exactMoney, number, quantity, timeOf, today, words } from "./words.js";

const PAGE = 10;
const LINES = 6;

/** permitted : whether the key sees orders; where it does not, nothing is asked */
export function orderHistory(profile, { permitted }) {
  if (!permitted)
    return h(
      "p",
      { class: "note" },
      "This key sees pseudonyms, so it does not see orders. They need a key with the support scope.",
    );
  const list = h("ol", { class: "orders" });
  const status = h("p", { class: "fine", role: "status" }, "Loading");
  const more = h("button", { class: "button", type: "button", hidden: true }, "Show older orders");
  const field = h("input", {
    type: "search",
    placeholder: "Product, vendor or order number",
    "aria-label": "Search in these orders",
    maxlength: "200",
    enterkeyhint: "search",
  });
  let cursor = null;

  const load = async ({ fresh }) => {
    const signal = api.newest("orders");
    const terms = field.value.trim();
    more.disabled = true;
    try {
      const answer = await api.orders(
        profile.customer_id,
        { search_terms: terms, limit: PAGE, cursor: fresh ? "" : cursor },
        signal,
      );
      const found = answer.orders.map((order) => entry(order, profile));
      if (fresh) list.replaceChildren(...found);
      else list.append(...found);
      cursor = answer.next_cursor;
      more.hidden = !cursor;
      status.textContent = summary(answer, { terms, shown: list.childElementCount, currency: profile.currency });
      if (!fresh) found[0]?.querySelector("h4")?.focus();
      if (fresh && terms) announce(status.textContent);
    } catch (problem) {
      if (problem.name === "AbortError") return;
      const retry = h("button", { class: "button", type: "button", onclick: () => load({ fresh }) }, "Try again");
      status.replaceChildren(reason(problem), " ", problem.kind === "scope" ? "" : retry);
    } finally {
      more.disabled = false;
    }
  };

  let pause;
  field.addEventListener("input", () => {
    clearTimeout(pause);
    pause = setTimeout(() => load({ fresh: true }), 200);
  });
  more.addEventListener("click", () => load({ fresh: false }));
  load({ fresh: true });
  return h("div", { class: "order-history" }, h("div", { class: "fold-bar" }, status, field), list, more);
}

function reason(problem) {
  if (problem.kind === "scope")
    return problem.detail || "This key does not see orders. They need a key with the support scope.";
  if (problem.kind === "network") return "The service cannot be reached.";
  if (problem.kind === "away") return "The database is away for the moment.";
  if (problem.kind === "key") return "The key is no longer accepted. Reload the page to enter another.";
  return problem.detail || "The orders could not be read.";
}

function summary(answer, { terms, shown, currency }) {
  const { matching_orders: matching, total_orders: total, total_spent: spent } = answer;
  if (total === 0) return "No orders.";
  if (terms && matching === 0) return `No order matches. There are ${counted(total, "order")}.`;
  const of = terms ? `${counted(matching, "order")} of ${number(total)} match` : counted(total, "order");
  const part = shown < (terms ? matching : total) ? `, the newest ${number(shown)} shown` : "";
  return `${of}${part}.${terms ? "" : ` ${exactMoney(spent, currency)} in all.`}`;
}

function entry(order, profile) {
  const currency = order.currency || profile.currency;
  const day = dayOf(order.created_at, profile.timezone);
  const since = profile.as_of ? `, ${ago(daysBetween(day, today(profile)))}` : "";
  const chips = [order.fulfillment_status, order.financial_status]
    .filter(Boolean)
    .map((text) => h("span", { class: "chip" }, foreign(words(text))));
  const refunded =
    Number(order.refunded_amount) > 0 &&
    h("span", { class: "chip" }, `${exactMoney(order.refunded_amount, currency)} refunded`);
  const lines = order.line_items ?? [];
  const tracking =
    (order.tracking_numbers ?? []).length > 0 &&
    h(
      "p",
      { class: "fine" },
      "Tracking ",
      order.tracking_numbers.map((each) => [h("code", {}, foreign(each)), " "]),
    );
  return h(
    "li",
    { class: "order" },
    h(
      "div",
      { class: "order-head" },
      h("h4", { tabindex: "-1" }, foreign(order.order_number || order.order_id)),
      h(
        "time",
        { datetime: order.created_at, title: timeOf(order.created_at, profile.timezone) },
        `${date(day)}${since}`,
      ),
      chips,
      refunded,
      h("span", { class: "number order-total" }, exactMoney(order.total_price, currency)),
    ),
    h(
      "ul",
      { class: "lines" },
      lines.slice(0, LINES).map((each) => line(each, currency)),
    ),
    lines.length > LINES &&
      h(
        "details",
        {},
        h("summary", {}, `${counted(lines.length - LINES, "more line")}`),
        h(
          "ul",
          { class: "lines" },
          lines.slice(LINES).map((each) => line(each, currency)),
        ),
      ),
    Number(order.discount_amount) > 0 &&
      h("p", { class: "fine" }, `${exactMoney(order.discount_amount, currency)} off`),
    tracking,
  );
}

function line(item, currency) {
  const total = item.line_total ?? item.price;
  return h(
    "li",
    {},
    h("span", { class: "number quantity" }, `${quantity(item.quantity)} ×`),
    h(
      "span",
      { class: "title" },
      foreign(item.title || "Without a name"),
      item.vendor && h("span", { class: "fine" }, " ", foreign(item.vendor)),
      Number(item.refund_amount) > 0 &&
        h("span", { class: "fine" }, ` ${exactMoney(item.refund_amount, currency)} refunded`),
    ),
    h("span", { class: "number" }, exactMoney(total, currency)),
  );
}
