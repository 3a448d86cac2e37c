// "About this number": what it means, to the digit, as of when and from which run or training.

import { h } from "./dom.js";
import { date, isOfRun, lastDay } from "./words.js";

/** A number that says what it means when clicked.
 *
 * shown : what stands there; title : the number's name; exact : all its digits, where `shown` is rounded
 * from  : the answer it came in, for its as_of, timezone, and run_id or prediction_id
 */
export function figure(shown, { title, meaning, exact = "", from, name = "" }) {
  const open = (event) => explain(event.currentTarget, { title, meaning, exact, from });
  return h(
    "button",
    { class: `figure ${name}`.trim(), type: "button", "aria-haspopup": "dialog", title: exact, onclick: open },
    shown,
    h("span", { class: "visually-hidden" }, `, about ${title.toLowerCase()}`),
  );
}

function explain(button, { title, meaning, exact, from }) {
  const lines = [meaning].flat().map((line) => h("p", {}, line));
  show(button, title, [exact && h("p", { class: "about-exact" }, exact), ...lines, source(from)]);
}

/** A small window by a button. It closes on Escape and on a click elsewhere.
 *
 * roomy : with room for a chart, and of one height, as what comes into it comes later
 */
export function show(button, title, content, { roomy = false } = {}) {
  const about = document.getElementById("about");
  about.hidePopover();
  about.classList.toggle("roomy", roomy);
  const close = h("button", { class: "button quiet about-close", type: "button", "aria-label": "Close" }, "×");
  close.addEventListener("click", () => about.hidePopover());
  about.replaceChildren(
    h("div", { class: "about-head" }, h("h2", { id: "about-title" }, title), close),
    ...content.filter(Boolean),
  );
  about.showPopover();
  beside(about, button);
  about.focus();
  const back = (event) => {
    if (event.newState !== "closed") return;
    about.removeEventListener("toggle", back);
    if (document.activeElement === document.body || about.contains(document.activeElement)) button.focus();
  };
  about.addEventListener("toggle", back);
}

export const hide = () => document.getElementById("about").hidePopover();

/** Up to when the records go that an answer is from, and its run or training; null where it is from none. */
export function source(from, name = "about-source") {
  if (!from || !(isOfRun(from) || isPredicted(from))) return null;
  return h("p", { class: name }, "From records up to ", recordsEnd(from), `, ${origin(from)}.`);
}

const isPredicted = ({ as_of: asOf, prediction_id: training }) => Boolean(asOf && training);

/** What is predicted comes from a training, everything else from a run. */
const origin = (from) => (isPredicted(from) ? `training ${from.prediction_id}` : `run ${from.run_id}`);

/** The last day whose orders are in, on the shop's calendar. Where its zone is not known, the day is one of UTC. */
export const recordsEnd = (answer) => [
  h(
    "time",
    { datetime: lastDay(answer), title: `Orders up to and including this day, ${origin(answer)}` },
    date(lastDay(answer)),
  ),
  !answer.timezone && " (UTC)",
];

/** Below the button and within the window; above where there is no room below. */
function beside(about, button) {
  const at = button.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = about;
  const gap = 8;
  const left = Math.max(gap, Math.min(at.left, innerWidth - width - gap));
  const below = at.bottom + gap;
  const top = below + height + gap <= innerHeight ? below : Math.max(gap, at.top - height - gap);
  about.style.setProperty("left", `${left}px`);
  about.style.setProperty("top", `${top}px`);
}
