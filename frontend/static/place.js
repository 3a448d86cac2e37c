// Where we are, and how to get elsewhere. All of it is in the address, but never the key.

const NAMES = ["customer", "archetype", "outlook", "q", "metric", "show", "open", "sort", "months", "period", "if"];

/** {customer?, archetype?, outlook?, q?, metric?, show?, open?, sort?, months?, period?, if?} */
export function place() {
  const given = new URLSearchParams(location.search);
  return Object.fromEntries(NAMES.filter((name) => given.get(name)).map((name) => [name, given.get(name)]));
}

export function address(wanted) {
  const given = new URLSearchParams(Object.entries(wanted).filter(([, value]) => value));
  return given.size ? `?${given}` : location.pathname;
}

let render = () => {};

/** Calls `listener({focus, scroll})` whenever we are somewhere new. */
export function onMove(listener) {
  render = listener;
  history.scrollRestoration = "manual";
  addEventListener("popstate", (event) => render({ focus: true, scroll: event.state?.scroll ?? 0 }));
  addEventListener("click", (event) => {
    const link = event.target.closest?.("a[href]");
    const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
    if (!link || !plain || event.defaultPrevented || link.target) return;
    const to = new URL(link.href);
    if (to.origin !== location.origin || to.pathname !== location.pathname || to.hash) return;
    event.preventDefault();
    go(to.search || to.pathname);
  });
}

export function go(to) {
  history.replaceState({ scroll: scrollY }, "");
  history.pushState(null, "", to);
  render({ focus: true, scroll: 0 });
}

/** Put a better address on where we are: no new step back. */
export function rename(wanted) {
  history.replaceState(history.state, "", address(wanted));
}
