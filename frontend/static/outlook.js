// What lies ahead of the shop: who may not come back, how many customers and how much revenue there will be, what would
// be if customers behaved otherwise, and how good all of that has been.

import { source } from "./about.js";
import { customersAhead, revenueAhead } from "./ahead.js";
import { h, section, withCode } from "./dom.js";
import { atRiskPart } from "./leaving.js";
import { modelsPart } from "./models.js";
import { address } from "./place.js";
import { whatIfPart } from "./whatif.js";

const PARTS = {
  risk: { name: "At risk", title: "Customers at risk", show: atRiskPart },
  customers: { name: "Customers", title: "Customers ahead", show: customersAhead },
  revenue: { name: "Revenue", title: "Revenue ahead", show: revenueAhead },
  "what-if": { name: "What if", title: "What if", show: whatIfPart },
  models: { name: "Models", title: "How good the predictions are", show: modelsPart },
};
const FIRST = "risk";

/** {title, answer, identified, content} of one part.
 *
 * answer : for what it tells of the shop, null where it could not be told; identified : as of the shop, null where unknown
 */
export async function outlook(here, signal, shop) {
  const { name, title, show } = PARTS[here.outlook] ?? PARTS[FIRST];
  let told;
  try {
    told = await show(here, signal, shop);
  } catch (problem) {
    // The other parts may be told all the same.
    if (problem.kind !== "early") throw problem;
    told = {
      answer: null,
      identified: null,
      content: section("Not yet", { name: "tile" }, h("p", {}, withCode(problem.detail))),
    };
  }
  return {
    title: `Outlook: ${name.toLowerCase()}`,
    answer: told.answer,
    identified: told.identified,
    content: h(
      "article",
      { class: "outlook", "aria-labelledby": "view-title" },
      h("header", { class: "lead outlook-lead" }, h("h1", { id: "view-title", tabindex: "-1" }, title), parts(here)),
      told.content,
      told.answer && source(told.answer, "fine outlook-source"),
    ),
  };
}

const parts = ({ outlook: at }) =>
  h(
    "nav",
    { class: "switch", "aria-label": "Parts of the outlook" },
    Object.entries(PARTS).map(([key, { name }]) =>
      h(
        "a",
        { href: address({ outlook: key }), "aria-current": key === (at in PARTS ? at : FIRST) ? "page" : null },
        name,
      ),
    ),
  );
