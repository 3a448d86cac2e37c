// Asking the service. The key lives in this tab's session storage and in the X-API-Key header, nowhere else.

const STORED = "api-key";
const RETRY_SECONDS = 5;

/** The key in the address's fragment (#key=…), taken out of it at once. True if there was one. */
export function takeKeyFromAddress() {
  const given = new URLSearchParams(location.hash.slice(1)).get("key");
  if (given === null) return false;
  history.replaceState(history.state, "", location.pathname + location.search);
  setKey(given);
  return true;
}

export function setKey(key) {
  memory = key.trim();
  try {
    sessionStorage.setItem(STORED, memory);
  } catch {
    // Storage is refused: the key holds until the page is left.
  }
}

export function forgetKey() {
  memory = "";
  try {
    sessionStorage.removeItem(STORED);
  } catch {
    // Nothing was kept.
  }
}

export function hasKey() {
  return key() !== "";
}

let memory = "";

function key() {
  try {
    return sessionStorage.getItem(STORED) ?? memory;
  } catch {
    return memory;
  }
}

/** What went wrong, by what the reader can do about it.
 *
 * kind : key (none or refused) | scope | absent | early (not yet) | input | away (try again) | network (try again) | fault
 * type : the last part of the problem's type, such as "customer-not-found"
 */
export class Problem extends Error {
  constructor(kind, { type = "", detail = "", status = 0, requestId = "", retrySeconds = null } = {}) {
    super(detail || kind);
    Object.assign(this, { kind, type, detail, status, requestId, retrySeconds });
  }
}

const KINDS = {
  401: "key",
  403: "scope",
  404: "absent",
  409: "early",
  422: "input",
  502: "away",
  503: "away",
  504: "away",
};

/** GET, or POST where there is a body, as JSON. Raises Problem, or AbortError where a newer request has overtaken this. */
export async function get(path, { params = {}, signal, body: sent } = {}) {
  // A header can carry only these; anything else is no key of ours.
  if (!/^[\x21-\x7e]+$/.test(key())) throw new Problem("key");
  const given = new URLSearchParams(Object.entries(params).filter(([, value]) => value !== null && value !== ""));
  let response, body;
  try {
    response = await fetch(given.size ? `${path}?${given}` : path, {
      method: sent ? "POST" : "GET",
      headers: { "X-API-Key": key(), Accept: "application/json", ...(sent && { "Content-Type": "application/json" }) },
      body: sent && JSON.stringify(sent),
      signal,
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
    });
    body = await response.text();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("network", { retrySeconds: RETRY_SECONDS });
  }
  const answer = parsed(body);
  if (response.ok && answer !== null) return answer;
  const kind = response.ok ? "fault" : (KINDS[response.status] ?? "fault");
  throw new Problem(kind, {
    type: String(answer?.type ?? "")
      .split("/")
      .pop(),
    detail: String(answer?.detail ?? ""),
    status: response.status,
    requestId: answer?.request_id ?? response.headers.get("X-Request-ID") ?? "",
    retrySeconds: kind === "away" ? Number(response.headers.get("Retry-After")) || RETRY_SECONDS : null,
  });
}

function parsed(body) {
  try {
    return JSON.parse(body);
  } catch {
    return null;
  }
}

const lanes = new Map();

/** A signal for the newest request of its lane; what still runs there is dropped. */
export function newest(lane) {
  lanes.get(lane)?.abort();
  const controller = new AbortController();
  lanes.set(lane, controller);
  return controller.signal;
}

const customerPath = (id) => `/api/mcp/customer/${segment(id, "customer-not-found")}`;
const archetypePath = (id) => `/api/mcp/archetypes/${segment(id, "archetype-not-found")}`;

export const customer = (id, signal) => get(customerPath(id), { signal });
/** Their reasons alone: everything else is there already. */
export const why = (id, signal) =>
  get(customerPath(id), { params: { include: "why", exclude: "memberships,archetype,traits,churn,identity" }, signal });
export const past = (id, signal) => get(`${customerPath(id)}/history`, { signal });
export const orders = (id, params, signal) => get(`${customerPath(id)}/orders`, { params, signal });
export const search = (query, limit, signal) => get("/api/mcp/customers/search", { params: { query, limit }, signal });
export const topArchetypes = (params, signal) => get("/api/mcp/archetypes/top", { params, signal });
export const archetype = (id, signal) => get(archetypePath(id), { signal });
export const members = (id, params, signal) => get(`${archetypePath(id)}/members`, { params, signal });
export const axes = (signal) => get("/api/mcp/segments/axes", { signal });
export const axis = (name, signal) => get(`/api/mcp/segments/axes/${segment(name, "axis-not-found")}`, { signal });
export const risk = (id, signal) => get(`${customerPath(id)}/churn-risk`, { signal });
export const churn = (signal) => get("/api/mcp/churn/aggregate", { signal });
export const atRisk = (params, signal) => get("/api/mcp/churn/at-risk", { params, signal });
export const growth = (months, signal) => get("/api/mcp/growth/projection", { params: { months }, signal });
export const growthOfKinds = (months, signal) =>
  get("/api/mcp/archetypes/growth-projection", { params: { months }, signal });
export const revenue = (params, signal) => get("/api/mcp/revenue/forecast", { params, signal });
export const whatIf = (changes, signal) => get("/api/analytics/what-if", { body: changes, signal });
export const models = (signal) => get("/api/models", { signal });
export const backtest = (name, signal) => get(`/api/models/${segment(name, "model-not-found")}/backtest`, { signal });
export const health = (signal) => get("/health", { signal });

/** An id as one step of a path. A browser would walk up on dots, so an id of dots is known to be nobody's. */
function segment(id, type) {
  if (/^\.{1,2}$/.test(id)) throw new Problem("absent", { type, status: 404 });
  return encodeURIComponent(id);
}
