// Codes, numbers and dates as a person reads them.

const NARROW = "\u00a0";

/** "deal_hunter" -> "Deal hunter" */
export function words(code) {
  const spaced = String(code ?? "")
    .replaceAll("_", " ")
    .trim();
  return spaced.charAt(0).toUpperCase() + spaced.slice(1);
}

/** What each axis answers. The first eight read purchases, the others the help people need, or its traces in orders. */
export const AXES = {
  purchase_frequency: "How often they buy",
  purchase_value: "How much they spend",
  category_exploration: "How widely they buy",
  price_sensitivity: "How much they wait for discounts",
  purchase_cadence: "When they buy",
  customer_maturity: "How long and how far they have come",
  repurchase_behavior: "How loyally they come back",
  return_behavior: "How much they send back",
  communication_preference: "Where and when to reach them",
  problem_complexity_profile: "How much trouble orders bring",
  loyalty_trajectory: "Where they are heading",
  product_knowledge: "How well they know the goods",
  value_sophistication: "What kind of price they choose",
  support_history: "What help they have needed",
};

export const SUPPORT_AXES = new Set(Object.keys(AXES).slice(8));

/** An axis newer than this page is told by its own name. */
export const axisWords = (axis) => AXES[axis] ?? words(axis);

/** The axes of an object by name, in the order above, unknown ones last. */
export function inOrder(byAxis) {
  const known = Object.keys(AXES);
  const rank = (axis) => (known.includes(axis) ? known.indexOf(axis) : known.length);
  return Object.entries(byAxis ?? {}).sort(([one], [other]) => rank(one) - rank(other));
}

export const TIERS = { vip: "VIP", high: "High value", standard: "Standard", low: "Low value" };

/** What each RFM group is called of one customer; "other" stands for those too small to be shown to a key. */
const RFM_GROUPS = {
  champions: "champion",
  loyal: "loyal",
  potential_loyalists: "potential loyalist",
  new_customers: "new customer",
  promising: "promising",
  needs_attention: "in need of attention",
  about_to_sleep: "about to sleep",
  at_risk: "at risk",
  cant_lose_them: "not to be lost",
  hibernating: "hibernating",
  other: "among the rarer groups",
};

/** "champions" -> "champion"; a group newer than this page is told by its own name. */
export const rfmWords = (group) => RFM_GROUPS[group] ?? words(group).toLowerCase();

/** Level of risk: its word and a shape of its own, so that neither colour nor word stands alone. */
export const RISKS = {
  critical: { word: "Critical", shape: "octagon" },
  high: { word: "High", shape: "triangle" },
  medium: { word: "Medium", shape: "diamond" },
  low: { word: "Low", shape: "circle" },
};

/** Ways of telling, of which the best on the shop's own past is served. */
const CANDIDATES = {
  base_rate: "the shop's average for everybody",
  recency_logistic: "how long ago they ordered",
  rfm_logistic: "recency, frequency and value",
  bg_nbd: "BG/NBD, a model of buying and leaving",
  bg_nbd_gamma_gamma: "BG/NBD with Gamma-Gamma, models of buying and spending",
  blend: "a blend of models",
  blend_segments: "a blend of models and segments",
  last_window_spend: "the last 90 days' spend again",
  past_rate: "their past rate of spending",
  naive: "the last month again",
  seasonal_naive: "the same month a year ago",
  seasonal_naive_yoy: "the same month a year ago, times the growth of the year",
  profile_yoy: "the profile of the year times its growth",
  profile_yoy_held_back: "the profile of the year times its growth, held back",
  profile_level: "the profile of the year at the level of the last months",
  cohorts: "newcomers, and how often customers of each age come",
  profile_ets_theta: "profile, exponential smoothing and Theta",
};

/** "mean of naive, seasonal_naive" -> "a mean of 2 forecasts"; one newer than this page is told by its own name. */
export function candidateWords(candidate) {
  const of = /^mean of (.+)$/.exec(candidate);
  if (of) return `a mean of ${of[1].split(",").length} forecasts`;
  return CANDIDATES[candidate] ?? words(candidate).toLowerCase();
}

/** The service's own words of a model, without codes: "… the baseline recency, frequency and value …" */
export const withoutCodes = (text) =>
  text.replace(/\b[a-z]+(?:_[a-z]+)+\b/g, (code) =>
    CANDIDATES[code] ? `“${CANDIDATES[code]}”` : code.replaceAll("_", " "),
  );

const STRENGTHS = {
  strong: "clearly so",
  moderate: "mostly so",
  balanced: "between two",
  weak: "hard to place",
};
export const strengthWords = (strength) => STRENGTHS[strength] ?? words(strength);

const plain = new Intl.NumberFormat("en-US", { maximumFractionDigits: 1 });
const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

/** 2,450 and 4.3: one decimal below ten, none from there. */
export function number(value) {
  return Math.abs(value) < 9.95 ? plain.format(value) : whole.format(value);
}

const measured = new Intl.NumberFormat("en-US", { maximumFractionDigits: 3 });

/** How many of an item: pieces, or a part of a yard. */
export const quantity = (value) => measured.format(value);

export const counted = (n, one, many = `${one}s`) => `${whole.format(n)}${NARROW}${n === 1 ? one : many}`;

/** A percentage as the interface gives it (0..100): "71 %", "3.2 %", "under 0.1 %" */
export function percent(value) {
  if (value > 0 && value < 0.1) return `under${NARROW}0.1${NARROW}%`;
  return `${number(value)}${NARROW}%`;
}

/** A share of one as whole percent, so that the shares of an axis can be compared at a glance. */
export function share(value) {
  return value > 0 && value < 0.01 ? `under${NARROW}1${NARROW}%` : `${whole.format(100 * value)}${NARROW}%`;
}

/** A chance (0..1) as whole percent. What is all but sure is not called certain. */
export function chance(value) {
  if (value > 0 && value < 0.005) return `under${NARROW}1${NARROW}%`;
  if (value < 1 && value >= 0.995) return `over${NARROW}99${NARROW}%`;
  return `${whole.format(100 * value)}${NARROW}%`;
}

/** Change in percent, with its sign: "+23.6 %" */
export const signed = (value) => `${value > 0 ? "+" : value < 0 ? "\u2212" : ""}${percent(Math.abs(value))}`;

/** "Oct 2025", of a month such as "2025-10". */
export const month = (text) => months.format(new Date(`${text}-01`));

/** Money to read: no cents from a thousand on. */
export function money(value, currency) {
  const cents = Math.abs(Number(value)) < 999.5 && Number(value) !== 0;
  return formatted(value, currency, cents ? {} : { maximumFractionDigits: 0, minimumFractionDigits: 0 });
}

/** Money that is expected: no cents from ten on, as nothing is known to the cent. */
export const roughly = (value, currency) =>
  Math.abs(value) < 9.995 && value !== 0
    ? money(value, currency)
    : formatted(value, currency, { maximumFractionDigits: 0, minimumFractionDigits: 0 });

/** Money to the cent. A decimal string is formatted as it is, never by way of a float. */
export const exactMoney = (value, currency) => formatted(value, currency, {});

function formatted(value, currency, digits) {
  try {
    return new Intl.NumberFormat("en-US", { style: "currency", currency, ...digits }).format(value);
  } catch {
    // No currency is known, or none that the browser knows.
    const number = new Intl.NumberFormat("en-US", { maximumFractionDigits: 2, ...digits }).format(value);
    return currency ? `${number}${NARROW}${currency}` : number;
  }
}

const dates = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });
const months = new Intl.DateTimeFormat("en-GB", { month: "short", year: "numeric", timeZone: "UTC" });
const countries = new Intl.DisplayNames("en", { type: "region", fallback: "code" });
const DAY = 86_400_000;

/** "2 Mar 2023", of a day of a calendar such as "2023-03-02". */
export const date = (day) => dates.format(new Date(day));

export function country(code) {
  try {
    return countries.of(code);
  } catch {
    return code;
  }
}

const clocks = new Map();

/** A moment on a zone's clock: {year, month, day, hour, minute}. Without a zone, or with an unknown one, in UTC. */
function clock(moment, zone) {
  const name = zone || "UTC";
  if (!clocks.has(name)) {
    const digits = { month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
    const made = (timeZone) => new Intl.DateTimeFormat("en-GB", { year: "numeric", ...digits, timeZone });
    try {
      clocks.set(name, made(name));
    } catch {
      // The browser's zones are older than the shop's.
      clocks.set(name, made("UTC"));
    }
  }
  const parts = clocks.get(name).formatToParts(new Date(moment));
  return Object.fromEntries(parts.map(({ type, value }) => [type, value]));
}

/** The day a moment falls on in a zone: "2025-10-22" */
export function dayOf(moment, zone) {
  const { year, month, day } = clock(moment, zone);
  return `${year}-${month}-${day}`;
}

/** "22 Oct 2025, 19:03 (America/Chicago)" */
export function timeOf(moment, zone) {
  const { hour, minute } = clock(moment, zone);
  return `${date(dayOf(moment, zone))}, ${hour}:${minute} (${zone || "UTC"})`;
}

/** The day an answer is told on, from which days "ago" count: the one after the last whose orders are in. */
export const today = ({ as_of: asOf, timezone }) => dayOf(asOf, timezone);

/** The last day whose orders are in, which the answer's as_of closes. */
export const lastDay = ({ as_of: asOf, timezone }) => dayOf(new Date(asOf).getTime() - 1, timezone);

/** Whether an answer is of a run, and so of its records. Of anything else as_of is but the moment of asking. */
export const isOfRun = ({ as_of: asOf, run_id: run, segment_status: status }) =>
  Boolean(asOf) && run !== null && run !== undefined && status !== "awaiting_segmentation";

export const daysBefore = (day, days) => new Date(new Date(day).getTime() - days * DAY).toISOString().slice(0, 10);

export const daysBetween = (earlier, later) => Math.round((new Date(later) - new Date(earlier)) / DAY);

/** "today", "yesterday", "18 days ago", "7 months ago", "2.3 years ago" */
export function ago(days) {
  if (days <= 0) return "today";
  if (days === 1) return "yesterday";
  return `${span(days)} ago`;
}

/** "18 days", "7 months", "2.3 years" */
export function span(days) {
  if (days < 90) return counted(Math.round(days), "day");
  if (days < 730) return counted(Math.round(days / 30.44), "month");
  return `${number(days / 365.25)}${NARROW}years`;
}

/** A rhythm: "every day", "every 24 days". */
export const every = (days) => (Math.round(days) === 1 ? "every day" : `every ${span(Math.round(days))}`);

/** A trait as the interface tells it, "Deal hunter: 71 % of …": its name and the rest.
 *
 * One named after its axis gets the words that the axis has everywhere else on the page.
 */
export function trait(text) {
  const at = text.indexOf(": ");
  if (at < 0) return [text, ""];
  const name = text.slice(0, at);
  return [AXES[name.toLowerCase().replaceAll(" ", "_")] ?? name, text.slice(at + 2)];
}

/** Foreign text short enough to stand within a sentence. */
export const short = (text, length = 80) => (text.length > length ? `${text.slice(0, length - 1)}…` : text);
