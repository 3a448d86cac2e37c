// Charts by Vega-Lite, in the page's own colours and type. The library is fetched when a chart is first wanted.

const VEGA = "/static/vega.js";
const ROW = 58;
const BAR = 12;
const EDGE = 2;
const LEGEND_SYMBOL = 24;
const SCALE = 46; // room of a scale of numbers, and below of what stands around a chart
const TITLE = 21;
const SUBTITLE = 15;
const BELOW = 20;
const NAMED = 16;
const LEGEND = 28;
const GAP = 13;
const LETTER = 6.2; // about the width of one of a subtitle
const ROOMY = 420; // from here on there is room to name the second part as well

// Colours are the page's custom properties, so that a chart follows the theme without being drawn again.
const CONFIG = {
  background: "transparent",
  font: "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif",
  view: { stroke: null },
  axis: { grid: false, domain: false, ticks: false, labels: false, title: null },
  text: { fontSize: 13, fill: "var(--text)" },
};

// Of a chart that comes from the service, in place of its own.
const GIVEN_CONFIG = {
  ...CONFIG,
  axis: {
    labelColor: "var(--muted)",
    titleColor: "var(--muted)",
    titleFontWeight: "normal",
    titleFontSize: 12,
    domainColor: "var(--edge-strong)",
    tickColor: "var(--edge-strong)",
  },
  title: { color: "var(--text)", subtitleColor: "var(--muted)", fontSize: 13, subtitleFontSize: 12 },
  text: { fontSize: 12, fill: "var(--text)" },
};

const HUES = [1, 2, 3, 4, 5].map((step) => `var(--chart-${step})`);

// The expressions of a chart are interpreted, not compiled: the page forbids eval. Tooltips and menus would bring
// inline styles, which it forbids as well; Vega's own fallback puts a plain title on the chart.
const OPTIONS = {
  mode: "vega-lite",
  ast: true,
  actions: false,
  defaultStyle: false,
  renderer: "svg",
  tooltip: false,
  config: CONFIG,
};

let loading = null;

/** Fetch the library ahead of time, when the browser has nothing else to do. */
export function warmUp() {
  (window.requestIdleCallback ?? setTimeout)(() => library().catch(() => {}));
}

function library() {
  loading ??= import(VEGA).then(
    () => window.vegaEmbed,
    (error) => {
      loading = null;
      throw error;
    },
  );
  return loading;
}

/** Where a row of stacked bars begins: what it is called is written there by the page. */
export const rowTop = (row) => row * ROW;

/** Height of a chart of so many stacked bars, known before it is drawn. */
export const stackedHeight = (n) => n * ROW;

/** Draw a spec into an element that has its height already. */
export async function draw(element, spec) {
  const embed = await library();
  if (element.isConnected) await embed(element, spec, OPTIONS);
}

/** Draw a chart of the service, its parts below one another, as wide as the element. */
export async function drawGiven(element, chart) {
  const width = element.clientWidth;
  const columns = width < ROOMY ? 1 : 2;
  const legend = { labelColor: "var(--text)", labelFontSize: 12, columns, labelLimit: width / columns - 30 };
  const embed = await library();
  if (!element.isConnected) return;
  // The spec's own config would go before that of the options.
  const spec = { ...whole(chart, width), padding: EDGE, config: undefined };
  await embed(element, spec, { ...OPTIONS, config: { ...GIVEN_CONFIG, legend: { ...legend, symbolLimit: 0 } } });
}

/** A single view is fitted with its axes into the width; of parts below one another the axes take their room. */
function whole(chart, width) {
  if (chart.layer || chart.mark)
    return { ...titled(fitted(chart, width), width), autosize: { type: "fit-x", contains: "padding" } };
  if (!chart.vconcat?.some(hasScale)) return fitted(chart, width - 2 * EDGE);
  const parts = chart.vconcat.map((part) => titled(part, width));
  return fitted({ ...chart, vconcat: parts }, width - 2 * EDGE - SCALE);
}

/** A subtitle that would be wider than the chart goes on in another line. */
function titled(view, width) {
  const { subtitle } = view.title ?? {};
  return subtitle ? { ...view, title: { ...view.title, subtitle: linesOf(subtitle, width) } } : view;
}

function linesOf(text, width) {
  const lines = [""];
  for (const word of [text].flat().join(" ").split(" ")) {
    const longer = `${lines.at(-1)} ${word}`.trim();
    if (longer.length * LETTER <= width || lines.at(-1) === "") lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}

/** Whether there is a scale of numbers to the left. */
function hasScale(part) {
  const y = (part.layer?.[0] ?? part).encoding?.y;
  return y?.type === "quantitative" && y.axis !== null;
}

/** About how high a chart of the service becomes at a width, so that nothing moves when it comes. */
export function heightOf(chart, width) {
  const parts = chart.vconcat ?? chart.concat;
  if (parts) return parts.reduce((sum, part) => sum + heightOf(part, width) + GAP, -GAP);
  const { title } = chart;
  const above = (title ? TITLE : 0) + (title?.subtitle ? SUBTITLE * linesOf(title.subtitle, width).length : 0);
  const legend = JSON.stringify(chart).includes('"orient":"bottom"') ? LEGEND : 0;
  const axis = (chart.layer?.[0] ?? chart).encoding?.x?.axis;
  const below = axis === null ? 0 : BELOW + (axis?.title ? NAMED : 0);
  return above + (typeof chart.height === "number" ? chart.height : 200) + legend + below;
}

function fitted(view, width) {
  if (view.concat) return { ...view, columns: 1, concat: view.concat.map((part) => fitted(part, width)) };
  if (view.vconcat) return { ...view, vconcat: view.vconcat.map((part) => fitted(part, width)) };
  const layer = view.layer?.map((part) => plainly(atEnd(part, view.width)));
  return {
    ...view,
    width,
    ...(layer && { layer }),
    ...(view.encoding && { encoding: shortened(view.encoding, width) }),
  };
}

/** Colours that are named outright have no legend, and need not say so: saying it would take away that of the others. */
function plainly(part) {
  if (part.encoding?.color?.scale !== null) return part;
  const { legend: _, ...color } = part.encoding.color;
  return { ...part, encoding: { ...part.encoding, color } };
}

/** What stands at the right end of a chart of its own width stands at that of the fitted one. */
function atEnd(part, width) {
  if (typeof width !== "number" || part.encoding?.x?.value !== width) return part;
  return { ...part, encoding: { ...part.encoding, x: { value: { expr: "width" } } } };
}

/** A legend of its own width would be wider than the chart. */
function shortened(encoding, width) {
  const { color } = encoding;
  if (!color?.legend?.labelLimit) return encoding;
  return { ...encoding, color: { ...color, legend: { ...color.legend, labelLimit: width - LEGEND_SYMBOL } } };
}

/** One bar per row, stacked to a whole and sorted, with the two largest parts named; a lone part is no group.
 * Above each there is room for what the row is called.
 *
 * rows : [{label, parts: [{name, share}]}], shares largest first and summing to 1; told : the alt text
 */
export function stackedBars(rows, { told, percent }) {
  const values = rows.flatMap(({ label, parts }, row) => {
    let end = 0;
    return parts.map(({ name, share }, rank) => ({
      row,
      label,
      rank: Math.min(rank, HUES.length - 1),
      start: end,
      end: (end += share),
      named: parts.length > 1 ? `${percent(share)}  ${name}` : "No clear groups in this shop",
      told: `${label}: ${name} ${percent(share)}`,
    }));
  });
  const y = { field: "row", type: "ordinal", scale: { paddingInner: 0, paddingOuter: 0 } };
  const text = (mark, where) => ({
    transform: [{ filter: where }],
    mark: { type: "text", baseline: "top", yOffset: -ROW / 2, aria: false, ...mark },
  });
  return {
    description: told,
    width: "container",
    height: stackedHeight(rows.length),
    padding: 0,
    autosize: { type: "fit-x", contains: "padding" },
    data: { values },
    encoding: { y },
    layer: [
      {
        ...text(
          {
            align: "left",
            dy: 19,
            fontSize: 14,
            fontWeight: 600,
            limit: { expr: `width < ${ROOMY} ? width : width * 0.58` },
          },
          "datum.start == 0",
        ),
        encoding: { text: { field: "named" }, x: { value: 0 } },
      },
      {
        ...text(
          {
            align: "right",
            dy: 20,
            fontSize: 12.5,
            fill: "var(--muted)",
            limit: { expr: "width * 0.4" },
            opacity: { expr: `width < ${ROOMY} ? 0 : 1` },
          },
          "datum.rank == 1 && datum.end - datum.start >= 0.1",
        ),
        encoding: { text: { field: "named" }, x: { value: { expr: "width" } } },
      },
      {
        mark: { type: "bar", height: BAR, yOffset: 14, stroke: "var(--surface)", strokeWidth: 1.5, cornerRadius: 3 },
        encoding: {
          x: { field: "start", type: "quantitative", scale: { domain: [0, 1], nice: false }, axis: null },
          x2: { field: "end" },
          color: { field: "rank", type: "ordinal", scale: { domain: [0, 1, 2, 3, 4], range: HUES }, legend: null },
          tooltip: { field: "told" },
          description: { field: "told" },
        },
      },
    ],
  };
}
