// The page: which view the address asks for, and what surrounds it.

import { hide, recordsEnd, show } from "./about.js";
import * as api from "./api.js";
import { MOST, TOP, archetypePage, metricOf, welcome } from "./archetypes.js";
import { card, isIdentified, nameOf } from "./card.js";
import { warmUp } from "./charts.js";
import { announce, h } from "./dom.js";
import { outlook } from "./outlook.js";
import { onMove, place, rename } from "./place.js";
import { RESULTS, results, searchBox } from "./search.js";
import { awaitingPredictions, awaitingSegmentation, emptyShop, keyForm, problemState, skeleton } from "./states.js";
import { isOfRun } from "./words.js";

const PRODUCT = "Customer Intelligence Platform";
const NOT_SEGMENTED = "Not segmented yet";
const SKELETON_AFTER_MS = 200;
const THEMES = ["auto", "light", "dark"];

/** What answers have told so far, null until one does.
 *
 * timezone : the shop's; identified : whether the key sees names
 */
const shop = { timezone: null, identified: null };
const main = document.getElementById("main");
const box = searchBox();
let retry;

/** {title, content} of where we are; title is the tab's. */
async function viewOf(here, signal) {
  if (here.customer) return customerView(here.customer, signal);
  if (here.archetype) return archetypeView(here.archetype, signal);
  if (here.outlook) return outlookView(here, signal);
  if (here.q) return resultsView(here.q, signal);
  return welcomeView(here, signal);
}

async function customerView(id, signal) {
  let profile;
  try {
    profile = await api.customer(id, signal);
  } catch (problem) {
    if (id === "random" && problem.kind === "absent") return bareView(problem, signal);
    throw problem;
  }
  learn(profile, isIdentified(profile));
  if (profile.run_id === null) fresh(NOT_SEGMENTED);
  if (id === "random") rename({ customer: profile.customer_id });
  if (profile.fuzzy_memberships) warmUp();
  return { title: nameOf(profile), content: card(profile) };
}

async function archetypeView(id, signal) {
  const answer = await api.archetype(id, signal);
  learn(answer, answer.member_count !== null);
  return { title: answer.segment_name, content: archetypePage(answer) };
}

async function outlookView(here, signal) {
  let shown;
  try {
    shown = await outlook(here, signal, shop);
  } catch (problem) {
    if (problem.type !== "nothing-predicted") throw problem;
    const { data_status: data } = await api.health(signal);
    if (!data?.customers_loaded) return bareView(problem, signal);
    return { title: "Outlook", content: awaitingPredictions(problem.detail) };
  }
  if (shown.answer) learn(shown.answer, shown.identified ?? shop.identified);
  warmUp();
  return shown;
}

async function resultsView(query, signal) {
  const answer = await api.search(query, RESULTS, signal);
  if (answer.customers.length === 1) {
    const { customer_id: customer } = answer.customers[0];
    rename({ customer });
    return customerView(customer, signal);
  }
  learn(answer, answer.customers.some(({ name, email }) => name || email) || shop.identified);
  announce(`${answer.customers.length} found`);
  return { title: query, content: results(answer, shop) };
}

async function welcomeView(here, signal) {
  let answer;
  try {
    answer = await api.topArchetypes({ metric: metricOf(here), limit: here.show === "all" ? MOST : TOP }, signal);
  } catch (problem) {
    if (problem.kind !== "absent") throw problem;
    return bareView(problem, signal);
  }
  if (answer.archetypes.length === 0) return bareView(null, signal);
  learn(answer, answer.archetypes[0].member_count !== null);
  return { title: "", content: welcome(answer, here, shop) };
}

/** Nothing is published: because nobody has segmented the shop, or because there is nobody in it. */
async function bareView(problem, signal) {
  const { data_status: data } = await api.health(signal);
  const empty = !data?.customers_loaded;
  fresh(empty ? "No data yet" : NOT_SEGMENTED);
  return { title: "", content: empty ? emptyShop() : awaitingSegmentation(problem?.detail) };
}

/** How far the data go, beside the product's name. */
function fresh(...told) {
  document.getElementById("freshness").replaceChildren(...told);
}

/** Remember what an answer tells of the shop. Not every answer names its zone: such a one gets the last known. */
function learn(answer, identified) {
  shop.timezone = answer.timezone ?? shop.timezone;
  answer.timezone = shop.timezone;
  shop.identified = identified;
  document.getElementById("search").placeholder =
    identified === false ? "Pseudonym, such as C-5A3B2F18" : "Name, e-mail, id or order number";
  showKey();
  if (isOfRun(answer)) fresh("Data as of ", ...recordsEnd(answer).filter(Boolean));
}

/** Another key may be another shop's. */
function forgetShop() {
  Object.assign(shop, { timezone: null, identified: null });
}

/** Show where we are. focus : move the reader there; scroll : how far down; quiet : we ask again, of our own accord */
async function render({ focus = false, scroll = 0, quiet = false } = {}) {
  clearTimeout(retry);
  if (!quiet) hide();
  const here = place();
  const signal = api.newest("view");
  box.show(here.q);
  if (!api.hasKey()) return askForKey({ refused: false });
  main.setAttribute("aria-busy", "true");
  document.querySelectorAll(".views a").forEach((link) => {
    const there = link.search.includes("outlook") ? here.outlook : !here.outlook && !here.customer && !here.q;
    if (there) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  });
  const waiting = quiet ? 0 : setTimeout(() => main.replaceChildren(skeleton(here)), SKELETON_AFTER_MS);
  let view;
  try {
    view = await viewOf(here, signal);
  } catch (problem) {
    if (signal.aborted) return;
    if (problem.kind === "key") return askForKey({ refused: true });
    if (!(problem instanceof api.Problem)) throw problem;
    if (problem.retrySeconds) retry = setTimeout(() => render({ quiet: true }), 1000 * problem.retrySeconds);
    // Still the same trouble: what stands there, and the focus on it, stays.
    if (quiet && problem.retrySeconds) return main.removeAttribute("aria-busy");
    view = { title: "", content: problemState(problem, here, () => render({ focus: true })) };
  } finally {
    clearTimeout(waiting);
  }
  if (signal.aborted) return;
  document.title = view.title ? `${view.title} · ${PRODUCT}` : PRODUCT;
  put(view.content);
  scrollTo(0, scroll);
  const heading = document.getElementById("view-title");
  if (focus) heading?.focus({ preventScroll: true });
  if (focus && view.title) announce(view.title);
}

/** What the reader came for, or what stands in its way. */
function put(content) {
  main.replaceChildren(content);
  main.removeAttribute("aria-busy");
}

function askForKey({ refused }) {
  if (refused) api.forgetKey();
  forgetShop();
  showKey();
  document.title = PRODUCT;
  fresh("Waiting for a key");
  put(
    keyForm(refused, (key) => {
      api.setKey(key);
      render({ focus: true });
    }),
  );
  document.getElementById("key-field").focus();
}

const keyState = () => {
  if (!api.hasKey()) return ["No key", "Enter a key to see anything."];
  if (shop.identified === null) return ["Key", "A key is in use."];
  return shop.identified
    ? ["Names shown", "This key sees names, e-mail addresses and orders."]
    : ["Pseudonyms", "This key sees pseudonyms and shares: no names, no orders."];
};

function showKey() {
  const button = document.getElementById("key");
  const [text] = keyState();
  button.replaceChildren(
    icon("M7 14a4 4 0 1 1 3.9-5H18v3h-2v2h-3v-2h-2.1A4 4 0 0 1 7 14Z"),
    h("span", { class: "wide" }, text),
  );
  button.setAttribute("aria-label", `Key: ${text.toLowerCase()}`);
}

function keyMenu(event) {
  const [, meaning] = keyState();
  const other = h(
    "button",
    { class: "button", type: "button" },
    api.hasKey() ? "Forget it and use another" : "Enter a key",
  );
  other.addEventListener("click", () => {
    api.forgetKey();
    hide();
    api.newest("view");
    askForKey({ refused: false });
  });
  show(event.currentTarget, "Key", [
    h("p", {}, meaning),
    h("p", {}, "It stays in this tab and is forgotten when you close it."),
    h("p", {}, other),
  ]);
}

function theme() {
  return document.documentElement.dataset.theme ?? "auto";
}

function showTheme() {
  const next = THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length];
  const button = document.getElementById("theme");
  const paths = {
    auto: "M10 3a7 7 0 1 0 0 14 7 7 0 0 0 0-14Zm0 2v10a5 5 0 0 1 0-10Z",
    light:
      "M10 6.5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7ZM9.2 2h1.6v3H9.2ZM9.2 15h1.6v3H9.2ZM2 9.2h3v1.6H2ZM15 9.2h3v1.6h-3Z",
    dark: "M15.8 12.6A6.5 6.5 0 0 1 7.4 4.2a6.5 6.5 0 1 0 8.4 8.4Z",
  };
  button.replaceChildren(icon(paths[theme()]));
  const text = `Theme: ${theme()}. Change to ${next}`;
  button.setAttribute("aria-label", text);
  button.title = text;
}

function changeTheme() {
  const next = THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length];
  if (next === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
  try {
    localStorage.setItem("theme", next);
  } catch {
    // Storage is refused: the theme holds until the page is left.
  }
  showTheme();
}

function icon(path) {
  const name = "http://www.w3.org/2000/svg";
  const image = document.createElementNS(name, "svg");
  const line = document.createElementNS(name, "path");
  for (const [key, value] of Object.entries({ viewBox: "0 0 20 20", class: "icon", "aria-hidden": "true" }))
    image.setAttribute(key, value);
  line.setAttribute("d", path);
  image.append(line);
  return image;
}

document.getElementById("theme").addEventListener("click", changeTheme);
document.getElementById("key").addEventListener("click", keyMenu);
addEventListener("hashchange", () => {
  if (!api.takeKeyFromAddress()) return;
  forgetShop();
  render();
});
addEventListener("beforeprint", () =>
  document.querySelectorAll("details.fold").forEach((fold) => {
    fold.open = true;
  }),
);
addEventListener("keydown", (event) => {
  if (event.key.toLowerCase() !== "t" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest?.("input:not([type=range]), textarea, select")) return;
  // Every picture of the outlook; on a card that of the part one is in, or the first open one.
  const pictures = document.querySelectorAll(".outlook [data-key=t]");
  if (pictures.length > 0) return pictures.forEach((each) => each.click());
  const here = event.target.closest?.("details[open]")?.querySelector("[data-key=t]");
  (here ?? document.querySelector("details[open] [data-key=t]"))?.click();
});

api.takeKeyFromAddress();
showTheme();
showKey();
onMove(render);
render();
