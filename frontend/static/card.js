// A customer at a glance: who, will they come back, what are they worth, what kind are they, what to do; then evidence.

import { figure } from "./about.js";
import { OVERDUE_GAPS, advice, recommended, rhythm } from "./advice.js";
import { foreign, h, section, withCode } from "./dom.js";
import { memberships } from "./memberships.js";
import { between, everyNumber, numbersOf, predicted } from "./numbers.js";
import { orderHistory } from "./orders.js";
import { past } from "./past.js";
import { place, rename } from "./place.js";
import { badge, chanceLine, degraded, nextOrderLine, riskHeadline, whyRisk } from "./risk.js";
import { findAnother } from "./states.js";
import {
  ago,
  counted,
  country,
  date,
  daysBefore,
  daysBetween,
  every,
  isOfRun,
  money,
  number,
  percent,
  roughly,
  span,
  today,
  trait,
} from "./words.js";

const MAX_TRAITS = 3;
const BANDS = { core: "Core", typical: "Typical", edge: "Edge" };

/** Name, or what stands for it: the shop's own number of someone who gave none, else the pseudonym. */
export const nameOf = (profile) =>
  profile.identity?.name || (profile.identity ? `Customer ${profile.customer_id}` : profile.customer_id);

const described = (profile) => profile.segment_status === "segmented";

/** Whether a key sees people or pseudonyms. */
export const isIdentified = (profile) => profile.identity !== null && profile.identity !== undefined;

export function card(profile) {
  const empty = profile.segment_status === "awaiting_first_purchase";
  return h(
    "article",
    { class: "card-view", "aria-labelledby": "view-title" },
    who(profile),
    empty ? firstPurchaseAwaited() : [tiles(profile), toDo(profile), evidence(profile)],
  );
}

function who(profile) {
  const { identity } = profile;
  const parts = [
    identity?.email &&
      h("a", { href: `mailto:${encodeURIComponent(identity.email).replaceAll("%40", "@")}` }, foreign(identity.email)),
    identity?.phone && foreign(identity.phone),
    identity?.country && country(identity.country),
    profile.customer_since && since(profile),
    isIdentified(profile) && h("span", {}, "Id ", h("code", {}, foreign(profile.customer_id))),
    isIdentified(profile) &&
      profile.pseudonym &&
      h("span", { class: "wide" }, "Pseudonym ", h("code", {}, profile.pseudonym)),
    !isIdentified(profile) && h("span", {}, "Pseudonym: this key does not see names"),
  ];
  return h(
    "header",
    { class: "who" },
    h("h1", { id: "view-title", tabindex: "-1", title: nameOf(profile) }, foreign(nameOf(profile))),
    h(
      "ul",
      { class: "facts" },
      parts.filter(Boolean).map((part) => h("li", {}, part)),
    ),
  );
}

function since(profile) {
  const days = isOfRun(profile) ? daysBetween(profile.customer_since, today(profile)) : 0;
  const long = days > 0 ? `${span(days)} before the end of the records` : "";
  return h(
    "span",
    {},
    "Customer since ",
    h("time", { datetime: profile.customer_since, title: long }, date(profile.customer_since)),
  );
}

const firstPurchaseAwaited = () =>
  h(
    "section",
    { class: "tile waiting", "aria-label": "Nothing to show yet" },
    h("p", { class: "headline" }, "No purchases yet."),
    h("p", {}, "We describe a customer after their first order. It appears here as soon as the order is imported."),
    h("p", { class: "actions" }, findAnother()),
  );

/** With a prediction there is more to tell, and on a phone less room for the rest. */
const tiles = (profile) =>
  h("div", { class: profile.churn_risk ? "tiles told" : "tiles" }, comingBack(profile), worth(profile), kind(profile));

function comingBack(profile) {
  const numbers = numbersOf(profile);
  const shown = rhythm(profile);
  const days = profile.business_metrics.days_since_last_purchase;
  const told = Boolean(profile.churn_risk);
  const tile = (...children) =>
    section(
      "Will they come back?",
      { name: "tile" },
      told && [riskHeadline(profile), chanceLine(profile)],
      ...children,
      told ? [nextOrderLine(profile), degraded(profile.churn_risk.model)] : notPredicted(profile),
      shown && gauge(shown),
    );
  if (!numbers.last) return tile(h("p", {}, "No order has been dated yet."));
  const on = daysBefore(today(profile), days);
  const last = figure(h("time", { datetime: on, title: date(on) }, ago(days)), {
    ...numbers.last,
    from: profile,
  });
  if (!shown) {
    const lone = profile.business_metrics.total_orders === 1;
    return tile(
      !told && h("p", { class: "headline" }, lone ? "One order so far" : "No rhythm yet"),
      h(
        "p",
        {},
        lone
          ? [told ? "One order so far, placed " : "Placed ", last, ". A rhythm shows from the second order."]
          : [
              "Last order ",
              last,
              ". ",
              described(profile) ? "All orders fell on one day." : "Their rhythm shows once the shop is segmented.",
            ],
      ),
    );
  }
  const gap = figure(every(shown.gap), { ...numbers.gap, from: profile });
  const states = {
    overdue: ["Overdue", "triangle", "high"],
    late: ["A little late", "diamond", "medium"],
    on_time: ["In their rhythm", "circle", "low"],
  };
  const [word, shape, level] = states[shown.state];
  return tile(
    !told && h("p", { class: "headline" }, badge(word, shape, level)),
    h("p", {}, "Usually ", gap, ", last order ", last, "."),
  );
}

/** Why nothing is predicted, and what to do about it. */
const notPredicted = ({ churn_risk_reason: reason }) =>
  h(
    "p",
    { class: reason ? "fine" : "fine roomy" },
    "Read from order dates; not a prediction. ",
    reason && withCode(reason),
  );

/** The time since the last order against the usual gap, up to where it counts as overdue and a little beyond. */
function gauge({ gap, since, gaps }) {
  const end = OVERDUE_GAPS * 1.5;
  const fill = h("span", { class: gaps > OVERDUE_GAPS ? "gauge-fill overdue" : "gauge-fill" });
  fill.style.setProperty("width", `${(100 * Math.min(gaps, end)) / end}%`);
  const tick = (at, text) => {
    const mark = h("span", { class: "gauge-tick" }, h("span", { class: "gauge-word" }, text));
    mark.style.setProperty("left", `${(100 * at) / end}%`);
    return mark;
  };
  const usual = counted(Math.round(gap), "day");
  const told = `${counted(since, "day")} since the last order, ${number(gaps)} times the usual ${usual}`;
  return h(
    "div",
    { class: "gauge", role: "img", "aria-label": told, title: told },
    h("span", { class: "gauge-track" }, fill),
    tick(1, "usual"),
    tick(OVERDUE_GAPS, "overdue"),
  );
}

function worth(profile) {
  const { currency, business_metrics: metrics, ltv_tier: tier } = profile;
  const numbers = numbersOf(profile);
  const say = (shown, about, name = "") => figure(shown, { ...about, from: profile, name });
  return section(
    "What are they worth?",
    { name: "tile" },
    h(
      "p",
      { class: "headline" },
      say(money(metrics.lifetime_value, currency), numbers.spent, "big"),
      h("span", { class: "unit" }, " spent"),
      tier && [" ", say(numbers.tier.exact, numbers.tier, `tier tier-${tier}`)],
    ),
    ahead(profile, numbers),
    numbers.rfm && h("p", { class: "spare" }, "RFM: ", say(numbers.rfm.exact, numbers.rfm), numbers.rfm.rest),
    numbers.top && h("p", { class: "spare" }, say(numbers.top.exact, numbers.top), numbers.top.rest),
    h(
      "p",
      {},
      say(numbers.orders.exact, numbers.orders),
      ", ",
      say(money(metrics.avg_order_value, currency), numbers.average),
      " on average",
    ),
  );
}

/** What they are expected to spend. */
function ahead(profile, { year, spend }) {
  if (!year && !spend) return null;
  const { currency, predicted_ltv_12m: twelve, expected_spend_90d: ninety } = profile;
  const from = predicted(profile);
  const round = ({ low, high }) => `${roughly(low, currency)} to ${roughly(high, currency)}`;
  return h(
    "dl",
    { class: "ahead" },
    year &&
      h(
        "div",
        {},
        h("dt", {}, "Next 12 months"),
        h("dd", {}, figure(roughly(twelve, currency), { ...year, from }), " expected"),
      ),
    spend &&
      h(
        "div",
        {},
        h("dt", {}, "Next 90 days"),
        h(
          "dd",
          {},
          figure(roughly(ninety.expected, currency), { ...spend, from }),
          h("span", { class: "fine", title: between(ninety, currency) }, ` ${round(ninety)}`),
        ),
      ),
  );
}

function kind(profile) {
  const { archetype } = profile;
  const tile = (...children) => section("What kind of customer?", { name: "tile" }, ...children);
  if (!archetype)
    return tile(
      h("p", { class: "headline" }, "Not described yet"),
      h(
        "p",
        { class: "detail" },
        withCode(profile.message ?? "The shop has not been segmented since they first ordered."),
      ),
    );
  const traits = (profile.key_traits ?? archetype.key_traits ?? []).slice(0, MAX_TRAITS);
  const rare = archetype.archetype_id === "other";
  const name = rare ? "One of the rarer kinds" : archetype.segment_name;
  return tile(
    h(
      "p",
      { class: "headline kind-name" },
      rare ? name : h("a", { href: `?archetype=${encodeURIComponent(archetype.archetype_id)}` }, name),
    ),
    h("p", { class: "kind-size" }, shared(profile)),
    traits.length > 0 && h("ul", { class: "traits" }, traits.map(traitLine)),
  );
}

export function traitLine(text) {
  const [name, rest] = trait(text);
  return h("li", {}, rest ? [h("strong", {}, name), `: ${rest}`] : name);
}

function shared(profile) {
  const { archetype } = profile;
  const { member_count: members, population_percentage: part, population } = archetype;
  const apart = profile.fold_distance;
  const meaning = [
    "Customers whose strongest segments agree on every axis with clear groups.",
    `The share is of ${population ?? "segmented customers"}.`,
    apart > 0 &&
      `This customer's own combination is rare. On ${counted(apart, "axis", "axes")} their strongest segment is ` +
        "another one, and this is the kind they come closest to.",
    archetype.archetype_id === "other" &&
      "Kinds with fewer than 20 customers are told together, so that nobody can be singled out.",
  ].filter(Boolean);
  const title = "Customers of this kind";
  const about = {
    title,
    meaning,
    exact: members === null || members === undefined ? "" : counted(members, "customer"),
    from: profile,
  };
  const nearest = apart > 0 ? ` Their nearest kind: they differ on ${counted(apart, "axis", "axes")}.` : "";
  if (members === null || members === undefined)
    return [
      figure(percent(part), about),
      ` of customers are of ${archetype.archetype_id === "other" ? "kinds as rare" : "this kind"}.${nearest}`,
    ];
  return [figure(counted(members, "customer"), about), ` of this kind, ${percent(part)} of all.${nearest}`];
}

function toDo(profile) {
  const told = recommended(profile);
  if (told) return byPolicy(profile, told);
  const found = advice(profile);
  if (!found) return null;
  return section(
    "What to do",
    { name: "to-do" },
    h(
      "p",
      {},
      h("strong", {}, found.say),
      " ",
      found.because,
      " ",
      h("span", { class: "fine" }, "A rule of thumb from the facts above."),
    ),
  );
}

function byPolicy(profile, { say, because, offer }) {
  const about = {
    title: "Offer policy",
    exact: offer,
    meaning:
      "The shop's policy gives each level of risk and tier of value its offer. Who is likely to come back anyway is offered nothing: they would learn to wait for discounts.",
    from: predicted(profile),
  };
  return section(
    "What to do",
    { name: "to-do" },
    h(
      "p",
      {},
      h("strong", {}, say),
      " ",
      because,
      " ",
      offer && h("span", { class: "fine" }, "By the ", figure("offer policy", about), "."),
    ),
  );
}

function evidence(profile) {
  const count = profile.business_metrics.total_orders;
  const axes = Object.keys(profile.fuzzy_memberships ?? {}).length;
  return section(
    "Evidence",
    { name: "evidence" },
    profile.churn_risk && fold("why", "Why this risk", () => whyRisk(profile)),
    axes > 0 && fold("memberships", `How they behave on ${counted(axes, "axis", "axes")}`, () => memberships(profile)),
    fold("orders", `Orders (${count})`, () => orderHistory(profile, { permitted: isIdentified(profile) })),
    fold("history", "History", () => past(profile)),
    fold("numbers", "Every number, and what it means", () => h("div", {}, everyNumber(profile), finer(profile))),
  );
}

/** A folded part, filled when first opened. Which are open is in the address. */
function fold(name, title, fill) {
  const body = h("div", { class: "fold-body" });
  const summary = h("summary", {}, h("h3", {}, title));
  const details = h("details", { class: "fold", id: `fold-${name}` }, summary, body);
  const open = (place().open ?? "").split(".").includes(name);
  const opened = () => body.childElementCount === 0 && body.append(fill());
  // Filled before it opens, so that it opens at its full height; the toggle is told a moment later.
  summary.addEventListener("click", opened);
  details.addEventListener("toggle", () => {
    if (!details.isConnected) return;
    if (details.open) opened();
    const here = place();
    const others = (here.open ?? "").split(".").filter((other) => other && other !== name);
    rename({ ...here, open: [...others, ...(details.open ? [name] : [])].join(".") });
  });
  if (open) {
    details.open = true;
    opened();
  }
  return details;
}

/** The groups within their kind. Groups are small, so that only a key that sees people is shown the way there. */
function finer(profile) {
  const { archetype_level2_id: band, archetype_level3_id: leaning } = profile;
  if (!isIdentified(profile) || !band) return null;
  const to = (id, text) => h("a", { href: `?archetype=${encodeURIComponent(id)}` }, text);
  const clearly = BANDS[band.split("_").pop()] ?? "a group";
  return h(
    "p",
    { class: "fine" },
    "Within their kind: ",
    to(band, `${clearly}, by how clearly they belong`),
    leaning && [" and ", to(leaning, "those who lean the same way")],
    ".",
  );
}
