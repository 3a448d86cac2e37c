// Finding a customer: suggestions while typing, and a page of results that has an address.

import * as api from "./api.js";
import { announce, foreign, h } from "./dom.js";
import { address, go } from "./place.js";
import { findAnother, state } from "./states.js";
import { counted, money } from "./words.js";

const SUGGESTED = 8;
export const RESULTS = 50;
const PAUSE_MS = 120;
const LEAST = 2;

const nameOf = (found) => found.name || found.customer_id;

/** What the list says besides the name. */
function besides(found) {
  return [
    found.archetype?.name ?? (found.total_orders > 0 ? "Not described yet" : "No purchases yet"),
    found.total_orders > 0 && `${money(found.ltv, found.currency)} spent`,
    found.total_orders > 0 && counted(found.total_orders, "order"),
  ].filter(Boolean);
}

/** The box in the bar. */
export function searchBox() {
  const form = document.getElementById("search-form");
  const field = document.getElementById("search");
  const list = document.getElementById("suggestions");
  let active = -1;
  let pause;

  const close = () => {
    clearTimeout(pause);
    api.newest("suggest");
    list.hidden = true;
    list.replaceChildren();
    active = -1;
    field.setAttribute("aria-expanded", "false");
    field.removeAttribute("aria-activedescendant");
  };
  const open = (customers) => {
    list.replaceChildren(
      ...customers.map((found, at) =>
        h(
          "li",
          {
            id: `suggestion-${at}`,
            role: "option",
            "aria-selected": "false",
            class: "suggestion",
            "data-id": found.customer_id,
          },
          h(
            "span",
            { class: "suggestion-name" },
            foreign(nameOf(found)),
            " ",
            nameOf(found) !== found.customer_id && h("code", {}, foreign(found.customer_id)),
          ),
          h(
            "span",
            { class: "suggestion-besides fine" },
            besides(found).map((text) => h("span", {}, text)),
          ),
        ),
      ),
    );
    active = -1;
    list.hidden = customers.length === 0;
    field.removeAttribute("aria-activedescendant");
    field.setAttribute("aria-expanded", String(customers.length > 0));
  };
  const choose = (at) => {
    list.children[active]?.setAttribute("aria-selected", "false");
    active = (at + list.children.length) % list.children.length;
    const chosen = list.children[active];
    chosen.setAttribute("aria-selected", "true");
    chosen.scrollIntoView({ block: "nearest" });
    field.setAttribute("aria-activedescendant", chosen.id);
  };
  const visit = (id) => {
    close();
    field.blur();
    go(address({ customer: id }));
  };
  const suggest = async () => {
    const query = field.value.trim();
    if (query.length < LEAST || !api.hasKey()) return close();
    try {
      const answer = await api.search(query, SUGGESTED, api.newest("suggest"));
      if (document.activeElement !== field) return;
      open(answer.customers);
      announce(
        answer.count === 0
          ? "Nobody matches"
          : `${counted(answer.customers.length, "customer")} found. Arrow keys choose.`,
      );
    } catch (problem) {
      // What is wrong is said in full on Enter; while typing it would only be in the way.
      if (problem.name !== "AbortError") close();
    }
  };

  field.addEventListener("input", () => {
    clearTimeout(pause);
    pause = setTimeout(suggest, PAUSE_MS);
  });
  field.addEventListener("keydown", (event) => {
    const shown = !list.hidden && list.children.length > 0;
    if (event.key === "ArrowDown" && shown) choose(active + 1);
    else if (event.key === "ArrowUp" && shown) choose(active < 0 ? -1 : active - 1);
    else if (event.key === "Escape" && shown) close();
    else if (event.key === "Enter" && shown && active >= 0) visit(list.children[active].dataset.id);
    else return;
    event.preventDefault();
  });
  list.addEventListener("mousedown", (event) => event.preventDefault());
  list.addEventListener("click", (event) => {
    const option = event.target.closest("[role=option]");
    if (option) visit(option.dataset.id);
  });
  field.addEventListener("blur", close);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const query = field.value.trim();
    close();
    if (query) go(address({ q: query }));
  });
  addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest?.("input, textarea, select, [contenteditable]")) return;
    event.preventDefault();
    field.focus();
    field.select();
  });
  return {
    show: (query) => {
      if (document.activeElement !== field) field.value = query ?? "";
    },
    close,
  };
}

const NAMES = "names, e-mail addresses, ids and order numbers";

/** Where a key makes the service look, said when nothing was found. identified : null where that is not known yet */
function lookedAt(identified) {
  if (identified === false) return "This key sees pseudonyms. Write one in full, such as C-5A3B2F18.";
  const where = identified ? NAMES : `${NAMES}; for a key that sees none of these, at pseudonyms`;
  return `We look at ${where}. Check the spelling, or try fewer letters.`;
}

/** The page of results. identified : as above */
export function results(answer, { identified }) {
  const { query, customers } = answer;
  if (customers.length === 0) {
    return state(h("span", {}, "Nobody matches ", foreign(query)), lookedAt(identified), findAnother());
  }
  const list = h(
    "ol",
    { class: "results" },
    customers.map((found) =>
      h(
        "li",
        {},
        h(
          "a",
          { class: "result", href: address({ customer: found.customer_id }) },
          h("span", { class: "result-name" }, foreign(nameOf(found))),
          h(
            "span",
            { class: "fine" },
            [found.email, nameOf(found) === found.customer_id ? null : found.customer_id]
              .filter(Boolean)
              .map((text) => h("span", { class: "block" }, foreign(text))),
          ),
          h(
            "span",
            { class: "result-besides" },
            besides(found).map((text) => h("span", {}, text)),
          ),
        ),
      ),
    ),
  );
  list.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") document.getElementById("search").focus();
    if (!step) return;
    event.preventDefault();
    const links = [...list.querySelectorAll("a")];
    links[links.indexOf(document.activeElement) + step]?.focus();
  });
  const full = customers.length >= RESULTS;
  return h(
    "section",
    { class: "results-view", "aria-labelledby": "view-title" },
    h(
      "h1",
      { id: "view-title", tabindex: "-1" },
      full ? `The first ${RESULTS} for ` : `${counted(customers.length, "customer")} for `,
      foreign(query),
    ),
    full && h("p", {}, "Add a letter or a surname to narrow it down."),
    list,
  );
}
