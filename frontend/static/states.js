// What stands there when there is nothing to show: no key, nothing found, nothing yet, nobody answers, not yet.

import { foreign, h, withCode } from "./dom.js";
import { short } from "./words.js";

/** A state says what is so, and what to do next. */
export function state(title, lines, ...actions) {
  return h(
    "section",
    { class: "state", "aria-labelledby": "view-title" },
    h("h1", { id: "view-title", tabindex: "-1" }, title),
    [lines].flat().map((line) => (typeof line === "string" ? h("p", {}, line) : line)),
    actions.length > 0 && h("p", { class: "actions" }, ...actions),
  );
}

export const command = (text) =>
  h("pre", { class: "command", tabindex: "0", "aria-label": "Command" }, h("code", {}, text));

const button = (text, onclick, kind = "") =>
  h("button", { class: `button ${kind}`.trim(), type: "button", onclick }, text);

function findSomeone() {
  const field = document.getElementById("search");
  field.focus();
  field.select();
}

export const findAnother = () => button("Find a customer", findSomeone, "primary");
const toStart = () => h("a", { class: "button", href: "/" }, "To the start");

/** What a Problem says to a reader. place : where we are; retry : asks again */
export function problemState(problem, place, retry) {
  const reference =
    problem.requestId &&
    h("p", { class: "reference" }, "For whoever runs the service: request ", h("code", {}, problem.requestId));
  const detail = problem.detail && h("p", { class: "detail" }, withCode(short(problem.detail, 400)));
  const again = () => button("Try again", retry, "primary");
  switch (problem.kind) {
    case "network":
      return state(
        "The service cannot be reached",
        "Check your connection, and that the service is running. We try again every few seconds.",
        again(),
      );
    case "away":
      return state(
        "The database is away for the moment",
        ["Nothing is lost. We try again every few seconds.", reference],
        again(),
      );
    case "early":
      return state("This cannot be told yet", [detail, reference].filter(Boolean), again(), toStart());
    case "scope":
      return state(
        "This key is not allowed to see this",
        [detail, "Use a key with the scope named above, or ask whoever gave you this one.", reference].filter(Boolean),
        toStart(),
      );
    case "input":
      return state(
        "This cannot be looked up",
        [detail, "Check what is in the address, or search instead.", reference].filter(Boolean),
        findAnother(),
        toStart(),
      );
    case "absent":
      return absent(problem, place, reference, detail);
    default:
      return state(
        "The service could not answer",
        ["Something on our side is wrong. Try again; if it stays, pass on the reference.", reference].filter(Boolean),
        again(),
        toStart(),
      );
  }
}

function absent(problem, place, reference, detail) {
  if (problem.type === "nothing-published") return awaitingSegmentation(problem.detail);
  if (place.archetype) {
    return state(
      "This archetype is not there",
      [
        "It may have come from an earlier run: archetypes are found anew each time. Choose one from the list.",
        reference,
      ],
      h("a", { class: "button primary", href: "/" }, "See the archetypes"),
    );
  }
  if (place.customer && place.customer !== "random") {
    return state(
      h("span", {}, "Nobody here has the id ", foreign(short(place.customer))),
      [
        "Check the id, or search by name, e-mail or order number. A key sees the customers of its own store only.",
        reference,
      ],
      findAnother(),
      toStart(),
    );
  }
  return state("There is nothing here", [detail, reference].filter(Boolean), toStart());
}

/** A shop without customers, and how to bring them in. */
export function emptyShop() {
  return state(
    "No customers yet",
    [
      "Import a file with one row per purchase: who, when, how much. Then segment the shop and come back.",
      command(
        [
          "python -m app import csv orders.csv --store mine \\",
          "  --map customer_id=Client order_date=Date amount=Total",
          "python -m app segment --store mine",
        ].join("\n"),
      ),
      h("p", {}, "Only looking around? ", h("code", {}, "python -m app demo"), " brings a shop of its own."),
    ],
    button("Look again", () => dispatchEvent(new PopStateEvent("popstate")), "primary"),
  );
}

export function awaitingSegmentation(detail) {
  return state(
    "The customers are in, but nobody has described them yet",
    [
      detail ? h("p", {}, withCode(detail)) : "Segment the shop once, and this page fills.",
      "You can search and open customers already.",
    ],
    findAnother(),
    h("a", { class: "button", href: "?customer=random" }, "Random customer"),
  );
}

export function awaitingPredictions(detail) {
  return state(
    "Nothing has been predicted yet",
    [
      detail && h("p", {}, withCode(detail)),
      "It learns from the shop's own past who comes back and for how much, which takes about a minute. Customers can be looked up already.",
    ].filter(Boolean),
    findAnother(),
    button("Look again", () => dispatchEvent(new PopStateEvent("popstate"))),
  );
}

/** Asks for a key. refused : whether one was given and not accepted; use(key) : takes it */
export function keyForm(refused, use) {
  const field = h("input", {
    id: "key-field",
    name: "key",
    type: "password",
    autocomplete: "off",
    spellcheck: "false",
    required: true,
    "aria-describedby": refused ? "key-refused key-help" : "key-help",
    "aria-invalid": refused ? "true" : null,
  });
  const submitted = (event) => {
    event.preventDefault();
    if (field.value.trim()) use(field.value);
  };
  return h(
    "form",
    { class: "state key-form", onsubmit: submitted, autocomplete: "off", "aria-labelledby": "view-title" },
    h("h1", { id: "view-title", tabindex: "-1" }, "Your key, please"),
    refused &&
      h(
        "p",
        { class: "refused", id: "key-refused", role: "alert" },
        "This key was not accepted. It may be mistyped, or it has been revoked.",
      ),
    h("label", { for: "key-field" }, "Access key"),
    h("div", { class: "field-row" }, field, h("button", { class: "button primary", type: "submit" }, "Continue")),
    h(
      "div",
      { id: "key-help", class: "help" },
      h("p", {}, "Whoever runs the service makes keys, one for each person:"),
      command('python -m app keys create --scope support --name "Your name"'),
      h(
        "p",
        {},
        "The key stays in this tab and goes nowhere but to this service. It is forgotten when you close the tab.",
      ),
    ),
  );
}

/** Shapes of what is coming, for when it takes longer than a moment. */
export function skeleton(place) {
  const bars = (...widths) => widths.map((width) => h("div", { class: `bone ${width}` }));
  const tile = () => h("div", { class: "tile" }, bars("short", "long", "middle"));
  const body = place.customer
    ? h("div", { class: "tiles" }, tile(), tile(), tile())
    : h("div", { class: "tile" }, bars("long", "middle", "long", "middle", "long"));
  return h(
    "div",
    { class: "skeleton" },
    bars("title", "middle"),
    body,
    h("p", { class: "visually-hidden" }, "Loading"),
  );
}
